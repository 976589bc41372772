/*
 * few_body.h - what each few_<isa>.c builds of a few tokens' products with its own vectors (private)
 *
 * ROWS rows at a time: the bytes of a block are turned so that a register holds 4 columns of every
 * row, which costs less than adding up the lanes of a product for each row. The 8 registers of a block
 * serve all tokens, and the rows' f32 chains go on in the lanes: nothing is added up across them.
 *
 * Included after ROWS, lanes of 32 bits in a vector; ivec and fvec, vectors of integers and of floats;
 * V(op), the intrinsic that does `op` to them; shift_count, what its shifts count in; and FEW(name,
 * function, type), a few_function out of few_small() or few_k(). What is declared below and not defined is
 * the includer's.
 */
#ifndef RUNTIME_KERNELS_FEW_BODY_H
#define RUNTIME_KERNELS_FEW_BODY_H

#include "runtime/kernels/codes.h"
#include "runtime/kernels/codes_avx2.h"

enum {
    STEPS = BLOCK / 4,
    LINE = 64,
    K_BLOCKS = 8, /* blocks of 32 in one of 256 */
    MAX_RAW = 48  /* registers of the rows of a block of 256: Q6_K's 128 and 64 bytes */
};

/* A block of 32 columns of the rows. */
struct turned {
    ivec codes[STEPS]; /* unsigned; of Q8_0, as ready_bytes() leaves them */
    fvec s, m;
    ivec halves; /* Q6_K: scales of 16 columns, two a row */
};

/* 16 bytes of every row: those of row 4 k + i in the k-th 128 bits of a[i]. */
INLINE void quarters(const uint8_t *const *row, size_t at, ivec a[4]);
/* The f16 at byte `at` of every row, as f32. */
INLINE fvec halves(const uint8_t *const *row, size_t at);
/* s[j], m[j]: scale and minimum of sub-block j of a Q4_K or Q5_K block. */
INLINE void k_factors(const uint8_t *const *row, size_t at, fvec s[K_BLOCKS],
                      fvec m[K_BLOCKS]);
/* out[j]: the two scales of sub-block j of a Q6_K block, 16 bits each. */
INLINE void q6_scales(const uint8_t *const *row, size_t at, ivec out[K_BLOCKS]);
/* Bits 4 i ... 4 i + 3 of the 32 at byte `at` of each row become the fifth of its 4 codes of step i. */
INLINE void add_fifth_bits(const uint8_t *const *row, size_t at, ivec codes[STEPS]);
/* Q8_0's codes as integers() takes them. */
INLINE void ready_bytes(ivec codes[STEPS]);
/* The block's integers with one token, whose halves are the sums of its first and last 16 columns. */
INLINE ivec integers(enum block_type type, const struct turned *w, const int8_t *q,
                     const int16_t *token_halves);

/* Dwords i of 16 bytes of every row: out[i] lane r is that of row r. */
INLINE void turn(const uint8_t *const *row, size_t at, ivec out[4])
{
    ivec a[4], b[4];

    quarters(row, at, a);
    b[0] = V(unpacklo_epi32)(a[0], a[1]);
    b[1] = V(unpackhi_epi32)(a[0], a[1]);
    b[2] = V(unpacklo_epi32)(a[2], a[3]);
    b[3] = V(unpackhi_epi32)(a[2], a[3]);
    out[0] = V(unpacklo_epi64)(b[0], b[2]);
    out[1] = V(unpackhi_epi64)(b[0], b[2]);
    out[2] = V(unpacklo_epi64)(b[1], b[3]);
    out[3] = V(unpackhi_epi64)(b[1], b[3]);
}

/* ---- products ---- */

INLINE ivec columns(const int8_t *q, int step)
{
    return V(set1_epi32)((int)load_u32(q + 4 * step));
}

