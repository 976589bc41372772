/*
 * encode_avx512.c - the hot loops for AVX-512 (F, BW, VL, DQ): sixteen lanes
 */
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WIDTH 16

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH)));

static inline vec pick(ivec mask, vec yes, vec no)
{
    return _mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), no, yes);
}

static inline ivec imin(ivec a, ivec b)
{
    return (ivec)_mm512_min_epi32((__m512i)a, (__m512i)b);
}

static inline ivec imax(ivec a, ivec b)
{
    return (ivec)_mm512_max_epi32((__m512i)a, (__m512i)b);
}

static inline vec vmin(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

static inline vec vmax(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static inline vec fma_of(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec whole(vec v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec root(vec v)
{
    return _mm512_sqrt_ps(v);
}

static inline bool none(ivec mask)
{
    return _mm512_movepi32_mask((__m512i)mask) == 0;
}

static inline vec interleave_low(vec a, vec b)
{
    const ivec at = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
    return _mm512_permutex2var_ps(a, (__m512i)at, b);
}

static inline vec interleave_high(vec a, vec b)
{
    const ivec at = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutex2var_ps(a, (__m512i)at, b);
}

static inline __m256 lower(vec v)
{
    return _mm512_castps512_ps256(v);
}

static inline __m256 upper(vec v)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd((__m512d)v, 1));
}

static inline float highest(vec v)
{
    __m256 half = _mm256_max_ps(lower(v), upper(v));
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));

    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static inline void halves(vec v, uint16_t *out)
{
    _mm_storeu_si128((__m128i *)out,
                     _mm256_cvtps_ph(lower(v), _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(out + 8),
                     _mm256_cvtps_ph(upper(v), _MM_FROUND_TO_NEAREST_INT));
}

static inline vec half_of(vec v)
{
    __m256 lo = _mm256_cvtph_ps(_mm256_cvtps_ph(lower(v), _MM_FROUND_TO_NEAREST_INT));
    __m256 hi = _mm256_cvtph_ps(_mm256_cvtps_ph(upper(v), _MM_FROUND_TO_NEAREST_INT));
    vec out;

    memcpy(&out, &lo, sizeof(lo));
    memcpy((char *)&out + sizeof(lo), &hi, sizeof(hi));
    return out;
}

static inline void narrow(ivec v, uint8_t *out)
{
    /* Codes fit a signed byte, so that saturation changes nothing. */
    _mm_storeu_si128((__m128i *)out, _mm512_cvtsepi32_epi8((__m512i)v));
}

#include "quantize/encode_lanes.h"
#include "quantize/encode_lanes_search.h"
#include "quantize/encode_lanes_tile.h"

const struct encoders encode_avx512 = {
    .name = "avx512",
    .f16 = f16,
    .bf16 = bf16,
    .extremum = extremum,
    .range = range,
    .symmetric8 = symmetric8,
    .gather = gather,
    .take = take,
    .weigh = weigh,
    .weigh_more = weigh_more,
    .peaks = peaks,
    .symmetric = symmetric,
    .asymmetric = asymmetric,
    .requantize = requantize,
    .scales = scales,
    .judge = judge,
    .spread = spread,
    .fit = fit,
};
