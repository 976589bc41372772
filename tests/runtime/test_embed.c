/*
 * test_embed.c - encoders embed as the reference does, every layer on the way
 */
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static const char *const encoders[] = {"embeddinggemma", "embedding-gemma2"};

enum { N_ENCODERS = 2, N_CONTEXT = 64 };

struct watch {
    const struct golden *golden;
    int prompt, n_layers, n_seen;
};

static void compare(void *arg, const struct tap_event *event)
{
    struct watch *w = arg;
    int passed = event->layer >= 0 ? event->layer + 1 : w->n_layers + 1;
    size_t n = 0;
    float *want = NULL;

    if (strcmp(event->what, "hidden") == 0)
        want = golden_floats(w->golden, &n, "p%d.hidden.%d", w->prompt, event->layer);
    else if (event->layer < 0)
        want = golden_floats(w->golden, &n, "p%d.%s", w->prompt, event->what);
    /* "pooled" of EmbeddingGemma 2 is pooled after its projection, which the runtime does first:
     * there "dense2" is what the reference calls pooled. */
    if (strcmp(w->golden->member, "embedding-gemma2") == 0) {
        if (strcmp(event->what, "dense2") == 0)
            want = golden_floats(w->golden, &n, "p%d.pooled", w->prompt);
        else if (strcmp(event->what, "pooled") == 0) {
            free(want);
            want = NULL;
        }
    }
    if (!want)
        return;
    cr_assert_eq(n, event->n_rows * event->n_cols, "%s", event->what);
    cr_expect_leq(golden_error(event->x, want, n), 1e-5 * (passed + 2),
                  "%s p%d %s %d: %g", w->golden->member, w->prompt, event->what,
                  event->layer, golden_error(event->x, want, n));
    w->n_seen++;
    free(want);
}

static bool check_prompt(const struct golden *g, struct runtime *rt, struct sequence *seq,
                         int p)
{
    struct watch watch = {
        .golden = g, .prompt = p, .n_layers = (int)runtime_facts(rt)->n_layers};
    struct error err = {0};
    size_t n_ids, n = 0;
    float *want = golden_floats(g, &n, "p%d.embedding", p), *got;

    if (!want)
        return false;
    int32_t *ids = golden_ints(g, &n_ids, "p%d.input_ids", p);
    cr_assert_eq(n, runtime_facts(rt)->n_embedding);
    got = calloc(n, sizeof(*got));
    runtime_tap(rt, compare, &watch);
    cr_assert_eq(runtime_embed(rt, seq, ids, n_ids, got, &err), OK, "%s", err.text);
    runtime_tap(rt, NULL, NULL);
    cr_expect_geq(watch.n_seen, watch.n_layers + 3);
    cr_expect_leq(golden_error(got, want, n), 2e-4, "%s p%d: %g", g->member, p,
                  golden_error(got, want, n));
    free(got);
    free(want);
    free(ids);
    return true;
}

Test(embed, embeddings_equal_the_golden)
{
    for (int m = 0; m < N_ENCODERS; m++) {
        struct runtime *rt = NULL;
        struct sequence *seq = NULL;
        struct golden g;
        int n = 0;

        golden_open(&g, encoders[m]);
        golden_run(g.model, &(struct runtime_options){.arithmetic = ARITH_F32}, N_CONTEXT,
                   &rt, &seq);
        while (check_prompt(&g, rt, seq, n))
            n++;
        cr_expect_geq(n, 2);
        sequence_free(seq);
        runtime_close(rt);
        golden_close(&g);
    }
}

Test(embed, models_that_generate_are_refused)
{
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct error err = {0};
    struct golden g;
    float x[96];

    golden_open(&g, "31b");
    golden_run(g.model, &(struct runtime_options){0}, 8, &rt, &seq);
    cr_expect_eq(runtime_embed(rt, seq, (int32_t[]){2}, 1, x, &err), ERR_USAGE);
    cr_expect_eq(runtime_facts(rt)->n_embedding, 0);
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&g);
}
