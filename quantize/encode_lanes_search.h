/*
 * encode_lanes_search.h - the searches of encode_scalar.c, WIDTH lanes at a time
 *
 * Included by encode_<isa>.c after encode_lanes_tile.h. Two columns of vectors are searched side
 * by side: a sum waits for its last addition, and the sums of two columns wait together. Codes are
 * rounded to whole numbers and clamped, which is what nearest() gives below 2^22; where a product
 * could be larger, a scale having overflowed, its bits are taken instead.
 */
#ifndef QUANTIZE_ENCODE_LANES_SEARCH_H
#define QUANTIZE_ENCODE_LANES_SEARCH_H

#include "quantize/encode_lanes_tile.h"

#define INLINE static inline __attribute__((always_inline))

enum { PAIR = 2, TILE_COLUMNS = TILE_LANES / WIDTH };

/* WIDTH lanes of a tile from lane b on. */
struct column {
    struct tile *tile;
    int b;
};

static inline struct column column_at(struct tile *const *tiles, int number)
{
    return (struct column){tiles[number / TILE_COLUMNS], WIDTH * (number % TILE_COLUMNS)};
}

/* The columns to search side by side from number `at` on: PAIR, the last one alone, or none. */
static inline int columns_from(struct tile *const *tiles, int n_tiles, int at,
                               struct column c[PAIR])
{
    const int left = n_tiles * TILE_COLUMNS - at, count = left < PAIR ? left : PAIR;

    for (int p = 0; p < count; p++)
        c[p] = column_at(tiles, at + p);
    return count;
}

static inline vec x_of(const struct column *c, int i)
{
    return load(&c->tile->x[i][c->b]);
}

static inline vec w_of(const struct column *c, int i)
{
    return load(&c->tile->w[i][c->b]);
}

/* nearest_lanes() of what is below 2^22. The lower end second, for the sign of a zero. */
static inline vec code_below(vec x, vec lo, vec hi)
{
    return vmin(vmax(whole(x), lo), hi);
}

/* ---- scale ---- */

/* The signed extremum down each lane, the first of equals. */
static inline vec extremum_of(const struct column *c, int n)
{
    vec top = {0}, value = {0};

    for (int i = 0; i < n; i++) {
        vec x = x_of(c, i), size = magnitude(x);
        ivec larger = size > top;

        value = pick(larger, x, value);
        top = pick(larger, size, top);
    }
    return value;
}

struct symmetric {
    vec top, scale, best, inv;
};

enum { RUNGS = 2 }; /* inverse scales judged in one pass over the values */

struct symmetric_sums {
    vec xl[RUNGS][PAIR], ll[RUNGS][PAIR];
};

INLINE void symmetric_sums(const struct column *c, const int count, int n, int half,
                           vec wx[TILE_WEIGHTS][PAIR], vec inv[RUNGS][PAIR],
                           const int rungs, struct symmetric_sums *out)
{
    const vec lo = all((float)-half), hi = all((float)(half - 1));
    struct symmetric_sums sum = {0};

    for (int i = 0; i < n; i++) {
        for (int p = 0; p < count; p++) {
            vec x = x_of(&c[p], i), w = w_of(&c[p], i);

            for (int r = 0; r < rungs; r++) {
                vec l = code_below(inv[r][p] * x, lo, hi);

                sum.xl[r][p] += wx[i][p] * l;
                sum.ll[r][p] += w * l * l;
            }
        }
    }
    *out = sum;
}

/* Keep the inverse scale where its sums are better. */
static inline void symmetric_keep(struct symmetric *a, vec xl, vec ll, vec inv)
{
    vec scale = xl / ll;
    ivec better = (ll > 0.0f) & (xl * xl > a->best * ll);

    a->scale = pick(better, scale, a->scale);
    a->best = pick(better, scale * xl, a->best);
    a->inv = pick(better, inv, a->inv);
}

/* Try the inverse scales levels[r] / top in their order. */
INLINE void symmetric_try(const struct column *c, const int count, int n, int half,
                          vec wx[TILE_WEIGHTS][PAIR], const float levels[RUNGS],
                          struct symmetric *a)
{
    struct symmetric_sums sum;
    vec inv[RUNGS][PAIR];

    for (int r = 0; r < RUNGS; r++)
        for (int p = 0; p < count; p++)
            inv[r][p] = levels[r] / a[p].top;
    symmetric_sums(c, count, n, half, wx, inv, RUNGS, &sum);
    for (int r = 0; r < RUNGS; r++)
        for (int p = 0; p < count; p++)
            symmetric_keep(&a[p], sum.xl[r][p], sum.ll[r][p], inv[r][p]);
}

