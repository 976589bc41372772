/*
 * codes_neon.h - 32 signed weights in two registers, and products of 8 rows straight from a file
 *
 * Included by the *_neon.c files of this folder only. dot_rows_neon() takes the instruction that
 * multiplies as a constant argument, so that each file compiles its own.
 */
#ifndef RUNTIME_KERNELS_CODES_NEON_H
#define RUNTIME_KERNELS_CODES_NEON_H

#include "runtime/kernels/codes.h"
#include "runtime/kernels/kernels_neon.h"

#include <arm_neon.h>
#include <stddef.h>

#define INLINE static inline __attribute__((always_inline))

struct codes_32 {
    int8x16_t half[2];
};

/* Sums by fours of the products of 16 codes with 16 activations. */
typedef int32x4_t multiply_16(int8x16_t codes, int8x16_t x);

INLINE int8x16_t minus(uint8x16_t codes, int offset)
{
    return vsubq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8((int8_t)offset));
}

/* 16 bytes of nibbles, the low ones first, with 16 added where a bit of h is set. */
INLINE struct codes_32 nibbles_neon(const uint8_t *q, uint32_t h, int offset)
{
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    uint8x16_t in = vld1q_u8(q),
               half[2] = {vandq_u8(in, vdupq_n_u8(15)), vshrq_n_u8(in, 4)};
    struct codes_32 out;

    for (int i = 0; i < 2; i++) {
        uint8x16_t bytes = vcombine_u8(vdup_n_u8((uint8_t)(h >> 16 * i)),
                                       vdup_n_u8((uint8_t)(h >> (16 * i + 8))));
        uint8x16_t high = vandq_u8(vtstq_u8(bytes, bit), vdupq_n_u8(16));

        out.half[i] = minus(vorrq_u8(half[i], high), offset);
    }
    return out;
}

/* The codes of the block of 32 at `b`, of a type with blocks of 32. */
INLINE struct codes_32 codes_small_neon(enum block_type type, const uint8_t *b)
{
    const int8_t *q8 = (const int8_t *)(b + offsetof(struct q8_0, q));

    switch (type) {
    case TYPE_Q4_0:
        return nibbles_neon(b + offsetof(struct q4_0, q), 0, 8);
    case TYPE_Q4_1:
        return nibbles_neon(b + offsetof(struct q4_1, q), 0, 0);
    case TYPE_Q5_0:
        return nibbles_neon(b + offsetof(struct q5_0, q),
                            load_u32(b + offsetof(struct q5_0, h)), 16);
    case TYPE_Q5_1:
        return nibbles_neon(b + offsetof(struct q5_1, q),
                            load_u32(b + offsetof(struct q5_1, h)), 0);
    default:
        return (struct codes_32){{vld1q_s8(q8), vld1q_s8(q8 + 16)}};
    }
}

/* The codes of sub-block j of the block of 256 at `b`. */
INLINE struct codes_32 codes_k_neon(enum block_type type, const uint8_t *b, int j)
{
    bool six = type == TYPE_Q6_K, five = type == TYPE_Q5_K;
    const uint8_t *low =
        six ? b + 64 * (j / 4) + 32 * (j % 2)
            : b + (five ? offsetof(struct q5_k, q) : offsetof(struct q4_k, q)) +
                  32 * (j / 2);
    const uint8_t *high =
        six ? b + offsetof(struct q6_k, qh) + 32 * (j / 4) : b + offsetof(struct q5_k, h);
    int low_shift = (six ? j % 4 / 2 : j % 2) ? -4 : 0,
        high_shift = six ? -2 * (j % 4) : -j;
    struct codes_32 out;

    for (int i = 0; i < 2; i++) {
        uint8x16_t l = vshlq_u8(vld1q_u8(low + 16 * i), vdupq_n_s8((int8_t)low_shift));

        l = vandq_u8(l, vdupq_n_u8(15));
        if (six || five) {
            uint8x16_t h =
                vshlq_u8(vld1q_u8(high + 16 * i), vdupq_n_s8((int8_t)high_shift));
            l = vorrq_u8(l, vshlq_n_u8(vandq_u8(h, vdupq_n_u8(six ? 3 : 1)), 4));
        }
        out.half[i] = minus(l, six ? 32 : 0);
    }
    return out;
}

