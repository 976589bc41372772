/*
 * search_6k.c - better scales for Q6_K
 *
 * As for Q4_K, with sixteen symmetric sub-blocks of 16: each alone, one d for all, then the
 * 8-bit codes of the scales around the nearest. Source: docs/rounding.md, "Search".
 */
#include "quantize/pack_blocks.h"
#include "quantize/search.h"

enum { STEPS = 17, REACH = 2 }; /* divisors 122, 122.5 ... 130 of the largest scale */

static float clamp_code(float code)
{
    return code < -128.0f ? -128.0f : code > 127.0f ? 127.0f : code;
}

/* The sub-blocks' scales as stored, their codes moved by `step`. */
static struct candidate stored(const struct coded_6k *super, int step)
{
    const float d = f32_from_f16(super->d);
    struct candidate candidate = {0};

    for (int g = 0; g < 16; g++)
        candidate.scale[g] = d * clamp_code((float)(super->sc[g] + step));
    return candidate;
}

/* The signed scale of largest magnitude goes to the negative end of the codes. */
static void spread(const float scales[16], const float weights[16],
                   struct coded_6k *super)
{
    float top = 0.0f, least = INFINITY, best = 0.0f;

    for (int g = 0; g < 16; g++)
        top = fabsf(scales[g]) > fabsf(top) ? scales[g] : top;
    for (int k = 0; k < STEPS; k++) {
        float step = half_round(-top / (122.0f + 0.5f * (float)k)), error = 0.0f;

        for (int g = 0; g < 16 && step != 0.0f; g++) {
            float e = scales[g] - step * clamp_code(nearbyintf(scales[g] / step));
            error += weights[g] * (e * e);
        }
        if (step != 0.0f && error < least) {
            least = error;
            best = step;
        }
    }
    super->d = f16_from_f32(best);
    for (int g = 0; g < 16; g++)
        super->sc[g] =
            (int8_t)(best != 0.0f ? clamp_code(nearbyintf(scales[g] / best)) : 0.0f);
}

/* Every sub-block alone: from plain's search, the extremum over m, m growing by a constant
 * factor towards the negative end of the codes (from 31) and the positive one (from 30). */
static void fit_super(struct search *s, struct coded_6k *super)
{
    enum { N = 8 };
    struct candidate found = {0}, list[2 * N];
    float ratios[2 * N], top[TILE_LANES] = {0}, m = 1.0f;
    struct moments moments;

    for (int i = 0; i < 16; i++)
        for (int g = 0; g < TILE_LANES; g++)
            top[g] = fabsf(s->tile.x[i][g]) > fabsf(top[g]) ? s->tile.x[i][g] : top[g];
    for (int k = 0; k < N; k++, m *= 1.08f) {
        ratios[k] = -1.0f / (31.0f * m);
        ratios[N + k] = 1.0f / (30.0f * m);
    }
    s->encode->symmetric((struct tile *[]){&s->tile}, 1, 16, 32);
    memcpy(found.scale, s->tile.scale, sizeof(found.scale));
    search_begin(s);
    search_try(s, &found, 1);
    s->encode->scales(top, ratios, 2 * N, list);
    search_try(s, list, 2 * N);
    search_refit(s);
    s->encode->fit(&s->tile, &s->codes, &s->best.at, &moments);
    spread(s->best.at.scale, moments.wcc, super);
}

static float total(const struct search *s)
{
    float sum = 0.0f;

    for (int g = 0; g < 16; g++)
        sum += s->best.loss[g];
    return sum;
}

/* Try the codes around those of `super`; keep, sub-block by sub-block, the best. */
static float search_near(struct search *s, struct coded_6k *super)
{
    struct candidate list[2 * REACH + 1];

    for (int k = 0; k <= 2 * REACH; k++)
        list[k] = stored(super, k - REACH);
    search_begin(s);
    search_try(s, list, 2 * REACH + 1);
    for (int g = 0; g < 16; g++)
        if (s->best.which[g] >= 0)
            super->sc[g] =
                (int8_t)clamp_code((float)(super->sc[g] + s->best.which[g] - REACH));
    return total(s);
}

/* Least squares for d with all codes held. */
static void refit_super(struct search *s, struct coded_6k *super)
{
    const struct candidate now = stored(super, 0);
    float xs = 0.0f, ss = 0.0f;
    struct moments m;

    s->encode->fit(&s->tile, &s->codes, &now, &m);
    for (int g = 0; g < 16; g++) {
        float sc = super->sc[g];

        xs += sc * m.wxc[g];
        ss += sc * sc * m.wcc[g];
    }
    if (ss > 0.0f)
        super->d = f16_from_f32(xs / ss);
}

static float judge(struct search *s, const struct coded_6k *super)
{
    const struct candidate candidate = stored(super, 0);

    search_begin(s);
    search_try(s, &candidate, 1);
    return total(s);
}

/* Improve on a block of plain rounding, where that is possible. */
static void improve(struct search *s, struct q6_k *block)
{
    struct coded_6k super, trial, plain = {.d = block->d};
    struct candidate best;

    memcpy(plain.sc, block->scales, sizeof(plain.sc));
    float limit = judge(s, &plain);
    fit_super(s, &super);
    float loss = search_near(s, &super);

    trial = super;
    refit_super(s, &trial);
    float again = search_near(s, &trial);
    if (again < loss) {
        loss = again;
        super = trial;
    }
    if (!(loss < limit))
        return;
    best = stored(&super, 0);
    search_code(s, &best);
    for (int g = 0; g < 16; g++)
        tile_take(&s->tile, g, 32, super.q + 16 * g, 16);
    pack_q6_k(&super, block);
}

void search_6k(const struct rows_in *in, void *out)
{
    struct search s = search_new(in, (struct codes){.n = 16, .lo = -32, .hi = 31});
    const size_t n_supers = in->n_rows * (in->n_cols / 256);
    uint8_t *at = out;

    round_6k(in, out);
    for (size_t b = 0; b < n_supers; b++, at += sizeof(struct q6_k)) {
        const float *importance =
            in->importance ? in->importance + 256 * b % in->n_cols : NULL;
        const float *x[TILE_LANES], *weights[TILE_LANES];
        struct q6_k block;

        for (int g = 0; g < 16; g++) {
            x[g] = in->x + 256 * b + 16 * g;
            weights[g] = importance ? importance + 16 * g : NULL;
        }
        search_fill(&s, x, importance ? weights : NULL);
        memcpy(&block, at, sizeof(block));
        improve(&s, &block);
        memcpy(at, &block, sizeof(block));
    }
}
