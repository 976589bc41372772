/*
 * encode_lanes_search.h - the searches of encode_scalar.c, WIDTH lanes at a time
 *
 * Included by encode_<isa>.c after encode_lanes_tile.h.
 */
#ifndef QUANTIZE_ENCODE_LANES_SEARCH_H
#define QUANTIZE_ENCODE_LANES_SEARCH_H

#include "quantize/encode_lanes_tile.h"

/* ---- tiles: a lane is a block ---- */

/* The signed extremum down each lane, the first of equals. */
static inline vec extremum_lanes(const vec *x, int n)
{
    vec top = {0}, value = {0};

    for (int i = 0; i < n; i++) {
        vec size = magnitude(x[i]);
        ivec larger = size > top;

        value = pick(larger, x[i], value);
        top = pick(larger, size, top);
    }
    return value;
}

/* A column of vectors out of a tile, and importance times value beside it. */
struct column {
    vec x[TILE_WEIGHTS], w[TILE_WEIGHTS], wx[TILE_WEIGHTS];
};

static inline void load_column(const struct tile *tile, int b, int n, struct column *c)
{
    for (int i = 0; i < n; i++) {
        c->x[i] = load(&tile->x[i][b]);
        c->w[i] = load(&tile->w[i][b]);
        c->wx[i] = c->w[i] * c->x[i];
    }
}

/* Columns searched side by side: a sum waits for its last addition, and two sums wait
 * together. */
enum { PAIR = WIDTH < TILE_LANES ? 2 : 1 };

struct symmetric_sums {
    vec xl[PAIR], ll[PAIR];
};

static inline void symmetric_sums(const struct column *c, int n, int half, const vec *inv,
                                  struct symmetric_sums *out)
{
    struct symmetric_sums sum = {0};

    for (int i = 0; i < n; i++) {
        for (int p = 0; p < PAIR; p++) {
            vec l = nearest_lanes(inv[p] * c[p].x[i], -half, half - 1);

            sum.xl[p] += c[p].wx[i] * l;
            sum.ll[p] += c[p].w[i] * l * l;
        }
    }
    *out = sum;
}

struct symmetric {
    vec top, scale, best, inv;
};

static inline void symmetric_first(const struct column *c, int n, int half,
                                   struct symmetric *a)
{
    struct symmetric_sums sum;
    vec inv[PAIR];

    for (int p = 0; p < PAIR; p++) {
        a[p].top = extremum_lanes(c[p].x, n);
        a[p].inv = inv[p] = (float)-half / a[p].top;
    }
    symmetric_sums(c, n, half, inv, &sum);
    for (int p = 0; p < PAIR; p++) {
        a[p].scale = pick(sum.ll[p] != 0.0f, sum.xl[p] / sum.ll[p], all(0.0f));
        a[p].best = a[p].scale * sum.xl[p];
    }
}

static inline void symmetric_try(const struct column *c, int n, int half, float levels,
                                 struct symmetric *a)
{
    struct symmetric_sums sum;
    vec inv[PAIR];

    for (int p = 0; p < PAIR; p++)
        inv[p] = levels / a[p].top;
    symmetric_sums(c, n, half, inv, &sum);
    for (int p = 0; p < PAIR; p++) {
        vec xl = sum.xl[p], ll = sum.ll[p], scale = xl / ll;
        ivec better = (ll > 0.0f) & (xl * xl > a[p].best * ll);

        a[p].scale = pick(better, scale, a[p].scale);
        a[p].best = pick(better, scale * xl, a[p].best);
        a[p].inv = pick(better, inv[p], a[p].inv);
    }
}

static inline void symmetric_pair(struct tile *tile, int b, int n, int half)
{
    struct column c[PAIR];
    struct symmetric a[PAIR];

    for (int p = 0; p < PAIR; p++)
        load_column(tile, b + WIDTH * p, n, &c[p]);
    symmetric_first(c, n, half, a);
    for (int k = -9; k <= 9; k++)
        if (k != 0)
            symmetric_try(c, n, half, -((float)half + 0.1f * (float)k), a);

    for (int p = 0; p < PAIR; p++) {
        ivec zero = magnitude(a[p].top) < 1e-15f;
        int at = b + WIDTH * p;

        store(&tile->scale[at], pick(zero, all(0.0f), a[p].scale));
        for (int i = 0; i < n; i++) {
            vec q = nearest_lanes(a[p].inv * c[p].x[i], -half, half - 1) + (float)half;
            store_codes(&tile->q[i][at], pick(zero, all(0.0f), q));
        }
    }
}

static void symmetric(struct tile *tile, int n, int half)
{
    for (int b = 0; b < TILE_LANES; b += WIDTH * PAIR)
        symmetric_pair(tile, b, n, half);
}

struct affine {
    vec w, x, low, high, scale, error, inv, base;
};

static inline struct affine affine_start(const struct column *c)
{
    vec low = c->x[0], high = c->x[0], w = c->w[0], x = c->w[0] * c->x[0];

    for (int i = 1; i < 32; i++) {
        low = vmin(c->x[i], low);
        high = vmax(c->x[i], high);
        w += c->w[i];
        x += c->w[i] * c->x[i];
    }
    low = pick(low > 0.0f, all(0.0f), low);
    return (struct affine){.w = w, .x = x, .low = low, .high = high};
}

