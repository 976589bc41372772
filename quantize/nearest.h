/*
 * nearest.h - the one way this room rounds a float to an integer
 */
#ifndef QUANTIZE_NEAREST_H
#define QUANTIZE_NEAREST_H

#include <stdint.h>
#include <string.h>

/* Nearest integer, ties to even, read from the mantissa of x + 1.5 * 2^23. Beyond
 * |x| < 2^22 (a scale that overflowed) the bits mean nothing, but are the same everywhere. */
static inline int nearest(float x)
{
    float shifted = x + 12582912.0f;
    uint32_t bits;

    memcpy(&bits, &shifted, sizeof(bits));
    return (int)(bits & 0x7fffff) - 0x400000;
}

#endif
