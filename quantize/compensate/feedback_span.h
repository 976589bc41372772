/*
 * feedback_span.h - the steps on one run of columns: products, rounding, the best candidate
 * (private; included through feedback_body.h)
 *
 * Equation numbers are those of feedback_body.h.
 */
#ifndef QUANTIZE_COMPENSATE_FEEDBACK_SPAN_H
#define QUANTIZE_COMPENSATE_FEEDBACK_SPAN_H

#include "quantize/compensate/feedback_table.h"

#include <math.h>

enum { MAX_SUB = 32, MAX_SUBS = 16 };

/* Nearest integer, ties to even, for |x| < 2^22; vectorises on every instruction set. */
static inline float nearest(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

static inline float clampf(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* x as an f16 would hold it (nearest even, at most 65504), without leaving f32. */
static inline float round_half(float x)
{
    float size = fabsf(x);
    uint32_t bits;
    float normal, small = ((size * 0x1p24f + 8388608.0f) - 8388608.0f) * 0x1p-24f;

    memcpy(&bits, &size, sizeof(bits));
    bits = (bits + 0x0fffu + ((bits >> 13) & 1u)) & ~0x1fffu;
    memcpy(&normal, &bits, sizeof(normal));
    normal = size < 0x1p-14f ? small : normal;
    return copysignf(normal > 65504.0f ? 65504.0f : normal, x);
}

static inline float inverse_or_zero(float x)
{
    return fabsf(x) < 0x1p-24f ? 0.0f : 1.0f / x;
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

/* out[k] = base[first + k] - sum over j in [from, to) of matrix[first + k][j] * x[j]     (3) */
static inline void subtract_products(const float *matrix, size_t n, size_t first,
                                     size_t count, const struct lane *base,
                                     const struct lane *x, size_t from, size_t to,
                                     struct lane *out)
{
    for (size_t k = 0; k < count; k += 4) {
        const float *row = matrix + (first + k) * n;
        struct lane a = base[k], b = base[k + 1], c = base[k + 2], d = base[k + 3];

        for (size_t j = from; j < to; j++) {
            float p = row[j], q = row[n + j], s = row[2 * n + j], t = row[3 * n + j];

            for (size_t r = 0; r < LANES; r++)
                a.v[r] -= p * x[j].v[r];
            for (size_t r = 0; r < LANES; r++)
                b.v[r] -= q * x[j].v[r];
            for (size_t r = 0; r < LANES; r++)
                c.v[r] -= s * x[j].v[r];
            for (size_t r = 0; r < LANES; r++)
                d.v[r] -= t * x[j].v[r];
        }
        out[k] = a;
        out[k + 1] = b;
        out[k + 2] = c;
        out[k + 3] = d;
    }
}

/* Round one span column after column with this scale and offset; errors, codes and the span's
 * contribution to the loss.                                                               (4) */
static inline void round_span(const struct span *span, const struct geometry *shape,
                              const struct lane *u, const struct lane *scale,
                              const struct lane *offset, struct lane *code,
                              struct lane *e, struct lane *loss)
{
    const float low = (float)shape->code_min, high = (float)shape->code_max;
    struct lane inverse, sum = {{0}};

    for (size_t r = 0; r < LANES; r++)
        inverse.v[r] = inverse_or_zero(scale->v[r]);
    for (size_t k = 0; k < span->n; k++) {
        const float *row = span->l + k * span->stride;
        struct lane v = u[k];

        for (size_t j = 0; j < k; j++)
            for (size_t r = 0; r < LANES; r++)
                v.v[r] -= row[j] * e[j].v[r];
        for (size_t r = 0; r < LANES; r++) {
            float t = v.v[r] + offset->v[r];
            float q = nearest(clampf(t * inverse.v[r], low, high));
            float miss = (t - scale->v[r] * q) * span->inv_diag[k];

            code[k].v[r] = q;
            e[k].v[r] = miss;
            sum.v[r] += miss * miss;
        }
    }
    *loss = sum;
}

/* The recursion of (4) without rounding: y = x U_bb^-1. */
static inline void through_inverse(const struct span *span, const struct lane *x,
                                   struct lane *y)
{
    for (size_t k = 0; k < span->n; k++) {
        const float *row = span->l + k * span->stride;
        struct lane v = x[k];

        for (size_t j = 0; j < k; j++)
            for (size_t r = 0; r < LANES; r++)
                v.v[r] -= row[j] * y[j].v[r];
        for (size_t r = 0; r < LANES; r++)
            y[k].v[r] = v.v[r] * span->inv_diag[k];
    }
}

/* The best so far of one span: scale, offset (and the small integers behind them). */
struct choice {
    struct lane scale, offset, sc, mn, loss;
};

static inline void try_choice(const struct span *span, const struct geometry *shape,
                              const struct lane *u, const struct choice *candidate,
                              struct choice *best)
{
    struct lane code[MAX_SUB], e[MAX_SUB], loss;

    round_span(span, shape, u, &candidate->scale, &candidate->offset, code, e, &loss);
    for (size_t r = 0; r < LANES; r++) {
        bool better = loss.v[r] < best->loss.v[r];

        best->scale.v[r] = better ? candidate->scale.v[r] : best->scale.v[r];
        best->offset.v[r] = better ? candidate->offset.v[r] : best->offset.v[r];
        best->sc.v[r] = better ? candidate->sc.v[r] : best->sc.v[r];
        best->mn.v[r] = better ? candidate->mn.v[r] : best->mn.v[r];
        best->loss.v[r] = better ? loss.v[r] : best->loss.v[r];
    }
}

static inline struct choice no_choice(void)
{
    struct choice none = {{{0}}, {{0}}, {{0}}, {{0}}, {{0}}};

    for (size_t r = 0; r < LANES; r++)
        none.loss.v[r] = INFINITY;
    return none;
}

/* The element of largest magnitude, first wins. */
static inline struct lane extremum(const struct lane *u, size_t n)
{
    struct lane x = u[0];

    for (size_t k = 1; k < n; k++)
        for (size_t r = 0; r < LANES; r++)
            x.v[r] = fabsf(u[k].v[r]) > fabsf(x.v[r]) ? u[k].v[r] : x.v[r];
    return x;
}

#endif