INLINE void symmetric_first(const struct column *c, const int count, int n, int half,
                            vec wx[TILE_WEIGHTS][PAIR], struct symmetric *a)
{
    struct symmetric_sums sum;
    vec inv[RUNGS][PAIR];

    for (int p = 0; p < count; p++)
        a[p].inv = inv[0][p] = (float)-half / a[p].top;
    symmetric_sums(c, count, n, half, wx, inv, 1, &sum);
    for (int p = 0; p < count; p++) {
        vec xl = sum.xl[0][p], ll = sum.ll[0][p];

        a[p].scale = pick(ll != 0.0f, xl / ll, all(0.0f));
        a[p].best = a[p].scale * xl;
    }
}

INLINE void symmetric_columns(const struct column *c, const int count, int n, int half)
{
    const vec lo = all((float)-half), hi = all((float)(half - 1));
    vec wx[TILE_WEIGHTS][PAIR];
    struct symmetric a[PAIR];
    ivec zero[PAIR];

    for (int p = 0; p < count; p++) {
        vec top = extremum_of(&c[p], n);

        zero[p] = magnitude(top) < 1e-15f;
        a[p].top = pick(zero[p], all(1.0f), top); /* no product leaves the codes' range */
        for (int i = 0; i < n; i++)
            wx[i][p] = w_of(&c[p], i) * x_of(&c[p], i);
    }
    symmetric_first(c, count, n, half, wx, a);
    for (int k = -9; k <= 8; k += 2) { /* -9 and -8 ... -1 and 1, 2 and 3 ... 8 and 9 */
        const int low = k < 0 ? k : k + 1, high = k + 1 < 0 ? k + 1 : k + 2;
        const float levels[RUNGS] = {-((float)half + 0.1f * (float)low),
                                     -((float)half + 0.1f * (float)high)};

        symmetric_try(c, count, n, half, wx, levels, a);
    }

    for (int p = 0; p < count; p++) {
        store(&c[p].tile->scale[c[p].b], pick(zero[p], all(0.0f), a[p].scale));
        for (int i = 0; i < n; i++) {
            vec q = code_below(a[p].inv * x_of(&c[p], i), lo, hi) + (float)half;
            store_codes(&c[p].tile->q[i][c[p].b], pick(zero[p], all(0.0f), q));
        }
    }
}

static void symmetric(struct tile *const *tiles, int n_tiles, int n, int half)
{
    struct column c[PAIR];

    for (int at = 0, count; (count = columns_from(tiles, n_tiles, at, c)); at += count)
        if (count == PAIR)
            symmetric_columns(c, PAIR, n, half);
        else
            symmetric_columns(c, 1, n, half);
}

/* ---- scale and minimum ---- */

struct affine {
    vec least, high; /* of the values; `flat` where they are one, which is not positive */
    ivec flat;
    vec w, x, low, scale, error, inv, base;
};

INLINE void affine_start(const struct column *c, struct affine *a)
{
    vec low = x_of(c, 0), high = low, w = w_of(c, 0), x = w * low;

    for (int i = 1; i < 32; i++) {
        vec value = x_of(c, i), weight = w_of(c, i);

        low = vmin(value, low);
        high = vmax(value, high);
        w += weight;
        x += weight * value;
    }
    *a = (struct affine){.w = w, .x = x, .least = low, .high = high};
    a->low = pick(low > 0.0f, all(0.0f), low);
    a->flat = ~(high > a->low);
}

/* The distance from minimum to maximum; 1 where there is none, whose codes are dropped at the end. */
static inline vec affine_range(const struct affine *a)
{
    return pick(a->flat, all(1.0f), a->high - a->low);
}

/* True when every product of an inverse scale and a difference stays below 2^22. */
INLINE bool affine_is_safe(const struct affine *a, const int count, const vec *inv)
{
    ivec unsafe = {0};

    for (int p = 0; p < count; p++) {
        vec first = inv[p] * (a[p].least - a[p].low),
            last = inv[p] * (a[p].high - a[p].low);
        unsafe |= ~((magnitude(first) < 0x1p22f) & (magnitude(last) < 0x1p22f));
    }
    return none(unsafe);
}

/* The codes of a value, of one column and inverse scale. */
INLINE vec affine_code(const struct affine *a, vec x, vec inv, const bool is_safe,
                       int top)
{
    vec v = inv * (x - a->low);

    return is_safe ? code_below(v, all(0.0f), all((float)top)) : nearest_lanes(v, 0, top);
}

/* The sums that candidates side by side need, and their codes. */
struct sums {
    vec l[PAIR], ll[PAIR], xl[PAIR];
};

INLINE void affine_sums(const struct column *c, const int count, const struct affine *a,
                        const vec *inv, const bool is_safe, int top, vec l[32][PAIR],
                        struct sums *out)
{
    struct sums sum = {0};

