/*
 * cmd_calibrate.c - carat calibrate: statistics of a model's inputs over texts
 */
#include "cli/cli.h"
#include "cli/documents.h"
#include "cli/ui.h"
#include "convert/convert.h"

#include <stdlib.h>

/* Everything the command line says. */
struct wanted {
    struct texts texts;
    const char *out, *hessian;
    int64_t n_ctx, held_every;
    uint64_t tokens, max_memory;
    bool legacy, force, exact, resume;
    int experts;
};

static enum status calibrate(const struct wanted *wanted, const struct model *model,
                             const struct progress *progress,
                             struct calibrate_report *report, struct error *err)
{
    const struct calibrate_options options = {
        .imatrix = wanted->out,
        .legacy = wanted->legacy,
        .moments = wanted->hessian,
        .max_memory = wanted->max_memory,
        .force = wanted->force,
        .resume = wanted->resume,
        .arithmetic = wanted->exact ? ARITH_F32 : ARITH_FAST,
        .experts = (enum expert_moments)wanted->experts,
    };
    const struct calibrate_cut cut = {.n_ctx = (uint32_t)wanted->n_ctx,
                                      .tokens = wanted->tokens,
                                      .held_every = (unsigned)wanted->held_every};
    struct documents documents;
    struct calibrate_text text = {0};
    enum status st = documents_read(&wanted->texts, &documents, err);

    if (st == OK)
        st = output_check(wanted->out, wanted->force, err);
    if (st == OK)
        st = calibrate_text_make(model, documents.at, documents.n, &cut, &text, err);
    if (st == OK)
        st = calibrate_run(model, &text, &options, progress, report, err);
    calibrate_text_free(&text);
    documents_free(&documents);
    return st;
}

static enum status print_report(const struct ui *ui, const struct wanted *wanted,
                                const struct calibrate_report *report, struct error *err)
{
    if (ui->json)
        return ui_json(json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:f,s:f}", "tokens",
                                 (json_int_t)report->tokens, "held_tokens",
                                 (json_int_t)report->held_tokens, "weights",
                                 (json_int_t)report->n_weights, "inputs",
                                 (json_int_t)report->n_inputs, "unseen",
                                 (json_int_t)report->n_unseen, "thin",
                                 (json_int_t)report->n_thin, "passes",
                                 (int)report->passes, "seconds", report->seconds,
                                 "gathering_seconds", report->gathering_seconds),
                       err);
    printf(
        "%llu tokens, %llu held out; %zu weights; %zu matrices unseen, %zu experts "
        "thin\n%.0f s: %.0f s in the layers, %.0f s in second moments; %u pass%s of the "
        "text through each layer\n",
        (unsigned long long)report->tokens, (unsigned long long)report->held_tokens,
        report->n_weights, report->n_unseen, report->n_thin, report->seconds,
        report->seconds - report->gathering_seconds, report->gathering_seconds,
        report->passes, report->passes == 1 ? "" : "es");
    printf("%s\n", wanted->out);
    if (wanted->hessian)
        printf("%s\n", wanted->hessian);
    return OK;
}

int cmd_calibrate(int argc, char **argv)
{
    struct wanted wanted = {.held_every = 8};
    const struct option options[] = {
        {"text", 0, OPTION_TEXTS, &wanted.texts, "FILE",
         "text to run, or .jsonl of conversations; may be given several times (a mixture "
         "of prose, code, languages and chat that carat brings along, or 'default')",
         0, 0},
        {"output", 'o', OPTION_TEXT, &wanted.out, "STATS", "importance matrix to write",
         0, 0},
        {"hessian", 0, OPTION_TEXT, &wanted.hessian, "MOMENTS",
         "also write full second moments, for --method compensate", 0, 0},
        {"experts", 0, OPTION_CHOICE, &wanted.experts, "auto|own|shared",
         "second moments of an expert's input: a matrix each, or a diagonal and its "
         "layer's correlations (by bytes)",
         0, 0},
        {"ctx", 0, OPTION_INT, &wanted.n_ctx, "N", "tokens a chunk (512; encoders: 64)",
         16, 32768},
        {"tokens", 0, OPTION_SIZE, &wanted.tokens, "N",
         "tokens at most, equal shares of the texts (128K)", 0, 0},
        {"held-out", 0, OPTION_INT, &wanted.held_every, "N",
         "keep every N-th chunk of a text apart, 0 for none (8)", 0, 1000},
        {"max-memory", 0, OPTION_SIZE, &wanted.max_memory, "SIZE",
         "refuse when it cannot be done in this much (8G)", 0, 0},
        {"resume", 0, OPTION_FLAG, &wanted.resume, NULL,
         "continue an interrupted calibration", 0, 0},
        {"legacy", 0, OPTION_FLAG, &wanted.legacy, NULL, "write the older .dat form", 0,
         0},
        {"exact", 0, OPTION_FLAG, &wanted.exact, NULL,
         "every product in f32, also of quantized weights", 0, 0},
        {"force", 'f', OPTION_FLAG, &wanted.force, NULL, "overwrite", 0, 0},
        {0},
    };
    const struct verb verb = {
        .name = "calibrate",
        .operands = "MODEL -o STATS",
        .summary = "Run texts through a model and write what its inputs look like.",
        .examples = "carat calibrate ./gemma-4-E2B -o e2b.imatrix.gguf\n"
                    "carat calibrate ./gemma-4-E2B --text default --text mine.txt -o "
                    "mine.imatrix.gguf\n",
        .options = options,
        .min_operands = 1,
        .max_operands = 1,
    };
    const struct source_options source = {0};
    struct calibrate_report report = {0};
    struct model *model = NULL;
    struct error err = {0};
    struct args args;
    struct ui ui;
    int code;

    if (!args_parse(&verb, argc, argv, &args, &code))
        return code;
    if (wanted.texts.n == 0)
        wanted.texts = (struct texts){.at = {"default"}, .n = 1};
    if (!wanted.out)
        return args_refuse(&verb, "-o is needed");
    if (wanted.hessian && strcmp(wanted.hessian, wanted.out) == 0)
        return args_refuse(&verb, "-o and --hessian name the same file");
    ui_begin(&ui, &verb, &args);
    const struct progress progress = ui_progress(&ui, UI_ITEMS);
    enum status st = output_check(wanted.out, wanted.force, &err);
    if (st == OK)
        st = convert_open_model(args.operands[0], &source, &model, &err);
    if (st == OK)
        st = calibrate(&wanted, model, &progress, &report, &err);
    ui_clear(&ui);
    if (st == OK)
        st = print_report(&ui, &wanted, &report, &err);
    model_close(model);
    return ui_end(&ui, st, &err);
}
