/*
 * moments.h - second moments of the inputs of a model's linear layers, gathered and filed
 *
 * H = (1/N) sum_t x_t x_t^T of the input x of a product, one H a distinct *input*: q, k and v share
 * theirs, gate and up theirs, every expert has its own. Of each, two: one to round with, one held
 * out to judge with.
 *
 * Inputs wider than MOMENTS_COLUMNS are cut into equal groups of g columns, of whose H only the
 * squares on the diagonal are kept: 12,288 columns take a third of the bytes, and of the work.
 *
 * Of an expert that shares its layer's correlations only the diagonal D_e is kept; read as a
 * square it is H_e = D_e^1/2 R D_e^1/2, R the correlation matrix of the input that all experts of the
 * layer have in common (same name without the expert's number, every token once): what little an
 * expert's tokens say about pairs of columns is taken from everybody's.
 *
 * The file is a GGUF (general.type "moments") with, for every input I of n columns, G groups, three
 * tensors one after the other:
 *
 *     I.h          F32 {g(g+1)/2, G}   to round with; of each square the lower triangle, by rows
 *     I.held       F32 {g(g+1)/2, G}   held out; zero when nothing was held out
 *     I.tokens     F32 {2}             how many tokens each saw
 *
 * or, for a diagonal alone, I.d and I.held of F32 {n} in the place of the first two; and the keys
 * moments.version (u32, 3), moments.datasets and moments.digests (strings: names of the
 * texts and their SHA-256), moments.chunk_size (u32), moments.tokens (u64), moments.source (string:
 * SHA-256 of the model, the text and the options). Data are read entry by entry: memory stays at one square.
 *
 * Sources: "second moments" as in GPTQ, arXiv 2210.17323, equation (1), without its factor of two.
 */
#ifndef FORMATS_MOMENTS_MOMENTS_H
#define FORMATS_MOMENTS_MOMENTS_H

#include "base/base.h"
#include "formats/gguf/gguf.h"

enum { MOMENTS_NAME = 64, MOMENTS_VERSION = 3, MOMENTS_COLUMNS = 4096 };

/* How many columns of an input of n a group has: of the fewest equal groups of at most
 * MOMENTS_COLUMNS that are whole super-blocks of 256 columns; of 32, or any, where n has no such. */
size_t moments_group_columns(size_t n);

/* The name of the input that the weight `weight` (a GGUF name) multiplies: "blk.3.attn_q.weight",
 * "blk.3.attn_k.weight" -> "blk.3.attn_in"; an expert's gets its number as a suffix, ".7" (expert
 * >= 0). False for tensors that no product reads (norms, tables read by row).
 *
 * One table has an entry all the same, a layer in the place of the expert:
 * "per_layer_token_embd.weight", 3 -> "blk.3.ple_table", the second moment of the activated gate
 * g = gelu(inp_gate x) of that layer. An error d of the layer's slice of the table enters the stream
 * as W_proj (g * d) before a norm, so E|W_proj (g * d)|^2 = d^T (E[g g^T] * W_proj^T W_proj) d, the
 * products of g with d and of the two matrices taken element by element. */
bool moments_input(const char *weight, int expert, char out[MOMENTS_NAME]);

/* ---- gathering ---- */

/* Sums of x x^T in float64, lower triangle, one pair a distinct input. */
struct gram {
    size_t n, group; /* columns; of a group */
    bool is_diagonal;
    uint64_t tokens;
    double *sum; /* n / group triangles in strips of whole tiles; or n squares */
};

/* Memory that gram_new() takes for n columns; gram_new_diagonal() takes 8 n. */
uint64_t gram_bytes(size_t n);

/* ERR_NOMEM. */
MUST_CHECK enum status gram_new(size_t n, struct gram *gram, struct error *err);
/* Sums of x_j^2 alone, the same numbers to the bit. */
MUST_CHECK enum status gram_new_diagonal(size_t n, struct gram *gram, struct error *err);
/* Add n_rows vectors. Products and sums of at most 512 rows at a time are f32, in order of rows,
 * then added in float64: the result depends on how the caller cuts its rows, not on threads or
 * CPU. Parallel. */
