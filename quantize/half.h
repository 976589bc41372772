/*
 * half.h - round a float to the nearest half without leaving float
 */
#ifndef QUANTIZE_HALF_H
#define QUANTIZE_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* f32_from_f16(f16_from_f32(x)) for x that is not NaN, in a form compilers vectorize. */
static inline float half_round(float x)
{
    uint32_t bits, odd;
    float size = fabsf(x), normal, small;

    memcpy(&bits, &size, sizeof(bits));
    odd = bits >> 13 & 1;
    bits = (bits + 0xfff + odd) & ~0x1fffu; /* ten bits of mantissa, ties to even */
    memcpy(&normal, &bits, sizeof(normal));
    normal = normal > 65504.0f ? INFINITY : normal;
    small = (size + 0.5f) - 0.5f; /* below 2^-14 halves are 2^-24 apart, as floats at 0.5 are */
    return copysignf(size < 0x1p-14f ? small : normal, x);
}

#endif
