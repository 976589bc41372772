/*
 * feedback_body.h - rounding with error feedback, included once by each feedback_<isa>.c
 *
 *     u_k = w_k - sum over columns j visited before the block of U_jk e_j               (3)
 *     v = u_k - sum over j before k in the block of U_jk e_j
 *     c_k = clamp(round((v + offset) / scale)),  e_k = (v + offset - scale c_k) / U_kk   (4)
 *     loss of the block = sum of e_k^2
 */
#ifndef QUANTIZE_COMPENSATE_FEEDBACK_BODY_H
#define QUANTIZE_COMPENSATE_FEEDBACK_BODY_H

#include "quantize/compensate/feedback_scales.h"

/* out[k] = base[k] - sum over j in [from, to) of matrix[k][j] * x[j], rows of `stride`; `count` is a
 * multiple of 8. Every sum runs over j upwards.                                           (3) */
static void subtract_products(const float *matrix, size_t stride, size_t count,
                              const struct lane *base, const struct lane *x, size_t from,
                              size_t to, struct lane *out)
{
    enum { ROWS = 8 };

    for (size_t k = 0; k < count; k += ROWS)
        for (size_t p = 0; p < PARTS; p++) {
            const float *row = matrix + k * stride;
            vec a[ROWS];

            for (size_t i = 0; i < ROWS; i++)
                a[i] = load(base + k + i, p);
            for (size_t j = from; j < to; j++) {
                const vec at = load(x + j, p);

                for (size_t i = 0; i < ROWS; i++)
                    a[i] -= row[i * stride + j] * at;
            }
            for (size_t i = 0; i < ROWS; i++)
                store(out + k + i, p, a[i]);
        }
}

static inline void load_all(const struct lane *from, size_t n, size_t p, vec *to)
{
    for (size_t k = 0; k < n; k++)
        to[k] = load(from + k, p);
}

static inline void store_all(const vec *from, size_t n, size_t p, struct lane *to)
{
    for (size_t k = 0; k < n; k++)
        store(to + k, p, from[k]);
}

/* ---- the feedback, block after block ---- */

static void enter_super(const struct metric *m, struct tile *tile, size_t first)
{
    const size_t s = first / m->geometry.super;
    vec u[MAX_SUB * MAX_SUBS / 2], d, dmin;

    for (size_t p = 0; p < PARTS; p++) {
        load_all(tile->u, m->geometry.super, p, u);
        choose_super(m, first, u, &d, &dmin);
        store(&tile->d[s], p, d);
        store(&tile->dmin[s], p, dmin);
    }
}

static void round_sub(const struct metric *m, struct tile *tile, size_t first,
                      const struct lane *lanes, size_t p)
{
    const struct geometry *shape = &m->geometry;
    const struct span span = span_at(m, first, shape->sub);
    const size_t b = first / shape->sub, s = first / shape->super;
    struct choice best;
    vec u[MAX_SUB], code[MAX_SUB], e[MAX_SUB];

    load_all(lanes, shape->sub, p, u);
    if (shape->is_k)
        choose_small(&span, shape, u, load(&tile->d[s], p), load(&tile->dmin[s], p),
                     &best);
    else if (shape->has_offset)
        choose_affine(&span, shape, u, &best);
    else
        choose_symmetric(&span, shape, u, &best);
    store(&tile->scale[b], p, best.scale);
    store(&tile->offset[b], p, best.offset);
    store(&tile->sc[b], p, best.sc);
    store(&tile->mn[b], p, best.mn);
    round_span(&span, shape, u, best.scale, best.offset, code, e);
    store_all(code, shape->sub, p, tile->code + first);
    store_all(e, shape->sub, p, tile->e + first);
}

