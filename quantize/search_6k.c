/*
 * search_6k.c - better scales for Q6_K
 *
 * As for Q4_K, with sixteen symmetric sub-blocks of 16: each alone, one d for all, then the
 * 8-bit codes of the scales around the nearest. Source: docs/rounding.md, "Search".
 */
#include "quantize/nearest.h"
#include "quantize/pack_blocks.h"
#include "quantize/search.h"

enum { REACH = 2 };

static int clamp_code(int code)
{
    return code < -128 ? -128 : code > 127 ? 127 : code;
}

/* The sub-blocks' scales as stored, their codes moved by `step`. */
static struct candidate stored(const struct coded_6k *super, int step)
{
    const float d = f32_from_f16(super->d);
    struct candidate candidate = {0};

    for (int g = 0; g < 16; g++)
        candidate.scale[g] = d * (float)clamp_code(super->sc[g] + step);
    return candidate;
}

/* The signed scale of largest magnitude goes to the negative end of the codes. */
static void spread(const struct encoders *encode, const float scales[16],
                   const float weights[16], struct coded_6k *super)
{
    static const struct divisors divisors = {
        .first = -122.0f, .step = -0.5f, .n = 17, .lo = -128, .hi = 127};
    float top = 0.0f;

    for (int g = 0; g < 16; g++)
        top = fabsf(scales[g]) > fabsf(top) ? scales[g] : top;

    float step = encode->spread(scales, weights, 16, top, &divisors);
    super->d = f16_from_f32(step);
    for (int g = 0; g < 16; g++) {
        int code = step != 0.0f ? nearest(scales[g] / step) : 0;
        super->sc[g] = (int8_t)clamp_code(code);
    }
}

/* Every sub-block alone: from the symmetric search's scale in the tile, the extremum over m, m
 * growing by a constant factor towards the negative end of the codes (from 31) and the positive one
 * (from 30). */
static void fit_super(struct search *s, struct coded_6k *super)
{
    enum { N = 8 };
    struct candidate list[1 + 2 * N] = {0};
    float ratios[2 * N], m = 1.0f;
    struct moments moments;
    struct peaks peaks;

    for (int k = 0; k < N; k++, m *= 1.08f) {
        ratios[k] = -1.0f / (31.0f * m);
        ratios[N + k] = 1.0f / (30.0f * m);
    }
    memcpy(list[0].scale, s->tile.scale, sizeof(list[0].scale));
    s->encode->peaks(&s->tile, 16, &peaks);
    s->encode->scales(peaks.x, ratios, 2 * N, list + 1);
    search_begin(s);
    s->encode->judge(&s->tile, &s->codes, &peaks, list, 1 + 2 * N, &s->best);
    search_refit(s);
    s->encode->fit(&s->tile, &s->codes, &s->best.at, &moments);
    spread(s->encode, s->best.at.scale, moments.wcc, super);
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
            super->sc[g] = (int8_t)clamp_code(super->sc[g] + s->best.which[g] - REACH);
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
    s->encode->take(&s->tile, 16, 32, super.q, 16);
    pack_q6_k(&super, block);
}

/* Fill a tile with a super-block. */
static void put_super(struct search *s, const struct rows_in *in, size_t super)
{
    const float *x[TILE_LANES], *importance[TILE_LANES];

    for (int g = 0; g < TILE_LANES; g++) {
        const size_t at = 256 * super + 16 * (size_t)g;

        x[g] = in->x + at;
        importance[g] = in->importance ? in->importance + at % in->n_cols : NULL;
    }
    search_fill(s, x, in->importance ? importance : NULL);
}

void search_6k(const struct rows_in *in, void *out)
{
    const struct codes codes = {.n = 16, .lo = -32, .hi = 31};
    struct search s[2] = {search_new(in, codes), search_new(in, codes)};
    struct tile *const tiles[] = {&s[0].tile, &s[1].tile}; /* searched side by side */
    const size_t n_supers = in->n_rows * (in->n_cols / 256);
    uint8_t *at = out;

    round_6k(in, out);
    for (size_t first = 0; first < n_supers; first += 2) {
        const int n = n_supers - first < 2 ? 1 : 2;

        for (int t = 0; t < n; t++)
            put_super(&s[t], in, first + (size_t)t);
        in->encode->symmetric(tiles, n, 16, 32);
        for (int t = 0; t < n; t++, at += sizeof(struct q6_k)) {
            struct q6_k block;

            memcpy(&block, at, sizeof(block));
            improve(&s[t], &block);
            memcpy(at, &block, sizeof(block));
        }
    }
}
