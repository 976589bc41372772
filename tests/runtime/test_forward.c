/*
 * test_forward.c - every member computes what an independent implementation computes
 *
 * The bars, in units of a tensor's root mean square: 1e-5 for each layer passed (as many roundings
 * as two float32 runs with other orders of summation can differ by), 2e-4 on logits; choices of
 * experts and of greedy tokens are the same.
 */
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double LAYER_BAR = 1e-5, LOGITS_BAR = 2e-4;

/* What a tap compares against, and how much it compared. */
struct watch {
    const struct golden *golden;
    int prompt, n_layers, n_seen;
};

static float *wanted(const struct watch *watch, const struct tap_event *event, size_t *n)
{
    const struct golden *g = watch->golden;

    if (strcmp(event->what, "router.ids") == 0)
        return golden_floats(g, n, "p%d.router.%d.ids", watch->prompt, event->layer);
    if (strcmp(event->what, "router.weights") == 0)
        return golden_floats(g, n, "p%d.router.%d.weights", watch->prompt, event->layer);
    if (strcmp(event->what, "hidden") == 0)
        return golden_floats(g, n, "p%d.hidden.%d", watch->prompt, event->layer);
    if (event->layer < 0)
        return golden_floats(g, n, "p%d.%s", watch->prompt, event->what);
    return NULL;
}

static void compare(void *arg, const struct tap_event *event)
{
    struct watch *watch = arg;
    int passed = event->layer >= 0 ? event->layer + 1 : 1;
    size_t n = 0;
    float *want = wanted(watch, event, &n);
    double bar, error;

    if (!want)
        return;
    if (strcmp(event->what, "final_norm") == 0)
        passed = watch->n_layers + 1;
    bar = strcmp(event->what, "router.ids") == 0 ? 0.0 : LAYER_BAR * passed;
    cr_assert_eq(n, event->n_rows * event->n_cols, "%s", event->what);
    error = golden_error(event->x, want, n);
    cr_expect(error <= bar, "%s p%d %s %d: %g", watch->golden->member, watch->prompt,
              event->what, event->layer, error);
    watch->n_seen++;
    free(want);
}

static void check_prompt(const struct golden *g, struct runtime *rt, struct sequence *seq,
                         int p)
{
    struct watch watch = {
        .golden = g, .prompt = p, .n_layers = (int)runtime_facts(rt)->n_layers};
    size_t n_ids, n;
    int32_t *ids = golden_ints(g, &n_ids, "p%d.input_ids", p);
    float *want = golden_floats(g, &n, "p%d.logits", p), *got;
    double error;

    sequence_reset(seq);
    runtime_tap(rt, compare, &watch);
    got = golden_logits(rt, seq, ids, n_ids, 0);
    runtime_tap(rt, NULL, NULL);
    cr_assert_geq(watch.n_seen, watch.n_layers + 2);
    error = golden_error(got, want, n);
    cr_expect(error <= LOGITS_BAR, "%s p%d logits: %g", g->member, p, error);
    free(got);
    free(want);
    free(ids);
}

Test(forward, every_layer_of_every_member_equals_the_golden)
{
    for (int m = 0; m < N_MEMBERS; m++) {
        struct runtime *rt = NULL;
        struct sequence *seq = NULL;
        struct golden g;

        golden_open(&g, members[m]);
        golden_run(g.model, &(struct runtime_options){.arithmetic = ARITH_F32}, 64, &rt,
                   &seq);
        for (int p = 0; p < N_PROMPTS; p++)
            check_prompt(&g, rt, seq, p);
        sequence_free(seq);
        runtime_close(rt);
        golden_close(&g);
    }
}

static void check_greedy(const struct golden *g, struct runtime *rt, struct sequence *seq,
                         int p)
{
    size_t n_ids, n, n_vocab = runtime_facts(rt)->n_vocab;
    int32_t *ids = golden_ints(g, &n_ids, "p%d.input_ids", p);
    int32_t *want = golden_ints(g, &n, "p%d.greedy", p);
    struct sampler greedy = {0};
    float *logits;

    sequence_reset(seq);
    logits = golden_logits(rt, seq, ids, n_ids, (uint32_t)n_ids - 1);
    for (size_t i = 0; i < n; i++) {
        int32_t token = sampler_draw(&greedy, logits, n_vocab, NULL);

        cr_assert_eq(token, want[i], "%s p%d, token %zu of the continuation", g->member,
                     p, i);
        free(logits);
        logits = golden_logits(rt, seq, &token, 1, 0);
    }
    free(logits);
    free(want);
    free(ids);
}

