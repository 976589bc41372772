/*
 * encode_lanes.h - encode_scalar.c again, WIDTH lanes at a time
 *
 * Included by encode_<isa>.c, once each, after it has defined
 *
 *     WIDTH             lanes of a vector: 4, 8 or 16
 *     vec, ivec         WIDTH floats, WIDTH int32_t, as GNU vector types
 *     pick(m, a, b)     a where the mask is all ones, b where it is zero
 *     imin, imax        lanewise, signed;   vmin, vmax: a < b ? a : b, a > b ? a : b
 *     fma_of(a, b, c)   a * b + c, rounded once
 *     highest(v)        the largest lane; no NaN
 *     halves(v, out)    WIDTH halves, nearest even
 *     half_of(v)        rounded to halves, as floats
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
        halves_of_lanes h = __builtin_convertvector((chosen >> 16) & 0xffff, halves_of_lanes);
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
            cut_lanes(v[i] * r + ((float)half + 0.5f), 2 * half - 1, out[b].q + WIDTH * i);
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

/* ---- tiles: a lane is a block ---- */

/* The signed extremum down each lane, the first of equals. */
static inline vec extremum_lanes(const vec *x, int n)
{
    vec top = {0}, value = {0};

    for (int i = 0; i < n; i++) {
        vec size = magnitude(x[i]);
        ivec larger = size > top;

        value = pick(larger, x[i], value);
        top = pick(larger, size, top);
    }
    return value;
}

/* A column of vectors out of a tile, and importance times value beside it. */
struct column {
    vec x[TILE_WEIGHTS], w[TILE_WEIGHTS], wx[TILE_WEIGHTS];
};

static inline void load_column(const struct tile *tile, int b, int n, struct column *c)
{
    for (int i = 0; i < n; i++) {
        c->x[i] = load(&tile->x[i][b]);
        c->w[i] = load(&tile->w[i][b]);
        c->wx[i] = c->w[i] * c->x[i];
    }
}

/* Columns searched side by side: a sum waits for its last addition, and two sums wait
 * together. */
enum { PAIR = WIDTH < TILE_LANES ? 2 : 1 };

struct symmetric_sums {
    vec xl[PAIR], ll[PAIR];
};

static inline void symmetric_sums(const struct column *c, int n, int half, const vec *inv,
                                  struct symmetric_sums *out)
{
    struct symmetric_sums sum = {0};

    for (int i = 0; i < n; i++) {
        for (int p = 0; p < PAIR; p++) {
            vec l = nearest_lanes(inv[p] * c[p].x[i], -half, half - 1);

            sum.xl[p] += c[p].wx[i] * l;
            sum.ll[p] += c[p].w[i] * l * l;
        }
    }
    *out = sum;
}

struct symmetric {
    vec top, scale, best, inv;
};

static inline void symmetric_first(const struct column *c, int n, int half, struct symmetric *a)
{
    struct symmetric_sums sum;
    vec inv[PAIR];

    for (int p = 0; p < PAIR; p++) {
        a[p].top = extremum_lanes(c[p].x, n);
        a[p].inv = inv[p] = (float)-half / a[p].top;
    }
    symmetric_sums(c, n, half, inv, &sum);
    for (int p = 0; p < PAIR; p++) {
        a[p].scale = pick(sum.ll[p] != 0.0f, sum.xl[p] / sum.ll[p], all(0.0f));
        a[p].best = a[p].scale * sum.xl[p];
    }
}

static inline void symmetric_try(const struct column *c, int n, int half, float levels,
                                 struct symmetric *a)
{
    struct symmetric_sums sum;
    vec inv[PAIR];

    for (int p = 0; p < PAIR; p++)
        inv[p] = levels / a[p].top;
    symmetric_sums(c, n, half, inv, &sum);
    for (int p = 0; p < PAIR; p++) {
        vec xl = sum.xl[p], ll = sum.ll[p], scale = xl / ll;
        ivec better = (ll > 0.0f) & (xl * xl > a[p].best * ll);

        a[p].scale = pick(better, scale, a[p].scale);
        a[p].best = pick(better, scale * xl, a[p].best);
        a[p].inv = pick(better, inv[p], a[p].inv);
    }
}

static inline void symmetric_pair(struct tile *tile, int b, int n, int half)
{
    struct column c[PAIR];
    struct symmetric a[PAIR];

    for (int p = 0; p < PAIR; p++)
        load_column(tile, b + WIDTH * p, n, &c[p]);
    symmetric_first(c, n, half, a);
    for (int k = -9; k <= 9; k++)
        if (k != 0)
            symmetric_try(c, n, half, -((float)half + 0.1f * (float)k), a);

    for (int p = 0; p < PAIR; p++) {
        ivec zero = magnitude(a[p].top) < 1e-15f;
        int at = b + WIDTH * p;

        store(&tile->scale[at], pick(zero, all(0.0f), a[p].scale));
        for (int i = 0; i < n; i++) {
            vec q = nearest_lanes(a[p].inv * c[p].x[i], -half, half - 1) + (float)half;
            store_codes(&tile->q[i][at], pick(zero, all(0.0f), q));
        }
    }
}

