/*
 * round_small.c - plain rounding of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0, the blocks of 32
 *
 * Source: docs/rounding.md, "Blocks of 32"; ggml 0.25.1, the quantize_row_*_ref functions
 * and, with importance, quantize_q4_0 and its like.
 */
#include "quantize/codec.h"
#include "quantize/pack_blocks.h"

#include <math.h>

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

/* The mean square of a row, summed left to right. */
static float mean_square(const float *x, size_t n)
{
    float sum = 0.0f;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum / (float)n;
}

/* w = importance * sqrt(variance + x^2), the weights of every search with importance. */
static void put_block(struct tile *tile, int lane, const float *x,
                      const float *importance, float variance)
{
    tile_put(tile->x, lane, x, 32);
    for (int i = 0; i < 32; i++)
        tile->w[i][lane] = importance[i] * sqrtf(variance + x[i] * x[i]);
}

static void search_tile(const struct rows_in *in, struct tile *tile)
{
    struct tile *const tiles[] = {tile};
    static const struct ladder q4_1 = {
        .top = 15, .first = -0.9f, .step = 0.05f, .n_steps = 36};
    static const struct ladder q5_1 = {
        .top = 31, .first = -0.9f, .step = 0.05f, .n_steps = 36};

    switch (in->type) {
    case TYPE_Q4_0:
        in->encode->symmetric(tiles, 1, 32, 8);
        break;
    case TYPE_Q5_0:
        in->encode->symmetric(tiles, 1, 32, 16);
        break;
    case TYPE_Q4_1:
        in->encode->asymmetric(tiles, 1, &q4_1);
        break;
    default:
        in->encode->asymmetric(tiles, 1, &q5_1);
        break;
    }
}

void round_small_weighted(const struct rows_in *in, void *out)
{
    size_t row_blocks = in->n_cols / 32;
    struct coded coded[TILE_LANES];
    struct tile tile = {0};

    for (size_t r = 0; r < in->n_rows; r++) {
        const float *row = in->x + r * in->n_cols;
        float variance = mean_square(row, in->n_cols);

        for (size_t b = 0; b < row_blocks; b += TILE_LANES) {
            size_t left = row_blocks - b;
            int n = left < TILE_LANES ? (int)left : TILE_LANES;

            for (int lane = 0; lane < n; lane++) {
                size_t at = 32 * (b + (size_t)lane);
                put_block(&tile, lane, row + at, in->importance + at, variance);
            }
            search_tile(in, &tile);
            for (int lane = 0; lane < n; lane++) {
                coded[lane].scale = tile.scale[lane];
                coded[lane].offset = tile.offset[lane];
                tile_take(&tile, lane, 0, coded[lane].q, 32);
            }
            out = pack_small(in->type, coded, out, (size_t)n);
        }
    }
}
