/*
 * search_small.c - better scales for the blocks of 32: Q4_0, Q5_0, Q8_0, Q4_1, Q5_1
 *
 * Candidates: docs/rounding.md, "Search".
 */
#include "quantize/pack.h"
#include "quantize/search.h"

/* The divisors that make a scale of the block's extremum: it then has code -m or +m, so
 * beyond the range of the codes the extremum is clipped. */
struct divisors {
    int lo, hi;           /* codes */
    const float *against; /* extremum to the negative end; ends with 0 */
    const float *along;   /* extremum to the positive end; ends with 0 */
};

static const float q4_against[] = {7.0f,  7.25f, 7.5f,  7.75f, 8.0f,  8.25f, 8.5f,  8.75f, 9.0f,
                                   9.25f, 9.5f,  9.75f, 10.0f, 10.5f, 11.0f, 11.5f, 0.0f};
static const float q4_along[] = {6.25f, 6.5f,  6.75f, 7.0f, 7.25f, 7.5f,  7.75f, 8.0f,
                                 8.25f, 8.5f,  8.75f, 9.0f, 9.5f,  10.0f, 10.5f, 0.0f};
static const float q5_against[] = {14.5f, 15.0f, 15.5f, 16.0f, 16.5f, 17.0f,
                                   17.5f, 18.0f, 18.5f, 19.0f, 0.0f};
static const float q5_along[] = {13.5f, 14.0f, 14.5f, 15.0f, 15.5f,
                                 16.0f, 16.5f, 17.0f, 17.5f, 0.0f};
static const float q8_against[] = {0.0f}; /* the range is symmetric: one sign is enough */
static const float q8_along[] = {126.0f, 126.5f, 127.0f, 127.5f, 128.0f,
                                 128.5f, 129.0f, 130.0f, 0.0f};

static const struct divisors q4 = {-8, 7, q4_against, q4_along};
static const struct divisors q5 = {-16, 15, q5_against, q5_along};
static const struct divisors q8 = {-127, 127, q8_against, q8_along};

static const struct divisors *divisors_of(enum block_type type)
{
    return type == TYPE_Q4_0 ? &q4 : type == TYPE_Q5_0 ? &q5 : &q8;
}

/* ---- packed blocks: the scale is their first half, a minimum the second ---- */

static float stored_half(const uint8_t *block, int i)
{
    return f32_from_f16(load_u16(block + 2 * i));
}

/* Sixteen blocks, or fewer at the end of a row: absent lanes repeat the last one. */
struct run {
    const float *x, *importance;
    uint8_t *blocks; /* plain rounding's, to be improved on */
    size_t block_bytes;
    int n;
};

static void put_run(struct search *s, const struct run *run)
{
    for (int lane = 0; lane < TILE_LANES; lane++) {
        int at = 32 * (lane < run->n ? lane : run->n - 1);
        search_put(s, lane, run->x + at, run->importance ? run->importance + at : NULL);
    }
    search_begin(s);
}

/* Plain rounding's scale and offset, which its codes may not have been chosen for. */
static void try_plain(struct search *s, const struct run *run, bool has_minimum)
{
    for (int lane = 0; lane < TILE_LANES; lane++) {
        int at = lane < run->n ? lane : run->n - 1;
        const uint8_t *block = run->blocks + (size_t)at * run->block_bytes;

        s->tile.scale[lane] = stored_half(block, 0);
        s->tile.offset[lane] = has_minimum ? -stored_half(block, 1) : 0.0f;
    }
    search_try(s);
}

/* Pack the best; a block of scale 0 stays as plain rounding left it. */
static void pack_run(struct search *s, enum block_type type, const struct run *run, int bias)
{
    search_codes(s);
    for (int lane = 0; lane < run->n; lane++) {
        struct coded coded = {.scale = s->scale[lane], .offset = s->offset[lane]};

        if (s->scale[lane] == 0.0f)
            continue;
        tile_take(&s->tile, lane, bias, coded.q, 32);
        pack_small(type, &coded, run->blocks + (size_t)lane * run->block_bytes, 1);
    }
}

