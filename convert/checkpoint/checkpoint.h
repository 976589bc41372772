/*
 * checkpoint.h - a folder of anything, seen as one catalogue of canonical tensors
 *
 *     files ──► raw tensors ──► providers ──► source tensors ──► catalogue
 *     shards    what is stored   plain, stacked,   "layers.3.mlp.up_proj.weight",
 *     archives  and where        dequantized,      {out, in}, rows of f32 on demand
 *                                with an adapter
 *
 * A canonical name is the text model's, without any wrapper's prefix (gemma 4:
 * "embed_tokens.weight", "layers.N....", "norm.weight"; towers keep theirs: "vision_tower....").
 * Nothing of a model's size is held in memory: a source tensor says how its rows come about, in
 * two steps, so that reading overlaps arithmetic:
 *
 *     fetch    reads what n rows need into a buffer: input only, called by one thread, in order
 *     decode   turns part of a fetched buffer into f32 rows: arithmetic only, any thread, no errors
 *
 * Providers wrap one another: an adapter's fetch is its base's, its decode adds to what the base's
 * decode made. Whatever can be wrong with a tensor's data apart from reading it is found when the
 * checkpoint is opened (cheap things: shapes, scales, indices) or in fetch().
 */
#ifndef CONVERT_CHECKPOINT_CHECKPOINT_H
#define CONVERT_CHECKPOINT_CHECKPOINT_H

#include "base/base.h"
#include "convert/convert.h"
#include "formats/blocks/blocks.h"
#include "formats/formats.h"

struct source_tensor;

/* Rows [first, first + n) of a source tensor, and the bytes fetch() read for them. */
struct fetched {
    uint64_t first, n;
    const void *raw;
};

struct provider {
    /* Bytes fetch() writes for rows [first, first + n). */
    size_t (*fetch_bytes)(const struct source_tensor *t, uint64_t first, uint64_t n);

    /* Read them to `raw` (any alignment). ERR_IO, ERR_CORRUPT; the sentence names file and
     * tensor. */
    enum status (*fetch)(const struct source_tensor *t, uint64_t first, uint64_t n,
                         void *raw, struct error *err);

    /* Write rows [from, from + n) of the tensor, which lie in `in`, as f32 to x. */
    void (*decode)(const struct source_tensor *t, const struct fetched *in, uint64_t from,
                   uint64_t n, float *x);

    /* The same rows as blocks of t->exact, codes and scales as stored. NULL unless t->exact is a
     * quantized type. */
    void (*repack)(const struct source_tensor *t, const struct fetched *in, uint64_t from,
                   uint64_t n, void *blocks);
};

/* One tensor of the model as the checkpoint gives it. Everything is borrowed from the checkpoint. */
struct source_tensor {
    const char *name;  /* canonical */
    const char *found; /* as the (first) file names it, for sentences */
    const char
        *type; /* of the stored numbers, for people: "BF16", "int4 g32", "BF16 + LoRA" */
    const char *transform; /* "copy", "stack 128 experts", ... */
    int n_dims;            /* 0 is a scalar */
    uint64_t dims[TENSOR_MAX_DIMS];
    /* The smallest type that holds every value exactly: F32, F16, BF16, or a block type where the
     * stored codes and scales fit it as they are. */
    enum block_type exact;
    uint64_t order;   /* place in the source: output follows it */
    uint64_t n_bytes; /* stored bytes behind it */
    bool is_part;     /* of another source tensor: not in the catalogue itself */
    const struct provider *provider;
    const void *self; /* the provider's own */
};

/* The tensor as a matrix: the last dimension, and the product of the others. */
uint64_t source_cols(const struct source_tensor *t);
uint64_t source_rows(const struct source_tensor *t);

/* Fetch and decode n rows in one go: for small tensors. x holds n * cols floats. */
MUST_CHECK enum status source_read(const struct source_tensor *t, uint64_t first,
                                   uint64_t n, float *x, struct error *err);

