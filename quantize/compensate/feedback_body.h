/*
 * feedback_body.h - rounding with error feedback, included once by each feedback_<isa>.c
 *
 * Everything here is static: the compiler turns loops over LANES into vectors of whatever width
 * the file is built for. Equation numbers are those of docs/compensation.md.
 */
#ifndef QUANTIZE_COMPENSATE_FEEDBACK_BODY_H
#define QUANTIZE_COMPENSATE_FEEDBACK_BODY_H

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

/* ---- one scale, no offset: Q4_0, Q5_0, Q8_0 ---- */

/* Which code the extremum is sent to; negative: towards the longer, negative side. */
static const float targets_4[] = {
    -7,     -7.25f, -7.5f,  -7.75f, -8,     -8.25f, -8.5f, -8.75f, -9,   -9.25f, -9.5f,
    -9.75f, -10,    -10.5f, -11,    -11.5f, 6.25f,  6.5f,  6.75f,  7,    7.25f,  7.5f,
    7.75f,  8,      8.25f,  8.5f,   8.75f,  9,      9.5f,  10,     10.5f};
static const float targets_5[] = {-14.5f, -15,   -15.5f, -16, -16.5f, -17, -17.5f,
                                  -18,    -19,   -20,    14,  14.5f,  15,  15.5f,
                                  16,     16.5f, 17,     18,  19};
static const float targets_8[] = {120, 122, 124, 126, 127, 128, 130, 134};

static inline void choose_symmetric(const struct span *span, const struct geometry *shape,
                                    const struct lane *u, struct choice *best)
{
    const float *targets = shape->code_max == 7    ? targets_4
                           : shape->code_max == 15 ? targets_5
                                                   : targets_8;
    size_t n_targets = shape->code_max == 7    ? sizeof(targets_4) / sizeof(float)
                       : shape->code_max == 15 ? sizeof(targets_5) / sizeof(float)
                                               : sizeof(targets_8) / sizeof(float);
    struct lane x = extremum(u, span->n), code[MAX_SUB], e[MAX_SUB], loss;
    struct choice candidate = no_choice();

    *best = no_choice();
    for (size_t i = 0; i < n_targets; i++) {
        for (size_t r = 0; r < LANES; r++)
            candidate.scale.v[r] = round_half(x.v[r] / targets[i]);
        try_choice(span, shape, u, &candidate, best);
    }

    /* Refit: with y = u U_bb^-1 and z = c U_bb^-1 the best scale for these codes is yz / zz. */
    struct lane y[MAX_SUB], z[MAX_SUB], yz = {{0}}, zz = {{0}};
    round_span(span, shape, u, &best->scale, &best->offset, code, e, &loss);
    through_inverse(span, u, y);
    through_inverse(span, code, z);
    for (size_t k = 0; k < span->n; k++) {
        for (size_t r = 0; r < LANES; r++)
            yz.v[r] += y[k].v[r] * z[k].v[r];
        for (size_t r = 0; r < LANES; r++)
            zz.v[r] += z[k].v[r] * z[k].v[r];
    }
    for (size_t r = 0; r < LANES; r++)
        candidate.scale.v[r] = zz.v[r] > 0 ? round_half(yz.v[r] / zz.v[r]) : 0.0f;
    try_choice(span, shape, u, &candidate, best);
}

/* ---- scale and offset ---- */

/* Weighted least squares for value = scale * code - offset with a_k = 1 / U_kk^2, codes from a
 * scan of inverse scales; offset >= 0 when `clip_offset` (K types hold no other). */
static inline void search_affine(const struct span *span, const struct geometry *shape,
                                 const struct lane *u, bool clip_offset,
                                 struct lane *scale, struct lane *offset)
{
    enum { STEPS = 41 };
    const float top = (float)shape->code_max;
    struct lane low = u[0], high = u[0], best;

