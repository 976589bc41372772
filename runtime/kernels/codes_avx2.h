/*
 * codes_avx2.h - 32 weights a register, and the scales of 8 rows side by side
 *
 * Included by the *_avx2.c files of this folder only. Codes are unsigned with the offset of
 * offset_avx2() still to be subtracted; those of Q8_0 are signed.
 */
#ifndef RUNTIME_KERNELS_CODES_AVX2_H
#define RUNTIME_KERNELS_CODES_AVX2_H

#include "runtime/kernels/kernel_table.h"

#include <immintrin.h>
#include <stddef.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256i load_256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

INLINE __m128i load_128(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* 16 bytes to 32 nibbles, the low ones first. */
INLINE __m256i nibbles_avx2(const uint8_t *q)
{
    const __m256i shift = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
    __m256i both = _mm256_srlv_epi32(_mm256_broadcastsi128_si256(load_128(q)), shift);

    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

/* 32 bits to 32 bytes of 0 or 16: each byte is copied next to its bits and tested. */
INLINE __m256i fifth_bits_avx2(const uint8_t *h)
{
    const __m256i spread =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((int)load_u32(h)), spread);
    __m256i hit = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);

    return _mm256_and_si256(hit, _mm256_set1_epi8(16));
}

/* What is still to be subtracted from a code of this type. */
INLINE int offset_avx2(enum block_type type)
{
    return type == TYPE_Q4_0 ? 8 : type == TYPE_Q5_0 ? 16 : type == TYPE_Q6_K ? 32 : 0;
}

INLINE size_t bytes_avx2(enum block_type type)
{
    switch (type) {
    case TYPE_Q4_0:
        return sizeof(struct q4_0);
    case TYPE_Q4_1:
        return sizeof(struct q4_1);
    case TYPE_Q5_0:
        return sizeof(struct q5_0);
    case TYPE_Q5_1:
        return sizeof(struct q5_1);
    case TYPE_Q8_0:
        return sizeof(struct q8_0);
    case TYPE_Q4_K:
        return sizeof(struct q4_k);
    case TYPE_Q5_K:
        return sizeof(struct q5_k);
    default:
        return sizeof(struct q6_k);
    }
}

/* The codes of a block of 32. */
INLINE __m256i codes_avx2(enum block_type type, const uint8_t *b)
{
    switch (type) {
    case TYPE_Q4_0:
        return nibbles_avx2(b + offsetof(struct q4_0, q));
    case TYPE_Q4_1:
        return nibbles_avx2(b + offsetof(struct q4_1, q));
    case TYPE_Q5_0:
        return _mm256_or_si256(nibbles_avx2(b + offsetof(struct q5_0, q)),
                               fifth_bits_avx2(b + offsetof(struct q5_0, h)));
    case TYPE_Q5_1:
        return _mm256_or_si256(nibbles_avx2(b + offsetof(struct q5_1, q)),
                               fifth_bits_avx2(b + offsetof(struct q5_1, h)));
    default:
        return load_256(b + offsetof(struct q8_0, q));
    }
}

/* The codes of sub-block j of a block of 256. */
INLINE __m256i codes_k_avx2(enum block_type type, const uint8_t *b, int j)
{
    const __m256i low4 = _mm256_set1_epi8(15);

    if (type == TYPE_Q6_K) {
        const uint8_t *low = b + 64 * (j / 4) + 32 * (j % 2);
        const uint8_t *high = b + offsetof(struct q6_k, qh) + 32 * (j / 4);
        __m256i l = _mm256_srli_epi16(load_256(low), j % 4 < 2 ? 0 : 4);
        __m256i h = _mm256_srli_epi16(load_256(high), 2 * (j % 4));

        h = _mm256_slli_epi16(_mm256_and_si256(h, _mm256_set1_epi8(3)), 4);
        return _mm256_or_si256(_mm256_and_si256(l, low4), h);
    }

    size_t at = type == TYPE_Q4_K ? offsetof(struct q4_k, q) : offsetof(struct q5_k, q);
    __m256i q = _mm256_srli_epi16(load_256(b + at + 32 * (j / 2)), j % 2 ? 4 : 0);

    q = _mm256_and_si256(q, low4);
    if (type == TYPE_Q5_K) {
        __m256i h = _mm256_srli_epi16(load_256(b + offsetof(struct q5_k, h)), j);
        h = _mm256_slli_epi16(_mm256_and_si256(h, _mm256_set1_epi8(1)), 4);
        q = _mm256_or_si256(q, h);
    }
    return q;
}

