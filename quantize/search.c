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

/* sqrt(1 + x^2 / mean x^2) for the block in a lane; ones when it is all zero. */
static void weigh(struct search *s, int lane, const float *x)
{
    float r[32], top = 0.0f, mean = 0.0f;
    const int n = s->codes.n;

    for (int i = 0; i < n; i++)
        top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    for (int i = 0; i < n && top > 0.0f; i++) { /* by the largest: no square overflows */
        r[i] = fabsf(x[i]) / top;
        r[i] *= r[i];
        mean += r[i];
    }
    mean /= (float)n;
    for (int i = 0; i < n; i++)
        s->tile.w[i][lane] = top > 0.0f ? sqrtf(1.0f + r[i] / mean) : 1.0f;
}

void search_put(struct search *s, int lane, const float *x, const float *importance)
{
    const bool is_narrow = s->codes.hi - s->codes.lo < 32; /* of 4 or 5 bits */

    tile_put(s->tile.x, lane, x, s->codes.n);
    if (!importance && is_narrow) {
        weigh(s, lane, x);
        return;
    }
    for (int i = 0; i < s->codes.n; i++) {
        float w = importance ? importance[i] : 1.0f;
        s->tile.w[i][lane] = w > s->floor ? w : s->floor;
    }
}

void search_begin(struct search *s)
{
    s->best = (struct candidate){0};
    for (int b = 0; b < TILE_LANES; b++)
        s->loss[b] = INFINITY;
}

void search_try(struct search *s, const struct candidate *candidates, int n)
{
    float loss[SEARCH_MAX][TILE_LANES];

    s->encode->losses(&s->tile, &s->codes, candidates, n, loss);
    for (int b = 0; b < TILE_LANES; b++)
        s->which[b] = -1;
    for (int k = 0; k < n; k++) {
        for (int b = 0; b < TILE_LANES; b++) {
            bool better = loss[k][b] < s->loss[b];

            s->loss[b] = better ? loss[k][b] : s->loss[b];
            s->which[b] = better ? k : s->which[b];
        }
    }
    for (int b = 0; b < TILE_LANES; b++) {
        if (s->which[b] < 0)
            continue;
        s->best.scale[b] = candidates[s->which[b]].scale[b];
        s->best.offset[b] = candidates[s->which[b]].offset[b];
    }
}

void search_refit(struct search *s)
{
    struct candidate refit = s->best;
    struct moments m;

    s->encode->fit(&s->tile, &s->codes, &s->best, &m);
    for (int b = 0; b < TILE_LANES; b++)
        refit.scale[b] = m.wcc[b] > 0.0f ? half_round(m.wxc[b] / m.wcc[b]) : 0.0f;
    search_try(s, &refit, 1);
}

void search_sums(const struct search *s, float w[TILE_LANES], float wx[TILE_LANES])
{
    for (int b = 0; b < TILE_LANES; b++)
        w[b] = wx[b] = 0.0f;
    for (int i = 0; i < s->codes.n; i++) {
        for (int b = 0; b < TILE_LANES; b++) {
            w[b] += s->tile.w[i][b];
            wx[b] += s->tile.w[i][b] * s->tile.x[i][b];
        }
    }
}

void search_refit_affine(struct search *s)
{
    float w[TILE_LANES], wx[TILE_LANES];
    struct candidate refit = s->best;
    struct moments m;

    s->encode->fit(&s->tile, &s->codes, &s->best, &m);
    search_sums(s, w, wx);
    for (int b = 0; b < TILE_LANES; b++) {
        float det = w[b] * m.wcc[b] - m.wc[b] * m.wc[b];

        if (!(det > 0.0f))
            continue; /* all codes equal: the candidate stays the best itself */
        refit.scale[b] = half_round((w[b] * m.wxc[b] - wx[b] * m.wc[b]) / det);
        refit.offset[b] = half_round((m.wc[b] * m.wxc[b] - m.wcc[b] * wx[b]) / det);
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
