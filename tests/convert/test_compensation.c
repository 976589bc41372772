/*
 * test_compensation.c - conversions with error feedback: experts, weights too large, another model's moments
 */
#include "tests/convert/statistics.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(compensation, .init = statistics_begin, .fini = statistics_end);

static const struct rounded_tensor *rounded(const struct convert_result *result,
                                            const char *name)
{
    for (size_t i = 0; i < result->n_rounded; i++)
        if (strcmp(result->rounded[i].name, name) == 0)
            return &result->rounded[i];
    return NULL;
}

/* Without held-out tokens an expert, as a dense matrix, is judged by the others. */
Test(compensation, judge_experts_without_held_out_tokens_too, .timeout = 300)
{
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    char moments[FIXTURE_PATH], out[FIXTURE_PATH];
    struct convert_options options = {
        .type = "Q4_0", .method = METHOD_COMPENSATE, .moments = moments};
    struct calibrate_options calibration = {.moments = moments};
    struct calibrate_report report;
    struct calibrate_text text;
    struct convert_result result;
    struct error err = {0};

    tiny_end(&tiny);
    tiny_begin(&tiny, TINY_MOE);
    tiny_write(&tiny);
    fixture_join(moments, tiny.folder, "words.moments");
    fixture_join(out, tiny.folder, "out.gguf");
    struct model *model = statistics_model();
    cr_assert_eq(calibrate_text_make(
                     model, &d, 1, &(struct calibrate_cut){.tokens = 1024}, &text, &err),
                 OK, "%s", err.text);
    cr_assert_eq(calibrate_run(model, &text, &calibration, NULL, &report, &err), OK, "%s",
                 err.text);
    cr_assert_eq(convert_run(tiny.folder, out, &options, NULL, &result, &err), OK, "%s",
                 err.text);
    const struct rounded_tensor *up = rounded(&result, "blk.0.ffn_gate_up_exps.weight");
    cr_assert_not_null(up);
    cr_expect_lt(up->held_out_loss, 1.0);
    convert_result_free(&result);
    calibrate_text_free(&text);
    model_close(model);
    free(words);
}

/* A weight that no scale of the format reaches keeps its tensor as it is, as by the other methods. */
Test(compensation, do_not_saturate_a_weight, .timeout = 300)
{
    static const char name[] = "layers.0.mlp.gate_proj.weight";
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    struct convert_options options = statistics_asked(&d);
    char sha256[65], out[FIXTURE_PATH];
    struct gguf *file = NULL;
    struct error err = {0};

    tiny_tensor(&tiny, name)->bf16[3] = 0x4974; /* 999,424 */
    tiny_write(&tiny);
    options.equalize = EQUALIZE_OFF; /* which could bring it into reach */
    statistics_convert("out.gguf", &options, sha256);
    fixture_join(out, tiny.folder, "out.gguf");
    cr_assert_eq(gguf_open(out, &file, &err), OK, "%s", err.text);
    const struct gguf_tensor *gate = gguf_find(file, "blk.0.ffn_gate.weight");
    const struct gguf_tensor *up = gguf_find(file, "blk.0.ffn_up.weight");
    cr_assert(gate && up);
    cr_expect_eq(gate->type, TYPE_BF16);
    cr_expect_eq(up->type, TYPE_Q4_0);
    gguf_close(file);
    free(words);
}

/* Statistics of another model are not passed over in silence. */
Test(compensation, of_another_model_are_told, .timeout = 300)
{
    static const struct {
        enum tiny_kind kind;
        enum status want;
        const char *says;
    } cases[] = {
        {TINY_E2B, OK, ""},
        {TINY_MOE, OK, "words.moments lacks"},
        {TINY_GEMMA3, ERR_SHAPE, "expected)"},
    };
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    char moments[FIXTURE_PATH];
    const struct convert_options options = {
        .type = "Q4_0", .method = METHOD_COMPENSATE, .moments = moments};

    fixture_join(moments, tiny.folder, "words.moments");
    statistics_gather(&(struct calibrate_options){.moments = moments}, &d);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan *plan = NULL;
        struct error err = {0};
        struct tiny other;
        size_t n_noted = 0;

        tiny_begin(&other, cases[i].kind);
        tiny_write(&other);
        cr_expect_eq(convert_plan(other.folder, NULL, &options, &plan, &err),
                     cases[i].want, "%zu: %s", i, err.text);
        for (size_t k = 0; plan && k < plan->n_notes; k++)
            n_noted += strstr(plan->notes[k], "words.moments lacks") != NULL;
        cr_expect_eq(n_noted, i == 1, "%zu: %zu", i, n_noted);
        cr_expect(plan || strstr(err.text, cases[i].says), "%zu: %s", i, err.text);
        plan_free(plan);
        tiny_end(&other);
    }
    free(words);
}