/* The f16 at byte `at` of 8 rows, as f32. */
INLINE __m256 halves_avx2(const uint8_t *const *row, size_t at)
{
    __m128i h = _mm_cvtsi32_si128(load_u16(row[0] + at));

    h = _mm_insert_epi16(h, load_u16(row[1] + at), 1);
    h = _mm_insert_epi16(h, load_u16(row[2] + at), 2);
    h = _mm_insert_epi16(h, load_u16(row[3] + at), 3);
    h = _mm_insert_epi16(h, load_u16(row[4] + at), 4);
    h = _mm_insert_epi16(h, load_u16(row[5] + at), 5);
    h = _mm_insert_epi16(h, load_u16(row[6] + at), 6);
    h = _mm_insert_epi16(h, load_u16(row[7] + at), 7);
    return _mm256_cvtph_ps(h);
}

/* v[r] lane c becomes v[c] lane r, for 32-bit lanes. */
INLINE void transpose_avx2(__m256i v[8])
{
    __m256i a[8], b[8];

    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
    }
}

/* The 6-bit scales of sub-blocks 0-7, then their minima, of a Q4_K or Q5_K block of two rows: 16
 * bytes in each half of the register. Dwords a, m, h of the 12 bytes hold six bits each of
 * scales 0-3 and minima 0-3, whose top two bits go with the nibbles of h to numbers 4-7. */
INLINE __m256i k_scales_avx2(const uint8_t *low, const uint8_t *high)
{
    const __m256i shift = _mm256_setr_epi32(0, 4, 0, 0, 0, 4, 0, 0);
    const size_t at = offsetof(struct q4_k, scales);
    __m256i in = _mm256_inserti128_si256(_mm256_castsi128_si256(load_128(low + at)),
                                         load_128(high + at), 1);
    __m256i first = _mm256_and_si256(in, _mm256_set1_epi8(63));
    __m256i nibble = _mm256_srlv_epi32(_mm256_shuffle_epi32(in, 0xaa), shift);
    __m256i top = _mm256_and_si256(_mm256_srli_epi32(in, 2), _mm256_set1_epi8(48));

    nibble = _mm256_and_si256(nibble, _mm256_set1_epi8(15));
    return _mm256_unpacklo_epi32(first, _mm256_or_si256(nibble, top));
}

/* Byte r of dword j in the low half is number j of row r, in the high half of row 4 + r: make
 * out[j] the numbers j of all 8 rows, times d. */
INLINE void spread_avx2(__m256i bytes, __m256 d, __m256 out[4])
{
    const __m256i pair = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i in = _mm256_permutevar8x32_epi32(bytes, pair);
    __m128i half[2] = {_mm256_castsi256_si128(in), _mm256_extracti128_si256(in, 1)};

    for (int i = 0; i < 2; i++) {
        __m256i even = _mm256_cvtepu8_epi32(half[i]);
        __m256i odd = _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(half[i], half[i]));

        out[2 * i] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(even));
        out[2 * i + 1] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(odd));
    }
}

/* s[j], m[j]: scale and minimum of sub-block j of the block at byte `at`, of 8 rows. */
INLINE void k_factors_avx2(const uint8_t *const *row, size_t at, __m256 s[8], __m256 m[8])
{
    __m256 d = halves_avx2(row, at + offsetof(struct q4_k, d));
    __m256 dmin = halves_avx2(row, at + offsetof(struct q4_k, dmin));
    __m256i v[4], low[2], high[2];

    dmin = _mm256_xor_ps(dmin, _mm256_set1_ps(-0.0f));
    for (int r = 0; r < 4; r++)
        v[r] = k_scales_avx2(row[r] + at, row[r + 4] + at);
    for (int i = 0; i < 2; i++) {
        low[i] = _mm256_unpacklo_epi8(v[2 * i], v[2 * i + 1]);
        high[i] = _mm256_unpackhi_epi8(v[2 * i], v[2 * i + 1]);
    }
    spread_avx2(_mm256_unpacklo_epi16(low[0], low[1]), d, s);
    spread_avx2(_mm256_unpackhi_epi16(low[0], low[1]), d, s + 4);
    spread_avx2(_mm256_unpacklo_epi16(high[0], high[1]), dmin, m);
    spread_avx2(_mm256_unpackhi_epi16(high[0], high[1]), dmin, m + 4);
}

/* out[j]: the two scales of sub-block j of the Q6_K block at byte `at`, 16 bits each, of 8 rows. */
INLINE void q6_scales_avx2(const uint8_t *const *row, size_t at, __m256i out[8])
{
    for (int r = 0; r < 8; r++)
        out[r] =
            _mm256_cvtepi8_epi16(load_128(row[r] + at + offsetof(struct q6_k, scales)));
    transpose_avx2(out);
}

#endif
