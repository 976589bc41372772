/*
 * factor_body.h - the product that each factor_<isa>.c builds with its own flags (private)
 */
#ifndef QUANTIZE_COMPENSATE_FACTOR_BODY_H
#define QUANTIZE_COMPENSATE_FACTOR_BODY_H

#include "quantize/compensate/factor.h"

/* WIDTH doubles a vector; an element has one accumulator, whatever that is. */
typedef double vec __attribute__((vector_size(8 * WIDTH), aligned(8)));

enum { VECTORS = FACTOR_COLUMNS / WIDTH };

static inline void subtract_tile(const double *a, size_t a_stride, const double *b,
                                 size_t depth, double *c, size_t c_stride)
{
    vec sum[FACTOR_ROWS][VECTORS];

    for (size_t i = 0; i < FACTOR_ROWS; i++)
        memcpy(sum[i], c + i * c_stride, sizeof(sum[i]));
    for (size_t k = 0; k < depth; k++, b += FACTOR_COLUMNS) {
        vec row[VECTORS];

        memcpy(row, b, sizeof(row));
        for (size_t i = 0; i < FACTOR_ROWS; i++)
            for (size_t v = 0; v < VECTORS; v++)
                sum[i][v] -= a[i * a_stride + k] * row[v];
    }
    for (size_t i = 0; i < FACTOR_ROWS; i++)
        memcpy(c + i * c_stride, sum[i], sizeof(sum[i]));
}

#endif
