/*
 * search.c - weighted least squares for the scale, and the offset, of sixteen blocks at once
 *
 * Source: docs/rounding.md, "Search". With a_j the importance of column j, the loss of a
 * block is sum a_j (w_j - (scale * c_j - offset))^2; for given codes c it is a parabola in
 * scale and offset, whose minimum search_refit() takes.
 */
#include "quantize/search.h"

struct search search_new(const struct rows_in *in, struct codes codes)
{
    struct search s = {.encode = in->encode, .codes = codes, .floor = 1.0f};

    if (in->importance) {
        double sum = 0.0;

        for (size_t i = 0; i < in->n_cols; i++)
            sum += (double)in->importance[i];
        s.floor = (float)(1e-4 * sum / (double)in->n_cols);
        if (!(s.floor > 0.0f))
            s.floor = 1.0f; /* all zero: nothing is known, every column counts alike */
    }
    return s;
}

void search_fill(struct search *s, const float *const x[TILE_LANES],
                 const float *const importance[TILE_LANES])
{
    const bool is_narrow = s->codes.hi - s->codes.lo < 32; /* of 4 or 5 bits */
    const int n = s->codes.n;

    s->encode->gather(x, n, s->tile.x);
    if (importance)
        s->encode->gather(importance, n, s->tile.w);
    else if (is_narrow)
        s->encode->weigh(&s->tile);
    for (int i = 0; i < n && (importance || !is_narrow); i++) {
        for (int b = 0; b < TILE_LANES; b++) {
            float w = importance ? s->tile.w[i][b] : 1.0f;
            s->tile.w[i][b] = w > s->floor ? w : s->floor;
        }
    }
}

void search_begin(struct search *s)
{
    s->best = (struct best){0};
    for (int b = 0; b < TILE_LANES; b++)
        s->best.loss[b] = INFINITY;
}

void search_try(struct search *s, const struct candidate *candidates, int n)
{
    s->encode->judge(&s->tile, &s->codes, NULL, candidates, n, &s->best);
}

void search_around(struct search *s, const struct peaks *peaks)
{
    static const float factors[] = {0.96f, 0.98f, 1.02f, 1.04f};
    enum { N = sizeof(factors) / sizeof(factors[0]) };
    struct candidate list[N];

    s->encode->scales(s->best.at.scale, factors, N, list);
    s->encode->judge(&s->tile, &s->codes, peaks, list, N, &s->best);
}

void search_refit(struct search *s)
{
    struct candidate refit = s->best.at;
    struct moments m;

    s->encode->fit(&s->tile, &s->codes, &s->best.at, &m);
    for (int b = 0; b < TILE_LANES; b++)
        refit.scale[b] = m.wcc[b] > 0.0f ? half_round(m.wxc[b] / m.wcc[b]) : 0.0f;
    search_try(s, &refit, 1);
}

void search_sums(struct search *s)
{
    float w[TILE_LANES] = {0}, wx[TILE_LANES] = {0};

    for (int i = 0; i < s->codes.n; i++) {
        for (int b = 0; b < TILE_LANES; b++) {
            w[b] += s->tile.w[i][b];
            wx[b] += s->tile.w[i][b] * s->tile.x[i][b];
        }
    }
    memcpy(s->w, w, sizeof(w));
    memcpy(s->wx, wx, sizeof(wx));
}

void search_refit_affine(struct search *s)
{
    struct candidate refit = s->best.at;
    struct moments m;

    s->encode->fit(&s->tile, &s->codes, &s->best.at, &m);
    for (int b = 0; b < TILE_LANES; b++) {
        float det = s->w[b] * m.wcc[b] - m.wc[b] * m.wc[b];

        if (!(det > 0.0f))
            continue; /* all codes equal: the candidate stays the best itself */
        refit.scale[b] = half_round((s->w[b] * m.wxc[b] - s->wx[b] * m.wc[b]) / det);
        refit.offset[b] = half_round((m.wc[b] * m.wxc[b] - m.wcc[b] * s->wx[b]) / det);
    }
    search_try(s, &refit, 1);
}

void search_code(struct search *s, const struct candidate *candidate)
{
    memcpy(s->tile.scale, candidate->scale, sizeof(s->tile.scale));
    memcpy(s->tile.offset, candidate->offset, sizeof(s->tile.offset));
    memset(s->tile.q, 0, sizeof(s->tile.q));
    s->encode->requantize(&s->tile, &s->codes);
}
