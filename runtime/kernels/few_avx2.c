/*
 * few_avx2.c - integer products of 2 to 8 tokens, straight from a file's rows
 *
 * 8 rows at a time: the bytes of a block are turned so that a register holds 4 columns of every row. The
 * 8 registers of a block serve all tokens, and the rows' f32 chains go on in the lanes: nothing is added up
 * across them. Products of codes with 4 broadcast columns of a token are added up in 16 bits for as many
 * steps as cannot overflow (panels_avx2.c has the figures).
 */
#include "runtime/kernels/codes.h"
#include "runtime/kernels/codes_avx2.h"
#include "runtime/kernels/kernels_avx2.h"

enum {
    STEPS = BLOCK / 4,
    ROWS = PANEL_ROWS / 2,
    LINE = 64,
    K_BLOCKS = 8, /* blocks of 32 in one of 256 */
    MAX_RAW = 48  /* registers of 8 rows of a block of 256: Q6_K's 128 and 64 bytes */
};

/* A block of 32 columns of 8 rows. */
struct turned {
    __m256i codes[STEPS]; /* unsigned, but for Q8_0 */
    __m256 s, m;
    __m256i halves; /* Q6_K: scales of 16 columns, two a row */
};

/* Dwords i of 16 bytes of every row: out[i] lane r is that of row r. */
INLINE void turn(const uint8_t *const *row, size_t at, __m256i out[4])
{
    __m256i a[4], b[4];

    for (int i = 0; i < 4; i++)
        a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load_128(row[i] + at)),
                                       load_128(row[4 + i] + at), 1);
    b[0] = _mm256_unpacklo_epi32(a[0], a[1]);
    b[1] = _mm256_unpackhi_epi32(a[0], a[1]);
    b[2] = _mm256_unpacklo_epi32(a[2], a[3]);
    b[3] = _mm256_unpackhi_epi32(a[2], a[3]);
    out[0] = _mm256_unpacklo_epi64(b[0], b[2]);
    out[1] = _mm256_unpackhi_epi64(b[0], b[2]);
    out[2] = _mm256_unpacklo_epi64(b[1], b[3]);
    out[3] = _mm256_unpackhi_epi64(b[1], b[3]);
}

/* ---- products ---- */

INLINE __m256i columns(const int8_t *q, int step)
{
    return _mm256_set1_epi32((int)load_u32(q + 4 * step));
}

/* Steps first ... end - 1 in 16 bits. */
INLINE __m256i steps(const struct turned *w, const int8_t *q, int first, int end)
{
    __m256i sum = _mm256_maddubs_epi16(w->codes[first], columns(q, first));

    for (int i = first + 1; i < end; i++)
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w->codes[i], columns(q, i)));
    return sum;
}

INLINE __m256i signed_step(const struct turned *w, const int8_t *q, int i)
{
    const __m256i x = _mm256_sign_epi8(columns(q, i), w->codes[i]);

    return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w->codes[i]), x),
                             _mm256_set1_epi16(1));
}

INLINE __m256i signed_steps(const struct turned *w, const int8_t *q)
{
    __m256i sum = signed_step(w, q, 0);

    for (int i = 1; i < STEPS; i++)
        sum = _mm256_add_epi32(sum, signed_step(w, q, i));
    return sum;
}

/* Codes to 63, two steps at a time, times the scales of their halves. */
INLINE __m256i halves_steps(const struct turned *w, const int8_t *q)
{
    const __m256i first = _mm256_set1_epi32(0x01000100),
                  last = _mm256_set1_epi32(0x03020302);
    const __m256i lanes = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0,
                                            0x04040404, 0x08080808, 0x0c0c0c0c);
    const __m256i s0 = _mm256_shuffle_epi8(w->halves, _mm256_add_epi8(lanes, first));
    const __m256i s1 = _mm256_shuffle_epi8(w->halves, _mm256_add_epi8(lanes, last));

    return _mm256_add_epi32(_mm256_add_epi32(_mm256_madd_epi16(steps(w, q, 0, 2), s0),
                                             _mm256_madd_epi16(steps(w, q, 2, 4), s0)),
                            _mm256_add_epi32(_mm256_madd_epi16(steps(w, q, 4, 6), s1),
                                             _mm256_madd_epi16(steps(w, q, 6, 8), s1)));
}

