/*
 * round_k.c - plain rounding of Q4_K and Q5_K: eight sub-blocks of 32 with 6-bit scales
 *
 * Two super-blocks fill a tile. Source: docs/rounding.md, "Q4_K and Q5_K"; ggml 0.25.1,
 * quantize_row_q4_K_ref, quantize_q4_K and make_qp_quants.
 */
#include "quantize/codec.h"
#include "quantize/nearest.h"
#include "quantize/super.h"

#include <math.h>

static const struct ladder plain_q4 = {
    .top = 15, .first = -1.0f, .step = 0.1f, .n_steps = 20};
static const struct ladder plain_q5 = {
    .top = 31, .first = -0.5f, .step = 0.1f, .n_steps = 15};
static const struct ladder fine_q4 = {
    .top = 15, .first = -0.9f, .step = 0.05f, .n_steps = 36};
static const struct ladder fine_q5 = {
    .top = 31, .first = -0.9f, .step = 0.05f, .n_steps = 36};

/* w = rms of the sub-block + |x|. */
static void weigh_plain(struct tile *tile)
{
    float sum[TILE_LANES] = {0};

    for (int i = 0; i < 32; i++)
        for (int b = 0; b < TILE_LANES; b++)
            sum[b] += tile->x[i][b] * tile->x[i][b];
    for (int b = 0; b < TILE_LANES; b++)
        sum[b] = sqrtf(sum[b] / 32.0f);
    for (int i = 0; i < 32; i++)
        for (int b = 0; b < TILE_LANES; b++)
            tile->w[i][b] = sum[b] + fabsf(tile->x[i][b]);
}

/* The tile holds importance in w; make it importance * sqrt(variance + x^2), the variance
 * twice the mean square of the super-block. sums[b] is the weight of lane b. */
static void weigh_important(const struct encoders *encode, struct tile *tile,
                            const float *const supers[2], float sums[TILE_LANES])
{
    float variance[TILE_LANES], sum[2] = {0};

    for (int i = 0; i < 256; i++) /* side by side: each waits for its last addition */
        for (int s = 0; s < 2; s++)
            sum[s] += supers[s][i] * supers[s][i];
    for (int b = 0; b < TILE_LANES; b++)
        variance[b] = 2.0f * sum[b / 8] / 256.0f;
    encode->weigh_more(tile, variance);
    for (int b = 0; b < TILE_LANES; b++)
        sums[b] = 0.0f;
    for (int i = 0; i < 32; i++)
        for (int b = 0; b < TILE_LANES; b++)
            sums[b] += tile->w[i][b];
}

/* 6-bit codes of eight non-negative values against their maximum; the step as stored. */
static uint16_t spread_plain(const float *values, uint8_t codes[8])
{
    float top = 0.0f;

    for (int g = 0; g < 8; g++)
        top = values[g] > top ? values[g] : top;

    float inv = top > 0.0f ? 63.0f / top : 0.0f;
    for (int g = 0; g < 8; g++) {
        /* Through a byte first, as the reference does: it matters when 63 / top overflows. */
        uint8_t code = (uint8_t)nearest(inv * values[g]);
        codes[g] = code < 63 ? code : 63;
    }
    return f16_from_f32(top / 63.0f);
}

/* Codes against the stored scales; a sub-block whose scale is zero keeps the search's. */
static void finish(const struct rows_in *in, struct tile *tile, struct coded_k supers[2],
                   int n, void **out)
{
    const struct codes codes = {.n = 32, .lo = 0, .hi = in->type == TYPE_Q4_K ? 15 : 31};

    super_scales(supers, tile->scale, tile->offset);
    in->encode->requantize(tile, &codes);
    super_take(in->encode, tile, supers);
    *out = super_pack(in->type, supers, n, *out);
}

/* Two tiles are searched together; how many super-blocks each holds, 0 for a tile that is absent. */
struct pair {
    struct tile tiles[2];
    int n[2];
};

static void search_pair(const struct rows_in *in, struct pair *pair,
                        const struct ladder *ladder)
{
    struct tile *const tiles[] = {&pair->tiles[0], &pair->tiles[1]};

    in->encode->asymmetric(tiles, pair->n[1] > 0 ? 2 : 1, ladder);
}

static bool next_plain(struct super_walk *walk, struct pair *pair)
{
    for (int t = 0; t < 2; t++) {
        pair->n[t] = super_next(walk, &pair->tiles[t]);
        if (pair->n[t] > 0)
            weigh_plain(&pair->tiles[t]);
    }
    return pair->n[0] > 0;
}

void round_k_plain(const struct rows_in *in, void *out)
{
    struct super_walk walk = super_begin(in);
    struct pair pair;

    while (next_plain(&walk, &pair)) {
        search_pair(in, &pair, in->type == TYPE_Q4_K ? &plain_q4 : &plain_q5);
        for (int t = 0; t < 2 && pair.n[t] > 0; t++) {
            struct tile *tile = &pair.tiles[t];
            struct coded_k supers[2];

            for (int s = 0; s < 2; s++) {
                supers[s].d = spread_plain(tile->scale + 8 * s, supers[s].sc);
                supers[s].dmin = spread_plain(tile->offset + 8 * s, supers[s].mn);
            }
            finish(in, tile, supers, pair.n[t], &out);
        }
    }
}

static bool next_important(struct super_walk *walk, struct pair *pair,
                           float sums[2][TILE_LANES])
{
    for (int t = 0; t < 2; t++) {
        pair->n[t] = super_next(walk, &pair->tiles[t]);
        if (pair->n[t] > 0)
            weigh_important(walk->in->encode, &pair->tiles[t], walk->x, sums[t]);
    }
    return pair->n[0] > 0;
}

void round_k_weighted(const struct rows_in *in, void *out)
{
    struct super_walk walk = super_begin(in);
    float sums[2][TILE_LANES];
    struct pair pair;

    while (next_important(&walk, &pair, sums)) {
        search_pair(in, &pair, in->type == TYPE_Q4_K ? &fine_q4 : &fine_q5);
        for (int t = 0; t < 2 && pair.n[t] > 0; t++) {
            struct tile *tile = &pair.tiles[t];
            struct coded_k supers[2];

            for (int s = 0; s < 2; s++) {
                const float *w = sums[t] + 8 * s;

                supers[s].d =
                    f16_from_f32(super_fit(tile->scale + 8 * s, w, supers[s].sc));
                supers[s].dmin =
                    f16_from_f32(super_fit(tile->offset + 8 * s, w, supers[s].mn));
            }
            finish(in, tile, supers, pair.n[t], &out);
        }
    }
}