/* True in *same when both decode to the same bits. Reads at most both, in slabs, until they
 * differ; with `skim` eight places of 256 KiB, evenly spread from the first row to the last. */
MUST_CHECK enum status source_equal(const struct source_tensor *a,
                                    const struct source_tensor *b, bool skim, bool *same,
                                    struct error *err);

/* The tensor as it was before adapters were merged into it; itself where none was. Borrowed. */
const struct source_tensor *source_unmerged(const struct source_tensor *t);

/* True when plain experts {E, in, out} stand where dims says {E, out, in}, and the shape tells. */
bool source_is_turned(const struct source_tensor *t, const uint64_t dims[3]);

/* Those, read as {E, out, in}; NULL when memory is out. */
const struct source_tensor *source_turned(struct arena *arena,
                                          const struct source_tensor *t);

/* Whether a tensor lies on a grid of 4-bit codes; zero: nobody has looked. */
enum grid { GRID_UNKNOWN, GRID_OFF, GRID_ON };

/* Look, when *grid is not known yet: on a grid are those of which rows spread over it are, as
 * quantization-aware training leaves them (quantize_count_grid()). */
MUST_CHECK enum status source_find_grid(const struct source_tensor *t, enum grid *grid,
                                        struct error *err);

struct checkpoint;

/* The folder of a path: itself, or what stands before the last slash. From the arena; NULL when
 * memory is out. */
const char *checkpoint_folder_of(struct arena *arena, const char *path);

/* Open a folder, or one weights file beside its config.json. Merges nothing yet and reads headers
 * only. ERR_USAGE when config.json or weights are missing; ERR_CORRUPT, ERR_UNSUPPORTED; ERR_SHAPE
 * when parts contradict each other. Notes (harmless things left out) are kept for checkpoint_note().
 * `loras` are adapters to merge, in order. */
MUST_CHECK enum status checkpoint_open(const char *path, const struct convert_lora *loras,
                                       size_t n_loras, struct checkpoint **out,
                                       struct error *err);

const char *checkpoint_folder(const struct checkpoint *cp);
const json_t *checkpoint_config(const struct checkpoint *cp); /* config.json */
/* True when config.json says that the head has weights of its own. */
bool checkpoint_is_untied(const struct checkpoint *cp);
const char *checkpoint_layout(
    const struct checkpoint *cp); /* "2 shards, BF16", "1 shard, AWQ 4 bit g32" */
uint64_t checkpoint_bytes(const struct checkpoint *cp); /* of all weights files */

size_t checkpoint_count(const struct checkpoint *cp);
const struct source_tensor *checkpoint_at(const struct checkpoint *cp,
                                          size_t i); /* by order */
const struct source_tensor *checkpoint_find(const struct checkpoint *cp,
                                            const char *name);

/* What some models keep beside their tensors, as f32 whatever it is stored as: ids too. */
struct aside {
    int n_dims;
    uint64_t dims[TENSOR_MAX_DIMS];
    const float *x; /* the checkpoint's; NULL when there is no such tensor */
};

/* `name` is canonical: "masked_embedding.centroids.weight". At most 2^30 values. ERR_UNSUPPORTED for
 * more and for packed numbers; ERR_IO, ERR_CORRUPT, ERR_NOMEM. */
MUST_CHECK enum status checkpoint_read_aside(struct checkpoint *cp, const char *name,
                                             struct aside *out, struct error *err);

size_t checkpoint_notes(const struct checkpoint *cp);
const char *checkpoint_note(const struct checkpoint *cp, size_t i);

/* The weights files behind it, adapters' among them, for identity and for the check that nobody
 * changed them. */
size_t checkpoint_n_files(const struct checkpoint *cp);
const struct file *checkpoint_file(const struct checkpoint *cp, size_t i);

void checkpoint_close(struct checkpoint *cp); /* NULL is fine */

#endif