    for (size_t k = 1; k < span->n; k++) {
        for (size_t r = 0; r < LANES; r++)
            low.v[r] = u[k].v[r] < low.v[r] ? u[k].v[r] : low.v[r];
        for (size_t r = 0; r < LANES; r++)
            high.v[r] = u[k].v[r] > high.v[r] ? u[k].v[r] : high.v[r];
    }
    for (size_t r = 0; r < LANES; r++) {
        low.v[r] = clip_offset && low.v[r] > 0 ? 0.0f : low.v[r];
        high.v[r] = high.v[r] < low.v[r] ? low.v[r] : high.v[r];
        scale->v[r] = 0;
        offset->v[r] = -low.v[r];
        best.v[r] = INFINITY;
    }
    for (int step = 0; step < STEPS; step++) {
        const float levels = top - 1.0f + 0.05f * (float)step;
        struct lane inverse, s = {{0}}, o = {{0}}, error = {{0}};
        struct lane w1 = {{0}}, wl = {{0}}, wll = {{0}}, wx = {{0}}, wlx = {{0}};

        for (size_t r = 0; r < LANES; r++)
            inverse.v[r] = levels * inverse_or_zero(high.v[r] - low.v[r]);
        for (size_t k = 0; k < span->n; k++) {
            float a = span->inv_diag[k] * span->inv_diag[k];

            for (size_t r = 0; r < LANES; r++) {
                float x = u[k].v[r];
                float q = nearest(clampf((x - low.v[r]) * inverse.v[r], 0.0f, top));

                w1.v[r] += a;
                wl.v[r] += a * q;
                wll.v[r] += a * q * q;
                wx.v[r] += a * x;
                wlx.v[r] += a * q * x;
            }
        }
        for (size_t r = 0; r < LANES; r++) {
            float det = w1.v[r] * wll.v[r] - wl.v[r] * wl.v[r];
            float ds = det > 0 ? (w1.v[r] * wlx.v[r] - wx.v[r] * wl.v[r]) / det : 0.0f;
            float base = det > 0 ? (wll.v[r] * wx.v[r] - wl.v[r] * wlx.v[r]) / det : 0.0f;
            bool through_zero = clip_offset && base > 0;

            ds = through_zero ? (wll.v[r] > 0 ? wlx.v[r] / wll.v[r] : 0.0f) : ds;
            s.v[r] = ds;
            o.v[r] = through_zero ? 0.0f : -base;
        }
        for (size_t k = 0; k < span->n; k++) {
            float a = span->inv_diag[k] * span->inv_diag[k];

            for (size_t r = 0; r < LANES; r++) {
                float x = u[k].v[r];
                float q = nearest(clampf((x - low.v[r]) * inverse.v[r], 0.0f, top));
                float miss = s.v[r] * q - o.v[r] - x;

                error.v[r] += a * miss * miss;
            }
        }
        for (size_t r = 0; r < LANES; r++) {
            bool better = s.v[r] > 0 && error.v[r] < best.v[r];

            scale->v[r] = better ? s.v[r] : scale->v[r];
            offset->v[r] = better ? o.v[r] : offset->v[r];
            best.v[r] = better ? error.v[r] : best.v[r];
        }
    }
}

/* Q4_1 and Q5_1: f16 scale and minimum, neighbours of the diagonal optimum, then a joint refit. */
static inline void choose_affine(const struct span *span, const struct geometry *shape,
                                 const struct lane *u, struct choice *best)
{
    struct choice candidate = no_choice();
    struct lane scale, offset, code[MAX_SUB], e[MAX_SUB], loss;

    search_affine(span, shape, u, false, &scale, &offset);
    *best = no_choice();
    for (int i = -3; i <= 3; i++)
        for (int j = -2; j <= 2; j++) {
            /* Steps of 2 % in scale about the centre of the range, and of a quarter code. */
            for (size_t r = 0; r < LANES; r++) {
                float s = scale.v[r] * (1.0f + 0.02f * (float)i);
                float middle = 0.5f * (float)shape->code_max * (s - scale.v[r]);

                candidate.scale.v[r] = round_half(s);
                candidate.offset.v[r] =
                    round_half(offset.v[r] + middle + 0.25f * (float)j * scale.v[r]);
            }
            try_choice(span, shape, u, &candidate, best);
        }

    struct lane y[MAX_SUB], z[MAX_SUB], t[MAX_SUB], ones[MAX_SUB];
    struct lane zz = {{0}}, zt = {{0}}, tt = {{0}}, yz = {{0}}, yt = {{0}};
    for (size_t k = 0; k < span->n; k++)
        for (size_t r = 0; r < LANES; r++)
            ones[k].v[r] = 1.0f;
    round_span(span, shape, u, &best->scale, &best->offset, code, e, &loss);
    through_inverse(span, u, y);
    through_inverse(span, code, z);
    through_inverse(span, ones, t);
    for (size_t k = 0; k < span->n; k++)
        for (size_t r = 0; r < LANES; r++) {
            zz.v[r] += z[k].v[r] * z[k].v[r];
            zt.v[r] += z[k].v[r] * t[k].v[r];
            tt.v[r] += t[k].v[r] * t[k].v[r];
            yz.v[r] += y[k].v[r] * z[k].v[r];
            yt.v[r] += y[k].v[r] * t[k].v[r];
        }
    for (size_t r = 0; r < LANES; r++) {
        float det = zz.v[r] * tt.v[r] - zt.v[r] * zt.v[r];
        bool solvable = det > 0;

        candidate.scale.v[r] =
            solvable ? round_half((yz.v[r] * tt.v[r] - yt.v[r] * zt.v[r]) / det)
                     : best->scale.v[r];
        candidate.offset.v[r] =
            solvable ? round_half((yz.v[r] * zt.v[r] - yt.v[r] * zz.v[r]) / det)
                     : best->offset.v[r];
    }
    try_choice(span, shape, u, &candidate, best);
}

