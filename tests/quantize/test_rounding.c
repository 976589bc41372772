/*
 * test_rounding.c - plain rounding gives the bytes of ggml 0.25.1
 *
 * data/vectors/quant/quantize.safetensors holds rows of every awkward kind and what ggml
 * makes of them, plain (q.TYPE) and with importance (qi.TYPE).
 */
#include "formats/safetensors/safetensors.h"
#include "quantize/quantize.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { ROWS = 52, COLS = 768 };

static float x[ROWS * COLS], importance[COLS];
static struct safetensors *vectors;

static void read_tensor(const char *name, void *out, size_t n_bytes)
{
    const struct tensor *t = safetensors_find(vectors, name);
    struct error err = {0};

    cr_assert(t && t->n_bytes == n_bytes, "%s", name);
    cr_assert_eq(file_read(safetensors_file(vectors), t->offset, out, n_bytes, &err), OK,
                 "%s", err.text);
}

static void open_vectors(void)
{
    struct error err = {0};
    enum status st = safetensors_open(CARAT_DATA "/vectors/quant/quantize.safetensors",
                                      &vectors, &err);

    cr_assert_eq(st, OK, "%s", err.text);
    read_tensor("x", x, sizeof(x));
    read_tensor("importance", importance, sizeof(importance));
}

static void close_vectors(void)
{
    safetensors_close(vectors);
}

TestSuite(rounding, .init = open_vectors, .fini = close_vectors);

static const enum block_type types[] = {
    TYPE_F16,  TYPE_BF16, TYPE_Q8_0, TYPE_Q4_0, TYPE_Q4_1,
    TYPE_Q5_0, TYPE_Q5_1, TYPE_Q4_K, TYPE_Q5_K, TYPE_Q6_K,
};

enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

static void expect_rows(enum block_type type, const char *prefix, const float *weights)
{
    const size_t row_bytes = block_row_bytes(type, COLS);
    static uint8_t want[ROWS * COLS * 2], got[sizeof(want)];
    char name[32];

    snprintf(name, sizeof(name), "%s.%s", prefix, block_type_name(type));
    read_tensor(name, want, ROWS * row_bytes);
    quantize_rows(type, METHOD_PLAIN, x, ROWS, COLS, weights, got);
    for (size_t r = 0; r < ROWS; r++)
        cr_expect_arr_eq(got + r * row_bytes, want + r * row_bytes, row_bytes,
                         "%s: row %zu", name, r);
}

Test(rounding, plain_rows_have_the_bytes_of_ggml)
{
    for (int t = 0; t < N_TYPES; t++)
        expect_rows(types[t], "q", NULL);
}

Test(rounding, weighted_rows_have_the_bytes_of_ggml)
{
    for (int t = 0; t < N_TYPES; t++)
        if (block_type_info(types[t])->is_quantized && types[t] != TYPE_Q8_0)
            expect_rows(types[t], "qi", importance);
}

Test(rounding, q8_0_takes_no_notice_of_importance)
{
    expect_rows(TYPE_Q8_0, "q", importance);
}

Test(rounding, the_bytes_of_a_row_do_not_depend_on_its_neighbours)
{
    for (int t = 0; t < N_TYPES; t++) {
        const size_t row_bytes = block_row_bytes(types[t], COLS);
        static uint8_t whole[ROWS * COLS * 2];
        uint8_t alone[COLS * 2];

        quantize_rows(types[t], METHOD_PLAIN, x, ROWS, COLS, importance, whole);
        for (size_t r = 0; r < ROWS; r++) {
            quantize_rows(types[t], METHOD_PLAIN, x + r * COLS, 1, COLS, importance,
                          alone);
            cr_expect_arr_eq(alone, whole + r * row_bytes, row_bytes, "%s: row %zu",
                             block_type_name(types[t]), r);
        }
    }
}

Test(rounding, no_byte_beyond_the_last_row_is_touched)
{
    for (int t = 0; t < N_TYPES; t++) {
        const size_t n = block_row_bytes(types[t], COLS);
        uint8_t *out = malloc(n + 1);

        out[n] = 0xa5;
        quantize_rows(types[t], METHOD_PLAIN, x, 1, COLS, NULL, out);
        cr_expect_eq(out[n], 0xa5, "%s", block_type_name(types[t]));
        free(out);
    }
}

Test(rounding, a_value_that_is_not_finite_is_found)
{
    size_t at = 99;

    cr_assert(quantize_all_finite(x, ROWS * COLS, &at));
    cr_assert_eq(at, 99);
    x[1000] = (float)NAN;
    cr_assert_not(quantize_all_finite(x, ROWS * COLS, &at));
    cr_assert_eq(at, 1000);
}
