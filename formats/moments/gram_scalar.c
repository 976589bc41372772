/*
 * gram_scalar.c - the tile product of the Gram matrix, built for this instruction set
 */
#include "formats/moments/gram_body.h"

void gram_tile_scalar(const float *a, const float *b, size_t n_rows, double *sum,
                      size_t stride)
{
    tile_product(a, b, n_rows, sum, stride);
}