void gram_add(struct gram *gram, const float *x, size_t n_rows);
/* The symmetric mean, whole squares: n * group floats. Zero tokens give zeros. Not of a diagonal. */
void gram_mean(const struct gram *gram, float *h);
void gram_free(struct gram *gram);

/* ---- the file ---- */

struct moments_header {
    const char *const *datasets;
    const char *const *digests; /* SHA-256 of each in hex; or NULL */
    size_t n_datasets;
    uint32_t chunk_size;
    uint64_t tokens;    /* 0: not told */
    const char *source; /* may be NULL */
};

/* One input to file: name and width; the file is laid out from these before any data is there. */
struct moments_item {
    char name[MOMENTS_NAME];
    size_t n;
    bool
        is_diagonal; /* "blk.N.exps_in.E": there is an item "blk.N.exps_in" of n columns too */
};

struct moments_writer;

/* ERR_IO at once when the disk has no room for the whole. With `resume` the temporary of a writer that
 * was kept goes on: items that were put stay, also when this fails. */
MUST_CHECK enum status moments_create(const char *path,
                                      const struct moments_header *header,
                                      const struct moments_item *items, size_t n_items,
                                      const struct output_options *options,
                                      struct moments_writer **out, struct error *err);
/* File the pair of item i. */
MUST_CHECK enum status moments_put(struct moments_writer *writer, size_t i,
                                   const struct gram *train, const struct gram *held,
                                   struct error *err);
/* Finish: the file is whole under its name. Every item must have been put. Frees the writer. */
MUST_CHECK enum status moments_finish(struct moments_writer *writer, struct error *err);
void moments_abandon(struct moments_writer *writer); /* NULL is fine */
/* What was put is on the device. / Close, and keep what was put for a later resume. */
MUST_CHECK enum status moments_sync(struct moments_writer *writer, struct error *err);
void moments_keep(struct moments_writer *writer); /* NULL is fine */

struct moments;

/* ERR_USAGE when it is something else, or of another version; ERR_CORRUPT. */
MUST_CHECK enum status moments_open(const char *path, struct moments **out,
                                    struct error *err);

/* What the file holds on one input. */
struct moments_entry {
    size_t n, group; /* columns; of a group: n where the whole matrix is there */
    double tokens, held_tokens;
    bool is_diagonal;     /* the rest is its layer's */
    size_t index, common; /* private */
};

/* False when the file has nothing on this input. */
bool moments_find(const struct moments *moments, const char *input,
                  struct moments_entry *entry);

/* Read all squares, n * group floats; `held` chooses the held-out half. ERR_CORRUPT, here and below, names
 * the file, the tensor and the first number that is not finite; ERR_IO. */
MUST_CHECK enum status moments_read(const struct moments *moments,
                                    const struct moments_entry *entry, bool held,
                                    float *h, struct error *err);
/* Read the square of columns [first, first + count), which lie in one group: count * count floats. */
MUST_CHECK enum status moments_read_square(const struct moments *moments,
                                           const struct moments_entry *entry, bool held,
                                           size_t first, size_t count, float *h,
                                           struct error *err);
/* Of an entry that has only its diagonal: the same square of what its layer's experts have in common, in the
 * coordinates of this entry (moments_rescale()). */
MUST_CHECK enum status moments_read_common(const struct moments *moments,
                                           const struct moments_entry *entry, bool held,
                                           size_t first, size_t count, float *h,
                                           struct error *err);
/* Read the diagonal alone: n floats. */
MUST_CHECK enum status moments_diagonal(const struct moments *moments,
                                        const struct moments_entry *entry,
                                        float *diagonal, struct error *err);
/* moments.source, or NULL; the file's metadata. */
const char *moments_source(const struct moments *moments);
const struct gguf_meta *moments_meta(const struct moments *moments);
/* Read from here on as if the input's x_j were s_j x_j: H_ij becomes H_ij s_i s_j. For weights whose
 * columns were divided by s. A second call for the same input takes the first one's place; an input
 * the file does not have, or not of n columns, is no error. ERR_NOMEM. */
MUST_CHECK enum status moments_rescale(struct moments *moments, const char *input,
                                       const float *s, size_t n, struct error *err);
/* SHA-256 of the file, in hex: what a product made with it records. */
const char *moments_sha256(const struct moments *moments);
void moments_close(struct moments *moments); /* NULL is fine */

#endif