/* ---- K types: small integers times a super-block's f16 ---- */

/* The f16 multiplier for which small integers up to `top` come nearest to the wished values,
 * weighted by a[g]; `sign` -1 sends the value of largest magnitude to -top. */
static inline struct lane choose_multiplier(const struct lane *wish, const float *a,
                                            size_t n, float first, float low, float top,
                                            float sign)
{
    enum { STEPS = 25 };
    struct lane x = extremum(wish, n), best, d = {{0}};

    for (size_t r = 0; r < LANES; r++)
        best.v[r] = INFINITY;
    for (int step = 0; step < STEPS; step++) {
        float q = sign * (first + 0.5f * (float)step);
        struct lane candidate, inverse, error = {{0}};

        for (size_t r = 0; r < LANES; r++)
            candidate.v[r] = round_half(x.v[r] / q);
        for (size_t r = 0; r < LANES; r++)
            inverse.v[r] = inverse_or_zero(candidate.v[r]);
        for (size_t g = 0; g < n; g++)
            for (size_t r = 0; r < LANES; r++) {
                float small = nearest(clampf(wish[g].v[r] * inverse.v[r], low, top));
                float miss = wish[g].v[r] - candidate.v[r] * small;

                error.v[r] += a[g] * miss * miss;
            }
        for (size_t r = 0; r < LANES; r++) {
            bool better = error.v[r] < best.v[r];

            d.v[r] = better ? candidate.v[r] : d.v[r];
            best.v[r] = better ? error.v[r] : best.v[r];
        }
    }
    return d;
}

static inline float energy(const struct span *span)
{
    float sum = 0;

    for (size_t k = 0; k < span->n; k++)
        sum += span->inv_diag[k] * span->inv_diag[k];
    return sum;
}

/* The least-squares scale of one sub-block of Q6_K. */
static inline struct lane search_symmetric(const struct span *span,
                                           const struct geometry *shape,
                                           const struct lane *u)
{
    const float low = (float)shape->code_min, high = (float)shape->code_max;
    struct lane x = extremum(u, span->n), scale = {{0}}, best;

    for (size_t r = 0; r < LANES; r++)
        best.v[r] = -1.0f;
    for (int step = -9; step <= 9; step++) {
        struct lane inverse, wxl = {{0}}, wll = {{0}};

        for (size_t r = 0; r < LANES; r++)
            inverse.v[r] = (low + 0.25f * (float)step) * inverse_or_zero(x.v[r]);
        for (size_t k = 0; k < span->n; k++) {
            float a = span->inv_diag[k] * span->inv_diag[k];

            for (size_t r = 0; r < LANES; r++) {
                float q = nearest(clampf(u[k].v[r] * inverse.v[r], low, high));

                wxl.v[r] += a * u[k].v[r] * q;
                wll.v[r] += a * q * q;
            }
        }
        for (size_t r = 0; r < LANES; r++) {
            float gain = wll.v[r] > 0 ? wxl.v[r] * wxl.v[r] / wll.v[r] : 0.0f;
            bool better = gain > best.v[r];

            scale.v[r] = better && wll.v[r] > 0 ? wxl.v[r] / wll.v[r] : scale.v[r];
            best.v[r] = better ? gain : best.v[r];
        }
    }
    return scale;
}

