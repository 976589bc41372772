/*
 * few_avx512.c - integer products of one to 8 tokens with VNNI, straight from a file's rows
 *
 * 16 rows at a time: the bytes of a block are turned so that a register holds 4 columns of every
 * row, which costs less than adding up the lanes of a product for each row; the turned codes stay
 * in registers for all tokens, and the rows' f32 chains go on in the lanes.
 */
#include "runtime/kernels/codes.h"
#include "runtime/kernels/codes_avx2.h"
#include "runtime/kernels/kernels_avx512.h"

enum {
    STEPS = BLOCK / 4,
    LINE = 64,
    K_BLOCKS = 8, /* blocks of 32 in one of 256 */
    MAX_RAW = sizeof(struct q6_k) / 4
};

/* A block of 32 columns of 16 rows. */
struct turned {
    __m512i codes[STEPS]; /* unsigned: Q8_0 with its top bit flipped */
    __m512 s, m;
    __m512i halves; /* Q6_K: scales of 16 columns, two a row */
};

/* What multiplying unsigned codes adds to each of them. */
INLINE int offset(enum block_type type)
{
    return type == TYPE_Q8_0 ? 128 : offset_avx2(type);
}

/* Dwords i of 16 bytes of every row: out[i] lane r is that of row r. */
INLINE void turn(const uint8_t *const *row, size_t at, __m512i out[4])
{
    __m512i a[4], b[4];

    for (int i = 0; i < 4; i++) {
        a[i] = _mm512_castsi128_si512(load_128(row[i] + at));
        a[i] = _mm512_inserti32x4(a[i], load_128(row[4 + i] + at), 1);
        a[i] = _mm512_inserti32x4(a[i], load_128(row[8 + i] + at), 2);
        a[i] = _mm512_inserti32x4(a[i], load_128(row[12 + i] + at), 3);
    }
    b[0] = _mm512_unpacklo_epi32(a[0], a[1]);
    b[1] = _mm512_unpackhi_epi32(a[0], a[1]);
    b[2] = _mm512_unpacklo_epi32(a[2], a[3]);
    b[3] = _mm512_unpackhi_epi32(a[2], a[3]);
    out[0] = _mm512_unpacklo_epi64(b[0], b[2]);
    out[1] = _mm512_unpackhi_epi64(b[0], b[2]);
    out[2] = _mm512_unpacklo_epi64(b[1], b[3]);
    out[3] = _mm512_unpackhi_epi64(b[1], b[3]);
}

