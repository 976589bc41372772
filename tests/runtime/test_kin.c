/*
 * test_kin.c - what only some members do: answer yes or no; and files compute what folders do
 */
#include "convert/convert.h"
#include "tests/fixture.h"
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_CONTEXT = 64 };

static const struct runtime_options exact = {.arithmetic = ARITH_F32};

/* The classifier's answer: two logits of the last position, yes first, and their softmax. */
static void check_answer(const struct golden *g, struct runtime *rt, struct sequence *seq,
                         int p)
{
    const size_t n_vocab = runtime_facts(rt)->n_vocab;
    uint32_t yes = 0, no = 0;
    size_t n_ids, n, n_probabilities;
    int32_t *ids = golden_ints(g, &n_ids, "p%d.input_ids", p);
    float *want = golden_floats(g, &n, "p%d.yes_no_logits", p);
    float *shares = golden_floats(g, &n_probabilities, "p%d.yes_no_probabilities", p);

    cr_assert(gguf_get_u32(g->model->meta, "carat.yes_token_id", &yes) && yes < n_vocab);
    cr_assert(gguf_get_u32(g->model->meta, "carat.no_token_id", &no) && no < n_vocab);
    sequence_reset(seq);
    float *logits = golden_logits(rt, seq, ids, n_ids, (uint32_t)n_ids - 1);
    const float got[2] = {logits[yes], logits[no]};
    const double share = 1.0 / (1.0 + exp((double)got[1] - (double)got[0]));

    cr_assert(n == 2 && n_probabilities == 2);
    cr_expect_leq(golden_error(got, want, 2), 2e-4, "p%d: %g", p,
                  golden_error(got, want, 2));
    /* a quarter of the logits' difference is the most the share can move */
    cr_expect_float_eq(share, (double)shares[0], 2e-4 * fabs((double)want[0]) + 1e-6);
    free(logits);
    free(shares);
    free(want);
    free(ids);
}

Test(kin, shieldgemma_answers_as_the_golden_does)
{
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct golden g;

    golden_open(&g, "shieldgemma2");
    golden_run(g.model, &exact, N_CONTEXT, &rt, &seq);
    for (int p = 0; p < N_PROMPTS; p++)
        check_answer(&g, rt, seq, p);
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&g);
}

/* Whatever the model answers to the golden's first prompt: logits, or an embedding. */
static float *answer(const struct golden *g, const struct model *model, size_t *n)
{
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct error err = {0};
    size_t n_ids;
    int32_t *ids = golden_ints(g, &n_ids, "p%d.input_ids", 0);
    float *x;

    golden_run(model, &exact, N_CONTEXT, &rt, &seq);
    if (runtime_facts(rt)->is_causal) {
        *n = runtime_facts(rt)->n_vocab;
        x = golden_logits(rt, seq, ids, n_ids, (uint32_t)n_ids - 1);
    } else {
        *n = runtime_facts(rt)->n_embedding;
        x = calloc(*n, sizeof(*x));
        cr_assert_eq(runtime_embed(rt, seq, ids, n_ids, x, &err), OK, "%s", err.text);
    }
    sequence_free(seq);
    runtime_close(rt);
    free(ids);
    return x;
}

static struct model *converted(const char *folder, const char *member)
{
    const struct convert_options options = {.type = "F32", .force = true};
    struct convert_result result;
    struct model *model = NULL;
    struct error err = {0};
    char source[512], out[FIXTURE_PATH];

    snprintf(source, sizeof(source), CARAT_DATA "/golden/%s", member);
    fixture_join(out, folder, "out.gguf");
    cr_assert_eq(convert_run(source, out, &options, NULL, &result, &err), OK, "%s",
                 err.text);
    convert_result_free(&result);
    cr_assert_eq(model_open_gguf(out, &model, &err), OK, "%s", err.text);
    return model;
}

/* Sums are in the same order and F32 holds every weight: the same bits. */
Test(kin, files_in_f32_compute_what_their_folders_do)
{
    static const char *const kin[] = {"gemma3-text",      "gemma3-4b",
                                      "shieldgemma2",     "embeddinggemma",
                                      "embedding-gemma2", "diffusion-gemma"};
    char folder[FIXTURE_PATH];

    fixture_folder(folder);
    for (size_t i = 0; i < sizeof(kin) / sizeof(kin[0]); i++) {
        struct golden g;
        size_t n, n_file;

        golden_open(&g, kin[i]);
        struct model *file = converted(folder, kin[i]);
        float *want = answer(&g, g.model, &n), *got = answer(&g, file, &n_file);
        cr_assert_eq(n, n_file);
        cr_expect_arr_eq(got, want, n * sizeof(*got), "%s", kin[i]);
        free(got);
        free(want);
        model_close(file);
        golden_close(&g);
    }
    fixture_remove(folder);
}
