/*
 * kernels.h - the arithmetic of a forward pass: products, attention, norms, activations
 *
 *     const struct kernels *k = kernels_best();
 *     struct workspace *ws;
 *
 *     workspace_new(512, 12288, &ws, err);
 *     kernels_rms_norm(k, x, norm, n_tokens, n_embd, 1e-6f, h);
 *     kernels_matmul(k, ws, ARITH_FAST, &wq, h, n_tokens, q);
 *
 * Everything is row-major f32 but the weights. Every table computes the same bits, for any
 * number of threads; and a token's result does not depend on the tokens beside it, so that
 * prefill and decoding agree to the last bit. That is possible because each result has one
 * stated order of operations, with fused multiply-adds where the statement says fma:
 *
 * ARITH_F32, and weights of type F32, F16 or BF16 in any arithmetic. Weights are decoded exactly
 *     (as block_decode does). The row is cut into pieces of 512 columns; lane l of 8 takes the
 *     columns l, l + 8, ... of a piece: s[l] = fma(w, x, s[l]); the lanes are then added as
 *     ((s0+s4)+(s2+s6)) + ((s1+s5)+(s3+s7)), and the pieces in order. With u = 2^-24 and
 *     n <= 512 * p columns,
 *         |y - exact| <= (64 + 3 + p) u (1 + 2^-10) * sum |w x|.
 *
 * ARITH_FAST with quantized weights. Activations are rounded a block of 32 columns at a time,
 *     d = max|x| / 127, q = round(x * (127 / max|x|)), ties to even. A block's product is an
 *     exact integer i = sum of h_j q_j, where h are the weight's codes (times the 8-bit scales
 *     of Q6_K, which stay integers), then
 *         y = fma(s * d, i, y)   and, for types with a minimum m,   y = fma(m, d * sum q, y)
 *     block by block in order, where s and m are the block's scale and minimum as f32, which
 *     is exact for all types.
 *     |x - d q| <= d / 2 (1 + 2^-14): half a step, and 254 u of a step each from the two
 *     roundings of the scaled x and from d times 127 / max|x| not being 1. (A block whose
 *     max|x| is below 2^-119 counts as zero.) So against ARITH_F32, over b blocks,
 *         |y - y_f32| <= sum over blocks of d / 2 (1 + 2^-14) * sum |w|
 *                        + (2 b + 71 + p) u (1 + 2^-10) * sum (s |h| + |m|) (|x| + d / 2):
 *     the first term is the price of 8 bits; the second is rounding: up to 2 b sums, 4 u in
 *     a block's factors, and the bound of ARITH_F32 itself.
 *
 * Inputs must be finite. No function here allocates, but workspace_new() and kernels_limits().
 */
#ifndef RUNTIME_KERNELS_KERNELS_H
#define RUNTIME_KERNELS_KERNELS_H

#include "base/base.h"
#include "formats/blocks/blocks.h"
#include "runtime/runtime.h"

/* One table an instruction set. */
struct kernels;

const struct kernels *kernels_best(void); /* for this machine, under CARAT_CPU */
/* The table for exactly `level`, or NULL where the build or the machine lacks it. The scalar
 * table is always there and is the definition. */
const struct kernels *kernels_at(enum cpu_level level);
const char *kernels_name(const struct kernels *k); /* "avx2" */
/* What one more token adds to a pass of few, in passes of one: an estimate from measurements of one machine
 * (docs/drafting.md), 0.5 for tables that were not measured. */
double kernels_token_price(const struct kernels *k);

/* ---- products ---- */

/* A weight matrix {n_rows, n_cols} = {out, in}; rows follow each other without gaps. */
struct matrix {
    enum block_type type;
    size_t n_rows, n_cols; /* n_cols: whole blocks of the type */
    const void *data;      /* borrowed; any alignment */
};

/* F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K: the types kernels_matmul() takes. */
bool kernels_can_multiply(enum block_type type);

/* Scratch memory for products of at most max_tokens rows of at most max_cols columns. Used by
 * one caller at a time. ERR_NOMEM. */
struct workspace;
MUST_CHECK enum status workspace_new(size_t max_tokens, size_t max_cols,
                                     struct workspace **out, struct error *err);
