/*
 * feedback_avx2.c - rounding with error feedback, eight rows a vector
 */
#include <immintrin.h>
#include <stdint.h>

enum { WIDTH = 8 };

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH)));

static inline vec pick(ivec mask, vec yes, vec no)
{
    return _mm256_blendv_ps(no, yes, (__m256)mask);
}

static inline vec vmin(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

static inline vec vmax(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

#include "quantize/compensate/feedback_body.h"

const struct feedback_core feedback_avx2 = {.name = "avx2", .round = round_tile};
