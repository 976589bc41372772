/*
 * feedback_avx512.c - rounding with error feedback, sixteen rows a vector
 */
#include <immintrin.h>
#include <stdint.h>

enum { WIDTH = 16 };

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH)));

static inline vec pick(ivec mask, vec yes, vec no)
{
    return _mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), no, yes);
}

static inline vec vmin(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

static inline vec vmax(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

#include "quantize/compensate/feedback_body.h"

const struct feedback_core feedback_avx512 = {.name = "avx512", .round = round_tile};
