/*
 * search.c - weighted least squares for the scale, and the offset, of sixteen blocks at once
 *
 * Source: docs/rounding.md, "Search". With a_j the importance of column j, the loss of a
 * block is sum a_j (w_j - (scale * c_j - offset))^2; for given codes c it is a parabola in
 * scale and offset, whose minimum search_refit() takes.
 */
#include "quantize/search.h"

struct search search_new(const struct rows_in *in, int n, int lo, int hi)
{
    struct search s = {.encode = in->encode, .n = n, .lo = lo, .hi = hi, .floor = 1.0f};

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

void search_put(struct search *s, int lane, const float *x, const float *importance)
{
    tile_put(s->tile.x, lane, x, s->n);
    for (int i = 0; i < s->n; i++) {
        float w = importance ? importance[i] : 1.0f;
        s->tile.w[i][lane] = w > s->floor ? w : s->floor;
    }
}

void search_begin(struct search *s)
{
    for (int b = 0; b < TILE_LANES; b++) {
        s->loss[b] = INFINITY;
        s->scale[b] = s->offset[b] = 0.0f;
    }
}

void search_try(struct search *s)
{
    float loss[TILE_LANES];

    s->encode->loss(&s->tile, s->n, s->lo, s->hi, loss);
    for (int b = 0; b < TILE_LANES; b++) {
        bool better = loss[b] < s->loss[b];

        s->loss[b] = better ? loss[b] : s->loss[b];
        s->scale[b] = better ? s->tile.scale[b] : s->scale[b];
        s->offset[b] = better ? s->tile.offset[b] : s->offset[b];
    }
}

static void load_best(struct search *s)
{
    memcpy(s->tile.scale, s->scale, sizeof(s->scale));
    memcpy(s->tile.offset, s->offset, sizeof(s->offset));
}

void search_refit(struct search *s)
{
    struct moments m;

    load_best(s);
    s->encode->fit(&s->tile, s->n, s->lo, s->hi, &m);
    for (int b = 0; b < TILE_LANES; b++)
        s->tile.scale[b] = m.wcc[b] > 0.0f ? half_round(m.wxc[b] / m.wcc[b]) : 0.0f;
    search_try(s);
}

/* Sums of w and of w x down each lane. */
static void sums_of(const struct search *s, float w[TILE_LANES], float wx[TILE_LANES])
{
    for (int b = 0; b < TILE_LANES; b++)
        w[b] = wx[b] = 0.0f;
    for (int i = 0; i < s->n; i++) {
        for (int b = 0; b < TILE_LANES; b++) {
            w[b] += s->tile.w[i][b];
            wx[b] += s->tile.w[i][b] * s->tile.x[i][b];
        }
    }
}

void search_refit_affine(struct search *s)
{
    float w[TILE_LANES], wx[TILE_LANES];
    struct moments m;

    load_best(s);
    s->encode->fit(&s->tile, s->n, s->lo, s->hi, &m);
    sums_of(s, w, wx);
    for (int b = 0; b < TILE_LANES; b++) {
        float det = w[b] * m.wcc[b] - m.wc[b] * m.wc[b];

        if (!(det > 0.0f))
            continue; /* all codes equal: what is loaded is the best itself */
        s->tile.scale[b] = half_round((w[b] * m.wxc[b] - wx[b] * m.wc[b]) / det);
        s->tile.offset[b] = half_round((m.wc[b] * m.wxc[b] - m.wcc[b] * wx[b]) / det);
    }
    search_try(s);
}

void search_codes(struct search *s)
{
    load_best(s);
    memset(s->tile.q, 0, sizeof(s->tile.q));
    s->encode->requantize(&s->tile, s->n, s->lo, s->hi);
}
