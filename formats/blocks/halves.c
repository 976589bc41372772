/*
 * halves.c - f32 to f16 and bf16, nearest even
 */
#include "formats/blocks/blocks.h"

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

uint16_t f16_from_f32(float x)
{
    uint32_t bits = bits_of(x);
    uint32_t sign = (bits >> 16) & 0x8000;
    uint32_t magnitude = bits & 0x7fffffff;
    float tiny;

    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | ((magnitude >> 13) & 0x3ff));
    if (magnitude >= 0x477ff000) /* 65520 lies half-way to 2^16 and rounds away to it */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude >= 0x38800000) { /* 2^-14, the least normal half */
        magnitude += 0xfff + ((magnitude >> 13) & 1);
        return (uint16_t)(sign | ((magnitude >> 13) - (112u << 10)));
    }
    /* The unit in the last place of 0.5 is 2^-24, that of subnormal halves. */
    memcpy(&tiny, &magnitude, sizeof(tiny));
    return (uint16_t)(sign | (bits_of(tiny + 0.5f) - 0x3f000000));
}

uint16_t bf16_from_f32(float x)
{
    uint32_t bits = bits_of(x);

    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
