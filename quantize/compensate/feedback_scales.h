/*
 * feedback_scales.h - which scale, offset and small integers a block gets (private; included
 * through feedback_body.h)
 */
#ifndef QUANTIZE_COMPENSATE_FEEDBACK_SCALES_H
#define QUANTIZE_COMPENSATE_FEEDBACK_SCALES_H

#include "quantize/compensate/feedback_span.h"

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

#endif
