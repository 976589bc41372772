/*
 * test_trial.c - a model with one tensor rounded: that one and no other
 */
#include "convert/convert.h"
#include "convert/sensitivity/sensitivity.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const char model_folder[] = CARAT_DATA "/models/tiny-e2b";

static struct model *open_source(void)
{
    struct model *model = NULL;
    struct error err = {0};

    cr_assert_eq(convert_open_source(model_folder, NULL, &model, &err), OK, "%s",
                 err.text);
    return model;
}

static struct trial *open_trial(const struct model *model)
{
    struct trial *trial = NULL;
    struct error err = {0};

    cr_assert_eq(trial_open(model, METHOD_PLAIN, &trial, &err), OK, "%s", err.text);
    return trial;
}

static size_t find(const struct model *model, const char *name)
{
    const int64_t i = model_find(model, name);

    cr_assert_geq(i, 0);
    return (size_t)i;
}

/* Bytes of rows [first, first + n) as a model gives them; owned. */
static uint8_t *rows_of(const struct model *model, size_t i, uint64_t first, uint64_t n)
{
    const struct gguf_tensor *t = &model->tensors[i];
    uint8_t *bytes = malloc((size_t)n * block_row_bytes(t->type, t->ne[0]));
    struct error err = {0};

    cr_assert_eq(model_read_rows(model, i, first, n, bytes, &err), OK, "%s", err.text);
    return bytes;
}

/* The same rows of the source, rounded here. */
static uint8_t *rounded(const struct model *source, size_t i, enum block_type type,
                        uint64_t first, uint64_t n)
{
    const size_t cols = (size_t)source->tensors[i].ne[0];
    float *x = NULL;
    uint8_t *out = malloc((size_t)n * block_row_bytes(type, cols));
    struct error err = {0};

    cr_assert_eq(model_read_f32(source, i, &x, &err), OK, "%s", err.text);
    quantize_rows(type, METHOD_PLAIN, x + first * cols, (size_t)n, cols, NULL, out);
    free(x);
    return out;
}

static void expect_rounded(const struct trial *trial, const struct model *source,
                           const char *name, enum block_type type)
{
    const size_t i = find(source, name);
    const struct gguf_tensor *t = &trial_model(trial)->tensors[i];
    const uint64_t first = 3, n = 40;
    uint8_t *got = rows_of(trial_model(trial), i, first, n);
    uint8_t *want = rounded(source, i, type, first, n);
    const uint8_t *mapped = model_map(trial_model(trial), i);
    const size_t row_bytes = block_row_bytes(type, t->ne[0]);

    cr_expect_eq(t->type, type);
    cr_expect_eq(t->n_bytes, row_bytes * gguf_tensor_rows(t));
    cr_expect_arr_eq(got, want, n * row_bytes, "%s", name);
    if (mapped)
        cr_expect_arr_eq(mapped + first * row_bytes, want, n * row_bytes, "%s", name);
    free(got);
    free(want);
}

static void expect_itself(const struct trial *trial, const struct model *source,
                          const char *name)
{
    const size_t i = find(source, name);
    const size_t row_bytes =
        block_row_bytes(source->tensors[i].type, source->tensors[i].ne[0]);
    uint8_t *got = rows_of(trial_model(trial), i, 0, 8);
    uint8_t *want = rows_of(source, i, 0, 8);

    cr_expect_eq(trial_model(trial)->tensors[i].type, source->tensors[i].type);
    cr_expect_arr_eq(got, want, 8 * row_bytes, "%s", name);
    free(got);
    free(want);
}

Test(trial, rounds_one_tensor_and_gives_the_one_before_back)
{
    static const char up[] = "blk.1.ffn_up.weight",
                      table[] = "per_layer_token_embd.weight";
    struct model *source = open_source();
    struct trial *trial = open_trial(source);
    struct error err = {0};

    cr_assert_eq(trial_round(trial, find(source, up), TYPE_Q4_K, &err), OK);
    expect_rounded(trial, source, up, TYPE_Q4_K);
    expect_itself(trial, source, table);
    expect_itself(trial, source, "blk.2.ffn_up.weight");
    cr_assert_eq(trial_round(trial, find(source, table), TYPE_Q5_0, &err), OK);
    expect_rounded(trial, source, table, TYPE_Q5_0);
    expect_itself(trial, source, up);
    trial_close(trial);
    model_close(source);
}

Test(trial, errors_are_those_of_the_rounding)
{
    static const enum block_type types[] = {TYPE_F32, TYPE_Q8_0, TYPE_Q6_K, TYPE_Q5_K,
                                            TYPE_Q4_K};
    struct model *source = open_source();
    struct trial *trial = open_trial(source);
    struct error err = {0};
    double errors[5];

    cr_assert_eq(
        trial_errors(trial, find(source, "blk.1.ffn_up.weight"), types, 5, errors, &err),
        OK);
    cr_expect_eq(errors[0], 0);
    for (size_t k = 1; k < 5; k++)
        cr_expect_gt(errors[k], errors[k - 1]);
    trial_close(trial);
    model_close(source);
}

Test(trial, frees_what_a_recipe_may_change)
{
    struct model *source = open_source();
    struct trial *trial = open_trial(source);

    cr_expect(trial_is_free(trial, find(source, "token_embd.weight")));
    cr_expect(trial_is_free(trial, find(source, "per_layer_model_proj.weight")));
    cr_expect_not(trial_is_free(trial, find(source, "output_norm.weight")));
    cr_expect_not(trial_is_free(trial, find(source, "blk.0.layer_output_scale.weight")));
    trial_close(trial);
    model_close(source);
}