    for (int i = 0; i < 32; i++) {
        for (int p = 0; p < count; p++) {
            vec x = x_of(&c[p], i), code = affine_code(&a[p], x, inv[p], is_safe, top);
            vec wl = w_of(&c[p], i) * code;

            l[i][p] = code;
            sum.l[p] += wl;
            sum.ll[p] += wl * code;
            sum.xl[p] += wl * x;
        }
    }
    *out = sum;
}

INLINE void affine_errors(const struct column *c, const int count, vec l[32][PAIR],
                          const vec *scale, const vec *low, vec *error)
{
    vec sum[PAIR] = {0};

    for (int i = 0; i < 32; i++) {
        for (int p = 0; p < count; p++) {
            vec diff = scale[p] * l[i][p] + low[p] - x_of(&c[p], i);
            sum[p] += w_of(&c[p], i) * (diff * diff);
        }
    }
    for (int p = 0; p < count; p++)
        error[p] = sum[p];
}

/* Scale and minimum that fit a candidate's sums best; returns where there are any. */
static inline ivec affine_solve(const struct affine *a, const struct sums *sum, int p,
                                vec *scale, vec *low)
{
    vec l = sum->l[p], ll = sum->ll[p], xl = sum->xl[p];
    vec det = a->w * ll - l * l;

    *scale = (a->w * xl - a->x * l) / det;
    *low = (ll * a->x - l * xl) / det;
    ivec above = *low > 0.0f;
    *scale = pick(above, xl / ll, *scale);
    *low = pick(above, all(0.0f), *low);
    return det > 0.0f;
}

INLINE void affine_try(const struct column *c, const int count, struct affine *a,
                       float levels, int top)
{
    vec l[32][PAIR], inv[PAIR], scale[PAIR], low[PAIR], error[PAIR];
    ivec solved[PAIR];
    struct sums sum;

    for (int p = 0; p < count; p++)
        inv[p] = levels / affine_range(&a[p]); /* low moves with the best */
    if (affine_is_safe(a, count, inv))
        affine_sums(c, count, a, inv, true, top, l, &sum);
    else
        affine_sums(c, count, a, inv, false, top, l, &sum);
    for (int p = 0; p < count; p++)
        solved[p] = affine_solve(&a[p], &sum, p, &scale[p], &low[p]);
    affine_errors(c, count, l, scale, low, error);
    for (int p = 0; p < count; p++) {
        ivec better = solved[p] & (error[p] < a[p].error);

        a[p].error = pick(better, error[p], a[p].error);
        a[p].inv = pick(better, inv[p], a[p].inv);
        a[p].base = pick(better, a[p].low, a[p].base);
        a[p].scale = pick(better, scale[p], a[p].scale);
        a[p].low = pick(better, low[p], a[p].low);
    }
}

/* The codes of minimum to maximum, before any search. */
INLINE void affine_first(const struct column *c, const int count, struct affine *a,
                         int top)
{
    vec l[32][PAIR], scale[PAIR], low[PAIR], error[PAIR];

    for (int p = 0; p < count; p++) {
        a[p].base = low[p] = a[p].low;
        a[p].inv = (float)top / affine_range(&a[p]);
        a[p].scale = scale[p] = 1.0f / a[p].inv;
        for (int i = 0; i < 32; i++)
            l[i][p] = affine_code(&a[p], x_of(&c[p], i), a[p].inv, false, top);
    }
    affine_errors(c, count, l, scale, low, error);
    for (int p = 0; p < count; p++)
        a[p].error = error[p];
}

INLINE void asymmetric_columns(const struct column *c, const int count,
                               const struct ladder *ladder)
{
    struct affine a[PAIR];
    vec start[PAIR];

    for (int p = 0; p < count; p++) {
        affine_start(&c[p], &a[p]);
        start[p] = a[p].low;
    }
    affine_first(c, count, a, ladder->top);
    for (int k = 0; k <= ladder->n_steps; k++)
        affine_try(c, count, a,
                   ladder->first + ladder->step * (float)k + (float)ladder->top,
                   ladder->top);

    for (int p = 0; p < count; p++) {
        struct tile *tile = c[p].tile;
        const int b = c[p].b;

        store(&tile->scale[b], pick(a[p].flat, all(0.0f), a[p].scale));
        store(&tile->offset[b], -pick(a[p].flat, start[p], a[p].low));
        for (int i = 0; i < 32; i++) {
            vec v = a[p].inv * (x_of(&c[p], i) - a[p].base);
            vec q = nearest_lanes(v, 0, ladder->top);
            store_codes(&tile->q[i][b], pick(a[p].flat, all(0.0f), q));
        }
    }
}

static void asymmetric(struct tile *const *tiles, int n_tiles,
                       const struct ladder *ladder)
{
    struct column c[PAIR];

    for (int at = 0, count; (count = columns_from(tiles, n_tiles, at, c)); at += count)
        if (count == PAIR)
            asymmetric_columns(c, PAIR, ladder);
        else
            asymmetric_columns(c, 1, ladder);
}

#endif
