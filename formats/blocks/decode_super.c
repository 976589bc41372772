/*
 * decode_super.c - super-blocks of 256 weights to f32, to be read beside blocks.h
 */
#include "formats/blocks/decode.h"

void k_scales_unpack(const uint8_t packed[12], uint8_t sc[8], uint8_t mn[8])
{
    for (int s = 0; s < 4; s++) {
        sc[s] = packed[s] & 63;
        mn[s] = packed[s + 4] & 63;
        sc[s + 4] = (uint8_t)((packed[s + 8] & 15) | (packed[s] >> 6) << 4);
        mn[s + 4] = (uint8_t)((packed[s + 8] >> 4) | (packed[s + 4] >> 6) << 4);
    }
}

void k_scales_pack(const uint8_t sc[8], const uint8_t mn[8], uint8_t packed[12])
{
    for (int s = 0; s < 4; s++) {
        packed[s] = (uint8_t)((sc[s] & 63) | (sc[s + 4] >> 4) << 6);
        packed[s + 4] = (uint8_t)((mn[s] & 63) | (mn[s + 4] >> 4) << 6);
        packed[s + 8] = (uint8_t)((sc[s + 4] & 15) | (mn[s + 4] & 15) << 4);
    }
}

void decode_q2_k(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++) {
        struct q2_k block;
        float d, dmin;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        dmin = f32_from_f16(block.dmin);
        for (size_t s = 0; s < 16; s++, x += 16) {
            const uint8_t *q = block.q + 32 * (s / 8) + 16 * (s % 2);
            size_t shift = 2 * ((s / 2) % 4);
            float step = d * (float)(block.scales[s] & 15);
            float least = dmin * (float)(block.scales[s] >> 4);

            for (int i = 0; i < 16; i++)
                x[i] = step * (float)((q[i] >> shift) & 3) - least;
        }
    }
}

static int q3_k_scale(const uint8_t scales[12], size_t s)
{
    int low = (scales[s % 8] >> (4 * (s / 8))) & 15;
    int high = (scales[8 + s % 4] >> (2 * (s / 4))) & 3;

    return (low | high << 4) - 32;
}

void decode_q3_k(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++) {
        struct q3_k block;
        float d;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        for (size_t s = 0; s < 16; s++, x += 16) {
            const uint8_t *q = block.q + 32 * (s / 8) + 16 * (s % 2);
            const uint8_t *h = block.h + 16 * (s % 2);
            size_t shift = 2 * ((s / 2) % 4);
            float step = d * (float)q3_k_scale(block.scales, s);

            for (int i = 0; i < 16; i++) {
                int code = ((q[i] >> shift) & 3) - ((h[i] >> (s / 2)) & 1 ? 0 : 4);
                x[i] = step * (float)code;
            }
        }
    }
}

void decode_q4_k(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++) {
        struct q4_k block;
        uint8_t sc[8], mn[8];
        float d, dmin;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        dmin = f32_from_f16(block.dmin);
        k_scales_unpack(block.scales, sc, mn);
        for (size_t s = 0; s < 8; s++, x += 32) {
            const uint8_t *q = block.q + 32 * (s / 2);
            size_t shift = 4 * (s % 2);
            float step = d * (float)sc[s];
            float least = dmin * (float)mn[s];

            for (int i = 0; i < 32; i++)
                x[i] = step * (float)((q[i] >> shift) & 15) - least;
        }
    }
}

void decode_q5_k(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++) {
        struct q5_k block;
        uint8_t sc[8], mn[8];
        float d, dmin;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        dmin = f32_from_f16(block.dmin);
        k_scales_unpack(block.scales, sc, mn);
        for (size_t s = 0; s < 8; s++, x += 32) {
            const uint8_t *q = block.q + 32 * (s / 2);
            size_t shift = 4 * (s % 2);
            float step = d * (float)sc[s];
            float least = dmin * (float)mn[s];

            for (int i = 0; i < 32; i++) {
                int code = ((q[i] >> shift) & 15) | ((block.h[i] >> s) & 1) << 4;
                x[i] = step * (float)code - least;
            }
        }
    }
}

void decode_q6_k(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++) {
        struct q6_k block;
        float d;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        for (size_t s = 0; s < 16; s++, x += 16) {
            /* Quarter t = 0 ... 3 of a half: nibbles of ql by t / 2, its bytes by t % 2. */
            size_t t = (s / 2) % 4;
            const uint8_t *ql = block.ql + 64 * (s / 8) + 32 * (t % 2) + 16 * (s % 2);
            const uint8_t *qh = block.qh + 32 * (s / 8) + 16 * (s % 2);
            float step = d * (float)block.scales[s];

            for (int i = 0; i < 16; i++) {
                int code = ((ql[i] >> (4 * (t / 2))) & 15) | ((qh[i] >> (2 * t)) & 3)
                                                                 << 4;
                x[i] = step * (float)(code - 32);
            }
        }
    }
}

void decode_iq4_xs(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t b = 0; b < n; b++) {
        struct iq4_xs block;
        float d;

        memcpy(&block, p + b * sizeof(block), sizeof(block));
        d = f32_from_f16(block.d);
        for (size_t s = 0; s < 8; s++, x += 32) {
            const uint8_t *q = block.q + 16 * s;
            int low = (block.scales_l[s / 2] >> (4 * (s % 2))) & 15;
            int high = (block.scales_h >> (2 * s)) & 3;
            float step = d * (float)((low | high << 4) - 32);

            for (int i = 0; i < 16; i++) {
                x[i] = step * (float)iq4_levels[q[i] & 15];
                x[i + 16] = step * (float)iq4_levels[q[i] >> 4];
            }
        }
    }
}
