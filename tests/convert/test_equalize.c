/*
 * test_equalize.c - whatever the factors, a rewritten model is the function it was
 */
#include "runtime/runtime.h"
#include "tests/convert/equalizing.h"
#include "tests/convert/tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* Sizes of tests/convert/tiny.c. */
static const struct input e2b_inputs[] = {{"blk.0.attn_in", 32}, {"blk.0.ffn_in", 32},
                                          {"blk.0.ffn_mid", 32}, {"blk.3.attn_in", 32},
                                          {"blk.3.ffn_in", 32},  {"blk.3.ffn_mid", 64},
                                          {"ple_mid", 16},       {NULL, 0}};
static const struct input moe_inputs[] = {
    {"blk.0.attn_in", 32},      {"blk.0.ffn_in", 32},
    {"blk.0.ffn_mid", 32},      {"blk.1.attn_in", 32},
    {"blk.1.exps_in", 32},      {"blk.0.exps_mid", 4 * 32},
    {"blk.1.exps_mid", 4 * 32}, {NULL, 0}};
static const struct input gemma3_inputs[] = {
    {"blk.0.attn_in", 32}, {"blk.0.attn_out", 32}, {"blk.1.attn_out", 32},
    {"blk.1.ffn_in", 32},  {"blk.1.ffn_mid", 32},  {NULL, 0}};

/* Keys with factors of up to 2^(most/16) either way. */
static struct gguf_meta *random_keys(const struct input *inputs, int most, uint64_t seed)
{
    struct gguf_meta *meta = gguf_meta_new();

    cr_assert_not_null(meta);
    for (; inputs->name; inputs++) {
        int8_t *k = calloc(inputs->n, sizeof(*k));

        for (size_t j = 0; most && j < inputs->n; j++)
            k[j] =
                (int8_t)((int)(fixture_random(&seed) % (2 * (unsigned)most + 1)) - most);
        set_key(meta, inputs->name, k, inputs->n);
        free(k);
    }
    return meta;
}

enum { TOKENS = 24, VOCAB = 4096 };

static void keep(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    memcpy((float *)arg + (size_t)position * VOCAB, logits,
           n_rows * VOCAB * sizeof(float));
}

/* Logits of a text of scattered ids, in F32. */
static float *run(const struct model *model)
{
    const struct runtime_options options = {.arithmetic = ARITH_F32};
    float *logits = calloc((size_t)TOKENS * VOCAB, sizeof(*logits));
    const struct logits_sink sink = {logits, 0, keep};
    struct sequence *seq = NULL;
    struct runtime *rt = NULL;
    struct error err = {0};
    int32_t ids[TOKENS];

    for (int i = 0; i < TOKENS; i++)
        ids[i] = 2 + i * 167 % 4000;
    cr_assert_eq(runtime_open(model, &options, &rt, &err), OK, "%s", err.text);
    cr_assert_eq(sequence_new(rt, TOKENS, &seq, &err), OK, "%s", err.text);
    cr_assert_eq(runtime_eval(rt, seq, ids, TOKENS, &sink, &err), OK, "%s", err.text);
    sequence_free(seq);
    runtime_close(rt);
    return logits;
}

/* Largest difference over largest magnitude. */
static double distance(const float *a, const float *b)
{
    double most = 0, size = 0;

    for (size_t i = 0; i < (size_t)TOKENS * VOCAB; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)a[i]));
    }
    cr_assert_gt(size, 0);
    return most / size;
}

static void expect_same_function(enum tiny_kind kind, const struct input *inputs)
{
    struct tiny tiny;

    tiny_begin(&tiny, kind);
    tiny_write(&tiny);
    struct gguf_meta *keys = random_keys(inputs, 32, 7);
    struct model *plain = open_source(tiny.folder, NULL);
    struct model *rewritten = open_source(tiny.folder, keys);
    float *a = run(plain), *b = run(rewritten);

    /* factors of up to 4 in other orders of rounding: a few units of 2^-24 a product */
    cr_expect_lt(distance(a, b), 1e-5);
    free(a);
    free(b);
    a = read_tensor(plain, "blk.0.attn_q.weight");
    b = read_tensor(rewritten, "blk.0.attn_q.weight");
    cr_expect_neq(memcmp(a, b, 32 * 32 * sizeof(*a)), 0, "nothing was rewritten");
    free(a);
    free(b);
    model_close(plain);
    model_close(rewritten);
    gguf_meta_free(keys);
    tiny_end(&tiny);
}

Test(equalize, any_factors_leave_e2b_the_function_it_is)
{
    expect_same_function(TINY_E2B, e2b_inputs);
}

Test(equalize, any_factors_leave_experts_the_function_they_are)
{
    expect_same_function(TINY_MOE, moe_inputs);
}

Test(equalize, any_factors_leave_gemma_3_the_function_it_is)
{
    expect_same_function(TINY_GEMMA3, gemma3_inputs);
}

/* A rewrite that went to one side only would pass for exact if it did nothing to the logits. */
Test(equalize, one_side_alone_changes_the_function)
{
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    tiny_write(&tiny);
    struct model *model = open_source(tiny.folder, NULL);
    float *before = run(model);
    model_close(model);
    for (const char *const *name =
             (const char *const[]){"layers.0.input_layernorm.weight",
                                   "layers.0.pre_feedforward_layernorm.weight",
                                   "per_layer_projection_norm.weight", NULL};
         *name; name++) {
        struct tiny_tensor *t = tiny_tensor(&tiny, *name);

        for (uint64_t i = 0; i < tiny_elements(t); i += 2)
            t->bf16[i] = (uint16_t)(t->bf16[i] + (1 << 7)); /* twice as large */
        tiny_write(&tiny);
        model = open_source(tiny.folder, NULL);
        float *after = run(model);
        cr_expect_gt(distance(before, after), 2e-5, "%s", *name);
        free(after);
        model_close(model);
        for (uint64_t i = 0; i < tiny_elements(t); i += 2)
            t->bf16[i] = (uint16_t)(t->bf16[i] - (1 << 7));
    }
    free(before);
    tiny_end(&tiny);
}

Test(equalize, factors_of_one_give_the_same_bytes)
{
    struct place place = place_begin();
    struct gguf_meta *keys = random_keys(
        (const struct input[]){{"blk.0.attn_in", 256}, {"blk.7.ffn_mid", 512}, {NULL, 0}},
        0, 1);
    char with[65], without[65];

    convert(TRAINED, place.out, (struct convert_options){.type = "Q4_0"}, without);
    convert(TRAINED, place.out,
            (struct convert_options){.type = "Q4_0", .source = {.equalize_from = keys}},
            with);
    cr_expect_str_eq(with, without);
    gguf_meta_free(keys);
    fixture_remove(place.folder);
}
