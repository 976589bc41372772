/*
 * test_draft.c - drafters guess what the reference guesses, and change nothing but the speed
 */
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const struct pair {
    const char *target, *drafter;
} pairs[] = {
    {"e2b", "e2b-assistant"}, {"12b", "12b-assistant"}, {"31b", "31b-assistant"}};

enum { N_PAIRS = sizeof(pairs) / sizeof(pairs[0]), N_GUESSES = 4, N_CONTEXT = 96 };

/* A target and its drafter, ready to run. */
struct couple {
    struct golden target, drafter;
    struct runtime *rt, *draft_rt;
    struct sequence *seq;
    struct drafter *d;
};

static void couple_open(struct couple *c, const struct pair *pair)
{
    const struct runtime_options options = {.arithmetic = ARITH_F32};
    struct error err = {0};

    golden_open(&c->target, pair->target);
    golden_open(&c->drafter, pair->drafter);
    golden_run(c->target.model, &options, N_CONTEXT, &c->rt, &c->seq);
    cr_assert_eq(runtime_open(c->drafter.model, &options, &c->draft_rt, &err), OK, "%s",
                 err.text);
    cr_assert_eq(drafter_new(c->draft_rt, c->rt, &c->d, &err), OK, "%s", err.text);
}

static void couple_close(struct couple *c)
{
    drafter_free(c->d);
    sequence_free(c->seq);
    runtime_close(c->draft_rt);
    runtime_close(c->rt);
    golden_close(&c->drafter);
    golden_close(&c->target);
}

/* What a step is compared with, and the hidden state it ends with. */
struct watch {
    const struct golden *golden;
    int prompt, step, n_seen;
    float *projected;
};

static float *wanted(const struct watch *w, const struct tap_event *event, size_t *n)
{
    if (strcmp(event->what, "input") == 0)
        return NULL;
    if (event->layer >= 0)
        return golden_floats(w->golden, n, "p%d.d%d.%s.%d", w->prompt, w->step,
                             event->what, event->layer);
    return golden_floats(w->golden, n, "p%d.d%d.%s", w->prompt, w->step, event->what);
}

/* Errors grow by 1e-5 a layer, and a step starts from the hidden state the one before ended
 * with. */
static void compare(void *arg, const struct tap_event *event)
{
    struct watch *w = arg;
    double bar = 1e-5 * (6.0 * w->step + (event->layer < 0 ? 6 : event->layer + 2));
    size_t n = 0;
    float *want = wanted(w, event, &n);

    if (strcmp(event->what, "projected") == 0)
        memcpy(w->projected, event->x, event->n_cols * sizeof(*event->x));
    if (!want)
        return;
    cr_expect_leq(golden_error(event->x, want, n), bar, "%s p%d step %d %s %d: %g",
                  w->golden->member, w->prompt, w->step, event->what, event->layer,
                  golden_error(event->x, want, n));
    w->n_seen++;
    free(want);
}

/* The first of the largest logits. */
static int32_t best_of(const struct watch *w)
{
    size_t n = 0, best = 0;
    struct tap_event logits = {.what = "logits", .layer = -1};
    float *x = wanted(w, &logits, &n);

    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    free(x);
    return (int32_t)best;
}

