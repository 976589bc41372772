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
                                    const vec *u, struct choice *best)
{
    const float *targets = shape->code_max == 7    ? targets_4
                           : shape->code_max == 15 ? targets_5
                                                   : targets_8;
    size_t n_targets = shape->code_max == 7    ? sizeof(targets_4) / sizeof(float)
                       : shape->code_max == 15 ? sizeof(targets_5) / sizeof(float)
                                               : sizeof(targets_8) / sizeof(float);
    const vec x = extremum(u, span->n);
    struct choice candidate = no_choice();
    struct trial trial = {.n = 0};

    *best = no_choice();
    for (size_t i = 0; i < n_targets; i++) {
        candidate.scale = round_half(x / targets[i]);
        add_candidate(span, shape, u, &candidate, &trial, best);
    }
    judge_trial(span, shape, u, &trial, best);

    /* Refit: with y = u U_bb^-1 and z = c U_bb^-1 the best scale for these codes is yz / zz. */
    vec code[MAX_SUB], y[MAX_SUB], z[MAX_SUB], yz = {0}, zz = {0};
    round_span(span, shape, u, best->scale, best->offset, code, y);
    through_inverse(span, u, y);
    through_inverse(span, code, z);
    for (size_t k = 0; k < span->n; k++) {
        yz += y[k] * z[k];
        zz += z[k] * z[k];
    }
    candidate.scale = pick(zz > 0.0f, round_half(yz / zz), (vec){0});
    add_candidate(span, shape, u, &candidate, &trial, best);
    judge_trial(span, shape, u, &trial, best);
}

/* ---- scale and offset ---- */

/* Weighted least squares for value = scale * code - offset with a_k = 1 / U_kk^2, codes from a
 * scan of inverse scales; offset >= 0 when `clip_offset` (K types hold no other). */
static inline void search_affine(const struct span *span, const struct geometry *shape,
                                 const vec *u, bool clip_offset, vec *scale, vec *offset)
{
    enum { STEPS = 41 };
    const float top = (float)shape->code_max;
    const vec none = {0};
    vec low = u[0], high = u[0], best = all(INFINITY), w1 = none, wx = none;

    for (size_t k = 1; k < span->n; k++) {
        low = vmin(u[k], low);
        high = vmax(u[k], high);
    }
    low = clip_offset ? pick(low > 0.0f, none, low) : low;
    high = vmax(low, high);
    *scale = none;
    *offset = -low;
    for (size_t k = 0; k < span->n; k++) {
        const float a = span->inv_diag[k] * span->inv_diag[k];

        w1 += a;
        wx += a * u[k];
    }
    const vec width = inverse_or_zero(high - low);

    for (int step = 0; step < STEPS; step++) {
        const vec inverse = (top - 1.0f + 0.05f * (float)step) * width;
        vec wl = none, wll = none, wlx = none, error = none, q[MAX_SUB];

        for (size_t k = 0; k < span->n; k++) {
            const float a = span->inv_diag[k] * span->inv_diag[k];

            q[k] = nearest(clamp((u[k] - low) * inverse, 0.0f, top));
            const vec aq = a * q[k];
            wl += aq;
            wll += aq * q[k];
            wlx += aq * u[k];
        }
        const vec det = w1 * wll - wl * wl;
        const ivec solvable = det > 0.0f;
        vec s = pick(solvable, (w1 * wlx - wx * wl) / det, none);
        const vec base = pick(solvable, (wll * wx - wl * wlx) / det, none);
        const ivec through_zero = base > 0.0f;
        vec o = -base;
        if (clip_offset) {
            s = pick(through_zero, pick(wll > 0.0f, wlx / wll, none), s);
            o = pick(through_zero, none, o);
        }
        for (size_t k = 0; k < span->n; k++) {
            const float a = span->inv_diag[k] * span->inv_diag[k];
            const vec miss = s * q[k] - o - u[k];

            error += a * miss * miss;
        }
        const ivec better = (s > 0.0f) & (error < best);
        *scale = pick(better, s, *scale);
        *offset = pick(better, o, *offset);
        best = pick(better, error, best);
    }
}

/* Q4_1 and Q5_1: f16 scale and minimum, neighbours of the diagonal optimum, then a joint refit. */
static inline void choose_affine(const struct span *span, const struct geometry *shape,
                                 const vec *u, struct choice *best)
{
    struct choice candidate = no_choice();
    struct trial trial = {.n = 0};
    vec scale, offset;

    search_affine(span, shape, u, false, &scale, &offset);
    *best = no_choice();
    for (int i = -3; i <= 3; i++)
        for (int j = -2; j <= 2; j++) {
            /* Steps of 2 % in scale about the centre of the range, and of a quarter code. */
            const vec s = scale * (1.0f + 0.02f * (float)i);
            const vec middle = 0.5f * (float)shape->code_max * (s - scale);

            candidate.scale = round_half(s);
            candidate.offset = round_half(offset + middle + 0.25f * (float)j * scale);
            add_candidate(span, shape, u, &candidate, &trial, best);
        }
    judge_trial(span, shape, u, &trial, best);

    vec code[MAX_SUB], y[MAX_SUB], z[MAX_SUB], t[MAX_SUB], ones[MAX_SUB];
    vec zz = {0}, zt = {0}, tt = {0}, yz = {0}, yt = {0};
    for (size_t k = 0; k < span->n; k++)
        ones[k] = all(1.0f);
    round_span(span, shape, u, best->scale, best->offset, code, y);
    through_inverse(span, u, y);
    through_inverse(span, code, z);
    through_inverse(span, ones, t);
    for (size_t k = 0; k < span->n; k++) {
        zz += z[k] * z[k];
        zt += z[k] * t[k];
        tt += t[k] * t[k];
        yz += y[k] * z[k];
        yt += y[k] * t[k];
    }
    const vec det = zz * tt - zt * zt;
    const ivec solvable = det > 0.0f;
    candidate.scale = pick(solvable, round_half((yz * tt - yt * zt) / det), best->scale);
    candidate.offset =
        pick(solvable, round_half((yz * zt - yt * zz) / det), best->offset);
    add_candidate(span, shape, u, &candidate, &trial, best);
    judge_trial(span, shape, u, &trial, best);
}

