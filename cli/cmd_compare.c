/*
 * cmd_compare.c - carat compare: what models lose against a reference
 */
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/compare_report.h"
#include "cli/judge.h"
#include "cli/ui.h"

#include <stdlib.h>

struct compare_call {
    const char *reference, *text;
    const char *const *models;
    size_t n_models;
    struct runtime_options runtime;
    int64_t n_chunks, n_noise;
    uint64_t seed;
};

/* A reference of another text than the one the user holds is refused. */
static enum status check_text(const char *path, const struct logits_facts *facts,
                              const char *reference, struct error *err)
{
    uint8_t digest[32];

    if (!path)
        return OK;
    if (sha256_file(path, digest, err) != OK)
        return err->code;
    if (memcmp(digest, facts->text.sha256, sizeof(digest)) != 0)
        return fail(err, ERR_USAGE, "%s: made from another text than %s", reference,
                    path);
    return OK;
}

/* The same weights once more through the other arithmetic: what a difference in kernels does.
 * Tables of one arithmetic agree to the bit, so another instruction set would show nothing. */
static enum status measure_noise(const struct compare_call *call, struct judge *judge,
                                 const struct logits_text *text, struct compare_row *row,
                                 struct error *err)
{
    struct runtime_options options = call->runtime;
    struct judge witness = {0};
    enum status st;

    options.arithmetic = options.arithmetic == ARITH_F32 ? ARITH_FAST : ARITH_F32;
    st = judge_open(&witness, row->model, &options, err);
    if (st == OK)
        st = judge_context(&witness, text->n_ctx, err);
    if (st == OK) {
        struct logits_source a = judge_logits(judge), b = judge_logits(&witness);
        st = verify_noise(&a, &b, text, (uint32_t)call->n_noise, &row->noise, err);
        row->has_noise = st == OK;
    }
    judge_close(&witness);
    return st;
}

static enum status compare_one(const struct compare_call *call,
                               const struct logits_file *file,
                               const struct progress *progress, struct compare_row *row,
                               struct error *err)
{
    const struct logits_facts *facts = logits_facts(file);
    struct judge judge = {0};
    enum status st = judge_open(&judge, row->model, &call->runtime, err);

    if (st == OK)
        st = verify_same_vocabulary(facts, judge.tok, runtime_facts(judge.rt)->n_vocab,
                                    call->reference, err);
    if (st == OK)
        st = judge_context(&judge, facts->text.n_ctx, err);
    if (st == OK) {
        struct logits_source source = judge_logits(&judge);
        st = verify_compare(&source, file, (uint32_t)call->n_chunks, call->seed, progress,
                            &row->figures, err);
    }
    if (st == OK && call->n_noise > 0)
        st = measure_noise(call, &judge, &facts->text, row, err);
    judge_close(&judge);
    return st;
}

static void warn_of_domain(const struct compare_row *row)
{
    if (row->figures.ppl_base > VERIFY_DOMAIN_PERPLEXITY)
        log_warn(
            "the reference itself has perplexity %.0f on this text, above %.0f: it is "
            "not "
            "the model's language, and the figures say little about its use (chat models "
            "want conversations: --chat)",
            row->figures.ppl_base, VERIFY_DOMAIN_PERPLEXITY);
}

static enum status work(const struct compare_call *call, struct ui *ui, struct error *err)
{
    struct progress progress = ui_progress(ui, UI_ITEMS);
    struct compare_report report = {.path = call->reference, .seed = call->seed};
    struct logits_file *file = NULL;
    enum status st = logits_open(call->reference, &file, err);

    if (st == OK)
        st = check_text(call->text, logits_facts(file), call->reference, err);
    if (st == OK)
        st = sha256_file(call->reference, report.sha256, err);
    report.rows = calloc(call->n_models, sizeof(*report.rows));
    if (st == OK && !report.rows)
        st = fail(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < call->n_models && st == OK; i++) {
        report.rows[i].model = call->models[i];
        st = compare_one(call, file, &progress, &report.rows[i], err);
        report.n_rows = i + 1;
    }
    ui_clear(ui);
    if (st == OK) {
        report.facts = logits_facts(file);
        warn_of_domain(&report.rows[0]);
        st = compare_report_print(ui, &report, err);
    }
    compare_report_free(&report);
    logits_close(file);
    return st;
}

int cmd_compare(int argc, char **argv)
{
    struct compare_call call = {.n_noise = 1};
    int arithmetic = 0;
    const struct option options[] = {
        {"reference", 'r', OPTION_TEXT, &call.reference, "REF",
         "made by carat reference"},
        {"text", 0, OPTION_TEXT, &call.text, "FILE",
         "refuse a reference that was not made from this text"},
        {"chunks", 0, OPTION_INT, &call.n_chunks, "N", "only the first N chunks (all)", 0,
         1e9},
        {"noise-chunks", 0, OPTION_INT, &call.n_noise, "N",
         "chunks run again by the other arithmetic for the noise floor (1; 0: none)", 0,
         1e9},
        {"arithmetic", 0, OPTION_CHOICE, &arithmetic, "f32|fast",
         "decode weights exactly, or round activations to 8 bits as `run` does (f32)"},
        {0},
    };
    const struct verb verb = {
        .name = "compare",
        .operands = "MODEL [MODEL...] --reference REF",
        .summary =
            "Divergence from a reference, agreement on the most probable piece and "
            "perplexity ratio, with 95 % intervals; several models are compared in "
            "pairs.",
        .examples =
            "  carat compare model-Q4_0.gguf --reference wiki.ref\n"
            "  carat compare a-Q4_0.gguf b-Q4_0.gguf --reference wiki.ref --json\n",
        .options = options,
        .min_operands = 1,
        .max_operands = 32,
    };
    struct error err = {0};
    struct args args;
    struct ui ui;
    int code;

    if (!args_parse(&verb, argc, argv, &args, &code))
        return code;
    if (!call.reference)
        return args_refuse(&verb, "say what to compare with (--reference REF)");
    ui_begin(&ui, &verb, &args);
    call.models = args.operands;
    call.n_models = (size_t)args.n_operands;
    call.runtime.arithmetic = arithmetic ? ARITH_FAST : ARITH_F32;
    call.seed = (uint64_t)args.seed;
    return ui_end(&ui, work(&call, &ui, &err), &err);
}
