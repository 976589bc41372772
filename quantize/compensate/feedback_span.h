/*
 * feedback_span.h - the steps on one run of columns: rounding, the best candidate (private)
 *
 * Included through feedback_body.h by feedback_<isa>.c, after it has defined
 *
 *     WIDTH           lanes of a vector: 4, 8 or 16; a tile's 16 rows are 16 / WIDTH parts
 *     vec, ivec       WIDTH floats, WIDTH int32_t, as GNU vector types
 *     pick(m, a, b)   a where the mask is all ones, b where it is zero
 *     vmin, vmax      a < b ? a : b,  a > b ? a : b
 *
 * Everything is written in these, a lane a row: the same operations in the same order whatever
 * WIDTH is. Equation numbers are those of feedback_body.h.
 */
#ifndef QUANTIZE_COMPENSATE_FEEDBACK_SPAN_H
#define QUANTIZE_COMPENSATE_FEEDBACK_SPAN_H

#include "quantize/compensate/feedback_table.h"

#include <math.h>

enum { MAX_SUB = 32, MAX_SUBS = 16, PARTS = LANES / WIDTH };

static inline vec all(float x)
{
    return x - (vec){0};
}

/* Part p of a row of lanes. */
static inline vec load(const struct lane *lane, size_t p)
{
    vec x;

    memcpy(&x, lane->v + p * WIDTH, sizeof(x));
    return x;
}

static inline void store(struct lane *lane, size_t p, vec x)
{
    memcpy(lane->v + p * WIDTH, &x, sizeof(x));
}

/* Nearest integer, ties to even, for |x| < 2^22. */
static inline vec nearest(vec x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

static inline vec clamp(vec x, float low, float high)
{
    return vmin(all(high), vmax(all(low), x));
}

static inline vec magnitude(vec x)
{
    return (vec)((ivec)x & 0x7fffffff);
}

/* x as an f16 would hold it (nearest even, at most 65504), without leaving f32. */
static inline vec round_half(vec x)
{
    vec size = magnitude(x);
    ivec bits = (ivec)size;
    vec small = ((size * 0x1p24f + 8388608.0f) - 8388608.0f) * 0x1p-24f;

    bits = (bits + 0x0fff + ((bits >> 13) & 1)) & ~0x1fff;
    vec normal = pick(size < 0x1p-14f, small, (vec)bits);
    normal = vmin(all(65504.0f), normal);
    return (vec)((ivec)normal | ((ivec)x & INT32_MIN));
}

static inline vec inverse_or_zero(vec x)
{
    return pick(magnitude(x) < 0x1p-24f, (vec){0}, 1.0f / x);
}

/* A run of positions and how its columns act on each other. */
struct span {
    const float *l; /* &U[first column][first column]: row k at l + k * stride */
    const float *inv_diag;
    size_t stride, n;
};

static inline struct span span_at(const struct metric *m, size_t first, size_t n)
{
    return (struct span){m->l + first * m->n + first, m->inv_diag + first, m->n, n};
}

/* Round one span column after column with this scale and offset; errors, codes and the span's
 * contribution to the loss. Every error goes into the columns behind it at once: for each column
 * the order of subtractions is that of (4).                                               (4) */
static inline vec round_span(const struct span *span, const struct geometry *shape,
                             const vec *u, vec scale, vec offset, vec *code, vec *e)
{
    const float low = (float)shape->code_min, high = (float)shape->code_max;
    const vec inverse = inverse_or_zero(scale);
    vec sum = {0};

    memcpy(e, u, span->n * sizeof(*e));
    for (size_t k = 0; k < span->n; k++) {
        const vec t = e[k] + offset;

        code[k] = nearest(clamp(t * inverse, low, high));
        const vec miss = (t - scale * code[k]) * span->inv_diag[k];
        e[k] = miss;
        sum += miss * miss;
        for (size_t j = k + 1; j < span->n; j++)
            e[j] -= span->l[j * span->stride + k] * miss;
    }
    return sum;
}

/* The recursion of (4) without rounding: y = x U_bb^-1. */
static inline void through_inverse(const struct span *span, const vec *x, vec *y)
{
    memcpy(y, x, span->n * sizeof(*y));
    for (size_t k = 0; k < span->n; k++) {
        y[k] *= span->inv_diag[k];
        for (size_t j = k + 1; j < span->n; j++)
            y[j] -= span->l[j * span->stride + k] * y[k];
    }
}

/* A scale and an offset for one span, the small integers behind them, and what they cost. */
struct choice {
    vec scale, offset, sc, mn, loss;
};

static inline struct choice no_choice(void)
{
    return (struct choice){.loss = all(INFINITY)};
}

/* Candidates are rounded this many at a time: each waits for its own sums, and together they keep
 * the arithmetic busy. */
enum { BATCH = 4 };

/* Candidates gathered until a batch is full. */
struct trial {
    struct choice candidates[BATCH];
    size_t n;
};

/* The loss of each of a batch's candidates, by (4). */
static inline void judge_batch(const struct span *span, const struct geometry *shape,
                               const vec *u, struct choice candidates[BATCH])
{
    const float low = (float)shape->code_min, high = (float)shape->code_max;
    vec e[MAX_SUB][BATCH], inverse[BATCH], sum[BATCH] = {{0}};

    for (size_t i = 0; i < BATCH; i++)
        inverse[i] = inverse_or_zero(candidates[i].scale);
    for (size_t k = 0; k < span->n; k++) {
        const float *row = span->l + k * span->stride;
        vec v[BATCH] = {u[k], u[k], u[k], u[k]};

        for (size_t j = 0; j < k; j++)
            for (size_t i = 0; i < BATCH; i++)
                v[i] -= row[j] * e[j][i];
        for (size_t i = 0; i < BATCH; i++) {
            const vec t = v[i] + candidates[i].offset;
            const vec q = nearest(clamp(t * inverse[i], low, high));
            const vec miss = (t - candidates[i].scale * q) * span->inv_diag[k];

            e[k][i] = miss;
            sum[i] += miss * miss;
        }
    }
    for (size_t i = 0; i < BATCH; i++)
        candidates[i].loss = sum[i];
}

/* Judge what is gathered; the first of equals wins. */
static inline void judge_trial(const struct span *span, const struct geometry *shape,
                               const vec *u, struct trial *trial, struct choice *best)
{
    if (trial->n == 0)
        return;
    for (size_t i = trial->n; i < BATCH; i++)
        trial->candidates[i] = trial->candidates[0];
    judge_batch(span, shape, u, trial->candidates);
    for (size_t i = 0; i < trial->n; i++) {
        const struct choice *c = &trial->candidates[i];
        const ivec better = c->loss < best->loss;

        best->scale = pick(better, c->scale, best->scale);
        best->offset = pick(better, c->offset, best->offset);
        best->sc = pick(better, c->sc, best->sc);
        best->mn = pick(better, c->mn, best->mn);
        best->loss = pick(better, c->loss, best->loss);
    }
    trial->n = 0;
}

static inline void add_candidate(const struct span *span, const struct geometry *shape,
                                 const vec *u, const struct choice *candidate,
                                 struct trial *trial, struct choice *best)
{
    trial->candidates[trial->n++] = *candidate;
    if (trial->n == BATCH)
        judge_trial(span, shape, u, trial, best);
}

/* The element of largest magnitude, first wins. */
static inline vec extremum(const vec *u, size_t n)
{
    vec x = u[0];

    for (size_t k = 1; k < n; k++)
        x = pick(magnitude(u[k]) > magnitude(x), u[k], x);
    return x;
}

#endif
