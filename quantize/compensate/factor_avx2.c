/*
 * factor_avx2.c - the product of the factor, four numbers a vector
 */
#include "base/base.h"

enum { WIDTH = 4 };

#include "quantize/compensate/factor_body.h"

void factor_avx2(const double *a, size_t a_stride, const double *b, size_t depth,
                 double *c, size_t c_stride)
{
    subtract_tile(a, a_stride, b, depth, c, c_stride);
}