/* On entering super-block s with its u: the f16 multipliers. */
static inline void choose_super(const struct metric *m, size_t first,
                                const struct lane *u, struct lane *d, struct lane *dmin)
{
    const struct geometry *shape = &m->geometry;
    size_t n_subs = shape->super / shape->sub;
    struct lane scale[MAX_SUBS], offset[MAX_SUBS];
    float a[MAX_SUBS];

    for (size_t g = 0; g < n_subs; g++) {
        struct span span = span_at(m, first + g * shape->sub, shape->sub);

        a[g] = energy(&span);
        if (shape->has_offset)
            search_affine(&span, shape, u + g * shape->sub, true, &scale[g], &offset[g]);
        else
            scale[g] = search_symmetric(&span, shape, u + g * shape->sub);
    }
    if (!shape->has_offset) {
        *d = choose_multiplier(scale, a, n_subs, 120.0f, -128.0f, 127.0f, -1.0f);
        return;
    }
    *d = choose_multiplier(scale, a, n_subs, 55.0f, 0.0f, 63.0f, 1.0f);
    *dmin = choose_multiplier(offset, a, n_subs, 55.0f, 0.0f, 63.0f, 1.0f);
}

/* One sub-block of a K type: the small integers around the diagonal optimum, judged by (4). */
static inline void choose_small(const struct span *span, const struct geometry *shape,
                                const struct lane *u, const struct lane *d,
                                const struct lane *dmin, struct choice *best)
{
    struct lane scale, offset = {{0}};
    struct choice candidate = no_choice();
    int reach_mn = shape->has_offset ? 2 : 0, reach_sc = shape->has_offset ? 2 : 1;
    float low = shape->has_offset ? 0.0f : -128.0f,
          high = shape->has_offset ? 63.0f : 127.0f;

    if (shape->has_offset)
        search_affine(span, shape, u, true, &scale, &offset);
    else
        scale = search_symmetric(span, shape, u);
    *best = no_choice();
    for (int i = -reach_sc; i <= reach_sc; i++)
        for (int j = -reach_mn; j <= reach_mn; j++) {
            for (size_t r = 0; r < LANES; r++) {
                float near_sc =
                    nearest(clampf(scale.v[r] * inverse_or_zero(d->v[r]), low, high));
                float near_mn =
                    nearest(clampf(offset.v[r] * inverse_or_zero(dmin->v[r]), 0, 63));

                candidate.sc.v[r] = clampf(near_sc + (float)i, low, high);
                candidate.mn.v[r] = clampf(near_mn + (float)j, 0.0f, 63.0f);
                candidate.scale.v[r] = d->v[r] * candidate.sc.v[r];
                candidate.offset.v[r] = dmin->v[r] * candidate.mn.v[r];
            }
            try_choice(span, shape, u, &candidate, best);
        }
}

/* ---- the feedback, block after block ---- */

static inline void round_sub(const struct metric *m, struct tile *tile, size_t first,
                             const struct lane *u)
{
    const struct geometry *shape = &m->geometry;
    struct span span = span_at(m, first, shape->sub);
    size_t b = first / shape->sub, s = first / shape->super;
    struct choice best;
    struct lane loss;

    if (shape->is_k)
        choose_small(&span, shape, u, &tile->d[s], &tile->dmin[s], &best);
    else if (shape->has_offset)
        choose_affine(&span, shape, u, &best);
    else
        choose_symmetric(&span, shape, u, &best);
    tile->scale[b] = best.scale;
    tile->offset[b] = best.offset;
    tile->sc[b] = best.sc;
    tile->mn[b] = best.mn;
    round_span(&span, shape, u, &best.scale, &best.offset, tile->code + first,
               tile->e + first, &loss);
}

