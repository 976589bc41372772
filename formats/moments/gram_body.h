/*
 * gram_body.h - the tile product that each gram_<isa>.c builds with its own flags (private)
 */
#ifndef FORMATS_MOMENTS_GRAM_BODY_H
#define FORMATS_MOMENTS_GRAM_BODY_H

#include "formats/moments/gram.h"

/* Four rows of the tile at a time: 4 x 16 accumulators stay in registers. */
static inline void four_rows(const float *a, const float *b, size_t n_rows, double *sum,
                             size_t stride)
{
    float p[GRAM_TILE] = {0}, q[GRAM_TILE] = {0}, r[GRAM_TILE] = {0}, s[GRAM_TILE] = {0};

    for (size_t t = 0; t < n_rows; t++, a += GRAM_TILE, b += GRAM_TILE) {
        for (int j = 0; j < GRAM_TILE; j++)
            p[j] += a[0] * b[j];
        for (int j = 0; j < GRAM_TILE; j++)
            q[j] += a[1] * b[j];
        for (int j = 0; j < GRAM_TILE; j++)
            r[j] += a[2] * b[j];
        for (int j = 0; j < GRAM_TILE; j++)
            s[j] += a[3] * b[j];
    }
    for (int j = 0; j < GRAM_TILE; j++) {
        sum[j] += (double)p[j];
        sum[stride + (size_t)j] += (double)q[j];
        sum[2 * stride + (size_t)j] += (double)r[j];
        sum[3 * stride + (size_t)j] += (double)s[j];
    }
}

static inline void tile_product(const float *a, const float *b, size_t n_rows,
                                double *sum, size_t stride)
{
    for (size_t i = 0; i < GRAM_TILE; i += 4)
        four_rows(a + i, b, n_rows, sum + i * stride, stride);
}

#endif
