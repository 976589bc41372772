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
        codes[g] = (uint8_t)(best > 0.0f ? clamp_code(nearbyintf(values[g] / best)) : 0.0f);
    return f16_from_f32(best);
}

/* Each sub-block alone, then one step for the scales and one for the minima of each
 * super-block: an error in a scale costs sum w c^2, one in a minimum sum w. */
static void fit_supers(struct search *s, struct coded_k supers[2])
{
    const struct ladder ladder = {.top = s->hi, .first = -1.0f, .step = 0.05f, .n_steps = 40};
    float weight[TILE_LANES] = {0};
    struct moments m;

    s->encode->asymmetric(&s->tile, &ladder);
    s->encode->fit(&s->tile, 32, s->lo, s->hi, &m);
    for (int i = 0; i < 32; i++)
        for (int b = 0; b < TILE_LANES; b++)
            weight[b] += s->tile.w[i][b];
    for (int p = 0; p < 2; p++) {
        supers[p].d = spread(s->tile.scale + 8 * p, m.wcc + 8 * p, supers[p].sc);
        supers[p].dmin = spread(s->tile.offset + 8 * p, weight + 8 * p, supers[p].mn);
    }
}

static uint8_t near(uint8_t code, int step)
{
    int next = code + step;

    return (uint8_t)(next < 0 ? 0 : next > 63 ? 63 : next);
}

/* Try the codes around `supers` and keep, sub-block by sub-block, the best. */
static void search_codes_near(struct search *s, struct coded_k supers[2], int reach)
{
    struct coded_k best[2] = {supers[0], supers[1]};

    search_begin(s);
    for (int a = -reach; a <= reach; a++) {
        for (int o = -reach; o <= reach; o++) {
            float before[TILE_LANES];
            struct coded_k trial[2] = {supers[0], supers[1]};

            for (int b = 0; b < TILE_LANES; b++) {
                trial[b / 8].sc[b % 8] = near(supers[b / 8].sc[b % 8], a);
                trial[b / 8].mn[b % 8] = near(supers[b / 8].mn[b % 8], o);
            }
            memcpy(before, s->loss, sizeof(before));
            super_store_scales(trial, &s->tile);
            search_try(s);
            for (int b = 0; b < TILE_LANES; b++) {
                if (s->loss[b] < before[b]) {
                    best[b / 8].sc[b % 8] = trial[b / 8].sc[b % 8];
                    best[b / 8].mn[b % 8] = trial[b / 8].mn[b % 8];
                }
            }
        }
    }
    supers[0] = best[0];
    supers[1] = best[1];
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
        float w = 0.0f, wx = 0.0f;

        for (int i = 0; i < 32; i++) {
            w += s->tile.w[i][b];
            wx += s->tile.w[i][b] * s->tile.x[i][b];
        }
        ss += sc * sc * m->wcc[b];
        so += sc * mn * m->wc[b];
        oo += mn * mn * w;
        xs += sc * m->wxc[b];
        xo += mn * wx;
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
            loss[p] += s->loss[8 * p + g];
    }
}

/* The loss of two super-blocks as they would be stored. */
static void judge(struct search *s, const struct coded_k supers[2], float loss[2])
{
    search_begin(s);
    super_store_scales(supers, &s->tile);
    search_try(s);
    total(s, loss);
}

/* Refit, search the codes nearby again, keep what is better. */
static void polish(struct search *s, struct coded_k supers[2], float loss[2])
{
    struct coded_k trial[2] = {supers[0], supers[1]};
    struct moments m;
    float now[2];

    super_store_scales(supers, &s->tile);
    s->encode->fit(&s->tile, 32, s->lo, s->hi, &m);
    for (int p = 0; p < 2; p++)
        refit_super(s, &m, p, &trial[p]);
    search_codes_near(s, trial, 1);
    total(s, now);
    for (int p = 0; p < 2; p++) {
        if (now[p] < loss[p]) {
            supers[p] = trial[p];
            loss[p] = now[p];
        }
    }
}

static void unpack_scales(const uint8_t *block, struct coded_k *super)
{
    super->d = load_u16(block);
    super->dmin = load_u16(block + 2);
    k_scales_unpack(block + 4, super->sc, super->mn); /* d, dmin, scales: Q4_K and Q5_K alike */
}

/* Two super-blocks, the second repeated from the first when n is 1. */
static void improve(const struct rows_in *in, struct search *s, uint8_t *blocks, int n)
{
    const size_t bytes = block_type_info(in->type)->bytes;
    struct coded_k plain[2], supers[2];
    float limit[2], loss[2];

    for (int p = 0; p < 2; p++)
        unpack_scales(blocks + (p < n ? (size_t)p : 0) * bytes, &plain[p]);
    judge(s, plain, limit);
    fit_supers(s, supers);
    search_codes_near(s, supers, 2);
    total(s, loss);
    polish(s, supers, loss);

    super_store_scales(supers, &s->tile);
    memset(s->tile.q, 0, sizeof(s->tile.q));
    s->encode->requantize(&s->tile, 32, s->lo, s->hi);
    for (int p = 0; p < n; p++) {
        if (!(loss[p] < limit[p]))
            continue;
        super_take(&s->tile, p, &supers[p]);
        super_pack(in->type, &supers[p], 1, blocks + (size_t)p * bytes);
    }
}

void search_k(const struct rows_in *in, void *out)
{
    struct search s = search_new(in, 32, 0, in->type == TYPE_Q4_K ? 15 : 31);
    const size_t bytes = block_type_info(in->type)->bytes;
    struct super_walk walk = super_begin(in);
    uint8_t *blocks = out;

    (in->importance ? round_k_weighted : round_k_plain)(in, out);
    for (int n; (n = super_next(&walk, &s.tile)) > 0; blocks += (size_t)n * bytes) {
        for (int i = 0; i < 32; i++)
            for (int b = 0; b < TILE_LANES; b++)
                s.tile.w[i][b] = s.tile.w[i][b] > s.floor ? s.tile.w[i][b] : s.floor;
        improve(in, &s, blocks, n);
    }
}
