/*
 * few_avx2.c - integer products of 2 to 8 tokens, straight from a file's rows
 *
 * 8 rows at a time. Products of codes with 4 broadcast columns of a token are added up in 16 bits for as many
 * steps as cannot overflow (panels_avx2.c has the figures).
 */
#include "runtime/kernels/codes_avx2.h"
#include "runtime/kernels/kernels_avx2.h"

enum { ROWS = PANEL_ROWS / 2 };

typedef __m256i ivec;
typedef __m256 fvec;
typedef int shift_count;

#define V(op) _mm256_##op

/* Rows 8 to 15 have the second half of every y. */
#define FEW(name, function, type)                                        \
    static void name(const uint8_t *const *row, const struct rounded *x, \
                     size_t n_tokens, float y[][PANEL_ROWS])             \
    {                                                                    \
        function(type, row, x, n_tokens, y);                             \
        function(type, row + ROWS, x, n_tokens,                          \
                 (float(*)[PANEL_ROWS])(void *)&y[0][ROWS]);             \
    }

#include "runtime/kernels/few_body.h"

/* ---- what a block holds ---- */

INLINE void quarters(const uint8_t *const *row, size_t at, __m256i a[4])
{
    for (int i = 0; i < 4; i++)
        a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load_128(row[i] + at)),
                                       load_128(row[4 + i] + at), 1);
}

INLINE __m256 halves(const uint8_t *const *row, size_t at)
{
    return halves_avx2(row, at);
}

INLINE void k_factors(const uint8_t *const *row, size_t at, __m256 s[K_BLOCKS],
                      __m256 m[K_BLOCKS])
{
    k_factors_avx2(row, at, s, m);
}

INLINE void q6_scales(const uint8_t *const *row, size_t at, __m256i out[K_BLOCKS])
{
    q6_scales_avx2(row, at, out);
}

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

INLINE void ready_bytes(__m256i codes[STEPS])
{
    (void)codes; /* signed as they are */
}

/* ---- products ---- */

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

few_function *const avx2_few[TYPE_COUNT] = FEW_TABLE;