/* y[t] gains the block's products with token t, block b of x. */
INLINE void add_block(enum block_type type, const struct turned *w,
                      const struct rounded *x, size_t b, size_t n_tokens,
                      float y[][PANEL_ROWS])
{
    size_t at = b;

    for (size_t t = 0; t < n_tokens; t++, at += x->n_blocks) {
        const ivec i = integers(type, w, x->q + at * BLOCK, x->halves + 2 * at);
        fvec gained = V(loadu_ps)(y[t]);

        gained =
            V(fmadd_ps)(V(mul_ps)(w->s, V(set1_ps)(x->d[at])), V(cvtepi32_ps)(i), gained);
        if (codes_has_minimum(type))
            gained = V(fmadd_ps)(w->m, V(set1_ps)(x->dsum[at]), gained);
        V(storeu_ps)(y[t], gained);
    }
}

/* Ask for what the next rows have in the place of bytes begin ... end - 1 of these, all of them taken
 * as one run of bytes. */
INLINE void prefetch(const uint8_t *const *row, size_t begin, size_t end)
{
    uintptr_t next = (uintptr_t)row[0] + ROWS * (size_t)(row[1] - row[0]);

    for (size_t at = begin / LINE * LINE; at < end; at += LINE)
        _mm_prefetch((const char *)(next + at), _MM_HINT_T0);
}

/* ---- blocks of 32 ---- */

INLINE void turn_nibbles(const uint8_t *const *row, size_t at, ivec codes[STEPS])
{
    const ivec low4 = V(set1_epi8)(15);
    ivec raw[4];

    turn(row, at, raw);
    for (int i = 0; i < 4; i++) {
        codes[i] = raw[i] & low4;
        codes[4 + i] = V(srli_epi32)(raw[i], 4) & low4;
    }
}

INLINE void turn_block(enum block_type type, const uint8_t *const *row, size_t at,
                       struct turned *w)
{
    switch (type) {
    case TYPE_Q4_0:
        turn_nibbles(row, at + offsetof(struct q4_0, q), w->codes);
        break;
    case TYPE_Q4_1:
        turn_nibbles(row, at + offsetof(struct q4_1, q), w->codes);
        break;
    case TYPE_Q5_0:
        turn_nibbles(row, at + offsetof(struct q5_0, q), w->codes);
        add_fifth_bits(row, at + offsetof(struct q5_0, h), w->codes);
        break;
    case TYPE_Q5_1:
        turn_nibbles(row, at + offsetof(struct q5_1, q), w->codes);
        add_fifth_bits(row, at + offsetof(struct q5_1, h), w->codes);
        break;
    default:
        turn(row, at + offsetof(struct q8_0, q), w->codes);
        turn(row, at + offsetof(struct q8_0, q) + 16, w->codes + 4);
        ready_bytes(w->codes);
        break;
    }
    w->s = halves(row, at);
    if (codes_has_minimum(type))
        w->m = halves(row, at + 2);
}

INLINE void few_small(enum block_type type, const uint8_t *const *row,
                      const struct rounded *x, size_t n_tokens, float y[][PANEL_ROWS])
{
    const size_t bytes = bytes_avx2(type);
    struct turned w;

    for (size_t b = 0; b < x->n_blocks; b++) {
        prefetch(row, b * bytes * ROWS, (b + 1) * bytes * ROWS);
        turn_block(type, row, b * bytes, &w);
        add_block(type, &w, x, b, n_tokens, y);
    }
}

/* ---- blocks of 256 ---- */

/* All of a block's codes, turned but still packed, and its factors. */
struct packed_k {
    ivec raw[MAX_RAW]; /* dwords of ql, then qh; of q, then h */
    fvec s[K_BLOCKS], m[K_BLOCKS];
    ivec halves[K_BLOCKS];
};

