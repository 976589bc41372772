/*
 * layout.h - how an input's moments lie in their file (private)
 */
#ifndef FORMATS_MOMENTS_LAYOUT_H
#define FORMATS_MOMENTS_LAYOUT_H

#include "formats/moments/moments.h"

enum { PARTS = 3 }; /* tensors an item: .h or .d, .held, .tokens */
enum { MOMENTS_MOST = 1 << 16 };

/* Numbers of the lower triangle of a square of n columns: row i begins at triangle(i). */
static inline size_t triangle(size_t n)
{
    return n * (n + 1) / 2;
}

/* What the file holds of one group of a gram: the means of its lower triangle, row after row, or of
 * its diagonal. */
void gram_file(const struct gram *gram, size_t group, float *h);

#endif
