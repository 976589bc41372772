/*
 * gguf.h - GGUF v3: typed metadata, tensor tables, split files; reading and writing
 *
 *     char  magic[4] = "GGUF";  u32 version = 3;  u64 n_tensors;  u64 n_kv
 *     n_kv      x { string key; u32 value_type; value }        string: u64 length, bytes
 *     n_tensors x { string name; u32 n_dims; u64 ne[n_dims]; u32 type; u64 offset }
 *     zero padding to a multiple of the alignment (32, or general.alignment)
 *     tensor data: offset from here, each tensor zero-padded to the alignment
 *
 * ne[0] is the contiguous dimension: the reverse of a PyTorch shape. Offsets must be exactly
 * cumulative, as llama.cpp demands. Version 2 files, which differ in the number only, are read
 * too. Bytes after the last tensor are allowed.
 *
 * Reading checks every count against the bytes that are left before it allocates, and also:
 * unique keys and tensor names, UTF-8 and no NUL in keys, names and single strings (pieces of a
 * vocabulary may be any bytes), booleans of 0 or 1, no arrays of arrays, rows of whole blocks,
 * no dimension of 0, a power of two as alignment, tensors that end within the file.
 *
 * Source: ggml docs/gguf.md; loader rules of llama.cpp 0.5.0.
 */
#ifndef FORMATS_GGUF_GGUF_H
#define FORMATS_GGUF_GGUF_H

#include "base/base.h"
#include "formats/blocks/blocks.h"
#include "formats/formats.h"

enum gguf_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
};

const char *
gguf_type_name(enum gguf_type type); /* "u32"; "unknown type" beyond the list */

struct gguf_str {
    const char *text; /* NUL-terminated, may hold NULs before; borrowed */
    size_t n;
};

/* One metadata value; everything borrowed from the metadata it came from. */
struct gguf_value {
    const char *key;
    enum gguf_type type;    /* GGUF_ARRAY for arrays */
    enum gguf_type element; /* arrays: the type of the elements, never GGUF_ARRAY */
    uint64_t count;         /* arrays: how many; otherwise 1 */
    const void *data;       /* packed little-endian elements; NULL for strings */
    /* private: string i ends at text[ends[i]], a NUL, and the next begins after it */
    const char *text;
    const uint64_t *ends;
};

/* An ordered set of key, value. Setting a key twice keeps its place and takes the last value.
 * Setters: ERR_NOMEM only. */
struct gguf_meta;

struct gguf_meta *gguf_meta_new(void); /* NULL when memory is out */
struct gguf_meta *gguf_meta_copy(const struct gguf_meta *meta);
void gguf_meta_free(struct gguf_meta *meta); /* NULL is fine */

MUST_CHECK enum status gguf_set_str(struct gguf_meta *meta, const char *key,
                                    const char *text, size_t n, struct error *err);
MUST_CHECK enum status gguf_set_u16(struct gguf_meta *meta, const char *key, uint16_t v,
                                    struct error *err);
MUST_CHECK enum status gguf_set_u32(struct gguf_meta *meta, const char *key, uint32_t v,
                                    struct error *err);
MUST_CHECK enum status gguf_set_i32(struct gguf_meta *meta, const char *key, int32_t v,
                                    struct error *err);
MUST_CHECK enum status gguf_set_u64(struct gguf_meta *meta, const char *key, uint64_t v,
                                    struct error *err);
MUST_CHECK enum status gguf_set_f32(struct gguf_meta *meta, const char *key, float v,
                                    struct error *err);
MUST_CHECK enum status gguf_set_bool(struct gguf_meta *meta, const char *key, bool v,
                                     struct error *err);
/* count packed elements of a fixed-width type. */
MUST_CHECK enum status gguf_set_array(struct gguf_meta *meta, const char *key,
                                      enum gguf_type element, const void *data,
                                      uint64_t count, struct error *err);
MUST_CHECK enum status gguf_set_strings(struct gguf_meta *meta, const char *key,
                                        const struct gguf_str *strings, uint64_t count,
                                        struct error *err);
/* The same of NUL-terminated strings. */
MUST_CHECK enum status gguf_set_texts(struct gguf_meta *meta, const char *key,
                                      const char *const *texts, size_t count,
                                      struct error *err);
/* Copy a value, mostly of another set, under its own key. */
MUST_CHECK enum status gguf_set_value(struct gguf_meta *meta,
                                      const struct gguf_value *value, struct error *err);
void gguf_unset(struct gguf_meta *meta, const char *key);

size_t gguf_meta_count(const struct gguf_meta *meta);
const struct gguf_value *gguf_meta_at(const struct gguf_meta *meta, size_t i);
const struct gguf_value *gguf_meta_find(const struct gguf_meta *meta, const char *key);

/* Strictly typed getters: false when the key is absent or of another type. */
bool gguf_get_str(const struct gguf_meta *meta, const char *key, struct gguf_str *out);
bool gguf_get_u16(const struct gguf_meta *meta, const char *key, uint16_t *out);
bool gguf_get_u32(const struct gguf_meta *meta, const char *key, uint32_t *out);
bool gguf_get_i32(const struct gguf_meta *meta, const char *key, int32_t *out);
bool gguf_get_f32(const struct gguf_meta *meta, const char *key, float *out);
bool gguf_get_bool(const struct gguf_meta *meta, const char *key, bool *out);
/* Getters of numbers of any width: false when the key is absent or holds something else. The whole
 * number, or of an array of whole numbers the first; the number, whole or not. U64 wraps. */
