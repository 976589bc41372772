/*
 * safetensors.h - read .safetensors files strictly, header only; write small ones
 *
 * The file, all integers little-endian:
 *
 *     0          8            8 + H                              end of file
 *     +----------+------------+----------------------------------+
 *     |  H  u64  |  JSON  H B |  tensor bytes, back to back      |
 *     +----------+------------+----------------------------------+
 *
 * The JSON is one object: tensor name -> {"dtype", "shape", "data_offsets": [a, b]}, where a
 * and b count from 8 + H; "__metadata__" maps strings to strings. White space may stand before
 * and after the object.
 *
 * safetensors_open() reads the header and checks everything once: H <= 100,000,000 and within
 * the file, UTF-8, strict JSON, unique names, every shape against its byte range without
 * overflow, and that the ranges tile the data without hole, overlap or trailing byte. After
 * that no accessor can fail. Tensor bytes are read by the caller with file_read().
 *
 * Source: the safetensors README, "Format", version 0.4; the order of checks is that of the
 * reference reader, plus the refusal of duplicate names that the README asks for.
 */
#ifndef FORMATS_SAFETENSORS_SAFETENSORS_H
#define FORMATS_SAFETENSORS_SAFETENSORS_H

#include "base/base.h"
#include "formats/formats.h"

struct safetensors;

/* Open and check the file at `path`. On OK the caller owns *out. ERR_USAGE when missing;
 * ERR_CORRUPT names the first rule broken and where (also "a Git LFS pointer, not the file");
 * ERR_UNSUPPORTED for a dtype nobody defined; ERR_NOMEM. Sentences begin with the path. */
MUST_CHECK enum status safetensors_open(const char *path, struct safetensors **out,
                                        struct error *err);

/* As safetensors_open() over bytes in memory, which must outlive *out; for tests and fuzzing.
 * safetensors_file() is NULL then. */
MUST_CHECK enum status safetensors_parse(const uint8_t *bytes, size_t n_bytes,
                                         struct safetensors **out, struct error *err);

/* The tensors by offset in the file; borrowed until close. */
size_t safetensors_count(const struct safetensors *st);
const struct tensor *safetensors_at(const struct safetensors *st, size_t i);

/* The tensor of that name, or NULL. O(1). */
const struct tensor *safetensors_find(const struct safetensors *st, const char *name);

/* A value of __metadata__, or NULL. */
const char *safetensors_metadata(const struct safetensors *st, const char *key);

const struct file *safetensors_file(const struct safetensors *st); /* borrowed */
void safetensors_close(struct safetensors *st);                    /* NULL is fine */

/* ---- a set of shards ---- */

struct shards;

/* Open what a checkpoint folder holds, by the rules of the Hugging Face and MLX loaders:
 * model.safetensors.index.json, else model.safetensors, else model*.safetensors in byte order,
 * else one other *.safetensors. An index that does not list a model.safetensors which has all its
 * tensors, or whose shards are gone, is an older model's: the one file is read, and that is warned
 * about. File names in the index must be plain names. A tensor in two
 * shards is ERR_CORRUPT unless bytes are equal; an index that names the wrong shard, misses a
 * tensor or lists one that no shard has is warned about (log_warn). struct tensor.file indexes
 * shards_file(). Sentences name folder, index and shard. ERR_USAGE when there is nothing. */
MUST_CHECK enum status shards_open(const char *folder, struct shards **out,
                                   struct error *err);

/* The same over one file. */
MUST_CHECK enum status shards_open_file(const char *path, struct shards **out,
                                        struct error *err);

size_t shards_count(const struct shards *set);
const struct tensor *shards_at(const struct shards *set,
                               size_t i); /* by shard, then offset */
const struct tensor *shards_find(const struct shards *set, const char *name);
size_t shards_n_files(const struct shards *set);
const struct file *shards_file(const struct shards *set, int i); /* borrowed */
void shards_close(struct shards *set);

/* ---- writing ---- */

/* One tensor to write; `data` holds its bytes. */
struct safetensors_item {
    const char *name;
    enum dtype dtype;
    int n_dims;
    uint64_t dims[TENSOR_MAX_DIMS];
    const void *data;
};

/* Write items in the order given (the header in that order too, padded with spaces to 8), whole
 * or not at all. `metadata` is NULL or key, value, key, value, ..., NULL. */
MUST_CHECK enum status safetensors_write(const char *path,
                                         const struct safetensors_item *items,
                                         size_t n_items, const char *const *metadata,
                                         bool force, struct error *err);

#endif