static void feed_errors(const struct metric *m, struct tile *tile)
{
    const struct geometry *shape = &m->geometry;

    for (size_t first = 0; first < m->n; first += shape->super) {
        subtract_products(m->l + first * m->n, m->n, shape->super, tile->w + first,
                          tile->e, 0, first, tile->u);
        if (shape->is_k)
            enter_super(m, tile, first);
        for (size_t at = first; at < first + shape->super; at += shape->sub) {
            struct lane *u = tile->u + (at - first);

            subtract_products(m->l + at * m->n, m->n, shape->sub, u, tile->e, first, at,
                              u);
            for (size_t p = 0; p < PARTS; p++)
                round_sub(m, tile, at, u, p);
        }
    }
}

/* ---- coordinate descent with all of H' ---- */

/* One part of a sub-block under descent: g = H'(w - q) and codes are copies. */
struct descent {
    const struct geometry *shape;
    const float *h; /* H' of the sub-block's own columns: row k at h + k * stride */
    size_t stride, n;
    vec g[MAX_SUB], code[MAX_SUB];
    vec scale, offset, sc, mn, d, dmin;
};

/* Move the scale along the codes, where that lowers the loss; g follows. */
static inline void move_scale(struct descent *at)
{
    const float low = at->shape->has_offset ? 0.0f : -128.0f;
    const float high = at->shape->has_offset ? 63.0f : 127.0f;
    const size_t n = at->n;
    vec hc[MAX_SUB], cg = {0}, chc = {0}, small = {0}, wish;

    for (size_t k = 0; k < n; k += 4) {
        const float *row = at->h + k * at->stride;
        vec sum[4] = {{0}};

        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < 4; i++)
                sum[i] += row[i * at->stride + j] * at->code[j];
        memcpy(hc + k, sum, sizeof(sum));
    }
    for (size_t k = 0; k < n; k++) {
        cg += at->code[k] * at->g[k];
        chc += at->code[k] * hc[k];
    }
    wish = pick(chc > 0.0f, at->scale + cg / chc, at->scale);
    if (at->shape->is_k) {
        small = nearest(clamp(wish * inverse_or_zero(at->d), low, high));
        wish = at->d * small;
    } else {
        wish = round_half(wish);
    }
    const vec moved = wish - at->scale;
    const ivec better = 2.0f * moved * cg - moved * moved * chc > 0.0f;
    const vec step = pick(better, moved, (vec){0});

    at->sc = pick(better, small, at->sc);
    at->scale = pick(better, at->scale + moved, at->scale);
    for (size_t k = 0; k < n; k++)
        at->g[k] -= step * hc[k];
}

/* Then the offset. */
static inline void move_offset(struct descent *at)
{
    vec sum = {0}, small = {0}, wish;
    float h1[MAX_SUB], all_h = 0;

    for (size_t k = 0; k < at->n; k++) {
        const float *row = at->h + k * at->stride;

        h1[k] = 0;
        for (size_t j = 0; j < at->n; j++)
            h1[k] += row[j];
        all_h += h1[k];
        sum += at->g[k];
    }
    wish = all_h > 0 ? at->offset - sum / all_h : at->offset;
    if (at->shape->is_k) {
        small = nearest(clamp(wish * inverse_or_zero(at->dmin), 0, 63));
        wish = at->dmin * small;
    } else {
        wish = round_half(wish);
    }
    const vec moved = wish - at->offset;
    const ivec better = -2.0f * moved * sum - moved * moved * all_h > 0.0f;
    const vec step = pick(better, moved, (vec){0});

    at->mn = pick(better, small, at->mn);
    at->offset = pick(better, at->offset + moved, at->offset);
    for (size_t k = 0; k < at->n; k++)
        at->g[k] += step * h1[k];
}

/* Codes one after the other, each to its best integer given all others. */
static inline void move_codes(struct descent *at)
{
    const float low = (float)at->shape->code_min, high = (float)at->shape->code_max;
    const vec inverse = inverse_or_zero(at->scale);
    const ivec flat = inverse == 0.0f;

    for (size_t k = 0; k < at->n; k++) {
        const float *row = at->h + k * at->stride;
        /* (q + g / H_kk + offset) / scale, with q + offset = scale * code. */
        const vec wish = at->code[k] + at->g[k] * (1.0f / row[k]) * inverse;
        const vec q = pick(flat, at->code[k], nearest(clamp(wish, low, high)));
        const vec moved = at->scale * (q - at->code[k]);

        at->code[k] = q;
        for (size_t j = 0; j < at->n; j++)
            at->g[j] -= row[j] * moved;
    }
}