static void symmetric(struct tile *tile, int n, int half)
{
    for (int b = 0; b < TILE_LANES; b += WIDTH * PAIR)
        symmetric_pair(tile, b, n, half);
}

struct affine {
    vec w, x, low, high, scale, error, inv, base;
};

static inline struct affine affine_start(const struct column *c)
{
    vec low = c->x[0], high = c->x[0], w = c->w[0], x = c->w[0] * c->x[0];

    for (int i = 1; i < 32; i++) {
        low = vmin(c->x[i], low);
        high = vmax(c->x[i], high);
        w += c->w[i];
        x += c->w[i] * c->x[i];
    }
    low = pick(low > 0.0f, all(0.0f), low);
    return (struct affine){.w = w, .x = x, .low = low, .high = high};
}

static inline void affine_errors(const struct column *c, vec l[32][PAIR], const vec *scale,
                                 const vec *low, vec *error)
{
    for (int p = 0; p < PAIR; p++)
        error[p] = (vec){0};
    for (int i = 0; i < 32; i++) {
        for (int p = 0; p < PAIR; p++) {
            vec diff = scale[p] * l[i][p] + low[p] - c[p].x[i];
            error[p] += c[p].w[i] * (diff * diff);
        }
    }
}

/* The sums a pair of candidates needs, and its codes. */
struct sums {
    vec l[PAIR], ll[PAIR], xl[PAIR];
};

static inline void affine_sums(const struct column *c, const struct affine *a, const vec *inv,
                               int top, vec l[32][PAIR], struct sums *out)
{
    struct sums sum = {0};

    for (int i = 0; i < 32; i++) {
        for (int p = 0; p < PAIR; p++) {
            l[i][p] = nearest_lanes(inv[p] * (c[p].x[i] - a[p].low), 0, top);
            vec wl = c[p].w[i] * l[i][p];
            sum.l[p] += wl;
            sum.ll[p] += wl * l[i][p];
            sum.xl[p] += wl * c[p].x[i];
        }
    }
    *out = sum;
}

static inline void affine_try(const struct column *c, struct affine *a, float levels, int top)
{
    vec l[32][PAIR], inv[PAIR], scale[PAIR], low[PAIR], det[PAIR], error[PAIR];
    struct sums sum;

    for (int p = 0; p < PAIR; p++)
        inv[p] = levels / (a[p].high - a[p].low); /* low moves with the best */
    affine_sums(c, a, inv, top, l, &sum);
    for (int p = 0; p < PAIR; p++) {
        vec sl = sum.l[p], sll = sum.ll[p], sxl = sum.xl[p];

        det[p] = a[p].w * sll - sl * sl;
        scale[p] = (a[p].w * sxl - a[p].x * sl) / det[p];
        low[p] = (sll * a[p].x - sl * sxl) / det[p];
        ivec above = low[p] > 0.0f;
        scale[p] = pick(above, sxl / sll, scale[p]);
        low[p] = pick(above, all(0.0f), low[p]);
    }
    affine_errors(c, l, scale, low, error);
    for (int p = 0; p < PAIR; p++) {
        ivec better = (det[p] > 0.0f) & (error[p] < a[p].error);

        a[p].error = pick(better, error[p], a[p].error);
        a[p].inv = pick(better, inv[p], a[p].inv);
        a[p].base = pick(better, a[p].low, a[p].base);
        a[p].scale = pick(better, scale[p], a[p].scale);
        a[p].low = pick(better, low[p], a[p].low);
    }
}

/* The codes of minimum to maximum, before any search. */
static inline void affine_first(const struct column *c, struct affine *a, int top)
{
    vec l[32][PAIR], scale[PAIR], low[PAIR], error[PAIR];

    for (int p = 0; p < PAIR; p++) {
        a[p].base = low[p] = a[p].low;
        a[p].inv = (float)top / (a[p].high - a[p].low);
        a[p].scale = scale[p] = 1.0f / a[p].inv;
        for (int i = 0; i < 32; i++)
            l[i][p] = nearest_lanes(a[p].inv * (c[p].x[i] - a[p].base), 0, top);
    }
    affine_errors(c, l, scale, low, error);
    for (int p = 0; p < PAIR; p++)
        a[p].error = error[p];
}

