/*
 * search_6k.c - better scales for Q6_K
 *
 * As for Q4_K, with sixteen symmetric sub-blocks of 16: each alone, one d for all, then the
 * 8-bit codes of the scales around the nearest. Source: docs/rounding.md, "Search".
 */
#include "quantize/pack.h"
#include "quantize/search.h"

enum { STEPS = 17, REACH = 2 }; /* divisors 122, 122.5 ... 130 of the largest scale */

static float clamp_code(float code)
{
    return code < -128.0f ? -128.0f : code > 127.0f ? 127.0f : code;
}

static void store_scales(const struct coded_6k *super, struct tile *tile)
{
    for (int g = 0; g < 16; g++) {
        tile->scale[g] = f32_from_f16(super->d) * (float)super->sc[g];
        tile->offset[g] = 0.0f;
    }
}

/* The signed scale of largest magnitude goes to the negative end of the codes. */
static void spread(const float scales[16], const float weights[16], struct coded_6k *super)
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

static void fit_super(struct search *s, struct coded_6k *super)
{
    struct moments m;

    s->encode->symmetric(&s->tile, 16, 32);
    memset(s->tile.offset, 0, sizeof(s->tile.offset));
    s->encode->fit(&s->tile, 16, s->lo, s->hi, &m);
    spread(s->tile.scale, m.wcc, super);
}

/* Try the codes around those of `super`; keep, sub-block by sub-block, the best. */
static float search_codes_near(struct search *s, struct coded_6k *super)
{
    const struct coded_6k start = *super;
    float sum = 0.0f;

    search_begin(s);
    for (int step = -REACH; step <= REACH; step++) {
        struct coded_6k trial = start;
        float before[TILE_LANES];

        for (int g = 0; g < 16; g++)
            trial.sc[g] = (int8_t)clamp_code((float)(start.sc[g] + step));
        memcpy(before, s->loss, sizeof(before));
        store_scales(&trial, &s->tile);
        search_try(s);
        for (int g = 0; g < 16; g++)
            if (s->loss[g] < before[g])
                super->sc[g] = trial.sc[g];
    }
    for (int g = 0; g < 16; g++)
        sum += s->loss[g];
    return sum;
}

/* Least squares for d with all codes held. */
static void refit_super(struct search *s, struct coded_6k *super)
{
    float xs = 0.0f, ss = 0.0f;
    struct moments m;

    store_scales(super, &s->tile);
    s->encode->fit(&s->tile, 16, s->lo, s->hi, &m);
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
    float sum = 0.0f;

    search_begin(s);
    store_scales(super, &s->tile);
    search_try(s);
    for (int g = 0; g < 16; g++)
        sum += s->loss[g];
    return sum;
}

/* Improve on a block of plain rounding, where that is possible. */
static void improve(struct search *s, struct q6_k *block)
{
    struct coded_6k super, trial, plain = {.d = block->d};

    memcpy(plain.sc, block->scales, sizeof(plain.sc));
    float limit = judge(s, &plain);
    fit_super(s, &super);
    float loss = search_codes_near(s, &super);

    trial = super;
    refit_super(s, &trial);
    float again = search_codes_near(s, &trial);
    if (again < loss) {
        loss = again;
        super = trial;
    }
    if (!(loss < limit))
        return;
    store_scales(&super, &s->tile);
    memset(s->tile.q, 0, sizeof(s->tile.q));
    s->encode->requantize(&s->tile, 16, s->lo, s->hi);
    for (int g = 0; g < 16; g++)
        tile_take(&s->tile, g, 32, super.q + 16 * g, 16);
    pack_q6_k(&super, block);
}

void search_6k(const struct rows_in *in, void *out)
{
    struct search s = search_new(in, 16, -32, 31);
    const size_t n_supers = in->n_rows * (in->n_cols / 256);
    uint8_t *at = out;

    round_6k(in, out);
    for (size_t b = 0; b < n_supers; b++, at += sizeof(struct q6_k)) {
        const float *importance = in->importance ? in->importance + 256 * b % in->n_cols : NULL;
        struct q6_k block;

        for (int g = 0; g < 16; g++)
            search_put(&s, g, in->x + 256 * b + 16 * g,
                       importance ? importance + 16 * g : NULL);
        memcpy(&block, at, sizeof(block));
        improve(&s, &block);
        memcpy(at, &block, sizeof(block));
    }
}