bool gguf_get_int(const struct gguf_meta *meta, const char *key, int64_t *out);
bool gguf_get_real(const struct gguf_meta *meta, const char *key, double *out);
/* Element i of any integer or bool array (or scalar, for i == 0), widened; i < count. */
int64_t gguf_value_int(const struct gguf_value *value, uint64_t i);
double gguf_value_real(const struct gguf_value *value, uint64_t i);
/* String i of a string array (or the string itself, i == 0). O(1). */
struct gguf_str gguf_value_str(const struct gguf_value *value, uint64_t i);

struct gguf_tensor {
    const char *name; /* at most 63 bytes */
    enum block_type type;
    int n_dims;
    uint64_t ne[4]; /* unused ones are 1 */
    uint64_t n_bytes;
    uint64_t offset; /* of the first byte, from the start of its file */
    int file;        /* which shard */
};

uint64_t gguf_tensor_rows(const struct gguf_tensor *t); /* ne[1] * ne[2] * ne[3] */

/* An open GGUF: one file, or all shards of a split (opened by its first). */
struct gguf;

/* Open, read and check headers. ERR_USAGE when the file or a shard is missing; ERR_CORRUPT names
 * the rule; ERR_UNSUPPORTED for versions and tensor types nobody defined. Sentences begin with
 * the path. Shards are found from the name -00001-of-0000N.gguf. A file must say what it is
 * (general.architecture, or general.type "imatrix"); shards after the first need not. */
MUST_CHECK enum status gguf_open(const char *path, struct gguf **out, struct error *err);
/* Header checks over bytes in memory (one file), for tests and fuzzing; gguf_file() is NULL. */
MUST_CHECK enum status gguf_parse(const uint8_t *bytes, size_t n_bytes, struct gguf **out,
                                  struct error *err);
const struct gguf_meta *gguf_metadata(const struct gguf *file); /* of the first shard */
size_t gguf_count(const struct gguf *file);
const struct gguf_tensor *gguf_at(const struct gguf *file,
                                  size_t i); /* by shard and offset */
const struct gguf_tensor *gguf_find(const struct gguf *file, const char *name);
size_t gguf_n_files(const struct gguf *file);
struct file *gguf_file(const struct gguf *file, int i); /* borrowed */
uint64_t gguf_data_start(const struct gguf *file,
                         int i); /* where shard i's data begins */
uint32_t gguf_alignment(const struct gguf *file, int i);
void gguf_close(struct gguf *file);

/* ---- writing ---- */

/* Serialize the header of a file with this metadata and these tensors: sets every offset and
 * n_bytes (from name, type, n_dims, ne) and returns the padded header bytes, owned by the
 * caller (free). Data of tensor i goes to tensors[i].offset, zero-padded to `alignment`, after
 * the last one too; *file_bytes is the size of the whole file. `alignment` other than 32 also
 * needs the caller's general.alignment key. ERR_SHAPE when a row is not whole blocks or a name
 * is too long or there twice; ERR_USAGE for a key or a single string that is not UTF-8 without NUL:
 * what is written can be read; ERR_NOMEM. */
MUST_CHECK enum status gguf_layout(const struct gguf_meta *meta,
                                   struct gguf_tensor *tensors, size_t n_tensors,
                                   uint32_t alignment, uint8_t **header, size_t *n_header,
                                   uint64_t *file_bytes, struct error *err);

/* "dir/name.gguf", 0, 2 -> "dir/name-00001-of-00002.gguf", owned by the caller; an existing
 * shard suffix is replaced. NULL when memory is out. */
char *gguf_shard_path(const char *path, unsigned no, unsigned count);

/* ---- changing ---- */

/* Set "KEY=VALUE": as the type the key has, or as a string when it is new. ERR_USAGE when the value
 * is none of that type, and for keys a file's layout rests on. */
MUST_CHECK enum status gguf_assign(struct gguf_meta *meta, const char *pair,
                                   struct error *err);

/* Reserve 64 KiB of header, under the key carat.slack, for gguf_patch() to take from. */
MUST_CHECK enum status gguf_set_slack(struct gguf_meta *meta, struct error *err);

/* Give the (first) file at `path`, open as `file`, this metadata in place of its own. Tensor bytes
 * stay as they are. *in_place: only the header was written, where the old one was, or in blocks that
 * the file system put before a large file (should the machine stop meanwhile, the header is lost). Otherwise the file is written anew
 * beside the old one, which it replaces when whole. `file` shows the old one; close it. ERR_IO,
 * ERR_INTERRUPTED, ERR_NOMEM. */
MUST_CHECK enum status gguf_patch(const char *path, const struct gguf *file,
                                  const struct gguf_meta *meta,
                                  const struct progress *progress, bool *in_place,
                                  struct error *err);

#endif