INLINE void turn_k(enum block_type type, const uint8_t *const *row, size_t at,
                   struct packed_k *k)
{
    const size_t low = type == TYPE_Q4_K   ? offsetof(struct q4_k, q)
                       : type == TYPE_Q5_K ? offsetof(struct q5_k, q)
                                           : offsetof(struct q6_k, ql);
    const size_t high =
        type == TYPE_Q5_K ? offsetof(struct q5_k, h) : offsetof(struct q6_k, qh);
    const int n_high = type == TYPE_Q4_K ? 0 : type == TYPE_Q5_K ? 2 : 4;

    for (int i = 0; i < 8; i++)
        turn(row, at + low + 16 * (size_t)i, k->raw + 4 * i);
    for (int i = 0; i < n_high; i++)
        turn(row, at + high + 16 * (size_t)i, k->raw + 32 + 4 * i);
    if (type != TYPE_Q6_K) {
        k_factors(row, at, k->s, k->m);
        return;
    }
    k->s[0] = halves(row, at + offsetof(struct q6_k, d));
    q6_scales(row, at, k->halves);
}

/* Block j of the 8. */
INLINE void unpack_k(enum block_type type, const struct packed_k *k, unsigned j,
                     struct turned *w)
{
    const ivec low4 = V(set1_epi8)(15);
    const bool is_q6 = type == TYPE_Q6_K;
    const ivec *low = k->raw + (is_q6 ? 16 * (j / 4) + 8 * (j % 2) : 8 * (j / 2));
    const ivec *high = k->raw + 32 + (is_q6 ? 8 * (j / 4) : 0);
    const shift_count shift = is_q6 ? (j % 4 < 2 ? 0 : 4) : (j % 2 ? 4 : 0);
    const shift_count high_shift = (shift_count)(is_q6 ? 2 * (j % 4) : j);

    for (int i = 0; i < STEPS; i++) {
        w->codes[i] = V(srli_epi32)(low[i], shift) & low4;
        if (type == TYPE_Q4_K)
            continue;
        ivec h = V(srli_epi32)(high[i], high_shift) & V(set1_epi8)(is_q6 ? 3 : 1);
        w->codes[i] |= V(slli_epi32)(h, 4);
    }
    w->s = k->s[is_q6 ? 0 : j];
    if (is_q6)
        w->halves = k->halves[j];
    else
        w->m = k->m[j];
}

INLINE void few_k(enum block_type type, const uint8_t *const *row,
                  const struct rounded *x, size_t n_tokens, float y[][PANEL_ROWS])
{
    const size_t bytes = bytes_avx2(type), share = bytes * ROWS / K_BLOCKS;
    struct packed_k k;
    struct turned w;

    for (size_t b = 0; b < x->n_blocks; b += K_BLOCKS) {
        turn_k(type, row, b / K_BLOCKS * bytes, &k);
        for (unsigned j = 0; j < K_BLOCKS; j++) {
            prefetch(row, (b + j) * share, (b + j + 1) * share);
            unpack_k(type, &k, j, &w);
            add_block(type, &w, x, b + j, n_tokens, y);
        }
    }
}

/* ---- one function a type ---- */

FEW(few_q8_0, few_small, TYPE_Q8_0)
FEW(few_q4_0, few_small, TYPE_Q4_0)
FEW(few_q4_1, few_small, TYPE_Q4_1)
FEW(few_q5_0, few_small, TYPE_Q5_0)
FEW(few_q5_1, few_small, TYPE_Q5_1)
FEW(few_q4_k, few_k, TYPE_Q4_K)
FEW(few_q5_k, few_k, TYPE_Q5_K)
FEW(few_q6_k, few_k, TYPE_Q6_K)

#define FEW_TABLE                                                               \
    {                                                                           \
        [TYPE_Q8_0] = few_q8_0, [TYPE_Q4_0] = few_q4_0, [TYPE_Q4_1] = few_q4_1, \
        [TYPE_Q5_0] = few_q5_0, [TYPE_Q5_1] = few_q5_1, [TYPE_Q4_K] = few_q4_k, \
        [TYPE_Q5_K] = few_q5_k, [TYPE_Q6_K] = few_q6_k,                         \
    }

#endif
