/*
 * encode_avx2.c - the hot loops for AVX2, FMA and F16C: eight lanes
 */
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define WIDTH 8

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH)));

static inline vec pick(ivec mask, vec yes, vec no)
{
    return _mm256_blendv_ps(no, yes, (__m256)mask);
}

static inline ivec imin(ivec a, ivec b)
{
    return (ivec)_mm256_min_epi32((__m256i)a, (__m256i)b);
}

static inline ivec imax(ivec a, ivec b)
{
    return (ivec)_mm256_max_epi32((__m256i)a, (__m256i)b);
}

static inline vec vmin(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

static inline vec vmax(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

static inline vec fma_of(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec whole(vec v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

static inline vec root(vec v)
{
    return _mm256_sqrt_ps(v);
}

static inline bool none(ivec mask)
{
    return _mm256_movemask_ps((__m256)mask) == 0;
}

static inline vec interleave_low(vec a, vec b)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b),
                                  0x20);
}

static inline vec interleave_high(vec a, vec b)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b),
                                  0x31);
}

static inline float highest(vec v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static inline void halves(vec v, uint16_t *out)
{
    _mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static inline vec half_of(vec v)
{
    return _mm256_cvtph_ps(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

static inline void narrow(ivec v, uint8_t *out)
{
    const __m256i low =
        _mm256_set1_epi32(0x0c080400); /* in each 128 bits: bytes 0 4 8 12 */
    __m256i b = _mm256_shuffle_epi8((__m256i)v, low);
    __m128i lo = _mm256_castsi256_si128(b), hi = _mm256_extracti128_si256(b, 1);

    _mm_storel_epi64((__m128i *)out, _mm_unpacklo_epi32(lo, hi));
}

#include "quantize/encode_lanes.h"
#include "quantize/encode_lanes_search.h"
#include "quantize/encode_lanes_tile.h"

const struct encoders encode_avx2 = {
    .name = "avx2",
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