INLINE __m512i both(__m256i low, __m256i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

INLINE __m512 both_ps(__m256 low, __m256 high)
{
    return _mm512_castsi512_ps(both(_mm256_castps_si256(low), _mm256_castps_si256(high)));
}

/* The f16 at byte `at` of every row. */
INLINE __m512 halves(const uint8_t *const *row, size_t at)
{
    return both_ps(halves_avx2(row, at), halves_avx2(row + 8, at));
}

/* The 32-bit number at byte `at` of every row. */
INLINE __m512i dwords(const uint8_t *const *row, size_t at)
{
    uint32_t x[PANEL_ROWS];

    for (int r = 0; r < PANEL_ROWS; r++)
        x[r] = load_u32(row[r] + at);
    return _mm512_loadu_si512(x);
}

/* y[t] gains the block's products with token t, block b of x. */
INLINE void add_block(enum block_type type, const struct turned *w,
                      const struct rounded *x, size_t b, size_t n_tokens,
                      float y[][PANEL_ROWS])
{
    for (size_t t = 0; t < n_tokens; t++) {
        size_t at = t * x->n_blocks + b;
        const int8_t *q = x->q + at * BLOCK;
        __m512i half[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()}, sum;
        __m512 gained = _mm512_loadu_ps(y[t]);

        for (int i = 0; i < STEPS / 2; i++) {
            half[0] = _mm512_dpbusd_epi32(half[0], w->codes[i],
                                          _mm512_set1_epi32((int)load_u32(q + 4 * i)));
            half[1] =
                _mm512_dpbusd_epi32(half[1], w->codes[i + 4],
                                    _mm512_set1_epi32((int)load_u32(q + 4 * i + 16)));
        }
        if (type == TYPE_Q6_K) {
            __m512i sums = _mm512_set1_epi32((int)load_u32(x->halves + 2 * at));
            __m512i excess = _mm512_slli_epi32(_mm512_madd_epi16(w->halves, sums), 5);
            __m512i first = _mm512_srai_epi32(_mm512_slli_epi32(w->halves, 16), 16);
            __m512i last = _mm512_srai_epi32(w->halves, 16);

            sum = _mm512_add_epi32(_mm512_mullo_epi32(first, half[0]),
                                   _mm512_mullo_epi32(last, half[1]));
            sum = _mm512_sub_epi32(sum, excess);
        } else {
            sum = _mm512_add_epi32(half[0], half[1]);
            if (offset(type))
                sum = _mm512_sub_epi32(
                    sum, _mm512_set1_epi32(offset(type) *
                                           (x->halves[2 * at] + x->halves[2 * at + 1])));
        }
        gained = _mm512_fmadd_ps(_mm512_mul_ps(w->s, _mm512_set1_ps(x->d[at])),
                                 _mm512_cvtepi32_ps(sum), gained);
        if (codes_has_minimum(type))
            gained = _mm512_fmadd_ps(w->m, _mm512_set1_ps(x->dsum[at]), gained);
        _mm512_storeu_ps(y[t], gained);
    }
}

/* Ask for what the next 16 rows have in the place of bytes begin ... end - 1 of these, all 16 taken
 * as one run of bytes. */
INLINE void prefetch(const uint8_t *const *row, size_t begin, size_t end)
{
    uintptr_t next = (uintptr_t)row[0] + PANEL_ROWS * (size_t)(row[1] - row[0]);

    for (size_t at = begin / LINE * LINE; at < end; at += LINE)
        _mm_prefetch((const char *)(next + at), _MM_HINT_T0);
}

/* ---- blocks of 32 ---- */

INLINE void turn_nibbles(const uint8_t *const *row, size_t at, __m512i codes[STEPS])
{
    const __m512i low4 = _mm512_set1_epi8(15);
    __m512i raw[4];

    turn(row, at, raw);
    for (int i = 0; i < 4; i++) {
        codes[i] = _mm512_and_si512(raw[i], low4);
        codes[4 + i] = _mm512_and_si512(_mm512_srli_epi32(raw[i], 4), low4);
    }
}

/* Bits 4 i ... 4 i + 3 of each row become the fifth of its 4 codes of step i. */
INLINE void add_fifth_bits(__m512i bits, __m512i codes[STEPS])
{
    const __m512i spread = _mm512_setr_epi32(
        0x00000000, 0x00000010, 0x00001000, 0x00001010, 0x00100000, 0x00100010,
        0x00101000, 0x00101010, 0x10000000, 0x10000010, 0x10001000, 0x10001010,
        0x10100000, 0x10100010, 0x10101000, 0x10101010);

    for (int i = 0; i < STEPS; i++) {
        codes[i] = _mm512_or_si512(codes[i], _mm512_permutexvar_epi32(bits, spread));
        bits = _mm512_srli_epi32(bits, 4);
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
        add_fifth_bits(dwords(row, at + offsetof(struct q5_0, h)), w->codes);
        break;
    case TYPE_Q5_1:
        turn_nibbles(row, at + offsetof(struct q5_1, q), w->codes);
        add_fifth_bits(dwords(row, at + offsetof(struct q5_1, h)), w->codes);
        break;
    default:
        turn(row, at + offsetof(struct q8_0, q), w->codes);
        turn(row, at + offsetof(struct q8_0, q) + 16, w->codes + 4);
        for (int i = 0; i < STEPS; i++)
            w->codes[i] = _mm512_xor_si512(w->codes[i], _mm512_set1_epi8(-128));
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
        prefetch(row, b * bytes * PANEL_ROWS, (b + 1) * bytes * PANEL_ROWS);
        turn_block(type, row, b * bytes, &w);
        add_block(type, &w, x, b, n_tokens, y);
    }
}

/* ---- blocks of 256 ---- */

/* All of a block's codes, turned but still packed, and its factors. */
struct packed_k {
    __m512i raw[MAX_RAW / 4 * 4]; /* dwords of ql, then qh; of q, then h */
    __m512 s[K_BLOCKS], m[K_BLOCKS];
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
    if (type == TYPE_Q6_K) {
        k->s[0] = halves(row, at + offsetof(struct q6_k, d));
        return;
    }

    __m256 s[2][K_BLOCKS], m[2][K_BLOCKS];

    k_factors_avx2(row, at, s[0], m[0]);
    k_factors_avx2(row + 8, at, s[1], m[1]);
    for (int j = 0; j < K_BLOCKS; j++) {
        k->s[j] = both_ps(s[0][j], s[1][j]);
        k->m[j] = both_ps(m[0][j], m[1][j]);
    }
}

/* Block j of the 8. */
INLINE void unpack_k(enum block_type type, const struct packed_k *k,
                     const uint8_t *const *row, size_t at, unsigned j, struct turned *w)
{
    const __m512i low4 = _mm512_set1_epi8(15);
    const bool is_q6 = type == TYPE_Q6_K;
    const __m512i *low = k->raw + (is_q6 ? 16 * (j / 4) + 8 * (j % 2) : 8 * (j / 2));
    const __m512i *high = k->raw + 32 + (is_q6 ? 8 * (j / 4) : 0);
    const unsigned shift = is_q6 ? (j % 4 < 2 ? 0 : 4) : (j % 2 ? 4 : 0);

    for (int i = 0; i < STEPS; i++) {
        w->codes[i] = _mm512_and_si512(_mm512_srli_epi32(low[i], shift), low4);
        if (type == TYPE_Q4_K)
            continue;
        __m512i h = _mm512_srli_epi32(high[i], is_q6 ? 2 * (j % 4) : j);
        h = _mm512_and_si512(h, _mm512_set1_epi8(is_q6 ? 3 : 1));
        w->codes[i] = _mm512_or_si512(w->codes[i], _mm512_slli_epi32(h, 4));
    }
    w->s = k->s[is_q6 ? 0 : j];
    w->m = k->m[is_q6 ? 0 : j];
    if (is_q6) {
        int16_t scales[PANEL_ROWS][2];

        for (int r = 0; r < PANEL_ROWS; r++) {
            const uint8_t *s = row[r] + at + offsetof(struct q6_k, scales) + 2 * j;
            scales[r][0] = (int8_t)s[0];
            scales[r][1] = (int8_t)s[1];
        }
        w->halves = _mm512_loadu_si512(scales);
    }
}

INLINE void few_k(enum block_type type, const uint8_t *const *row,
                  const struct rounded *x, size_t n_tokens, float y[][PANEL_ROWS])
{
    const size_t bytes = bytes_avx2(type), share = bytes * PANEL_ROWS / K_BLOCKS;
    struct packed_k k;
    struct turned w;

    for (size_t b = 0; b < x->n_blocks; b += K_BLOCKS) {
        size_t at = b / K_BLOCKS * bytes;

        turn_k(type, row, at, &k);
        for (unsigned j = 0; j < K_BLOCKS; j++) {
            prefetch(row, (b + j) * share, (b + j + 1) * share);
            unpack_k(type, &k, row, at, j, &w);
            add_block(type, &w, x, b + j, n_tokens, y);
        }
    }
}

#define FEW(name, function, type)                                        \
    static void name(const uint8_t *const *row, const struct rounded *x, \
                     size_t n_tokens, float y[][PANEL_ROWS])             \
    {                                                                    \
        if (n_tokens == 1)                                               \
            function(type, row, x, 1, y);                                \
        else                                                             \
            function(type, row, x, n_tokens, y);                         \
    }

FEW(few_q8_0, few_small, TYPE_Q8_0)
FEW(few_q4_0, few_small, TYPE_Q4_0)
FEW(few_q4_1, few_small, TYPE_Q4_1)
FEW(few_q5_0, few_small, TYPE_Q5_0)
FEW(few_q5_1, few_small, TYPE_Q5_1)
FEW(few_q4_k, few_k, TYPE_Q4_K)
FEW(few_q5_k, few_k, TYPE_Q5_K)
FEW(few_q6_k, few_k, TYPE_Q6_K)

few_function *const avx512_few_vnni[TYPE_COUNT] = {
    [TYPE_Q8_0] = few_q8_0, [TYPE_Q4_0] = few_q4_0, [TYPE_Q4_1] = few_q4_1,
    [TYPE_Q5_0] = few_q5_0, [TYPE_Q5_1] = few_q5_1, [TYPE_Q4_K] = few_q4_k,
    [TYPE_Q5_K] = few_q5_k, [TYPE_Q6_K] = few_q6_k,
};
