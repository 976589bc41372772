/*
 * search_small.c - better scales for the blocks of 32: Q4_0, Q5_0, Q8_0, Q4_1, Q5_1
 *
 * Candidates: docs/rounding.md, "Search".
 */
#include "quantize/pack_blocks.h"
#include "quantize/search.h"

/* Scales to try are the block's extremum over -m and over +m: it then has code -m or +m, and
 * where that is beyond the range of the codes it is clipped. m grows by a constant factor, far
 * only where columns differ in importance: then the extremum may be worth giving up. */
struct trials {
    int lo, hi;    /* codes */
    float against; /* the first m towards the negative end; 0: that sign is not tried */
    float along;   /* the first m towards the positive end */
    float growth;  /* from one m to the next */
    int n, n_important; /* how many m, of each sign; at most SEARCH_MAX / 2 */
};

static const struct trials q4 = {-8, 7, 7.0f, 6.5f, 1.07f, 8, 16};
static const struct trials q5 = {-16, 15, 15.0f, 14.0f, 1.06f, 5, 16};
static const struct trials q8 = {-127, 127, 0.0f, 125.0f, 1.008f, 8, 16};

static const struct trials *trials_of(enum block_type type)
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
    struct candidate plain;

    for (int lane = 0; lane < TILE_LANES; lane++) {
        int at = lane < run->n ? lane : run->n - 1;
        const uint8_t *block = run->blocks + (size_t)at * run->block_bytes;

        plain.scale[lane] = stored_half(block, 0);
        plain.offset[lane] = has_minimum ? -stored_half(block, 1) : 0.0f;
    }
    search_try(s, &plain, 1);
}

/* Pack the best; a block of scale 0 stays as plain rounding left it. */
static void pack_run(struct search *s, enum block_type type, const struct run *run,
                     int bias)
{
    search_code(s, &s->best);
    for (int lane = 0; lane < run->n; lane++) {
        struct coded coded = {.scale = s->best.scale[lane],
                              .offset = s->best.offset[lane]};

        if (coded.scale == 0.0f)
            continue;
        tile_take(&s->tile, lane, bias, coded.q, 32);
        pack_small(type, &coded, run->blocks + (size_t)lane * run->block_bytes, 1);
    }
}

/* ---- one sign, two signs ---- */

/* The value of largest magnitude down each lane; the positive one of equals. */
static void extrema(const struct tile *tile, float top[TILE_LANES])
{
    float low[TILE_LANES] = {0}, high[TILE_LANES] = {0};

    for (int i = 0; i < 32; i++) {
        for (int b = 0; b < TILE_LANES; b++) {
            float x = tile->x[i][b];

            low[b] = x < low[b] ? x : low[b];
            high[b] = x > high[b] ? x : high[b];
        }
    }
    for (int b = 0; b < TILE_LANES; b++)
        top[b] = high[b] >= -low[b] ? high[b] : low[b];
}

/* 1 / m, 1 / (m * growth) ...; returns how many ratios there are. */
static int add_ratios(float *ratios, int n, float m, float growth, int count)
{
    for (int k = 0; k < count && m != 0.0f; k++, m *= growth)
        ratios[n++] = 1.0f / m;
    return n;
}

/* Between the scales tried: the best a little smaller and larger. */
static void try_around(struct search *s)
{
    static const float factors[] = {0.96f, 0.98f, 1.02f, 1.04f};
    enum { N = sizeof(factors) / sizeof(factors[0]) };
    struct candidate list[N];

    s->encode->scales(s->best.scale, factors, N, list);
    search_try(s, list, N);
}

static void search_signed_run(struct search *s, enum block_type type,
                              const struct run *run)
{
    const struct trials *trials = trials_of(type);
    const int count = run->importance ? trials->n_important : trials->n;
    float top[TILE_LANES], ratios[SEARCH_MAX];
    struct candidate list[SEARCH_MAX];
    int n;

    put_run(s, run);
    try_plain(s, run, false);
    extrema(&s->tile, top);
    if (type == TYPE_Q8_0) /* its codes are symmetric: one sign is enough */
        for (int b = 0; b < TILE_LANES; b++)
            top[b] = fabsf(top[b]);
    n = add_ratios(ratios, 0, -trials->against, trials->growth, count);
    n = add_ratios(ratios, n, trials->along, trials->growth, count);
    s->encode->scales(top, ratios, n, list);
    search_try(s, list, n);
    try_around(s);
    search_refit(s);
    pack_run(s, type, run, type == TYPE_Q8_0 ? 0 : -trials->lo);
}

/* ---- scale and minimum ---- */

static void search_affine_run(struct search *s, enum block_type type,
                              const struct run *run)
{
    const struct ladder ladder = {
        .top = s->codes.hi, .first = -2.0f, .step = 0.2f, .n_steps = 30};
    struct candidate found;

    put_run(s, run);
    try_plain(s, run, true);
    search_refit_affine(s);
    s->encode->asymmetric(&s->tile, &ladder);
    for (int b = 0; b < TILE_LANES; b++) {
        found.scale[b] = half_round(s->tile.scale[b]);
        found.offset[b] = half_round(s->tile.offset[b]);
    }
    search_try(s, &found, 1);
    search_refit_affine(s);
    search_refit_affine(s);
    pack_run(s, type, run, 0);
}

/* ---- rows ---- */

/* Round plainly, then improve sixteen blocks at a time. */
static void search_rows(const struct rows_in *in, struct search *s, uint8_t *out,
                        void (*improve)(struct search *, enum block_type,
                                        const struct run *))
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
    const struct trials *trials = trials_of(in->type);
    const struct codes codes = {.n = 32, .lo = trials->lo, .hi = trials->hi};
    struct search s = search_new(in, codes);

    search_rows(in, &s, out, search_signed_run);
}

void search_affine(const struct rows_in *in, void *out)
{
    const struct codes codes = {.n = 32, .lo = 0, .hi = in->type == TYPE_Q4_1 ? 15 : 31};
    struct search s = search_new(in, codes);

    search_rows(in, &s, out, search_affine_run);
}
