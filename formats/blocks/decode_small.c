/*
 * decode_small.c - blocks of 32 and 64 weights to f32, to be read beside blocks.h
 */
#include "formats/blocks/decode.h"

const int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};

const int8_t fp4_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

void decode_q4_0(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++, x += 32) {
        struct q4_0 block;
        float d;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        for (int i = 0; i < 16; i++) {
            x[i] = d * (float)((block.q[i] & 15) - 8);
            x[i + 16] = d * (float)((block.q[i] >> 4) - 8);
        }
    }
}

void decode_q4_1(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++, x += 32) {
        struct q4_1 block;
        float d, m;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        m = f32_from_f16(block.m);
        for (int i = 0; i < 16; i++) {
            x[i] = d * (float)(block.q[i] & 15) + m;
            x[i + 16] = d * (float)(block.q[i] >> 4) + m;
        }
    }
}

/* The codes 0 ... 31 of Q5_0 and Q5_1. */
static void five_bits(const uint8_t h[4], const uint8_t q[16], float code[32])
{
    uint32_t high = load_u32(h);

    for (int i = 0; i < 16; i++) {
        code[i] = (float)((q[i] & 15u) | ((high >> i) & 1) << 4);
        code[i + 16] = (float)((q[i] >> 4) | ((high >> (i + 16)) & 1) << 4);
    }
}

void decode_q5_0(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++, x += 32) {
        struct q5_0 block;
        float code[32], d;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        five_bits(block.h, block.q, code);
        for (int i = 0; i < 32; i++)
            x[i] = d * (code[i] - 16.0f);
    }
}

void decode_q5_1(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++, x += 32) {
        struct q5_1 block;
        float code[32], d, m;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        m = f32_from_f16(block.m);
        five_bits(block.h, block.q, code);
        for (int i = 0; i < 32; i++)
            x[i] = d * code[i] + m;
    }
}

void decode_q8_0(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++, x += 32) {
        struct q8_0 block;
        float d;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        for (int i = 0; i < 32; i++)
            x[i] = d * (float)block.q[i];
    }
}

void decode_iq4_nl(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++, x += 32) {
        struct iq4_nl block;
        float d;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        for (int i = 0; i < 16; i++) {
            x[i] = d * (float)iq4_levels[block.q[i] & 15];
            x[i + 16] = d * (float)iq4_levels[block.q[i] >> 4];
        }
    }
}

/* 2^(e - 128); the two smallest are subnormal. */
static float mxfp4_scale(uint8_t e)
{
    uint32_t bits = e < 2 ? 0x00200000u << e : (e - 1u) << 23;
    float scale;

    memcpy(&scale, &bits, sizeof(scale));
    return scale;
}

void decode_mxfp4(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++, x += 32) {
        struct mxfp4 block;
        float d;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = mxfp4_scale(block.e);
        for (int i = 0; i < 16; i++) {
            x[i] = d * (float)fp4_doubled[block.q[i] & 15];
            x[i + 16] = d * (float)fp4_doubled[block.q[i] >> 4];
        }
    }
}

float nvfp4_half_scale(uint8_t d)
{
    uint32_t bits = (uint32_t)(d & 0x7f) << 20;
    float scale;

    if (d == 0x7f)
        return 0.0f;
    /* E4M3 has bias 7, f32 has 127: 2^120 rights the exponent, one less halves. */
    memcpy(&scale, &bits, sizeof(scale));
    return scale * 0x1p119f;
}

void decode_nvfp4(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++, p += sizeof(struct nvfp4)) {
        struct nvfp4 block;

        memcpy(&block, p, sizeof(block));
        for (int g = 0; g < 4; g++, x += 16) {
            float d = nvfp4_half_scale(block.d[g]);

            for (int i = 0; i < 8; i++) {
                x[i] = d * (float)fp4_doubled[block.q[8 * g + i] & 15];
                x[i + 8] = d * (float)fp4_doubled[block.q[8 * g + i] >> 4];
            }
        }
    }
}
