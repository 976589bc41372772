/*
 * gram.h - one strip of the Gram matrix, a table entry an instruction set (private)
 */
#ifndef FORMATS_MOMENTS_GRAM_H
#define FORMATS_MOMENTS_GRAM_H

#include <stddef.h>

enum { GRAM_TILE = 16, GRAM_ROWS = 512 };

/* sum[i][j] += the f32 sum over t, in order, of a[t][i] * b[t][j], for one tile of GRAM_TILE squared.
 * a and b hold n_rows rows of GRAM_TILE; sum has rows `stride` apart. Not contracted: every build of
 * the body gives the same bits. */
typedef void gram_tile(const float *a, const float *b, size_t n_rows, double *sum,
                       size_t stride);

gram_tile gram_tile_scalar;
#ifdef CARAT_X86
gram_tile gram_tile_avx2;
gram_tile gram_tile_avx512;
#endif

#endif
