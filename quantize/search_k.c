/*
 * search_k.c - better scales for Q4_K and Q5_K
 *
 * First each sub-block alone, then one d and dmin for the eight, then the 6-bit codes of
 * scale and minimum around the nearest, judged by the loss of the stored values. A
 * super-block that does not improve on plain rounding keeps plain rounding's bytes.
 * Source: docs/rounding.md, "Search".
 */
#include "quantize/nearest.h"
#include "quantize/search.h"
#include "quantize/super.h"

/* The step, as stored, that spreads eight values over codes 0 ... 63 with least weighted
 * error; `codes` are the nearest. */
static uint16_t spread(const struct encoders *encode, const float values[8],
                       const float weights[8], uint8_t codes[8])
{
    static const struct divisors divisors = {
        .first = 55.0f, .step = 0.5f, .n = 25, .lo = 0, .hi = 63};
    float top = 0.0f;

    for (int g = 0; g < 8; g++)
        top = values[g] > top ? values[g] : top;

    float step = encode->spread(values, weights, 8, top, &divisors);
    for (int g = 0; g < 8; g++) {
        int code = step > 0.0f ? nearest(values[g] / step) : 0;
        codes[g] = (uint8_t)(code < 0 ? 0 : code > 63 ? 63 : code);
    }
    return f16_from_f32(step);
}

static struct candidate stored(const struct coded_k supers[2])
{
    struct candidate candidate;

    super_scales(supers, candidate.scale, candidate.offset);
    return candidate;
}

/* From scales and offsets of each sub-block alone to one step for the scales and one for the minima
 * of each super-block: an error in a scale costs sum w c^2, one in a minimum sum w. */
static void fit_supers(struct search *s, const struct candidate *alone,
                       struct coded_k supers[2])
{
    struct moments m;

    s->encode->fit(&s->tile, &s->codes, alone, &m);
    for (int p = 0; p < 2; p++) {
        supers[p].d =
            spread(s->encode, alone->scale + 8 * p, m.wcc + 8 * p, supers[p].sc);
        supers[p].dmin =
            spread(s->encode, alone->offset + 8 * p, s->w + 8 * p, supers[p].mn);
    }
}

static uint8_t near(uint8_t code, int step)
{
    int next = code + step;

    return (uint8_t)(next < 0 ? 0 : next > 63 ? 63 : next);
}

/* What the lanes store with all codes moved by `step`. */
static void moved(const struct coded_k supers[2], int step, struct candidate *out)
{
    struct coded_k trial[2];

    for (int p = 0; p < 2; p++) {
        trial[p].d = supers[p].d;
        trial[p].dmin = supers[p].dmin;
        for (int g = 0; g < 8; g++) {
            trial[p].sc[g] = near(supers[p].sc[g], step);
            trial[p].mn[g] = near(supers[p].mn[g], step);
        }
    }
    *out = stored(trial);
}

enum { REACH = 2, SIDE = 2 * REACH + 1 };

/* Try the codes around `supers`, up to `reach` of scale and of minimum, and keep, sub-block by
 * sub-block, the best. */
static void search_near(struct search *s, struct coded_k supers[2], int reach)
{
    const int side = 2 * reach + 1;
    struct candidate list[SIDE * SIDE], by[SIDE];

    for (int k = 0; k < side; k++)
        moved(supers, k - reach, &by[k]);
    for (int k = 0; k < side * side; k++) {
        memcpy(list[k].scale, by[k / side].scale, sizeof(list[k].scale));
        memcpy(list[k].offset, by[k % side].offset, sizeof(list[k].offset));
    }
    search_begin(s);
    search_try(s, list, side * side);
    for (int b = 0; b < TILE_LANES; b++) {
        struct coded_k *super = &supers[b / 8];
        int k = s->best.which[b];

        if (k < 0)
            continue;
        super->sc[b % 8] = near(super->sc[b % 8], k / side - reach);
        super->mn[b % 8] = near(super->mn[b % 8], k % side - reach);
    }
}

/* Least squares for d and dmin of a super-block with all its codes held: a parabola in two
 * variables, its sums gathered over the sub-blocks. */
static void refit_super(const struct search *s, const struct moments *m, int p,
                        struct coded_k *super)
{
    float ss = 0.0f, so = 0.0f, oo = 0.0f, xs = 0.0f, xo = 0.0f;

    for (int g = 0; g < 8; g++) {
        const int b = 8 * p + g;
        const float sc = super->sc[g], mn = super->mn[g];

        ss += sc * sc * m->wcc[b];
        so += sc * mn * m->wc[b];
        oo += mn * mn * s->w[b];
        xs += sc * m->wxc[b];
        xo += mn * s->wx[b];
    }
    float det = ss * oo - so * so;
    if (det > 1e-6f * ss * oo) {
        float d = (oo * xs - so * xo) / det, dmin = (so * xs - ss * xo) / det;

        super->d = d > 0.0f ? f16_from_f32(d) : super->d;
        super->dmin = dmin > 0.0f ? f16_from_f32(dmin) : super->dmin;
    } else if (ss > 0.0f && oo == 0.0f && xs > 0.0f) {
        super->d = f16_from_f32(xs / ss);
    }
}

