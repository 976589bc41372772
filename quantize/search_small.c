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
    const struct rows_in *in;
    const float *x[TILE_LANES], *importance[TILE_LANES];
    uint8_t *blocks; /* the result; where plain rounding came first, its blocks */
    size_t block_bytes;
    int n;
};

static void put_run(struct search *s, const struct run *run)
{
    search_fill(s, run->x, run->in->importance ? run->importance : NULL);
    search_begin(s);
}

/* Plain rounding's scale and offset, which its codes may not have been chosen for. */
static struct candidate plain_candidate(const struct run *run, bool has_minimum)
{
    struct candidate plain;

    for (int lane = 0; lane < TILE_LANES; lane++) {
        int at = lane < run->n ? lane : run->n - 1;
        const uint8_t *block = run->blocks + (size_t)at * run->block_bytes;

        plain.scale[lane] = stored_half(block, 0);
        plain.offset[lane] = has_minimum ? -stored_half(block, 1) : 0.0f;
    }
    return plain;
}

/* What plain rounding makes of one block. */
static void round_block(const struct run *run, int lane, uint8_t *block)
{
    const struct rows_in one = {.encode = run->in->encode,
                                .type = run->in->type,
                                .x = run->x[lane],
                                .n_rows = 1,
                                .n_cols = 32};

    round_small_plain(&one, block);
}

/* Pack the best. A block of scale 0 (all zero, or too small for a half) is left as plain rounding
 * has it, which is done here unless it came first. */
static void pack_run(struct search *s, const struct run *run, bool had_plain)
{
    const struct candidate *best = &s->best.at;
    const int bias = run->in->type == TYPE_Q8_0 ? 0 : -s->codes.lo;
    struct coded coded[TILE_LANES];

    search_code(s, best);
    s->encode->take(&s->tile, 32, bias, coded[0].q, sizeof(coded[0]));
    for (int lane = 0; lane < run->n; lane++) {
        uint8_t *block = run->blocks + (size_t)lane * run->block_bytes;

        coded[lane].scale = best->scale[lane];
        coded[lane].offset = best->offset[lane];
        if (best->scale[lane] != 0.0f)
            pack_small(run->in->type, &coded[lane], block, 1);
        else if (!had_plain)
            round_block(run, lane, block);
    }
}

/* ---- one sign, two signs ---- */

/* 1 / m, 1 / (m * growth) ...; returns how many ratios there are. */
static int add_ratios(float *ratios, int n, float m, float growth, int count)
{
    for (int k = 0; k < count && m != 0.0f; k++, m *= growth)
        ratios[n++] = 1.0f / m;
    return n;
}

/* Without importance plain rounding's scale is the extremum over its largest code. */
static struct candidate extremum_over(const struct peaks *peaks, enum block_type type,
                                      int lo)
{
    struct candidate plain = {0};

    for (int b = 0; b < TILE_LANES; b++)
        plain.scale[b] = half_round(type == TYPE_Q8_0 ? fabsf(peaks->x[b]) / (float)-lo
                                                      : peaks->x[b] / (float)lo);
    return plain;
}

static bool needs_plain(const struct rows_in *in)
{
    return in->importance && in->type != TYPE_Q8_0;
}

static void search_signed_run(struct search *s, const struct run *run)
{
    const enum block_type type = run->in->type;
    const struct trials *trials = trials_of(type);
    const int count = run->in->importance ? trials->n_important : trials->n;
    const bool had_plain = needs_plain(run->in);
    float ratios[SEARCH_MAX];
    struct candidate list[SEARCH_MAX];
    struct peaks peaks;
    int n;

    put_run(s, run);
    s->encode->peaks(&s->tile, 32, &peaks);
    list[0] =
        had_plain ? plain_candidate(run, false) : extremum_over(&peaks, type, trials->lo);
    if (type == TYPE_Q8_0) /* its codes are symmetric: one sign is enough */
        for (int b = 0; b < TILE_LANES; b++)
            peaks.positive[b] = fabsf(peaks.positive[b]);
    n = add_ratios(ratios, 0, -trials->against, trials->growth, count);
    n = add_ratios(ratios, n, trials->along, trials->growth, count);
    s->encode->scales(peaks.positive, ratios, n, list + 1);
    s->encode->judge(&s->tile, &s->codes, &peaks, list, n + 1, &s->best);
    search_around(s, &peaks);
    search_refit(s);
    pack_run(s, run, had_plain);
}

/* ---- scale and minimum ---- */

static void search_affine_run(struct search *s, const struct run *run)
{
    const struct ladder ladder = {
        .top = s->codes.hi, .first = -2.0f, .step = 0.2f, .n_steps = 30};
    struct candidate plain = plain_candidate(run, true), found;

    put_run(s, run);
    search_sums(s);
    search_try(s, &plain, 1);
    search_refit_affine(s);
    s->encode->asymmetric((struct tile *[]){&s->tile}, 1, &ladder);
    for (int b = 0; b < TILE_LANES; b++) {
        found.scale[b] = half_round(s->tile.scale[b]);
        found.offset[b] = half_round(s->tile.offset[b]);
    }
    search_try(s, &found, 1);
    search_refit_affine(s);
    search_refit_affine(s);
    pack_run(s, run, true);
}

/* ---- rows ---- */

/* Point at `n` blocks of a row from column `column` on. */
static struct run run_at(const struct rows_in *in, size_t row, size_t column,
                         uint8_t *blocks)
{
    const size_t left = (in->n_cols - column) / 32;
    struct run run = {.in = in,
                      .blocks = blocks,
                      .block_bytes = block_type_info(in->type)->bytes,
                      .n = left < TILE_LANES ? (int)left : TILE_LANES};

    for (int lane = 0; lane < TILE_LANES; lane++) {
        const size_t at = column + 32 * (size_t)(lane < run.n ? lane : run.n - 1);

        run.x[lane] = in->x + row * in->n_cols + at;
        run.importance[lane] = in->importance ? in->importance + at : NULL;
    }
    return run;
}

/* Sixteen blocks at a time, of one row. */
static void search_rows(const struct rows_in *in, struct search *s, uint8_t *out,
                        void (*search)(struct search *, const struct run *))
{
    for (size_t r = 0; r < in->n_rows; r++) {
        for (size_t column = 0; column < in->n_cols; column += 32 * TILE_LANES) {
            const struct run run = run_at(in, r, column, out);

            search(s, &run);
            out += (size_t)run.n * run.block_bytes;
        }
    }
}

void search_signed(const struct rows_in *in, void *out)
{
    const struct trials *trials = trials_of(in->type);
    const struct codes codes = {.n = 32, .lo = trials->lo, .hi = trials->hi};
    struct search s = search_new(in, codes);

    if (needs_plain(in))
        round_small_weighted(in, out);
    search_rows(in, &s, out, search_signed_run);
}

void search_affine(const struct rows_in *in, void *out)
{
    const struct codes codes = {.n = 32, .lo = 0, .hi = in->type == TYPE_Q4_1 ? 15 : 31};
    struct search s = search_new(in, codes);

    (in->importance ? round_small_weighted : round_small_plain)(in, out);
    search_rows(in, &s, out, search_affine_run);
}