static inline void affine_errors(const struct column *c, vec l[32][PAIR],
                                 const vec *scale, const vec *low, vec *error)
{
    for (int p = 0; p < PAIR; p++)
        error[p] = (vec){0};
    for (int i = 0; i < 32; i++) {
        for (int p = 0; p < PAIR; p++) {
            vec diff = scale[p] * l[i][p] + low[p] - c[p].x[i];
            error[p] += c[p].w[i] * (diff * diff);
        }
    }
}

/* The sums a pair of candidates needs, and its codes. */
struct sums {
    vec l[PAIR], ll[PAIR], xl[PAIR];
};

static inline void affine_sums(const struct column *c, const struct affine *a,
                               const vec *inv, int top, vec l[32][PAIR], struct sums *out)
{
    struct sums sum = {0};

    for (int i = 0; i < 32; i++) {
        for (int p = 0; p < PAIR; p++) {
            l[i][p] = nearest_lanes(inv[p] * (c[p].x[i] - a[p].low), 0, top);
            vec wl = c[p].w[i] * l[i][p];
            sum.l[p] += wl;
            sum.ll[p] += wl * l[i][p];
            sum.xl[p] += wl * c[p].x[i];
        }
    }
    *out = sum;
}

static inline void affine_try(const struct column *c, struct affine *a, float levels,
                              int top)
{
    vec l[32][PAIR], inv[PAIR], scale[PAIR], low[PAIR], det[PAIR], error[PAIR];
    struct sums sum;

    for (int p = 0; p < PAIR; p++)
        inv[p] = levels / (a[p].high - a[p].low); /* low moves with the best */
    affine_sums(c, a, inv, top, l, &sum);
    for (int p = 0; p < PAIR; p++) {
        vec sl = sum.l[p], sll = sum.ll[p], sxl = sum.xl[p];

        det[p] = a[p].w * sll - sl * sl;
        scale[p] = (a[p].w * sxl - a[p].x * sl) / det[p];
        low[p] = (sll * a[p].x - sl * sxl) / det[p];
        ivec above = low[p] > 0.0f;
        scale[p] = pick(above, sxl / sll, scale[p]);
        low[p] = pick(above, all(0.0f), low[p]);
    }
    affine_errors(c, l, scale, low, error);
    for (int p = 0; p < PAIR; p++) {
        ivec better = (det[p] > 0.0f) & (error[p] < a[p].error);

        a[p].error = pick(better, error[p], a[p].error);
        a[p].inv = pick(better, inv[p], a[p].inv);
        a[p].base = pick(better, a[p].low, a[p].base);
        a[p].scale = pick(better, scale[p], a[p].scale);
        a[p].low = pick(better, low[p], a[p].low);
    }
}

/* The codes of minimum to maximum, before any search. */
static inline void affine_first(const struct column *c, struct affine *a, int top)
{
    vec l[32][PAIR], scale[PAIR], low[PAIR], error[PAIR];

    for (int p = 0; p < PAIR; p++) {
        a[p].base = low[p] = a[p].low;
        a[p].inv = (float)top / (a[p].high - a[p].low);
        a[p].scale = scale[p] = 1.0f / a[p].inv;
        for (int i = 0; i < 32; i++)
            l[i][p] = nearest_lanes(a[p].inv * (c[p].x[i] - a[p].base), 0, top);
    }
    affine_errors(c, l, scale, low, error);
    for (int p = 0; p < PAIR; p++)
        a[p].error = error[p];
}

static void asymmetric_pair(struct tile *tile, int b, const struct ladder *ladder)
{
    struct column c[PAIR];
    struct affine a[PAIR];
    vec start[PAIR];

    for (int p = 0; p < PAIR; p++) {
        load_column(tile, b + WIDTH * p, 32, &c[p]);
        a[p] = affine_start(&c[p]);
        start[p] = a[p].low;
    }
    affine_first(c, a, ladder->top);
    for (int k = 0; k <= ladder->n_steps; k++)
        affine_try(c, a, ladder->first + ladder->step * (float)k + (float)ladder->top,
                   ladder->top);

    for (int p = 0; p < PAIR; p++) {
        ivec flat = ~(a[p].high > start[p]); /* one value, which is not positive */
        int at = b + WIDTH * p;

        store(&tile->scale[at], pick(flat, all(0.0f), a[p].scale));
        store(&tile->offset[at], -pick(flat, start[p], a[p].low));
        for (int i = 0; i < 32; i++) {
            vec q = nearest_lanes(a[p].inv * (c[p].x[i] - a[p].base), 0, ladder->top);
            store_codes(&tile->q[i][at], pick(flat, all(0.0f), q));
        }
    }
}

static void asymmetric(struct tile *tile, const struct ladder *ladder)
{
    for (int b = 0; b < TILE_LANES; b += WIDTH * PAIR)
        asymmetric_pair(tile, b, ladder);
}

#endif
