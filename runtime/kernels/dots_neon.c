/*
 * dots_neon.c - integer products of 8 rows with the multiplications every AArch64 has
 */
#include "runtime/kernels/codes_neon.h"

/* Two products of at most 128 * 127 fit 16 bits. */
INLINE int32x4_t multiply(int8x16_t codes, int8x16_t x)
{
    int16x8_t p = vmull_s8(vget_low_s8(codes), vget_low_s8(x));

    return vpaddlq_s16(vmlal_s8(p, vget_high_s8(codes), vget_high_s8(x)));
}

static void dot_q8_0(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q8_0, multiply, w, x, y);
}

static void dot_q4_0(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q4_0, multiply, w, x, y);
}

static void dot_q4_1(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q4_1, multiply, w, x, y);
}

static void dot_q5_0(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q5_0, multiply, w, x, y);
}

static void dot_q5_1(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q5_1, multiply, w, x, y);
}

static void dot_q4_k(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q4_K, multiply, w, x, y);
}

static void dot_q5_k(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q5_K, multiply, w, x, y);
}

static void dot_q6_k(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q6_K, multiply, w, x, y);
}

dot_function *const neon_dot[TYPE_COUNT] = {
    [TYPE_Q8_0] = dot_q8_0, [TYPE_Q4_0] = dot_q4_0, [TYPE_Q4_1] = dot_q4_1,
    [TYPE_Q5_0] = dot_q5_0, [TYPE_Q5_1] = dot_q5_1, [TYPE_Q4_K] = dot_q4_k,
    [TYPE_Q5_K] = dot_q5_k, [TYPE_Q6_K] = dot_q6_k,
};

enum { SPIN_CHAINS = 16 };

double neon_spin_integer(size_t n, float *sink)
{
    int8x8_t w = vdup_n_s8(3), x = vdup_n_s8(5);
    int16x8_t s[SPIN_CHAINS];

    for (int c = 0; c < SPIN_CHAINS; c++)
        s[c] = vdupq_n_s16(0);
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < SPIN_CHAINS; c++)
            s[c] = vmlal_s8(s[c], w, x);
    for (int c = 0; c < SPIN_CHAINS; c++)
        *sink += (float)vgetq_lane_s16(s[c], 0);
    return (double)n * SPIN_CHAINS * 8;
}