static void asymmetric_pair(struct tile *tile, int b, const struct ladder *ladder)
{
    struct column c[PAIR];
    struct affine a[PAIR];
    vec start[PAIR];

    for (int p = 0; p < PAIR; p++) {
        load_column(tile, b + WIDTH * p, 32, &c[p]);
        a[p] = affine_start(&c[p]);
        start[p] = a[p].low;
    }
    affine_first(c, a, ladder->top);
    for (int k = 0; k <= ladder->n_steps; k++)
        affine_try(c, a, ladder->first + ladder->step * (float)k + (float)ladder->top,
                   ladder->top);

    for (int p = 0; p < PAIR; p++) {
        ivec flat = ~(a[p].high > start[p]); /* one value, which is not positive */
        int at = b + WIDTH * p;

        store(&tile->scale[at], pick(flat, all(0.0f), a[p].scale));
        store(&tile->offset[at], -pick(flat, start[p], a[p].low));
        for (int i = 0; i < 32; i++) {
            vec q = nearest_lanes(a[p].inv * (c[p].x[i] - a[p].base), 0, ladder->top);
            store_codes(&tile->q[i][at], pick(flat, all(0.0f), q));
        }
    }
}

static void asymmetric(struct tile *tile, const struct ladder *ladder)
{
    for (int b = 0; b < TILE_LANES; b += WIDTH * PAIR)
        asymmetric_pair(tile, b, ladder);
}

static void requantize(struct tile *tile, const struct codes *codes)
{
    for (int b = 0; b < TILE_LANES; b += WIDTH) {
        vec scale = load(&tile->scale[b]), offset = load(&tile->offset[b]);
        ivec keep = scale == 0.0f;

        for (int i = 0; i < codes->n; i++) {
            vec v = (load(&tile->x[i][b]) + offset) / scale;
            vec q = nearest_lanes(v, codes->lo, codes->hi);
            ivec code = __builtin_convertvector(q, ivec), old;

            memcpy(&old, &tile->q[i][b], sizeof(old));
            code = (keep & old) | (~keep & code);
            memcpy(&tile->q[i][b], &code, sizeof(code));
        }
    }
}

/* ---- judging a scale and an offset ---- */

static inline vec inverse_lanes(vec x)
{
    return pick(x != 0.0f, 1.0f / x, all(0.0f));
}

static inline vec code_of(vec v, vec inv, vec lo, vec hi)
{
    vec q = vmin(vmax(v * inv, lo), hi);

    return (q + 12582912.0f) - 12582912.0f;
}

static void scales(const float value[TILE_LANES], const float *ratios, int n,
                   struct candidate *out)
{
    for (int k = 0; k < n; k++) {
        for (int b = 0; b < TILE_LANES; b += WIDTH) {
            store(&out[k].scale[b], half_of(load(value + b) * ratios[k]));
            store(&out[k].offset[b], (vec){0});
        }
    }
}

/* `count` candidates, 1 or 4, side by side: a sum waits for its last addition, and four sums
 * wait together. */
static inline __attribute__((always_inline)) void
lane_losses(const struct tile *tile, const struct codes *codes, int b,
            const struct candidate *candidates, const int count, float (*loss)[TILE_LANES])
{
    const vec lo = all((float)codes->lo), hi = all((float)codes->hi);
    vec scale[4], offset[4], inv[4], sum[4];

    for (int k = 0; k < count; k++) {
        scale[k] = load(&candidates[k].scale[b]);
        offset[k] = load(&candidates[k].offset[b]);
        inv[k] = inverse_lanes(scale[k]);
        sum[k] = (vec){0};
    }
    for (int i = 0; i < codes->n; i++) {
        vec x = load(&tile->x[i][b]), w = load(&tile->w[i][b]);

        for (int k = 0; k < count; k++) {
            vec v = x + offset[k];
            vec e = fma_of(-scale[k], code_of(v, inv[k], lo, hi), v);

            sum[k] = fma_of(w * e, e, sum[k]);
        }
    }
    for (int k = 0; k < count; k++)
        store(&loss[k][b], sum[k]);
}

static void losses(const struct tile *tile, const struct codes *codes,
                   const struct candidate *candidates, int n_candidates,
                   float (*loss)[TILE_LANES])
{
    for (int b = 0; b < TILE_LANES; b += WIDTH) {
        int k = 0;

        for (; k + 4 <= n_candidates; k += 4)
            lane_losses(tile, codes, b, candidates + k, 4, loss + k);
        for (; k < n_candidates; k++)
            lane_losses(tile, codes, b, candidates + k, 1, loss + k);
    }
}

static void fit(const struct tile *tile, const struct codes *codes,
                const struct candidate *candidate, struct moments *out)
{
    const vec lo = all((float)codes->lo), hi = all((float)codes->hi);

    for (int b = 0; b < TILE_LANES; b += WIDTH) {
        vec inv = inverse_lanes(load(&candidate->scale[b]));
        vec offset = load(&candidate->offset[b]);
        vec wc = {0}, wcc = {0}, wxc = {0};

        for (int i = 0; i < codes->n; i++) {
            vec x = load(&tile->x[i][b]);
            vec c = code_of(x + offset, inv, lo, hi);
            vec w = load(&tile->w[i][b]) * c;

            wc += w;
            wcc = fma_of(w, c, wcc);
            wxc = fma_of(w, x, wxc);
        }
        store(out->wc + b, wc);
        store(out->wcc + b, wcc);
        store(out->wxc + b, wxc);
    }
}

#endif