/* The block's integers with one token, whose halves are the sums of its first and last 16 columns. */
INLINE __m256i integers(enum block_type type, const struct turned *w, const int8_t *q,
                        const int16_t *halves)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i sums = _mm256_set1_epi32((int)load_u32(halves));
    const __m256i offset = _mm256_set1_epi16((short)offset_avx2(type));
    __m256i sum;

    if (type == TYPE_Q8_0)
        return signed_steps(w, q);
    if (type == TYPE_Q6_K)
        return _mm256_sub_epi32(halves_steps(w, q),
                                _mm256_slli_epi32(_mm256_madd_epi16(w->halves, sums), 5));
    if (type == TYPE_Q5_0 || type == TYPE_Q5_1 || type == TYPE_Q5_K)
        sum = _mm256_add_epi32(_mm256_madd_epi16(steps(w, q, 0, 4), ones),
                               _mm256_madd_epi16(steps(w, q, 4, 8), ones));
    else
        sum = _mm256_madd_epi16(steps(w, q, 0, 8), ones);
    return offset_avx2(type) ? _mm256_sub_epi32(sum, _mm256_madd_epi16(sums, offset))
                             : sum;
}

/* y[t] gains the block's products with token t, block b of x. */
INLINE void add_block(enum block_type type, const struct turned *w,
                      const struct rounded *x, size_t b, size_t n_tokens,
                      float y[][PANEL_ROWS])
{
    size_t at = b;

    for (size_t t = 0; t < n_tokens; t++, at += x->n_blocks) {
        const __m256i i = integers(type, w, x->q + at * BLOCK, x->halves + 2 * at);
        __m256 gained = _mm256_loadu_ps(y[t]);

        gained = _mm256_fmadd_ps(_mm256_mul_ps(w->s, _mm256_set1_ps(x->d[at])),
                                 _mm256_cvtepi32_ps(i), gained);
        if (codes_has_minimum(type))
            gained = _mm256_fmadd_ps(w->m, _mm256_set1_ps(x->dsum[at]), gained);
        _mm256_storeu_ps(y[t], gained);
    }
}

/* Ask for what the next 8 rows have in the place of bytes begin ... end - 1 of these, all 8 taken as
 * one run of bytes. */
INLINE void prefetch(const uint8_t *const *row, size_t begin, size_t end)
{
    uintptr_t next = (uintptr_t)row[0] + ROWS * (size_t)(row[1] - row[0]);

    for (size_t at = begin / LINE * LINE; at < end; at += LINE)
        _mm_prefetch((const char *)(next + at), _MM_HINT_T0);
}

/* ---- blocks of 32 ---- */

INLINE void turn_nibbles(const uint8_t *const *row, size_t at, __m256i codes[STEPS])
{
    const __m256i low4 = _mm256_set1_epi8(15);
    __m256i raw[4];

    turn(row, at, raw);
    for (int i = 0; i < 4; i++) {
        codes[i] = _mm256_and_si256(raw[i], low4);
        codes[4 + i] = _mm256_and_si256(_mm256_srli_epi16(raw[i], 4), low4);
    }
}

/* Bits 4 i ... 4 i + 3 of the 32 at byte `at` of each row become the fifth of its 4 codes of step i. */
INLINE void add_fifth_bits(const uint8_t *const *row, size_t at, __m256i codes[STEPS])
{
    const __m256i lanes = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0,
                                            0x04040404, 0x08080808, 0x0c0c0c0c);
    __m256i bits =
        _mm256_setr_epi32((int)load_u32(row[0] + at), (int)load_u32(row[1] + at),
                          (int)load_u32(row[2] + at), (int)load_u32(row[3] + at),
                          (int)load_u32(row[4] + at), (int)load_u32(row[5] + at),
                          (int)load_u32(row[6] + at), (int)load_u32(row[7] + at));

    for (int i = 0; i < STEPS; i++) {
        const __m256i bit = _mm256_set1_epi32(i % 2 ? (int)0x80402010 : 0x08040201);
        const __m256i from = _mm256_add_epi8(lanes, _mm256_set1_epi8((char)(i / 2)));
        __m256i hit = _mm256_and_si256(_mm256_shuffle_epi8(bits, from), bit);

        hit = _mm256_and_si256(_mm256_cmpeq_epi8(hit, bit), _mm256_set1_epi8(16));
        codes[i] = _mm256_or_si256(codes[i], hit);
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
        break;
    }
    w->s = halves_avx2(row, at);
    if (codes_has_minimum(type))
        w->m = halves_avx2(row, at + 2);
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
    __m256i raw[MAX_RAW]; /* dwords of ql, then qh; of q, then h */
    __m256 s[K_BLOCKS], m[K_BLOCKS];
    __m256i halves[K_BLOCKS];
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
        k_factors_avx2(row, at, k->s, k->m);
        return;
    }
    k->s[0] = halves_avx2(row, at + offsetof(struct q6_k, d));
    for (int r = 0; r < ROWS; r++)
        k->halves[r] =
            _mm256_cvtepi8_epi16(load_128(row[r] + at + offsetof(struct q6_k, scales)));
    transpose_avx2(k->halves);
}

