/*
 * factor.h - Cholesky factor of a matrix and the inverse of it, in float64 (private)
 *
 * Every number is the one that the textbook's loops give, products subtracted one by one in the order
 * of columns:
 *
 *     c_ij = (a_ij - c_i0 c_j0 - c_i1 c_j1 - ...) / c_jj,   c_jj = sqrt(a_jj - c_j0^2 - ...)
 *     x_ij = (0 - c_ij x_jj - c_i(j+1) x_(j+1)j - ...) / c_ii,   x_ii = 1 / c_ii
 *
 * so it depends on neither blocking, threads nor instruction set. Nothing is contracted.
 */
#ifndef QUANTIZE_COMPENSATE_FACTOR_H
#define QUANTIZE_COMPENSATE_FACTOR_H

#include "base/base.h"

enum { FACTOR_BASE = 16 }; /* n is whole multiples of it */

/* c[i][j] -= a[i][0] b[0][j], then a[i][1] b[1][j], ...; four rows of a and c, eight columns of b
 * (packed, one row after the other) and c. */
enum { FACTOR_ROWS = 4, FACTOR_COLUMNS = 8 };
typedef void factor_kernel(const double *a, size_t a_stride, const double *b,
                           size_t depth, double *c, size_t c_stride);

factor_kernel factor_scalar;
#ifdef CARAT_X86
factor_kernel factor_avx2;
factor_kernel factor_avx512;
#endif

/* Memory for numbers that factor_*() need besides. */
size_t factor_scratch(size_t n);

/* c: n x n, the lower triangle read and replaced by its factor, the rest is not looked at. False when a
 * pivot is not positive and finite; c is then of no use. Parallel, n^3 / 6 multiply-adds. */
bool factor_cholesky(double *c, size_t n, factor_kernel *kernel, double *scratch);

/* x: n x n, becomes the inverse of the lower triangle c, zeros above. Parallel, n^3 / 6. */
void factor_invert(const double *c, size_t n, factor_kernel *kernel, double *x,
                   double *scratch);

/* The kernel for this machine. */
factor_kernel *factor_best(void);

#endif
