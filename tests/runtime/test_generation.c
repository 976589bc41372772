/*
 * test_generation.c - whatever is guessed, the tokens are those of the target alone
 *
 * The drafter here is no model: this file defines drafter_guess(), which then takes the place of
 * the library's. It knows the text that the target draws, and errs where it is told to; so guesses come
 * true and fail at will, before a target whose every logit depends on all keys and values.
 */
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    N_GUESSES = 7,
    N_LONG =
        700, /* more than the ring of a local layer: a window of 8 and a batch of 512 */
};

struct drafter {
    const int32_t *text; /* what the target draws, and what follows */
    uint32_t n_prompt;   /* text[0] is the token at this position */
    size_t n_text;
    size_t right; /* of so many and one more tokens, that one is guessed wrong */
};

enum status drafter_guess(struct drafter *d, struct sequence *seq, int32_t token,
                          const float *hidden, size_t n, int32_t *tokens,
                          struct error *err)
{
    const size_t at = sequence_length(seq) - d->n_prompt;

    (void)err;
    cr_assert_not_null(hidden);
    cr_assert_lt(at, d->n_text);
    cr_assert_eq(token, d->text[at], "the text is another from token %zu on", at);
    for (size_t i = 0; i < n; i++) {
        const size_t next = at + 1 + i;
        const bool is_wrong = next % (d->right + 1) == d->right;

        tokens[i] = next < d->n_text ? d->text[next] : 0;
        tokens[i] = is_wrong ? tokens[i] ^ 1 : tokens[i];
    }
    return OK;
}

struct stage {
    struct golden golden;
    struct runtime *rt;
    struct sequence *seq;
    int32_t *ids;
    size_t n_ids;
};

static void stage_open(struct stage *s, uint32_t room)
{
    parallel_set_threads(1); /* so small a model is faster so */
    golden_open(&s->golden, "e2b");
    s->ids = golden_ints(&s->golden, &s->n_ids, "p1.input_ids");
    golden_run(s->golden.model, &(struct runtime_options){0}, (uint32_t)s->n_ids + room,
               &s->rt, &s->seq);
}

static void stage_close(struct stage *s)
{
    free(s->ids);
    sequence_free(s->seq);
    runtime_close(s->rt);
    golden_close(&s->golden);
}

/* Up to n tokens after the prompt, or until the context is full; how many. */
static size_t draw(const struct stage *s, struct drafter *drafter, int32_t *tokens,
                   size_t n, struct generation_counts *counts)
{
    const struct generation_options options = {
        .sampler = {.temperature = 1.0f, .top_p = 1.0f, .state = 11},
        .drafter = drafter,
        .n_guesses = N_GUESSES};
    struct generation *gen = NULL;
    struct error err = {0};
    size_t i = 0;

    sequence_reset(s->seq);
    cr_assert_eq(generation_new(s->rt, s->seq, &options, &gen, &err), OK, "%s", err.text);
    cr_assert_eq(generation_prompt(gen, s->ids, s->n_ids, &err), OK, "%s", err.text);
    for (; i < n && !generation_is_full(gen); i++)
        cr_assert_eq(generation_next(gen, &tokens[i], &err), OK, "%s", err.text);
    *counts = generation_counts(gen);
    if (i < n) {
        int32_t token;

        cr_expect_eq(sequence_room(s->seq), 0);
        cr_expect_eq(generation_next(gen, &token, &err), ERR_USAGE);
        cr_expect_not_null(strstr(err.text, "context"), "%s", err.text);
    }
    generation_free(gen);
    return i;
}

/* 700 tokens, so that rings wrap, with guesses that are mostly right, mostly wrong and always right. */
Test(generation, rejected_guesses_leave_nothing_behind_when_the_window_wraps)
{
    static const size_t rights[] = {0, 1, 2, 3, 5, 8, N_LONG};
    static int32_t text[N_LONG], drafted[N_LONG];
    struct generation_counts counts;
    struct stage s = {0};

    stage_open(&s, N_LONG);
    cr_assert_eq(draw(&s, NULL, text, N_LONG, &counts), N_LONG);
    for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
        struct drafter d = {.text = text,
                            .n_prompt = (uint32_t)s.n_ids,
                            .n_text = N_LONG,
                            .right = rights[i]};

        cr_assert_eq(draw(&s, &d, drafted, N_LONG, &counts), N_LONG);
        cr_expect_arr_eq(text, drafted, sizeof(text), "%zu right", rights[i]);
        cr_expect_eq(counts.n_accepted == 0, rights[i] == 0, "%zu right", rights[i]);
        cr_expect_eq(counts.n_accepted == counts.n_guessed, rights[i] == N_LONG);
        if (rights[i] >= 2)
            cr_expect_geq(counts.n_accepted, N_LONG / 4, "%zu right", rights[i]);
    }
    stage_close(&s);
}

/* Wherever the end of the context falls among the guesses: as many tokens as without, and the last
 * of them needs no position. */
Test(generation, guesses_stop_where_the_context_does)
{
    for (uint32_t room = 1; room <= 2 * N_GUESSES + 4; room++) {
        int32_t text[64] = {0}, drafted[64] = {0};
        struct generation_counts counts;
        struct stage s = {0};

        stage_open(&s, room);
        const size_t n = draw(&s, NULL, text, 64, &counts);
        struct drafter d = {
            .text = text, .n_prompt = (uint32_t)s.n_ids, .n_text = n, .right = N_LONG};

        cr_expect_eq(n, room + 1);
        cr_expect_eq(draw(&s, &d, drafted, 64, &counts), n, "room for %u", room);
        cr_expect_arr_eq(text, drafted, sizeof(text), "room for %u", room);
        cr_expect_eq(counts.n_steps + counts.n_accepted, n - 1, "room for %u", room);
        stage_close(&s);
    }
}