/* Block j of the 8. */
INLINE void unpack_k(enum block_type type, const struct packed_k *k, int j,
                     struct turned *w)
{
    const __m256i low4 = _mm256_set1_epi8(15);
    const bool is_q6 = type == TYPE_Q6_K;
    const __m256i *low = k->raw + (is_q6 ? 16 * (j / 4) + 8 * (j % 2) : 8 * (j / 2));
    const __m256i *high = k->raw + 32 + (is_q6 ? 8 * (j / 4) : 0);
    const int shift = is_q6 ? (j % 4 < 2 ? 0 : 4) : (j % 2 ? 4 : 0);

    for (int i = 0; i < STEPS; i++) {
        w->codes[i] = _mm256_and_si256(_mm256_srli_epi16(low[i], shift), low4);
        if (type == TYPE_Q4_K)
            continue;
        __m256i h = _mm256_srli_epi16(high[i], is_q6 ? 2 * (j % 4) : j);
        h = _mm256_and_si256(h, _mm256_set1_epi8(is_q6 ? 3 : 1));
        w->codes[i] = _mm256_or_si256(w->codes[i], _mm256_slli_epi16(h, 4));
    }
    w->s = k->s[is_q6 ? 0 : j];
    w->m = k->m[is_q6 ? 0 : j];
    w->halves = k->halves[j];
}

INLINE void few_k(enum block_type type, const uint8_t *const *row,
                  const struct rounded *x, size_t n_tokens, float y[][PANEL_ROWS])
{
    const size_t bytes = bytes_avx2(type), share = bytes * ROWS / K_BLOCKS;
    struct packed_k k;
    struct turned w;

    for (size_t b = 0; b < x->n_blocks; b += K_BLOCKS) {
        turn_k(type, row, b / K_BLOCKS * bytes, &k);
        for (int j = 0; j < K_BLOCKS; j++) {
            prefetch(row, (b + (size_t)j) * share, (b + (size_t)j + 1) * share);
            unpack_k(type, &k, j, &w);
            add_block(type, &w, x, b + (size_t)j, n_tokens, y);
        }
    }
}

/* Rows 8 to 15 have the second half of every y. */
#define FEW(name, function, type)                                        \
    static void name(const uint8_t *const *row, const struct rounded *x, \
                     size_t n_tokens, float y[][PANEL_ROWS])             \
    {                                                                    \
        function(type, row, x, n_tokens, y);                             \
        function(type, row + ROWS, x, n_tokens,                          \
                 (float(*)[PANEL_ROWS])(void *)&y[0][ROWS]);             \
    }

FEW(few_q8_0, few_small, TYPE_Q8_0)
FEW(few_q4_0, few_small, TYPE_Q4_0)
FEW(few_q4_1, few_small, TYPE_Q4_1)
FEW(few_q5_0, few_small, TYPE_Q5_0)
FEW(few_q5_1, few_small, TYPE_Q5_1)
FEW(few_q4_k, few_k, TYPE_Q4_K)
FEW(few_q5_k, few_k, TYPE_Q5_K)
FEW(few_q6_k, few_k, TYPE_Q6_K)

few_function *const avx2_few[TYPE_COUNT] = {
    [TYPE_Q8_0] = few_q8_0, [TYPE_Q4_0] = few_q4_0, [TYPE_Q4_1] = few_q4_1,
    [TYPE_Q5_0] = few_q5_0, [TYPE_Q5_1] = few_q5_1, [TYPE_Q4_K] = few_q4_k,
    [TYPE_Q5_K] = few_q5_k, [TYPE_Q6_K] = few_q6_k,
};