/* The f16 at byte `at` of 4 rows, as f32. */
INLINE float32x4_t halves_neon(const uint8_t *const *row, size_t at)
{
    uint16_t h[4];

    for (int r = 0; r < 4; r++)
        h[r] = load_u16(row[r] + at);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

/* Lane r of the result is the sum of the lanes of v[r]. */
INLINE int32x4_t sum_rows(const int32x4_t v[4])
{
    return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

INLINE float32x4_t gain(float32x4_t y, float32x4_t s, int32x4_t i, float d)
{
    return vfmaq_f32(y, vmulq_n_f32(s, d), vcvtq_f32_s32(i));
}

/* Four rows of a type with blocks of 32. */
INLINE float32x4_t dot_small_neon(enum block_type type, multiply_16 *multiply,
                                  const uint8_t *const *row, const struct rounded *x,
                                  float32x4_t y)
{
    const size_t bytes = block_type_info(type)->bytes;

    for (size_t b = 0; b < x->n_blocks; b++) {
        int8x16_t first = vld1q_s8(x->q + b * BLOCK),
                  last = vld1q_s8(x->q + b * BLOCK + 16);
        int32x4_t v[4];

        for (int r = 0; r < 4; r++) {
            struct codes_32 c = codes_small_neon(type, row[r] + b * bytes);
            v[r] = vaddq_s32(multiply(c.half[0], first), multiply(c.half[1], last));
        }
        y = gain(y, halves_neon(row, b * bytes), sum_rows(v), x->d[b]);
        if (codes_has_minimum(type))
            y = vfmaq_n_f32(y, halves_neon(row, b * bytes + 2), x->dsum[b]);
    }
    return y;
}

/* Scales and minima of the 8 sub-blocks of 4 rows' blocks at byte `at`: s[j], m[j]. */
INLINE void k_factors_neon(const uint8_t *const *row, size_t at, float32x4_t s[8],
                           float32x4_t m[8])
{
    float32x4_t d = halves_neon(row, at), dmin = vnegq_f32(halves_neon(row, at + 2));
    float sc[8][4], mn[8][4];

    for (int r = 0; r < 4; r++) {
        uint8_t scales[8], minima[8];

        k_scales_unpack(row[r] + at + offsetof(struct q4_k, scales), scales, minima);
        for (int j = 0; j < 8; j++) {
            sc[j][r] = scales[j];
            mn[j][r] = minima[j];
        }
    }
    for (int j = 0; j < 8; j++) {
        s[j] = vmulq_f32(d, vld1q_f32(sc[j]));
        m[j] = vmulq_f32(dmin, vld1q_f32(mn[j]));
    }
}

/* Four rows of a type with blocks of 256. */
INLINE float32x4_t dot_k_neon(enum block_type type, multiply_16 *multiply,
                              const uint8_t *const *row, const struct rounded *x,
                              float32x4_t y)
{
    const size_t bytes = block_type_info(type)->bytes;

    for (size_t b = 0; b < x->n_blocks; b += 8) {
        size_t at = b / 8 * bytes;
        float32x4_t s[8], m[8];

        if (type == TYPE_Q6_K)
            s[0] = halves_neon(row, at + offsetof(struct q6_k, d));
        else
            k_factors_neon(row, at, s, m);
        for (int j = 0; j < 8; j++) {
            const int8_t *q = x->q + (b + (size_t)j) * BLOCK;
            int32x4_t v[4];

            for (int r = 0; r < 4; r++) {
                struct codes_32 c = codes_k_neon(type, row[r] + at, j);
                int32x4_t first = multiply(c.half[0], vld1q_s8(q));
                int32x4_t last = multiply(c.half[1], vld1q_s8(q + 16));

                if (type == TYPE_Q6_K) {
                    const int8_t *h =
                        (const int8_t *)(row[r] + at + offsetof(struct q6_k, scales)) +
                        2 * j;
                    first = vmulq_n_s32(first, h[0]);
                    last = vmulq_n_s32(last, h[1]);
                }
                v[r] = vaddq_s32(first, last);
            }
            y = gain(y, s[type == TYPE_Q6_K ? 0 : j], sum_rows(v), x->d[b + (size_t)j]);
            if (codes_has_minimum(type))
                y = vfmaq_n_f32(y, m[j], x->dsum[b + (size_t)j]);
        }
    }
    return y;
}

/* Put a panel's integers, of the halves of block b and rows 4 g ... 4 g + 3, at the end of the
 * chains in y. */
INLINE void panel_gain_neon(const struct panel *panel, size_t b, int g, int32x4_t first,
                            int32x4_t last, float d, float dsum, float *y)
{
    float32x4_t sum;

    if (panel->type == TYPE_Q6_K) {
        int16x4x2_t h = vld2_s16(panel->halves[b][4 * g]);
        first = vmulq_s32(first, vmovl_s16(h.val[0]));
        last = vmulq_s32(last, vmovl_s16(h.val[1]));
    }
    sum = gain(vld1q_f32(y), vld1q_f32(panel->s[b] + 4 * g), vaddq_s32(first, last), d);
    if (codes_has_minimum(panel->type))
        sum = vfmaq_n_f32(sum, vld1q_f32(panel->m[b] + 4 * g), dsum);
    vst1q_f32(y, sum);
}

INLINE void dot_rows_neon(enum block_type type, multiply_16 *multiply,
                          const struct dot_rows *w, const struct rounded *x, float *y)
{
    bool is_super = block_type_info(type)->weights == 256;

    for (int r = 0; r < DOT_ROWS; r += 4) {
        float32x4_t sum = vld1q_f32(y + r);

        sum = is_super ? dot_k_neon(type, multiply, w->row + r, x, sum)
                       : dot_small_neon(type, multiply, w->row + r, x, sum);
        vst1q_f32(y + r, sum);
    }
}

#endif
