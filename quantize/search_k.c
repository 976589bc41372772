/*
 * search_k.c - better scales for Q4_K and Q5_K
 *
 * First each sub-block alone, then one d and dmin for the eight, then the 6-bit codes of
 * scale and minimum around the nearest, judged by the loss of the stored values. A
 * super-block that does not improve on plain rounding keeps plain rounding's bytes.
 * Source: docs/rounding.md, "Search".
 */
#include "quantize/search.h"
#include "quantize/super.h"

enum { STEPS = 25 }; /* divisors 55, 55.5 ... 67 of the largest value */

static float clamp_code(float code)
{
    return code > 0.0f ? code < 63.0f ? code : 63.0f : 0.0f;
}

/* The step, as stored, that spreads eight values over codes 0 ... 63 with least weighted
 * error; `codes` are the nearest. */
static uint16_t spread(const float values[8], const float weights[8], uint8_t codes[8])
{
    float top = 0.0f, least = INFINITY, best = 0.0f;

    for (int g = 0; g < 8; g++)
        top = values[g] > top ? values[g] : top;
    for (int k = 0; k < STEPS; k++) {
        float step = half_round(top / (55.0f + 0.5f * (float)k)), error = 0.0f;

        for (int g = 0; g < 8 && step > 0.0f; g++) {
            float e = values[g] - step * clamp_code(nearbyintf(values[g] / step));
            error += weights[g] * (e * e);
        }
        if (step > 0.0f && error < least) {
            least = error;
            best = step;
        }
    }
    for (int g = 0; g < 8; g++)
        codes[g] =
            (uint8_t)(best > 0.0f ? clamp_code(nearbyintf(values[g] / best)) : 0.0f);
    return f16_from_f32(best);
}

static struct candidate stored(const struct coded_k supers[2])
{
    struct candidate candidate;

    super_scales(supers, candidate.scale, candidate.offset);
    return candidate;
}

/* Each sub-block alone, then one step for the scales and one for the minima of each
 * super-block: an error in a scale costs sum w c^2, one in a minimum sum w. */
static void fit_supers(struct search *s, struct coded_k supers[2])
{
    const struct ladder ladder = {
        .top = s->codes.hi, .first = -2.0f, .step = 0.2f, .n_steps = 30};
    struct candidate found;
    struct moments m;

    s->encode->asymmetric((struct tile *[]){&s->tile}, 1, &ladder);
    memcpy(found.scale, s->tile.scale, sizeof(found.scale));
    memcpy(found.offset, s->tile.offset, sizeof(found.offset));
    s->encode->fit(&s->tile, &s->codes, &found, &m);
    for (int p = 0; p < 2; p++) {
        supers[p].d = spread(found.scale + 8 * p, m.wcc + 8 * p, supers[p].sc);
        supers[p].dmin = spread(found.offset + 8 * p, s->w + 8 * p, supers[p].mn);
    }
}

static uint8_t near(uint8_t code, int step)
{
    int next = code + step;

    return (uint8_t)(next < 0 ? 0 : next > 63 ? 63 : next);
}

/* The codes of scale and minimum of every sub-block moved by a and o. */
static void move_codes(struct coded_k *super, int a, int o)
{
    for (int g = 0; g < 8; g++) {
        super->sc[g] = near(super->sc[g], a);
        super->mn[g] = near(super->mn[g], o);
    }
}

/* Try the codes around `supers` and keep, sub-block by sub-block, the best. */
static void search_near(struct search *s, struct coded_k supers[2], int reach)
{
    const int side = 2 * reach + 1, n = side * side;
    struct candidate list[SEARCH_MAX];

    for (int k = 0; k < n; k++) {
        struct coded_k trial[2] = {supers[0], supers[1]};

        for (int p = 0; p < 2; p++)
            move_codes(&trial[p], k / side - reach, k % side - reach);
        list[k] = stored(trial);
    }
    search_begin(s);
    search_try(s, list, n);
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

static void improve(const struct rows_in *in, struct search *s, uint8_t *blocks, int n)
{
    const size_t bytes = block_type_info(in->type)->bytes;
    struct coded_k supers[2];
    struct candidate candidate;
    float limit[2], loss[2];

    search_sums(s);
    judge_plain(in, s, blocks, n, limit);
    fit_supers(s, supers);
    search_near(s, supers, 2);
    total(s, loss);
    polish(s, supers, loss);

    candidate = stored(supers);
    search_code(s, &candidate);
    super_take(s->encode, &s->tile, supers);
    for (int p = 0; p < n; p++) {
        if (!(loss[p] < limit[p]))
            continue;
        super_pack(in->type, &supers[p], 1, blocks + (size_t)p * bytes);
    }
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
    struct search s = search_new(in, codes);
    const size_t bytes = block_type_info(in->type)->bytes;
    struct super_walk walk = super_begin(in);
    uint8_t *blocks = out;

    (in->importance ? round_k_weighted : round_k_plain)(in, out);
    for (int n; (n = super_next(&walk, &s.tile)) > 0; blocks += (size_t)n * bytes) {
        weigh(&s, in->importance);
        improve(in, &s, blocks, n);
    }
}
