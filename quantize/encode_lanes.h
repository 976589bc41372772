/*
 * encode_lanes.h - encode_scalar.c again, WIDTH lanes at a time
 *
 * This file holds arrays and blocks, encode_lanes_tile.h the tiles, encode_lanes_search.h their
 * searches. All are included by encode_<isa>.c, once each, after it has defined
 *
 *     WIDTH             lanes of a vector: 4, 8 or 16
 *     vec, ivec         WIDTH floats, WIDTH int32_t, as GNU vector types
 *     pick(m, a, b)     a where the mask is all ones, b where it is zero
 *     imin, imax        lanewise, signed;   vmin, vmax: a < b ? a : b, a > b ? a : b
 *     fma_of(a, b, c)   a * b + c, rounded once
 *     highest(v)        the largest lane; no NaN
 *     halves(v, out)    WIDTH halves, nearest even
 *     half_of(v)        rounded to halves, as floats
 *     whole(v), root(v) the nearest integer, ties to even; the square root
 *     none(m)           no lane of a mask is set
 *     interleave_low(a, b), interleave_high(a, b)   a0 b0 a1 b1 ... of the lower and upper halves
 *     narrow(v, out)    the low bytes of WIDTH integers
 *
 * Arithmetic is written with the operators of GNU C, so that the order of operations can be
 * compared with the scalar file line by line; only what they cannot say is an intrinsic.
 */
#ifndef QUANTIZE_ENCODE_LANES_H
#define QUANTIZE_ENCODE_LANES_H

#include "quantize/encode_tables.h"

#include "formats/blocks/blocks.h"

#include <math.h>

typedef uint16_t halves_of_lanes __attribute__((vector_size(2 * WIDTH)));

enum { STEPS = 32 / WIDTH }; /* vectors in a block of 32 */

static inline vec all(float x)
{
    return x - (vec){0};
}

static inline ivec iall(int32_t x)
{
    return x - (ivec){0};
}

static inline vec load(const float *x)
{
    vec v;
    memcpy(&v, x, sizeof(v));
    return v;
}

static inline void store(float *x, vec v)
{
    memcpy(x, &v, sizeof(v));
}

static inline vec magnitude(vec x)
{
    return (vec)((ivec)x & 0x7fffffff);
}

/* nearest() within lo ... hi, as a float; the clamp happens on the shifted bits. */
static inline vec nearest_lanes(vec x, int lo, int hi)
{
    ivec bits = (ivec)(x + 12582912.0f) & 0x7fffff;

    bits = imin(imax(bits, iall(0x400000 + lo)), iall(0x400000 + hi));
    return (vec)(bits | 0x4b000000) - 12582912.0f; /* 2^23 + bits, less 1.5 * 2^23 */
}

static inline void store_codes(int32_t *q, vec codes)
{
    ivec l = __builtin_convertvector(codes, ivec);
    memcpy(q, &l, sizeof(l));
}

/* ---- whole arrays ---- */

static void f16(const float *x, uint16_t *out, size_t n)
{
    size_t i = 0;

    for (; i + WIDTH <= n; i += WIDTH)
        halves(load(x + i), out + i);
    for (; i < n; i++)
        out[i] = f16_from_f32(x[i]);
}

static void bf16(const float *x, uint16_t *out, size_t n)
{
    size_t i = 0;

    for (; i + WIDTH <= n; i += WIDTH) {
        vec v = load(x + i);
        ivec bits = (ivec)v;
        ivec even = bits + 0x7fff + ((bits >> 16) & 1);
        ivec chosen = (ivec)pick(v == v, (vec)even, (vec)(bits | 0x400000));
        halves_of_lanes h =
            __builtin_convertvector((chosen >> 16) & 0xffff, halves_of_lanes);
        memcpy(out + i, &h, sizeof(h));
    }
    for (; i < n; i++)
        out[i] = bf16_from_f32(x[i]);
}

/* ---- blocks of 32, one after the other ---- */

/* Which of two equal and opposite extrema comes first. */
static float first_of(const float *x, float top)
{
    for (int i = 0; i < 32; i++)
        if (fabsf(x[i]) == top)
            return x[i];
    return 0.0f;
}

static inline void load_block(const float *x, vec v[STEPS])
{
    for (int i = 0; i < STEPS; i++)
        v[i] = load(x + WIDTH * i);
}

/* The largest value and the largest negated value. */
static inline void extremes(const vec v[STEPS], float *high, float *low)
{
    vec hi = v[0], lo = v[0];

    for (int i = 1; i < STEPS; i++) {
        hi = vmax(hi, v[i]);
        lo = vmin(lo, v[i]);
    }
    *high = highest(hi);
    *low = -highest(-lo);
}

static inline float inverse(float x)
{
    return x != 0.0f ? 1.0f / x : 0.0f;
}

/* cut(): toward zero within 0 ... top, 0 for what is no code. */
static inline void cut_lanes(vec x, int top, uint8_t *q)
{
    vec sane = pick((x >= 0.0f) & (x < 128.0f), x, all(0.0f));

    narrow(imin(__builtin_convertvector(sane, ivec), iall(top)), q);
}

static void extremum(const float *x, struct coded *out, size_t n, int half)
{
    for (size_t b = 0; b < n; b++, x += 32) {
        vec v[STEPS];
        float high, low, value;

        load_block(x, v);
        extremes(v, &high, &low);
        value = high > -low ? high : low;
        if (high == -low)
            value = first_of(x, high) + 0.0f; /* a block of zeros counts as +0 */

        float d = value / (float)-half;
        float r = inverse(d);
        out[b].scale = d;
        out[b].offset = 0.0f;
        for (int i = 0; i < STEPS; i++)
            cut_lanes(v[i] * r + ((float)half + 0.5f), 2 * half - 1,
                      out[b].q + WIDTH * i);
    }
}

/* The minimum as a walk from left to right finds it: the first zero of either sign. */
static float first_zero(const float *x)
{
    for (int i = 0; i < 32; i++)
        if (x[i] == 0.0f)
            return x[i];
    return 0.0f;
}

static void range(const float *x, struct coded *out, size_t n, int top)
{
    for (size_t b = 0; b < n; b++, x += 32) {
        vec v[STEPS];
        float high, low;

        load_block(x, v);
        extremes(v, &high, &low);
        if (low == 0.0f)
            low = first_zero(x);

        float d = (high - low + 0.0f) / (float)top; /* zeros of both signs: +0 */
        float r = inverse(d);
        out[b].scale = d;
        out[b].offset = -low;
        for (int i = 0; i < STEPS; i++)
            cut_lanes((v[i] - low) * r + 0.5f, top, out[b].q + WIDTH * i);
    }
}

static void symmetric8(const float *x, struct coded *out, size_t n)
{
    for (size_t b = 0; b < n; b++, x += 32) {
        vec v[STEPS], top = {0};

        load_block(x, v);
        for (int i = 0; i < STEPS; i++)
            top = vmax(top, magnitude(v[i]));

        float d = highest(top) / 127.0f;
        float r = inverse(d);
        out[b].scale = d;
        out[b].offset = 0.0f;
        for (int i = 0; i < STEPS; i++) {
            vec p = v[i] * r;
            vec sane = pick(magnitude(p) < 128.0f, p, all(0.0f));
            ivec whole = __builtin_convertvector(sane, ivec);
            vec rest = sane - __builtin_convertvector(whole, vec); /* exact */
            /* A comparison is -1 where it holds: halves go away from zero. */
            narrow(whole - (rest >= 0.5f) + (rest <= -0.5f), out[b].q + WIDTH * i);
        }
    }
}

#endif
