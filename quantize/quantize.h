/*
 * quantize.h - from floats to blocks
 *
 * Rows are independent: any cut of a tensor into runs of rows, any number of threads and any
 * instruction set give the same bytes.
 */
#ifndef QUANTIZE_QUANTIZE_H
#define QUANTIZE_QUANTIZE_H

#include "base/base.h"
#include "formats/blocks/blocks.h"
#include "formats/gguf/gguf.h"

enum method {
    METHOD_PLAIN,      /* the bits of llama.cpp's reference functions */
    METHOD_SEARCH,     /* weighted least-squares search for better scales, same layouts */
    METHOD_COMPENSATE, /* error feedback; needs second moments: not through quantize_rows() */
    METHOD_GRID, /* Q4_0 of weights trained on a 4-bit grid: see quantize_count_grid() */
};

/* True when quantize_rows() can produce `type` by `method`. */
bool quantize_can(enum block_type type, enum method method);

/* Quantize n_rows rows of n_cols finite floats into `out` (n_rows * block_row_bytes bytes).
 * `importance` is NULL or n_cols non-negative weights, used as llama-quantize uses an
 * importance matrix. Runs in the calling thread; callers cut rows with parallel_for. The type
 * must be one quantize_can() accepts and n_cols a multiple of its block. Types F32, F16 and
 * BF16 convert. Source of the plain arithmetic: docs/rounding.md. */
void quantize_rows(enum block_type type, enum method method, const float *x,
                   size_t n_rows, size_t n_cols, const float *importance, void *out);

/* How many of the blocks of 32 lie on a 4-bit grid: there is a half d and codes -8 ... 7 such
 * that every d * code, rounded to the precision the block was stored in (bfloat16, half or
 * float, the coarsest that holds its values), is the weight itself. Weights of quantization-
 * aware training do, nearly all; others practically never. METHOD_GRID finds those d and codes
 * and rounds the other blocks plainly. n_cols must be a multiple of 32. */
size_t quantize_count_grid(const float *x, size_t n_rows, size_t n_cols);

/* What METHOD_GRID does to finite rows, and how many blocks came back exactly. */
size_t quantize_on_grid(const float *x, size_t n_rows, size_t n_cols, void *out);

/* True when every value is finite; otherwise *at is the index of the first that is not. */
bool quantize_all_finite(const float *x, size_t n, size_t *at);

/* ---- which type each tensor gets ---- */

/* What a mix's rules look at. Tensors are named and shaped as in the output file. */
struct mix_facts {
    uint32_t n_layers, n_experts; /* n_experts 0 without */
    bool has_importance;          /* an importance matrix is given */
    bool pure;                    /* the mix's base type wherever a type may be chosen */
};

/* The mixes of llama-quantize and the plain types; names as users type them ("Q4_K_M"). */
struct mix;
const struct mix *mix_find(const char *name); /* NULL: no such mix; any case */
const char *mix_name(const struct mix *mix);
uint32_t mix_file_type(const struct mix *mix); /* general.file_type */
size_t mix_count(void);
const struct mix *mix_at(size_t i);

/* Set types[i] for every tensor, as llama-quantize 0.5.0 decides: tensors that are never
 * quantized keep tensors[i].type, fallbacks for row lengths that are not whole blocks applied.
 * tensors may be in any order; the rules count them in llama-quantize's processing order
 * (non-layer tensors first, then by layer, then by name). why[i], when why is not NULL, is set
 * to a short static text naming the rule. ERR_NOMEM. */
MUST_CHECK enum status mix_apply(const struct mix *mix, const struct mix_facts *facts,
                                 const struct gguf_tensor *tensors, size_t n_tensors,
                                 enum block_type *types, const char **why,
                                 struct error *err);

/* The fallback for a row length that is not a multiple of the type's block. */
enum block_type mix_fallback(enum block_type type, uint64_t n_cols);

#endif