/* ---- one sign, two signs ---- */

static void extrema(const struct tile *tile, float top[TILE_LANES])
{
    for (int b = 0; b < TILE_LANES; b++)
        top[b] = 0.0f;
    for (int i = 0; i < 32; i++)
        for (int b = 0; b < TILE_LANES; b++)
            top[b] = fabsf(tile->x[i][b]) > fabsf(top[b]) ? tile->x[i][b] : top[b];
}

static void try_divisors(struct search *s, const float top[TILE_LANES], const float *divisors,
                         float sign)
{
    for (; *divisors != 0.0f; divisors++) {
        for (int b = 0; b < TILE_LANES; b++)
            s->tile.scale[b] = half_round(sign * top[b] / *divisors);
        search_try(s);
    }
}

static void search_signed_run(struct search *s, enum block_type type, const struct run *run)
{
    const struct divisors *divisors = divisors_of(type);
    float top[TILE_LANES];

    put_run(s, run);
    try_plain(s, run, false);
    extrema(&s->tile, top);
    if (type == TYPE_Q8_0)
        for (int b = 0; b < TILE_LANES; b++)
            top[b] = fabsf(top[b]);
    try_divisors(s, top, divisors->against, -1.0f);
    try_divisors(s, top, divisors->along, 1.0f);
    search_refit(s);
    pack_run(s, type, run, type == TYPE_Q8_0 ? 0 : -divisors->lo);
}

/* ---- scale and minimum ---- */

static void search_affine_run(struct search *s, enum block_type type, const struct run *run)
{
    const struct ladder ladder = {.top = s->hi, .first = -1.0f, .step = 0.05f, .n_steps = 40};

    put_run(s, run);
    try_plain(s, run, true);
    search_refit_affine(s);
    s->encode->asymmetric(&s->tile, &ladder);
    for (int b = 0; b < TILE_LANES; b++) {
        s->tile.scale[b] = half_round(s->tile.scale[b]);
        s->tile.offset[b] = half_round(s->tile.offset[b]);
    }
    search_try(s);
    search_refit_affine(s);
    search_refit_affine(s);
    pack_run(s, type, run, 0);
}

/* ---- rows ---- */

/* Round plainly, then improve sixteen blocks at a time. */
static void search_rows(const struct rows_in *in, struct search *s, uint8_t *out,
                        void (*improve)(struct search *, enum block_type, const struct run *))
{
    const struct codec *codec = codec_find(in->type);
    const size_t block_bytes = block_type_info(in->type)->bytes;
    const size_t row_blocks = in->n_cols / 32;

    (in->importance ? codec->weighted : codec->plain)(in, out);
    for (size_t r = 0; r < in->n_rows; r++) {
        for (size_t b = 0; b < row_blocks; b += TILE_LANES) {
            size_t left = row_blocks - b;
            const struct run run = {
                .x = in->x + r * in->n_cols + 32 * b,
                .importance = in->importance ? in->importance + 32 * b : NULL,
                .blocks = out + (r * row_blocks + b) * block_bytes,
                .block_bytes = block_bytes,
                .n = left < TILE_LANES ? (int)left : TILE_LANES,
            };
            improve(s, in->type, &run);
        }
    }
}

void search_signed(const struct rows_in *in, void *out)
{
    const struct divisors *divisors = divisors_of(in->type);
    struct search s = search_new(in, 32, divisors->lo, divisors->hi);

    search_rows(in, &s, out, search_signed_run);
}

void search_affine(const struct rows_in *in, void *out)
{
    struct search s = search_new(in, 32, 0, in->type == TYPE_Q4_1 ? 15 : 31);

    search_rows(in, &s, out, search_affine_run);
}