void workspace_free(struct workspace *ws); /* NULL is fine */

/* y[n_tokens][w->n_rows] = x[n_tokens][w->n_cols] * transpose(w). In parallel over rows of w;
 * y must not overlap x. */
void kernels_matmul(const struct kernels *k, struct workspace *ws,
                    enum arithmetic arithmetic, const struct matrix *w, const float *x,
                    size_t n_tokens, float *y);

/* ---- attention ---- */

/* Positions [first, end) a query may see; never empty. */
struct span {
    uint32_t first, end;
};

/* One layer's keys and values: cell c holds n_kv_heads * head_dim floats at k + c * stride, and
 * position p lies in cell p % n_cells. n_heads is a multiple of n_kv_heads: query head h reads
 * head h / (n_heads / n_kv_heads). head_dim is a multiple of 8, at most 512. */
struct attention {
    size_t n_heads, n_kv_heads, head_dim;
    const float *k, *v; /* borrowed */
    size_t stride, n_cells;
    float scale;   /* of scores, before the softcap */
    float softcap; /* scores become cap * tanh(score / cap); 0: none */
};

/* out[t][h] = sum over spans[t] of softmax(scale q[t][h] . k) v, for q and out of shape
 * {n_tokens, n_heads, head_dim}; out must not overlap q. Positions are visited in aligned
 * blocks of 64 with a running maximum, so a result depends on the span and nothing else.
 * Products follow the ARITH_F32 order. In parallel over heads and tokens. */
void kernels_attention(const struct kernels *k, const struct attention *a, const float *q,
                       const struct span *spans, size_t n_tokens, float *out);

/* ---- rows ---- */

/* y = x / sqrt(mean(x^2) + eps) * weight, a row at a time; weight (n_cols) may be NULL for none.
 * y may be x. */
void kernels_rms_norm(const struct kernels *k, const float *x, const float *weight,
                      size_t n_rows, size_t n_cols, float eps, float *y);

/* Rotate pairs (i, i + head_dim / 2) of every head in place by the angle whose cosine and sine
 * are cos[t][i], sin[t][i]; x is {n_tokens, n_heads, head_dim}, cos and sin
 * {n_tokens, head_dim / 2}. */
void kernels_rope(const struct kernels *k, float *x, size_t n_tokens, size_t n_heads,
                  size_t head_dim, const float *cos, const float *sin);

/* y = gelu(gate) * up, the tanh form, as gate / (1 + exp(-2 u)) with
 * u = sqrt(2/pi) (gate + 0.044715 gate^3): no cancellation, relative error below
 * 2^-21 (1 + |u|). y may be gate or up. */
void kernels_gelu_mul(const struct kernels *k, const float *gate, const float *up,
                      size_t n, float *y);

/* x = cap * tanh(x / cap); tanh is within 2 ulp of the true value, its argument and product are
 * rounded once each. */
void kernels_softcap(const struct kernels *k, float *x, size_t n, float cap);

/* x = exp(x - max) / sum, the sum in 8 lanes as in a product. n > 0. */
void kernels_softmax(const struct kernels *k, float *x, size_t n);

void kernels_add(const struct kernels *k, float *x, const float *y,
                 size_t n); /* x += y */
void kernels_mul(const struct kernels *k, float *x, const float *y,
                 size_t n);                                               /* x *= y */
void kernels_scale(const struct kernels *k, float *x, float s, size_t n); /* x *= s */
/* x = fma(s, y, x) */
void kernels_add_scaled(const struct kernels *k, float *x, const float *y, float s,
                        size_t n);

/* The index of the first of the largest values; n > 0. */
size_t kernels_argmax(const float *x, size_t n);

/* ---- what this machine can do at most ---- */

/* Measured now, with all threads, in a quarter of a second: what shares are stated of. A
 * multiplication and its addition count as two operations. */
struct limits {
    double read; /* bytes a second: a 256 MiB array summed once */
    double f32;  /* operations a second: fused multiply-adds on registers */
    double
        integer; /* operations a second: the fastest multiplication of bytes, on registers */
};

/* ERR_NOMEM. */
MUST_CHECK enum status kernels_limits(const struct kernels *k, struct limits *out,
                                      struct error *err);

#endif
