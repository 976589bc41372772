/*
 * test_search.c - the search never loses to plain rounding, whatever the type and the table
 */
#include "quantize/codec.h"
#include "quantize/half.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { ROWS = 24, COLS = 768, WEIGHTS = ROWS * COLS };

static float x[WEIGHTS], importance[COLS];

static const enum block_type types[] = {
    TYPE_Q8_0, TYPE_Q4_0, TYPE_Q4_1, TYPE_Q5_0,
    TYPE_Q5_1, TYPE_Q4_K, TYPE_Q5_K, TYPE_Q6_K,
};

enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

static void fill(void)
{
    uint64_t seed = 7;

    fixture_weights(x, WEIGHTS, 20260402);
    for (int j = 0; j < COLS; j++) {
        importance[j] = fixture_uniform(&seed) + 1e-3f;
        importance[j] *= j % 37 == 0 ? 100.0f : 1.0f;
    }
}

TestSuite(search, .init = fill);

/* What a column of the block at `block` weighs when nothing is known of it. */
static double unknown(enum block_type type, const float *block, float value)
{
    double mean = 0.0;

    if (type != TYPE_Q4_0 && type != TYPE_Q4_1 && type != TYPE_Q5_0 && type != TYPE_Q5_1)
        return 1.0;
    for (int i = 0; i < 32; i++)
        mean += (double)block[i] * (double)block[i] / 32.0;
    return mean > 0.0 ? sqrt(1.0 + (double)value * (double)value / mean) : 1.0;
}

/* The weighted squared error of each block of `n` weights. */
static void losses(enum block_type type, enum method method, const float *weights,
                   double *loss, size_t n)
{
    static uint8_t blocks[WEIGHTS * 2];
    static float back[WEIGHTS];

    quantize_rows(type, method, x, ROWS, COLS, weights, blocks);
    block_decode(type, blocks, back, WEIGHTS);
    for (size_t b = 0; b < WEIGHTS / n; b++) {
        loss[b] = 0.0;
        for (size_t i = b * n; i < (b + 1) * n; i++) {
            double e = (double)x[i] - (double)back[i];
            loss[b] +=
                (weights ? (double)weights[i % COLS] : unknown(type, x + b * n, x[i])) *
                e * e;
        }
    }
}

/* The search compares float sums of at most 256 terms, each rounded a few times: 2^-24 * 300.
 * Below that, which of two nearly equal codings is better is not decided. */
static void expect_no_loss(const float *weights)
{
    static double plain[WEIGHTS / 32], search[WEIGHTS / 32];

    for (int t = 0; t < N_TYPES; t++) {
        const size_t n = block_type_info(types[t])->weights;
        double sums[2] = {0};

        losses(types[t], METHOD_PLAIN, weights, plain, n);
        losses(types[t], METHOD_SEARCH, weights, search, n);
        for (size_t b = 0; b < WEIGHTS / n; b++) {
            cr_expect_leq(search[b], plain[b] * (1.0 + 300 * 0x1p-24), "%s: block %zu",
                          block_type_name(types[t]), b);
            sums[0] += plain[b];
            sums[1] += search[b];
        }
        cr_expect_lt(sums[1], sums[0], "%s: nothing gained", block_type_name(types[t]));
    }
}

Test(search, no_block_is_worse_than_plain_and_the_sum_is_better)
{
    expect_no_loss(NULL);
}

Test(search, with_importance_no_block_is_worse_than_plain_with_the_same)
{
    expect_no_loss(importance);
}

Test(search, every_table_gives_the_same_bytes)
{
    static uint8_t want[WEIGHTS * 2], got[WEIGHTS * 2];

    for (int level = CPU_SCALAR + 1; level < CPU_LEVELS; level++) {
        struct rows_in in = {
            .x = x, .n_rows = ROWS, .n_cols = COLS, .importance = importance};

        for (int t = 0; t < N_TYPES && encoders_at((enum cpu_level)level); t++) {
            const size_t n = ROWS * block_row_bytes(types[t], COLS);

            in.type = types[t];
            in.encode = encoders_at(CPU_SCALAR);
            codec_find(types[t])->search(&in, want);
            in.encode = encoders_at((enum cpu_level)level);
            codec_find(types[t])->search(&in, got);
            cr_expect_arr_eq(got, want, n, "%s: %s", in.encode->name,
                             block_type_name(types[t]));
        }
    }
}

Test(search, the_bytes_of_a_row_do_not_depend_on_its_neighbours)
{
    static uint8_t whole[WEIGHTS * 2];
    uint8_t alone[COLS * 2];

    for (int t = 0; t < N_TYPES; t++) {
        const size_t row_bytes = block_row_bytes(types[t], COLS);

        quantize_rows(types[t], METHOD_SEARCH, x, ROWS, COLS, importance, whole);
        for (size_t r = 0; r < ROWS; r++) {
            quantize_rows(types[t], METHOD_SEARCH, x + r * COLS, 1, COLS, importance,
                          alone);
            cr_expect_arr_eq(alone, whole + r * row_bytes, row_bytes, "%s: row %zu",
                             block_type_name(types[t]), r);
        }
    }
}

Test(search, importance_of_zero_everywhere_means_that_nothing_is_known)
{
    static uint8_t want[WEIGHTS * 2], got[WEIGHTS * 2];
    static const float zeros[COLS];
    static float back[WEIGHTS];

    for (int t = 0; t < N_TYPES; t++) {
        quantize_rows(types[t], METHOD_SEARCH, x, ROWS, COLS, NULL, want);
        quantize_rows(types[t], METHOD_SEARCH, x, ROWS, COLS, zeros, got);
        block_decode(types[t], got, back, WEIGHTS);
        for (int i = 0; i < WEIGHTS; i++)
            cr_assert(fabsf(back[i]) < 100.0f, "%s: %d", block_type_name(types[t]), i);
    }
}

/* Around every half, and half way to the next one: where rounding changes its mind. */
Test(search, half_round_is_the_round_trip_through_a_half)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = f32_from_f16((uint16_t)h), high = f32_from_f16((uint16_t)(h + 1));
        float middle = low + 0.5f * (high - low);
        const float tries[] = {
            low,    nextafterf(low, 1e9f),    nextafterf(middle, 0.0f),
            middle, nextafterf(middle, 1e9f),
        };

        for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]) && h < 0x7bff; i++) {
            float want = f32_from_f16(f16_from_f32(tries[i]));
            cr_assert_eq(half_round(tries[i]), want, "half %04x, try %zu", h, i);
            cr_assert_eq(half_round(-tries[i]), -want, "half -%04x, try %zu", h, i);
        }
    }
    cr_assert_eq(half_round(65519.0f), 65504.0f);
    cr_assert_eq(half_round(65520.0f), INFINITY);
}
