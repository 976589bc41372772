/*
 * search_6k.c - better scales for Q6_K
 *
 * As for Q4_K, with sixteen symmetric sub-blocks of 16: each alone, one d for all, then the
 * 8-bit codes of the scales around the nearest. Source: docs/rounding.md, "Search".
 */
#include "quantize/nearest.h"
#include "quantize/search.h"
#include "quantize/super_6k.h"

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

    for (int g = 0; g < TILE_LANES; g++) {
        float code = (float)super->sc[g] + (float)step; /* clamped as floats: vectors */

        code = code > -128.0f ? code : -128.0f;
        candidate.scale[g] = d * (code < 127.0f ? code : 127.0f);
    }
    return candidate;
}

/* The signed scale of largest magnitude goes to the negative end of the codes. */
static void spread(const struct encoders *encode, const float scales[16],
                   const float weights[16], struct coded_6k *super)
{
    static const struct divisors divisors = {
        .first = -122.0f, .step = -0.5f, .n = 17, .lo = -128, .hi = 127};
    const float step =
        encode->spread(scales, weights, 16, super_6k_largest(scales), &divisors);

    super->d = f16_from_f32(step);
    for (int g = 0; g < 16; g++) {
        int code = step != 0.0f ? nearest(scales[g] / step) : 0;
        super->sc[g] = (int8_t)clamp_code(code);
    }
}

/* Every sub-block alone: from plain rounding's scale, which is in the tile, the extremum over m, m
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
    search_around(s, &peaks);
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

/* Improve on plain rounding; false where that is not possible. */
static bool improve(struct search *s, const struct coded_6k *plain,
                    struct coded_6k *super)
{
    const float limit = judge(s, plain);
    struct coded_6k trial;

    fit_super(s, super);
    float loss = search_near(s, super);
    trial = *super;
    refit_super(s, &trial);
    float again = search_near(s, &trial);
    if (again < loss) {
        loss = again;
        *super = trial;
    }
    return loss < limit;
}

static void pack(struct search *s, struct coded_6k *super, uint8_t *out)
{
    const struct candidate best = stored(super, 0);
    struct q6_k block;

    search_code(s, &best);
    s->encode->take(&s->tile, 16, 32, super->q, 16);
    pack_q6_k(super, &block);
    memcpy(out, &block, sizeof(block));
}

/* The weights of the search, in the place of plain rounding's. */
static void weigh(struct search *s, const float *importance)
{
    for (int i = 0; i < 16; i++) {
        for (int b = 0; b < TILE_LANES; b++) {
            float w = importance ? s->tile.w[i][b] : 1.0f;
            s->tile.w[i][b] = w > s->floor ? w : s->floor;
        }
    }
}

/* What plain rounding makes of one super-block. */
static void round_super(const struct rows_in *in, size_t super, uint8_t *out)
{
    struct rows_in one = *in;

    one.x += 256 * super;
    one.importance = in->importance ? in->importance + 256 * super % in->n_cols : NULL;
    one.n_rows = 1;
    one.n_cols = 256;
    round_6k(&one, out);
}

void search_6k(const struct rows_in *in, void *out)
{
    const struct codes codes = {.n = 16, .lo = -32, .hi = 31};
    struct search s[2] = {search_new(in, codes), search_new(in, codes)};
    struct tile *const tiles[] = {&s[0].tile, &s[1].tile}; /* searched side by side */
    const size_t n_supers = in->n_rows * (in->n_cols / 256);
    uint8_t *at = out;

    for (size_t first = 0; first < n_supers; first += 2) {
        const int n = n_supers - first < 2 ? 1 : 2;
        struct coded_6k plain[2], super;

        for (int t = 0; t < n; t++)
            super_6k_put(in, first + (size_t)t, tiles[t]);
        in->encode->symmetric(tiles, n, 16, 32);
        for (int t = 0; t < n; t++) {
            (void)super_6k_scales(tiles[t]->scale, &plain[t]);
            weigh(&s[t], in->importance);
        }
        for (int t = 0; t < n; t++, at += sizeof(struct q6_k)) {
            if (improve(&s[t], &plain[t], &super))
                pack(&s[t], &super, at);
            else
                round_super(in, first + (size_t)t, at);
        }
    }
}