static void total(const struct search *s, float loss[2])
{
    for (int p = 0; p < 2; p++) {
        loss[p] = 0.0f;
        for (int g = 0; g < 8; g++)
            loss[p] += s->best.loss[8 * p + g];
    }
}

/* Refit, search the codes nearby again, keep what is better. */
static void polish(struct search *s, struct coded_k supers[2], float loss[2])
{
    struct coded_k trial[2] = {supers[0], supers[1]};
    const struct candidate now = stored(supers);
    struct moments m;
    float again[2];

    s->encode->fit(&s->tile, &s->codes, &now, &m);
    for (int p = 0; p < 2; p++)
        refit_super(s, &m, p, &trial[p]);
    search_near(s, trial, 1);
    total(s, again);
    for (int p = 0; p < 2; p++) {
        if (again[p] < loss[p]) {
            supers[p] = trial[p];
            loss[p] = again[p];
        }
    }
}

static void unpack_scales(const uint8_t *block, struct coded_k *super)
{
    super->d = load_u16(block);
    super->dmin = load_u16(block + 2);
    k_scales_unpack(block + 4, super->sc,
                    super->mn); /* d, dmin, scales: Q4_K and Q5_K alike */
}

/* The loss of n super-blocks of plain rounding; the second repeats the first when n is 1. */
static void judge_plain(const struct rows_in *in, struct search *s, const uint8_t *blocks,
                        int n, float loss[2])
{
    const size_t bytes = block_type_info(in->type)->bytes;
    struct coded_k plain[2];
    struct candidate candidate;

    for (int p = 0; p < 2; p++)
        unpack_scales(blocks + (p < n ? (size_t)p : 0) * bytes, &plain[p]);
    candidate = stored(plain);
    search_begin(s);
    search_try(s, &candidate, 1);
    total(s, loss);
}

/* Improve on n blocks of plain rounding, where that is possible. The tile's scales and offsets are
 * those of a search of each sub-block alone. */
static void improve(const struct rows_in *in, struct search *s, uint8_t *blocks, int n)
{
    const size_t bytes = block_type_info(in->type)->bytes;
    struct coded_k supers[2];
    struct candidate candidate;
    float limit[2], loss[2];

    search_sums(s);
    judge_plain(in, s, blocks, n, limit);
    memcpy(candidate.scale, s->tile.scale, sizeof(candidate.scale));
    memcpy(candidate.offset, s->tile.offset, sizeof(candidate.offset));
    fit_supers(s, &candidate, supers);
    search_near(s, supers, REACH);
    total(s, loss);
    polish(s, supers, loss);

    candidate = stored(supers);
    search_code(s, &candidate);
    super_take(s->encode, &s->tile, supers);
    for (int p = 0; p < n; p++)
        if (loss[p] < limit[p])
            super_pack(in->type, &supers[p], 1, blocks + (size_t)p * bytes);
}

/* The importance, at least its floor; ones without. */
static void weigh(struct search *s, const float *importance)
{
    for (int i = 0; i < 32; i++) {
        for (int b = 0; b < TILE_LANES; b++) {
            float w = importance ? s->tile.w[i][b] : 1.0f;
            s->tile.w[i][b] = w > s->floor ? w : s->floor;
        }
    }
}

void search_k(const struct rows_in *in, void *out)
{
    const struct codes codes = {.n = 32, .lo = 0, .hi = in->type == TYPE_Q4_K ? 15 : 31};
    const struct ladder ladder = {
        .top = codes.hi, .first = -2.0f, .step = 0.2f, .n_steps = 30};
    struct search s[2] = {search_new(in, codes), search_new(in, codes)};
    struct tile *const tiles[] = {&s[0].tile, &s[1].tile}; /* searched side by side */
    const size_t bytes = block_type_info(in->type)->bytes;
    struct super_walk walk = super_begin(in);
    uint8_t *blocks = out;

    (in->importance ? round_k_weighted : round_k_plain)(in, out);
    for (int n[2]; (n[0] = super_next(&walk, tiles[0])) > 0;) {
        n[1] = super_next(&walk, tiles[1]);
        for (int t = 0; t < 2; t++)
            weigh(&s[t], in->importance);
        in->encode->asymmetric(tiles, n[1] > 0 ? 2 : 1, &ladder);
        for (int t = 0; t < 2 && n[t] > 0; t++) {
            improve(in, &s[t], blocks, n[t]);
            blocks += (size_t)n[t] * bytes;
        }
    }
}
