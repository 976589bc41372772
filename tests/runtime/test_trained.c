/*
 * test_trained.c - a model trained on text: longer prompts, greedy text, weights that mean something
 */
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { N_PROMPT = 128, N_CONTEXT = 192 };

/* Both prompts; golden_close() and the rest are up to the caller. */
static void open_trained(struct golden *g, struct runtime **rt, struct sequence **seq,
                         enum arithmetic arithmetic)
{
    golden_open_folder(g, "models/tiny-e2b");
    golden_run(g->model, &(struct runtime_options){.arithmetic = arithmetic}, N_CONTEXT,
               rt, seq);
}

static double log_sum_exp(const float *x, size_t n)
{
    double top = (double)x[0], sum = 0.0;

    for (size_t i = 1; i < n; i++)
        top = fmax(top, (double)x[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - top);
    return log(sum) + top;
}

/* The bar on logits is 2e-4 of their root mean square, which is about 4 here. */
static void check_prompt(const struct golden *g, struct runtime *rt, struct sequence *seq,
                         int p)
{
    size_t n_ids, n_at, n, n_vocab = runtime_facts(rt)->n_vocab;
    int32_t *ids = golden_ints(g, &n_ids, "p%d.input_ids", p);
    int32_t *at = golden_ints(g, &n_at, "positions");
    float *want = golden_floats(g, &n, "p%d.logits", p);
    float *want_sum = golden_floats(g, &n, "p%d.logsumexp", p), *got;

    cr_assert_eq(n_ids, N_PROMPT);
    sequence_reset(seq);
    got = golden_logits(rt, seq, ids, n_ids, 0);
    for (size_t i = 0; i < n_at; i++)
        cr_expect_leq(
            golden_error(got + (size_t)at[i] * n_vocab, want + i * n_vocab, n_vocab),
            2e-4, "p%d position %d", p, at[i]);
    for (size_t t = 0; t < n_ids; t++)
        cr_expect_float_eq(log_sum_exp(got + t * n_vocab, n_vocab), (double)want_sum[t],
                           8e-4, "p%d position %zu", p, t);
    free(got);
    free(want_sum);
    free(want);
    free(at);
    free(ids);
}

Test(trained, logits_equal_the_golden)
{
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct golden g;

    open_trained(&g, &rt, &seq, ARITH_F32);
    for (int p = 0; p < 2; p++)
        check_prompt(&g, rt, seq, p);
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&g);
}

Test(trained, greedy_text_is_the_same)
{
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct golden g;

    open_trained(&g, &rt, &seq, ARITH_F32);
    for (int p = 0; p < 2; p++) {
        struct generation *gen = NULL;
        struct error err = {0};
        size_t n_ids, n;
        int32_t *ids = golden_ints(&g, &n_ids, "p%d.input_ids", p);
        int32_t *want = golden_ints(&g, &n, "p%d.greedy", p), token;

        sequence_reset(seq);
        cr_assert_eq(generation_new(rt, seq, &(struct generation_options){0}, &gen, &err),
                     OK);
        cr_assert_eq(generation_prompt(gen, ids, n_ids, &err), OK, "%s", err.text);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(generation_next(gen, &token, &err), OK, "%s", err.text);
            cr_assert_eq(token, want[i], "p%d, token %zu", p, i);
        }
        generation_free(gen);
        free(want);
        free(ids);
    }
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&g);
}

/* A context filled to its end says so, and not before. */
Test(trained, a_full_context_is_told)
{
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct generation *gen = NULL;
    struct error err = {0};
    struct golden g;
    size_t n_ids, n_drawn = 0;
    int32_t token;

    open_trained(&g, &rt, &seq, ARITH_F32);
    int32_t *ids = golden_ints(&g, &n_ids, "p0.input_ids");
    cr_assert_eq(generation_new(rt, seq, &(struct generation_options){0}, &gen, &err),
                 OK);
    cr_assert_eq(generation_prompt(gen, ids, n_ids, &err), OK, "%s", err.text);
    while (!generation_is_full(gen)) {
        cr_assert_eq(generation_next(gen, &token, &err), OK, "%s", err.text);
        n_drawn++;
    }
    cr_expect_eq(n_drawn, N_CONTEXT - n_ids + 1); /* the last one needs no position */
    cr_expect_eq(generation_next(gen, &token, &err), ERR_USAGE);
    generation_free(gen);
    free(ids);
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&g);
}