/* One part of one sub-block; its change of decoded values. */
static void descend_part(const struct metric *m, struct tile *tile, size_t first,
                         size_t p, struct lane *change)
{
    const struct geometry *shape = &m->geometry;
    const size_t b = first / shape->sub, s = first / shape->super;
    struct descent at = {.shape = shape,
                         .h = m->h + first * m->n + first,
                         .stride = m->n,
                         .n = shape->sub,
                         .scale = load(&tile->scale[b], p),
                         .offset = load(&tile->offset[b], p),
                         .sc = load(&tile->sc[b], p),
                         .mn = load(&tile->mn[b], p),
                         .d = load(&tile->d[s], p),
                         .dmin = load(&tile->dmin[s], p)};
    vec before[MAX_SUB];

    load_all(tile->e + first, at.n, p, at.g);
    load_all(tile->code + first, at.n, p, at.code);
    for (size_t k = 0; k < at.n; k++)
        before[k] = at.scale * at.code[k] - at.offset;
    move_scale(&at);
    if (shape->has_offset)
        move_offset(&at);
    move_codes(&at);
    for (size_t k = 0; k < at.n; k++)
        store(change + k, p, (at.scale * at.code[k] - at.offset) - before[k]);
    store_all(at.g, at.n, p, tile->e + first);
    store_all(at.code, at.n, p, tile->code + first);
    store(&tile->scale[b], p, at.scale);
    store(&tile->offset[b], p, at.offset);
    store(&tile->sc[b], p, at.sc);
    store(&tile->mn[b], p, at.mn);
}

static bool is_zero(const struct lane *x, size_t n)
{
    uint32_t any = 0;

    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < LANES; r++)
            any |= x[k].v[r] != 0.0f;
    return any == 0;
}

/* One sub-block; then g of every other position, once. H' is symmetric, so rows of it serve as
 * columns. */
static void descend_sub(const struct metric *m, struct tile *tile, size_t first)
{
    const size_t n = m->geometry.sub, behind = first + n;
    struct lane change[MAX_SUB];

    for (size_t p = 0; p < PARTS; p++)
        descend_part(m, tile, first, p, change);
    if (is_zero(change, n))
        return;
    subtract_products(m->h + first, m->n, first, tile->e, change, 0, n, tile->e);
    subtract_products(m->h + behind * m->n + first, m->n, m->n - behind, tile->e + behind,
                      change, 0, n, tile->e + behind);
}

static inline float decoded(const struct tile *tile, size_t k, size_t b, size_t r)
{
    return tile->scale[b].v[r] * tile->code[k].v[r] - tile->offset[b].v[r];
}

static void round_tile(const struct metric *m, struct tile *tile, double loss[LANES])
{
    const struct geometry *shape = &m->geometry;
    size_t n = m->n;

    feed_errors(m, tile);

    /* The errors are done with; their array becomes g = H'(w - q) = 0 - H'(q - w). */
    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < LANES; r++) {
            tile->u[k].v[r] = decoded(tile, k, k / shape->sub, r) - tile->w[k].v[r];
            tile->e[k].v[r] = 0;
        }
    subtract_products(m->h, n, n, tile->e, tile->u, 0, n, tile->e);

    for (unsigned sweep = 0; sweep < m->sweeps; sweep++)
        for (size_t first = 0; first < n; first += shape->sub)
            descend_sub(m, tile, first);

    for (size_t r = 0; r < LANES; r++)
        loss[r] = 0;
    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < LANES; r++)
            loss[r] += (double)(tile->w[k].v[r] - decoded(tile, k, k / shape->sub, r)) *
                       (double)tile->e[k].v[r];
}

#endif
