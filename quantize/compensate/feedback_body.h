/*
 * feedback_body.h - rounding with error feedback, included once by each feedback_<isa>.c
 *
 * Everything here is static: the compiler turns loops over LANES into vectors of whatever width
 * the file is built for.
 *
 *     u_k = w_k - sum over columns j visited before the block of U_jk e_j               (3)
 *     v = u_k - sum over j before k in the block of U_jk e_j
 *     c_k = clamp(round((v + offset) / scale)),  e_k = (v + offset - scale c_k) / U_kk   (4)
 *     loss of the block = sum of e_k^2
 */
#ifndef QUANTIZE_COMPENSATE_FEEDBACK_BODY_H
#define QUANTIZE_COMPENSATE_FEEDBACK_BODY_H

#include "quantize/compensate/feedback_scales.h"

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