static void feed_errors(const struct metric *m, struct tile *tile)
{
    const struct geometry *shape = &m->geometry;

    for (size_t first = 0; first < m->n; first += shape->super) {
        subtract_products(m->l, m->n, first, shape->super, tile->w + first, tile->e, 0,
                          first, tile->u);
        if (shape->is_k)
            choose_super(m, first, tile->u, &tile->d[first / shape->super],
                         &tile->dmin[first / shape->super]);
        for (size_t at = first; at < first + shape->super; at += shape->sub) {
            struct lane *u = tile->u + (at - first);

            subtract_products(m->l, m->n, at, shape->sub, u, tile->e, first, at, u);
            round_sub(m, tile, at, u);
        }
    }
}

/* ---- coordinate descent with all of H' ---- */

static inline struct lane decoded(const struct tile *tile, size_t k, size_t b)
{
    struct lane q;

    for (size_t r = 0; r < LANES; r++)
        q.v[r] = tile->scale[b].v[r] * tile->code[k].v[r] - tile->offset[b].v[r];
    return q;
}

/* Move the sub-block's scale along its codes, then its offset, where that lowers the loss; g of
 * the sub-block follows. */
static inline void move_scale(const struct metric *m, struct tile *tile, size_t first)
{
    const struct geometry *shape = &m->geometry;
    size_t b = first / shape->sub, s = first / shape->super, n = shape->sub;
    struct lane *g = tile->e + first, *code = tile->code + first;
    struct lane hc[MAX_SUB], cg = {{0}}, chc = {{0}}, step;

    for (size_t k = 0; k < n; k++) {
        const float *row = m->h + (first + k) * m->n + first;

        hc[k] = (struct lane){{0}};
        for (size_t j = 0; j < n; j++)
            for (size_t r = 0; r < LANES; r++)
                hc[k].v[r] += row[j] * code[j].v[r];
        for (size_t r = 0; r < LANES; r++)
            cg.v[r] += code[k].v[r] * g[k].v[r];
        for (size_t r = 0; r < LANES; r++)
            chc.v[r] += code[k].v[r] * hc[k].v[r];
    }
    for (size_t r = 0; r < LANES; r++) {
        float old = tile->scale[b].v[r];
        float wish = chc.v[r] > 0 ? old + cg.v[r] / chc.v[r] : old;
        float low = shape->has_offset ? 0.0f : -128.0f,
              high = shape->has_offset ? 63.0f : 127.0f;
        float small =
            shape->is_k
                ? nearest(clampf(wish * inverse_or_zero(tile->d[s].v[r]), low, high))
                : 0.0f;
        float moved = (shape->is_k ? tile->d[s].v[r] * small : round_half(wish)) - old;
        bool better = 2.0f * moved * cg.v[r] - moved * moved * chc.v[r] > 0;

        step.v[r] = better ? moved : 0.0f;
        tile->sc[b].v[r] = better ? small : tile->sc[b].v[r];
        tile->scale[b].v[r] = better ? old + moved : old;
    }
    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < LANES; r++)
            g[k].v[r] -= step.v[r] * hc[k].v[r];
}

static inline void move_offset(const struct metric *m, struct tile *tile, size_t first)
{
    const struct geometry *shape = &m->geometry;
    size_t b = first / shape->sub, s = first / shape->super, n = shape->sub;
    struct lane *g = tile->e + first, sum = {{0}}, step;
    float h1[MAX_SUB], all = 0;

    for (size_t k = 0; k < n; k++) {
        const float *row = m->h + (first + k) * m->n + first;

        h1[k] = 0;
        for (size_t j = 0; j < n; j++)
            h1[k] += row[j];
        all += h1[k];
        for (size_t r = 0; r < LANES; r++)
            sum.v[r] += g[k].v[r];
    }
    for (size_t r = 0; r < LANES; r++) {
        float old = tile->offset[b].v[r];
        float wish = all > 0 ? old - sum.v[r] / all : old;
        float small =
            shape->is_k
                ? nearest(clampf(wish * inverse_or_zero(tile->dmin[s].v[r]), 0, 63))
                : 0;
        float moved = (shape->is_k ? tile->dmin[s].v[r] * small : round_half(wish)) - old;
        bool better = -2.0f * moved * sum.v[r] - moved * moved * all > 0;

        step.v[r] = better ? moved : 0.0f;
        tile->mn[b].v[r] = better ? small : tile->mn[b].v[r];
        tile->offset[b].v[r] = better ? old + moved : old;
    }
    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < LANES; r++)
            g[k].v[r] += step.v[r] * h1[k];
}

