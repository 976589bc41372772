/*
 * factor_scalar.c - the product of the factor, for any machine
 */
#include "base/base.h"

enum { WIDTH = 2 };

#include "quantize/compensate/factor_body.h"

void factor_scalar(const double *a, size_t a_stride, const double *b, size_t depth,
                   double *c, size_t c_stride)
{
    subtract_tile(a, a_stride, b, depth, c, c_stride);
}