static void check_prompt(struct couple *c, int p)
{
    size_t n, n_ids, n_hidden = runtime_facts(c->rt)->n_embd;
    int32_t *ids = golden_ints(&c->drafter, &n_ids, "p%d.input_ids", p);
    int32_t *first = golden_ints(&c->drafter, &n, "p%d.first_token", p);
    int32_t *drafted = golden_ints(&c->drafter, &n, "p%d.drafted", p), guess;
    struct watch w = {.golden = &c->drafter, .prompt = p};
    struct error err = {0};

    w.projected = calloc(n_hidden, sizeof(*w.projected));
    sequence_reset(c->seq);
    free(golden_logits(c->rt, c->seq, ids, n_ids, (uint32_t)n_ids - 1));
    cr_assert_not_null(sequence_hidden(c->seq, (uint32_t)n_ids - 1));
    memcpy(w.projected, sequence_hidden(c->seq, (uint32_t)n_ids - 1),
           n_hidden * sizeof(float));
    runtime_tap(c->draft_rt, compare, &w);
    for (w.step = 0; w.step < N_GUESSES; w.step++) {
        int32_t token = w.step == 0 ? first[0] : drafted[w.step - 1];

        cr_assert_eq(drafter_guess(c->d, c->seq, token, w.projected, 1, &guess, &err), OK,
                     "%s", err.text);
        cr_expect_eq(guess, best_of(&w), "%s p%d step %d", c->drafter.member, p, w.step);
    }
    runtime_tap(c->draft_rt, NULL, NULL);
    cr_expect_eq(w.n_seen, N_GUESSES * 8); /* embed, 4 layers, norm, logits, projected */
    free(w.projected);
    free(drafted);
    free(first);
    free(ids);
}

Test(draft, every_step_equals_the_golden)
{
    for (int i = 0; i < N_PAIRS; i++) {
        struct couple c = {0};

        couple_open(&c, &pairs[i]);
        for (int p = 0; p < N_PROMPTS; p++)
            check_prompt(&c, p);
        couple_close(&c);
    }
}

/* `n` tokens drawn after a golden prompt, with or without the drafter; owned by the caller. */
static int32_t *generate(struct couple *c, struct drafter *drafter,
                         struct sampler sampler, size_t n,
                         struct generation_counts *counts)
{
    struct generation_options options = {
        .sampler = sampler, .drafter = drafter, .n_guesses = N_GUESSES};
    struct generation *gen = NULL;
    struct error err = {0};
    size_t n_ids;
    int32_t *ids = golden_ints(&c->target, &n_ids, "p1.input_ids");
    int32_t *tokens = calloc(n, sizeof(*tokens));

    sequence_reset(c->seq);
    cr_assert_eq(generation_new(c->rt, c->seq, &options, &gen, &err), OK, "%s", err.text);
    cr_assert_eq(generation_prompt(gen, ids, n_ids, &err), OK, "%s", err.text);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(generation_next(gen, &tokens[i], &err), OK, "%s", err.text);
    *counts = generation_counts(gen);
    generation_free(gen);
    free(ids);
    return tokens;
}

Test(draft, tokens_are_the_same_with_and_without)
{
    static const struct sampler samplers[] = {
        {0},
        {.temperature = 0.7f, .top_k = 8, .top_p = 0.9f, .min_p = 0.02f, .state = 5}};
    enum { N = 48 };

    for (size_t s = 0; s < 2; s++) {
        struct generation_counts counts;
        struct couple c = {0};

        couple_open(&c, &pairs[0]);
        int32_t *plain = generate(&c, NULL, samplers[s], N, &counts);
        cr_expect_eq(counts.n_steps, N - 1);
        int32_t *drafted = generate(&c, c.d, samplers[s], N, &counts);
        cr_expect_arr_eq(plain, drafted, N * sizeof(*plain), "sampler %zu", s);
        cr_expect_gt(counts.n_guessed, 0);
        cr_expect_eq(counts.n_steps + counts.n_accepted, N - 1);
        free(plain);
        free(drafted);
        couple_close(&c);
    }
}

Test(draft, refuses_a_drafter_of_another_model)
{
    struct error err = {0};
    struct drafter *d = NULL;
    struct couple c = {0};
    struct golden other;
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;

    couple_open(&c, &pairs[0]);
    golden_open(&other, "31b");
    golden_run(other.model, &(struct runtime_options){0}, 8, &rt, &seq);
    cr_expect_eq(drafter_new(c.draft_rt, rt, &d, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "wants 1 key heads of width 32"), "%s", err.text);
    cr_expect_eq(drafter_new(c.rt, rt, &d, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "no drafter"), "%s", err.text);
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&other);
    couple_close(&c);
}