/* Codes one after the other, each to its best integer given all others. */
static inline void move_codes(const struct metric *m, struct tile *tile, size_t first)
{
    const struct geometry *shape = &m->geometry;
    size_t b = first / shape->sub, n = shape->sub;
    const float low = (float)shape->code_min, high = (float)shape->code_max;
    struct lane *g = tile->e + first, *code = tile->code + first, inverse;

    for (size_t r = 0; r < LANES; r++)
        inverse.v[r] = inverse_or_zero(tile->scale[b].v[r]);
    for (size_t k = 0; k < n; k++) {
        const float *row = m->h + (first + k) * m->n + first;
        float step = 1.0f / row[k];
        struct lane moved;

        for (size_t r = 0; r < LANES; r++) {
            /* (q + g / H_kk + offset) / scale, with q + offset = scale * code. */
            float wish = code[k].v[r] + g[k].v[r] * step * inverse.v[r];
            float q = nearest(clampf(wish, low, high));

            q = inverse.v[r] == 0.0f ? code[k].v[r] : q;
            moved.v[r] = tile->scale[b].v[r] * (q - code[k].v[r]);
            code[k].v[r] = q;
        }
        for (size_t j = 0; j < n; j++)
            for (size_t r = 0; r < LANES; r++)
                g[j].v[r] -= row[j] * moved.v[r];
    }
}

/* One sub-block; then g of every other position, once. */
static void descend_sub(const struct metric *m, struct tile *tile, size_t first)
{
    const struct geometry *shape = &m->geometry;
    size_t b = first / shape->sub, n = shape->sub;
    struct lane before[MAX_SUB], change[MAX_SUB];
    float any = 0;

    for (size_t k = 0; k < n; k++)
        before[k] = decoded(tile, first + k, b);
    move_scale(m, tile, first);
    if (shape->has_offset)
        move_offset(m, tile, first);
    move_codes(m, tile, first);
    for (size_t k = 0; k < n; k++) {
        struct lane after = decoded(tile, first + k, b);

        for (size_t r = 0; r < LANES; r++)
            change[k].v[r] = after.v[r] - before[k].v[r];
        for (size_t r = 0; r < LANES; r++)
            any += fabsf(change[k].v[r]);
    }
    if (any == 0)
        return;
    /* H' is symmetric, so rows of it serve as columns. */
    for (size_t part = 0; part < 2; part++) {
        size_t from = part ? first + n : 0, to = part ? m->n : first;

        for (size_t j = from; j < to; j += 4)
            for (size_t i = j; i < j + 4; i++) {
                const float *row = m->h + i * m->n + first;
                struct lane g = tile->e[i];

                for (size_t k = 0; k < n; k++)
                    for (size_t r = 0; r < LANES; r++)
                        g.v[r] -= row[k] * change[k].v[r];
                tile->e[i] = g;
            }
    }
}

static void round_tile(const struct metric *m, struct tile *tile, double loss[LANES])
{
    const struct geometry *shape = &m->geometry;
    size_t n = m->n;

    feed_errors(m, tile);

    /* The errors are done with; their array becomes g = H'(w - q) = 0 - H'(q - w). */
    for (size_t k = 0; k < n; k++) {
        struct lane q = decoded(tile, k, k / shape->sub);

        for (size_t r = 0; r < LANES; r++)
            tile->u[k].v[r] = q.v[r] - tile->w[k].v[r];
        tile->e[k] = (struct lane){{0}};
    }
    subtract_products(m->h, n, 0, n, tile->e, tile->u, 0, n, tile->e);

    for (unsigned sweep = 0; sweep < m->sweeps; sweep++)
        for (size_t first = 0; first < n; first += shape->sub)
            descend_sub(m, tile, first);

    for (size_t r = 0; r < LANES; r++)
        loss[r] = 0;
    for (size_t k = 0; k < n; k++) {
        struct lane q = decoded(tile, k, k / shape->sub);

        for (size_t r = 0; r < LANES; r++)
            loss[r] += (double)(tile->w[k].v[r] - q.v[r]) * (double)tile->e[k].v[r];
    }
}

#endif