Test(forward, greedy_continuations_are_the_same_tokens)
{
    for (int m = 0; m < N_MEMBERS; m++) {
        struct runtime *rt = NULL;
        struct sequence *seq = NULL;
        struct golden g;

        golden_open(&g, members[m]);
        golden_run(g.model, &(struct runtime_options){.arithmetic = ARITH_F32}, 64, &rt,
                   &seq);
        for (int p = 0; p < N_PROMPTS; p++)
            check_greedy(&g, rt, seq, p);
        sequence_free(seq);
        runtime_close(rt);
        golden_close(&g);
    }
}

/* Negative log-likelihood of `token` under a row of logits. */
static double surprise(const float *logits, size_t n, int32_t token)
{
    double top = (double)logits[0], sum = 0.0;

    for (size_t i = 1; i < n; i++)
        top = fmax(top, (double)logits[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - top);
    return log(sum) + top - (double)logits[token];
}

/* A logit and the log-sum-exp can each be off by the bar on logits, whose root mean square stays
 * below 4 in these models. Each chunk begins with <bos>, in place of the text's own token. */
Test(forward, perplexity_runs_agree_token_by_token)
{
    enum { CHUNK = 256, FIRST = 128, SCORED = 127, BOS = 2 };
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct golden g;
    size_t n;

    golden_open(&g, "e2b");
    golden_run(g.model, &(struct runtime_options){.arithmetic = ARITH_F32}, CHUNK, &rt,
               &seq);
    int32_t *ids = golden_ints(&g, &n, "ppl.input_ids");
    float *want = golden_floats(&g, &n, "ppl.nll");
    size_t n_vocab = runtime_facts(rt)->n_vocab;

    for (size_t chunk = 0; chunk < 2; chunk++) {
        int32_t *text = ids + chunk * CHUNK;
        double worst = 0.0;

        text[0] = BOS;
        sequence_reset(seq);
        float *logits = golden_logits(rt, seq, text, CHUNK, FIRST);
        for (size_t i = 0; i < SCORED; i++) {
            double got = surprise(logits + i * n_vocab, n_vocab, text[FIRST + i + 1]);

            worst = fmax(worst, fabs(got - (double)want[chunk * SCORED + i]));
        }
        cr_expect_leq(worst, 2.0 * LOGITS_BAR * 4.0, "chunk %zu: %g", chunk, worst);
        free(logits);
    }
    free(want);
    free(ids);
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&g);
}

struct kv_watch {
    const struct golden *golden;
    int n_seen;
};

/* The golden has head by head, {heads, tokens, width}; the tap token by token. */
static void compare_kv(void *arg, const struct tap_event *event)
{
    struct kv_watch *watch = arg;
    size_t n = 0, n_heads, width = 0;
    const struct tensor *t;
    char name[32];

    if (strcmp(event->what, "k") != 0 && strcmp(event->what, "v") != 0)
        return;
    snprintf(name, sizeof(name), "p0.%s.%d", event->what, event->layer);
    t = safetensors_find(watch->golden->file, name);
    cr_assert_not_null(t, "%s", name);
    n_heads = (size_t)t->dims[0];
    width = (size_t)t->dims[2];
    float *want = golden_floats(watch->golden, &n, "%s", name);
    float *got = malloc(n * sizeof(*got));
    for (size_t h = 0; h < n_heads; h++)
        for (size_t row = 0; row < event->n_rows; row++)
            memcpy(got + (h * event->n_rows + row) * width,
                   event->x + row * event->n_cols + h * width, width * sizeof(*got));
    cr_expect_leq(golden_error(got, want, n), LAYER_BAR * (event->layer + 1), "%s %s",
                  watch->golden->member, name);
    watch->n_seen++;
    free(got);
    free(want);
}

Test(forward, keys_and_values_equal_the_golden)
{
    for (int m = 0; m < N_MEMBERS; m++) {
        struct runtime *rt = NULL;
        struct sequence *seq = NULL;
        struct kv_watch watch = {0};
        struct golden g;
        size_t n;

        golden_open(&g, members[m]);
        golden_run(g.model, &(struct runtime_options){.arithmetic = ARITH_F32}, 64, &rt,
                   &seq);
        int32_t *ids = golden_ints(&g, &n, "p0.input_ids");
        watch.golden = &g;
        runtime_tap(rt, compare_kv, &watch);
        free(golden_logits(rt, seq, ids, n, 0));
        cr_expect_gt(watch.n_seen, 0);
        free(ids);
        sequence_free(seq);
        runtime_close(rt);
        golden_close(&g);
    }
}
