/*
 * round_small.c - plain rounding of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0, the blocks of 32
 *
 * Source: docs/rounding.md, "Blocks of 32"; ggml 0.25.1, the quantize_row_*_ref functions
 * and, with importance, quantize_q4_0 and its like.
 */
#include "quantize/codec.h"
#include "quantize/pack_blocks.h"

enum { BATCH = 64 }; /* blocks coded, then packed: 4 KB, which stays in the first cache */

static void code_blocks(const struct rows_in *in, const float *x, struct coded *out,
                        size_t n)
{
    switch (in->type) {
    case TYPE_Q4_0:
        in->encode->extremum(x, out, n, 8);
        break;
    case TYPE_Q5_0:
        in->encode->extremum(x, out, n, 16);
        break;
    case TYPE_Q4_1:
        in->encode->range(x, out, n, 15);
        break;
    case TYPE_Q5_1:
        in->encode->range(x, out, n, 31);
        break;
    default:
        in->encode->symmetric8(x, out, n);
        break;
    }
}

void round_small_plain(const struct rows_in *in, void *out)
{
    size_t n_blocks = in->n_rows * (in->n_cols / 32);
    struct coded coded[BATCH];

    for (size_t b = 0; b < n_blocks; b += BATCH) {
        size_t n = n_blocks - b < BATCH ? n_blocks - b : BATCH;

        code_blocks(in, in->x + 32 * b, coded, n);
        out = pack_small(in->type, coded, out, n);
    }
}

/* The mean squares of up to sixteen rows, each summed left to right: a lane is a row. */
static void mean_squares(const struct rows_in *in, size_t row, float mean[TILE_LANES])
{
    float sum[TILE_LANES] = {0}, x[TILE_WEIGHTS][TILE_LANES];
    const float *lanes[TILE_LANES];

    for (size_t b = 0; b < TILE_LANES; b++)
        lanes[b] = in->x + (row + b < in->n_rows ? row + b : row) * in->n_cols;
    for (size_t column = 0; column < in->n_cols; column += TILE_WEIGHTS) {
        in->encode->gather(lanes, TILE_WEIGHTS, x);
        for (int i = 0; i < TILE_WEIGHTS; i++)
            for (int b = 0; b < TILE_LANES; b++)
                sum[b] += x[i][b] * x[i][b];
        for (int b = 0; b < TILE_LANES; b++)
            lanes[b] += TILE_WEIGHTS;
    }
    for (int b = 0; b < TILE_LANES; b++)
        mean[b] = sum[b] / (float)in->n_cols;
}

/* Fill a tile with the blocks of a row from a column on, weighed importance * sqrt(variance + x^2),
 * the weights of every search with importance; how many blocks there are. */
static int put_blocks(const struct rows_in *in, size_t row, size_t column, float variance,
                      struct tile *tile)
{
    const size_t left = column < in->n_cols ? (in->n_cols - column) / 32 : 0;
    const size_t n = left < TILE_LANES ? left : TILE_LANES;
    const float *x[TILE_LANES], *importance[TILE_LANES];
    float variances[TILE_LANES];

    if (n == 0)
        return 0;
    for (size_t b = 0; b < TILE_LANES; b++) {
        const size_t at = column + 32 * (b < n ? b : n - 1);

        x[b] = in->x + row * in->n_cols + at;
        importance[b] = in->importance + at;
        variances[b] = variance;
    }
    in->encode->gather(x, 32, tile->x);
    in->encode->gather(importance, 32, tile->w);
    in->encode->weigh_more(tile, variances);
    return (int)n;
}

static void search_tiles(const struct rows_in *in, struct tile *const *tiles, int n)
{
    static const struct ladder q4_1 = {
        .top = 15, .first = -0.9f, .step = 0.05f, .n_steps = 36};
    static const struct ladder q5_1 = {
        .top = 31, .first = -0.9f, .step = 0.05f, .n_steps = 36};

    switch (in->type) {
    case TYPE_Q4_0:
        in->encode->symmetric(tiles, n, 32, 8);
        break;
    case TYPE_Q5_0:
        in->encode->symmetric(tiles, n, 32, 16);
        break;
    case TYPE_Q4_1:
        in->encode->asymmetric(tiles, n, &q4_1);
        break;
    default:
        in->encode->asymmetric(tiles, n, &q5_1);
        break;
    }
}

static void *pack_tile(const struct rows_in *in, const struct tile *tile, int n,
                       void *out)
{
    struct coded coded[TILE_LANES];

    in->encode->take(tile, 32, 0, coded[0].q, sizeof(coded[0]));
    for (int lane = 0; lane < n; lane++) {
        coded[lane].scale = tile->scale[lane];
        coded[lane].offset = tile->offset[lane];
    }
    return pack_small(in->type, coded, out, (size_t)n);
}

void round_small_weighted(const struct rows_in *in, void *out)
{
    struct tile pair[2] = {0}, *const tiles[] = {&pair[0], &pair[1]};
    const size_t step = 32 * TILE_LANES;
    float variance[TILE_LANES];

    for (size_t r = 0; r < in->n_rows; r++) {
        if (r % TILE_LANES == 0)
            mean_squares(in, r, variance);
        for (size_t column = 0; column < in->n_cols; column += 2 * step) {
            int n[2];

            for (int t = 0; t < 2; t++)
                n[t] = put_blocks(in, r, column + (size_t)t * step,
                                  variance[r % TILE_LANES], tiles[t]);
            search_tiles(in, tiles, n[1] > 0 ? 2 : 1);
            for (int t = 0; t < 2; t++)
                out = pack_tile(in, tiles[t], n[t], out);
        }
    }
}