/* ---- K types: small integers times a super-block's f16 ---- */

/* The f16 multiplier for which small integers up to `top` come nearest to the wished values,
 * weighted by a[g]; `sign` -1 sends the value of largest magnitude to -top. */
static inline vec choose_multiplier(const vec *wish, const float *a, size_t n,
                                    float first, float low, float top, float sign)
{
    enum { STEPS = 25 };
    const vec x = extremum(wish, n);
    vec best = all(INFINITY), d = {0};

    for (int step = 0; step < STEPS; step++) {
        const vec candidate = round_half(x / (sign * (first + 0.5f * (float)step)));
        const vec inverse = inverse_or_zero(candidate);
        vec error = {0};

        for (size_t g = 0; g < n; g++) {
            const vec small = nearest(clamp(wish[g] * inverse, low, top));
            const vec miss = wish[g] - candidate * small;

            error += a[g] * miss * miss;
        }
        const ivec better = error < best;
        d = pick(better, candidate, d);
        best = pick(better, error, best);
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
static inline vec search_symmetric(const struct span *span, const struct geometry *shape,
                                   const vec *u)
{
    const float low = (float)shape->code_min, high = (float)shape->code_max;
    const vec inverse_x = inverse_or_zero(extremum(u, span->n));
    vec scale = {0}, best = all(-1.0f);

    for (int step = -9; step <= 9; step++) {
        const vec inverse = (low + 0.25f * (float)step) * inverse_x;
        vec wxl = {0}, wll = {0};

        for (size_t k = 0; k < span->n; k++) {
            const float a = span->inv_diag[k] * span->inv_diag[k];
            const vec q = nearest(clamp(u[k] * inverse, low, high));
            const vec aq = a * q;

            wxl += aq * u[k];
            wll += aq * q;
        }
        const ivec any = wll > 0.0f;
        const vec gain = pick(any, wxl * wxl / wll, (vec){0});
        const ivec better = gain > best;

        scale = pick(better & any, wxl / wll, scale);
        best = pick(better, gain, best);
    }
    return scale;
}

/* On entering a super-block with its u: the f16 multipliers. */
static inline void choose_super(const struct metric *m, size_t first, const vec *u,
                                vec *d, vec *dmin)
{
    const struct geometry *shape = &m->geometry;
    size_t n_subs = shape->super / shape->sub;
    vec scale[MAX_SUBS], offset[MAX_SUBS];
    float a[MAX_SUBS];

    for (size_t g = 0; g < n_subs; g++) {
        struct span span = span_at(m, first + g * shape->sub, shape->sub);

        a[g] = energy(&span);
        if (shape->has_offset)
            search_affine(&span, shape, u + g * shape->sub, true, &scale[g], &offset[g]);
        else
            scale[g] = search_symmetric(&span, shape, u + g * shape->sub);
    }
    *dmin = (vec){0};
    if (!shape->has_offset) {
        *d = choose_multiplier(scale, a, n_subs, 120.0f, -128.0f, 127.0f, -1.0f);
        return;
    }
    *d = choose_multiplier(scale, a, n_subs, 55.0f, 0.0f, 63.0f, 1.0f);
    *dmin = choose_multiplier(offset, a, n_subs, 55.0f, 0.0f, 63.0f, 1.0f);
}

/* One sub-block of a K type: the small integers around the diagonal optimum, judged by (4). */
static inline void choose_small(const struct span *span, const struct geometry *shape,
                                const vec *u, vec d, vec dmin, struct choice *best)
{
    const int reach_mn = shape->has_offset ? 2 : 0, reach_sc = shape->has_offset ? 2 : 1;
    const float low = shape->has_offset ? 0.0f : -128.0f;
    const float high = shape->has_offset ? 63.0f : 127.0f;
    struct choice candidate = no_choice();
    struct trial trial = {.n = 0};
    vec scale, offset = {0};

    if (shape->has_offset)
        search_affine(span, shape, u, true, &scale, &offset);
    else
        scale = search_symmetric(span, shape, u);
    const vec near_sc = nearest(clamp(scale * inverse_or_zero(d), low, high));
    const vec near_mn = nearest(clamp(offset * inverse_or_zero(dmin), 0, 63));
    *best = no_choice();
    for (int i = -reach_sc; i <= reach_sc; i++)
        for (int j = -reach_mn; j <= reach_mn; j++) {
            candidate.sc = clamp(near_sc + (float)i, low, high);
            candidate.mn = clamp(near_mn + (float)j, 0.0f, 63.0f);
            candidate.scale = d * candidate.sc;
            candidate.offset = dmin * candidate.mn;
            add_candidate(span, shape, u, &candidate, &trial, best);
        }
    judge_trial(span, shape, u, &trial, best);
}

#endif
