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
    const uint32_t infinity = 0x7f800000;
    uint32_t bits, sign, normal, small;
    float tiny;

    memcpy(&bits, &x, sizeof(bits));
    sign = bits & 0x80000000;
    bits ^= sign;
    normal = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu; /* ten bits, ties to even */
    normal = normal > 0x477fe000 ? infinity : normal;      /* beyond 65504 */

    memcpy(&tiny, &bits, sizeof(tiny));
    tiny = (tiny + 0.5f) -
           0.5f; /* below 2^-14 halves are 2^-24 apart, as floats at 0.5 are */
    memcpy(&small, &tiny, sizeof(small));
    bits = (bits < 0x38800000 ? small : normal) | sign;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

#endif
