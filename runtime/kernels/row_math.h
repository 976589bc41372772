/*
 * row_math.h - functions of single numbers and of rows, written so that a compiler turns them
 * into vector code without changing a bit
 *
 * No branches, no libm but fmaf and fabsf, no reduction but in 8 stated lanes. Each table's file
 * compiles these bodies with its own instructions.
 */
#ifndef RUNTIME_KERNELS_ROW_MATH_H
#define RUNTIME_KERNELS_ROW_MATH_H

#include "runtime/kernels/kernel_table.h"

#include <math.h>

/* 1.5 * 2^23: adding and subtracting it rounds |x| < 2^22 to an integer, ties to even. */
#define ROUNDER 12582912.0f

static inline float float_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static inline uint32_t bits_from_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

/* e^x within 1.5 ulp for -87 <= x <= 88; 0 below, e^88 above (and for NaN, 0). The argument is
 * reduced to |r| <= ln(2)/2 with ln 2 in two parts; the polynomial is the degree-5 minimax of
 * (e^r - 1 - r) / r^2 of Cephes' expf. */
static inline float math_exp(float x)
{
    float t = x < 88.0f ? x : 88.0f;
    t = t > -87.0f ? t : -87.0f;

    float shifted = fmaf(t, 1.44269504f, ROUNDER);
    float n = shifted - ROUNDER;
    float r = fmaf(n, -0.693359375f, t);
    r = fmaf(n, 2.12194440e-4f, r);

    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    float e = fmaf(p, r * r, r) + 1.0f;

    /* The low bits of `shifted` are n itself: shift them to the exponent. */
    float power = float_from_bits((bits_from_float(shifted) << 23) + 0x3f800000u);
    float y = e * power;
    return x >= -87.0f ? y : 0.0f;
}

/* tanh within 2 ulp: an odd polynomial (Cephes' tanhf) below 0.625, 1 - 2 / (e^2|x| + 1) above. */
static inline float math_tanh(float x)
{
    float a = fabsf(x);
    float far = 1.0f - 2.0f / (math_exp(a + a) + 1.0f);
    float z = x * x;

    float p = -5.70498872745e-3f;
    p = fmaf(p, z, 2.06390887954e-2f);
    p = fmaf(p, z, -5.37397155531e-2f);
    p = fmaf(p, z, 1.33314422036e-1f);
    p = fmaf(p, z, -3.33332819422e-1f);
    float near = fmaf(p * z, x, x);

    uint32_t sign = bits_from_float(x) & 0x80000000u;
    float signed_far = float_from_bits(bits_from_float(far) | sign);
    return a < 0.625f ? near : signed_far;
}

static inline float math_gelu(float v)
{
    float u = 0.7978845608f * fmaf(0.044715f * v, v * v, v);
    return v / (1.0f + math_exp(-2.0f * u));
}

/* ((s0+s4)+(s2+s6)) + ((s1+s5)+(s3+s7)): what halving a vector register twice computes. */
static inline float math_lanes_sum(const float s[8])
{
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static inline float row_exp_sum(float *x, size_t n, float max)
{
    float s[8] = {0};
    size_t whole = n - n % 8;

    for (size_t i = 0; i < n; i++)
        x[i] = math_exp(x[i] - max);
    for (size_t i = 0; i < whole; i += 8)
        for (size_t l = 0; l < 8; l++)
            s[l] += x[i + l];
    for (size_t i = whole; i < n; i++)
        s[i - whole] += x[i];
    return math_lanes_sum(s);
}

/* Where a result may lie over an argument, a small buffer between them lets the compiler see that
 * they do not overlap. */
enum { PART = 64 };

/* The mean of squares as a product of the row with itself, but in one piece. */
static inline void row_norm(const float *x, const float *weight, size_t n, float eps,
                            float *y)
{
    float s[8] = {0};
    size_t whole = n - n % 8;

    for (size_t i = 0; i < whole; i += 8)
        for (size_t l = 0; l < 8; l++)
            s[l] = fmaf(x[i + l], x[i + l], s[l]);
    for (size_t i = whole; i < n; i++)
        s[i - whole] = fmaf(x[i], x[i], s[i - whole]);

    float inverse = 1.0f / sqrtf(math_lanes_sum(s) / (float)n + eps);
    float part[PART];

    for (size_t at = 0; at < n; at += PART) {
        size_t m = n - at < PART ? n - at : PART;

        for (size_t i = 0; i < m; i++)
            part[i] = x[at + i] * inverse;
        for (size_t i = 0; weight && i < m; i++)
            part[i] *= weight[at + i];
        memcpy(y + at, part, m * sizeof(*y));
    }
}

static inline void row_rotate(float *x, size_t half, const float *cos, const float *sin)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];

        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

static inline void row_gelu_mul(const float *gate, const float *up, size_t n, float *y)
{
    float part[PART];

    for (size_t at = 0; at < n; at += PART) {
        size_t m = n - at < PART ? n - at : PART;

        for (size_t i = 0; i < m; i++)
            part[i] = math_gelu(gate[at + i]) * up[at + i];
        memcpy(y + at, part, m * sizeof(*y));
    }
}

static inline void row_softcap(float *x, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++)
        x[i] = cap * math_tanh(x[i] / cap);
}

static inline void row_add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static inline void row_mul(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= y[i];
}

static inline void row_scale(float *x, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= s;
}

static inline void row_add_scaled(float *x, const float *y, float s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = fmaf(s, y[i], x[i]);
}

/* One block of activations to 8 bits; see struct rounded. A NaN becomes -127, which keeps the
 * conversion defined; kernels.h asks for finite input. */
static inline float row_round_block(const float *x, int8_t *q)
{
    float max = 0.0f;

    for (int i = 0; i < BLOCK; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;

    float inverse = max > 0.0f ? 127.0f / max : 0.0f;
    inverse =
        inverse < 0x1p126f ? inverse : 0.0f; /* a block of denormals counts as zero */
    for (int i = 0; i < BLOCK; i++) {
        float v = x[i] * inverse;
        v = v > -127.0f ? v : -127.0f;
        v = v < 127.0f ? v : 127.0f;
        q[i] = (int8_t)(int32_t)((v + ROUNDER) - ROUNDER);
    }
    return inverse > 0.0f ? max / 127.0f : 0.0f;
}

static inline void row_round(const float *x, size_t n_blocks, const struct rounded *out)
{
    for (size_t b = 0; b < n_blocks; b++) {
        int8_t *q = out->q + b * BLOCK;
        int sum[2] = {0};

        out->d[b] = row_round_block(x + b * BLOCK, q);
        for (int i = 0; i < BLOCK; i++)
            sum[i / 16] += q[i];
        out->halves[2 * b] = (int16_t)sum[0];
        out->halves[2 * b + 1] = (int16_t)sum[1];
        out->dsum[b] = out->d[b] * (float)(sum[0] + sum[1]);
    }
}

#endif
