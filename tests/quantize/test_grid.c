/*
 * test_grid.c - weights trained on a 4-bit grid come back exactly
 *
 * data/vectors/quant/grid.safetensors: rows of a trained matrix, with the codes and scales
 * they were made from, and rows of the same model's embedding, which is on no grid.
 */
#include "formats/safetensors/safetensors.h"
#include "quantize/quantize.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { ROWS = 48, COLS = 256, N = ROWS * COLS, BLOCKS = N / 32, OFF_ROWS = 16 };

static struct safetensors *vectors;
static float weights[N], scales[BLOCKS], embedding[OFF_ROWS * COLS];
static uint8_t codes[N / 2]; /* low nibble first; less 8 */

static void read_raw(const char *name, void *out, size_t n_bytes)
{
    const struct tensor *t = safetensors_find(vectors, name);
    struct error err = {0};

    cr_assert(t && t->n_bytes == n_bytes, "%s", name);
    cr_assert_eq(file_read(safetensors_file(vectors), t->offset, out, n_bytes, &err), OK);
}

static void read_bf16(const char *name, float *out, size_t n)
{
    uint16_t *raw = malloc(n * sizeof(*raw));

    read_raw(name, raw, n * sizeof(*raw));
    block_decode(TYPE_BF16, raw, out, n);
    free(raw);
}

static void open_vectors(void)
{
    struct error err = {0};

    cr_assert_eq(
        safetensors_open(CARAT_DATA "/vectors/quant/grid.safetensors", &vectors, &err),
        OK, "%s", err.text);
    read_bf16("weights", weights, N);
    read_bf16("scales", scales, BLOCKS);
    read_bf16("embedding", embedding, OFF_ROWS * COLS);
    read_raw("codes", codes, sizeof(codes));
}

static void close_vectors(void)
{
    safetensors_close(vectors);
}

TestSuite(grid, .init = open_vectors, .fini = close_vectors);

/* Every weight to bfloat16 again: what a model that was stored so would hold. */
static void as_bf16(const float *x, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f32_from_bf16(bf16_from_f32(x[i]));
}

Test(grid, every_block_on_a_grid_is_found)
{
    cr_assert_eq(quantize_count_grid(weights, ROWS, COLS), BLOCKS);
}

Test(grid, ordinary_weights_are_on_no_grid)
{
    static float bell[N], rounded[N];

    cr_assert_eq(quantize_count_grid(embedding, OFF_ROWS, COLS), 0);
    fixture_activations(bell, N, 5);
    as_bf16(bell, rounded, N);
    cr_assert_eq(quantize_count_grid(rounded, ROWS, COLS), 0);
}

Test(grid, the_weights_come_back_exactly)
{
    static struct q4_0 blocks[BLOCKS];
    static float back[N], stored[N];

    quantize_rows(TYPE_Q4_0, METHOD_GRID, weights, ROWS, COLS, NULL, blocks);
    block_decode(TYPE_Q4_0, blocks, back, N);
    as_bf16(back, stored, N);
    for (int i = 0; i < N; i++) /* a zero may change its sign */
        cr_assert_eq(stored[i], weights[i], "weight %d", i);
}

/* Turning the sign of the scale and of every code gives the same weights, if no code is -8:
 * only then may codes differ from those the model was trained with. */
Test(grid, codes_and_scales_are_those_of_training_up_to_a_common_sign)
{
    static struct q4_0 blocks[BLOCKS];

    quantize_rows(TYPE_Q4_0, METHOD_GRID, weights, ROWS, COLS, NULL, blocks);
    for (int b = 0; b < BLOCKS; b++) {
        float d = f32_from_f16(blocks[b].d);
        int sign = d == scales[b] ? 1 : -1;

        cr_expect_eq(d, (float)sign * scales[b], "block %d", b);
        for (int i = 0; i < 32; i++) {
            int got = (i < 16 ? blocks[b].q[i] & 15 : blocks[b].q[i - 16] >> 4) - 8;
            int want = (codes[16 * b + i / 2] >> 4 * (i % 2) & 15) - 8;
            cr_expect_eq(got, sign * want, "block %d, weight %d", b, i);
        }
    }
}

Test(grid, plain_rounding_misses_blocks_whose_extremum_is_not_at_minus_eight)
{
    static struct q4_0 blocks[BLOCKS];
    static float back[N], stored[N];
    int n_missed = 0;

    quantize_rows(TYPE_Q4_0, METHOD_PLAIN, weights, ROWS, COLS, NULL, blocks);
    block_decode(TYPE_Q4_0, blocks, back, N);
    as_bf16(back, stored, N);
    for (int i = 0; i < N; i++)
        n_missed += stored[i] != weights[i];
    cr_assert_gt(n_missed, 0, "the rows chosen would not show what grids are for");
}

Test(grid, other_blocks_are_rounded_plainly)
{
    static struct q4_0 grid[OFF_ROWS * COLS / 32], plain[OFF_ROWS * COLS / 32];

    quantize_rows(TYPE_Q4_0, METHOD_GRID, embedding, OFF_ROWS, COLS, NULL, grid);
    quantize_rows(TYPE_Q4_0, METHOD_PLAIN, embedding, OFF_ROWS, COLS, NULL, plain);
    cr_assert_arr_eq(grid, plain, sizeof(grid));
}

/* Each extremum code, each precision a checkpoint may have been stored in. */
Test(grid, any_extremum_code_is_found_in_any_precision)
{
    uint64_t seed = 11;

    for (int top = -8; top <= 7; top++) {
        for (int precision = 0; precision < 3; precision++) {
            float x[32],
                d = f32_from_f16(f16_from_f32(0.011f + 0.013f * fixture_uniform(&seed)));
            int limit = abs(top);

            for (int i = 0; i < 32; i++) {
                int code =
                    (int)(fixture_random(&seed) % (unsigned)(2 * limit + 1)) - limit;
                code = code > 7 ? 7 : code;
                x[i] = d * (float)(i == 3 ? top : code);
                if (precision == 0)
                    x[i] = f32_from_bf16(bf16_from_f32(x[i]));
                else if (precision == 1)
                    x[i] = f32_from_f16(f16_from_f32(x[i]));
            }
            cr_expect_eq(quantize_count_grid(x, 1, 32), 1, "code %d, precision %d", top,
                         precision);
        }
    }
}
