/*
 * cmd_calibrate.c - carat calibrate: statistics of a model's inputs over texts
 */
#include "cli/cli.h"
#include "cli/source_tokenizer.h"
#include "cli/ui.h"
#include "convert/calibrate/calibrate.h"
#include "convert/convert.h"

#include <stdlib.h>

/* Everything the command line says. */
struct wanted {
    struct texts texts;
    const char *out, *hessian;
    int64_t n_ctx, n_chunks, held_every;
    uint64_t max_memory;
    bool legacy, force, exact;
};

/* What is calibrated. */
struct subject {
    struct model *model;
    struct tokenizer *tok;
};

/* Chunks of n_ctx ids, back to back; owned. */
struct chunks {
    int32_t *ids;
    size_t n;
};

/* Cut one text: BOS first in every chunk, the rest of the chunk text; a short end is left out. */
static enum status add_text(const struct subject *subject, const struct wanted *wanted,
                            const char *path, struct chunks *chunks, struct error *err)
{
    size_t n_ctx = (size_t)wanted->n_ctx, n_text = 0, n_ids = 0;
    int32_t bos = tokenizer_bos(subject->tok), *ids = NULL;
    size_t n_own = tokenizer_adds_bos(subject->tok) && bos >= 0 ? n_ctx - 1 : n_ctx;
    char *text = NULL;
    enum status st = source_text(path, &text, &n_text, err);

    if (st == OK)
        st = tokenizer_encode(subject->tok, text, n_text, TOKENIZE_SPECIAL, &ids, &n_ids,
                              err);
    if (st == OK) {
        size_t n_new = n_ids / n_own;
        int32_t *grown =
            realloc(chunks->ids, (chunks->n + n_new + 1) * n_ctx * sizeof(*grown));

        if (grown)
            chunks->ids = grown;
        else
            st = fail(err, ERR_NOMEM, "%s: no memory for its tokens", path);
        for (size_t i = 0; i < n_new && st == OK; i++) {
            int32_t *to = chunks->ids + chunks->n++ * n_ctx;

            if (n_own < n_ctx)
                *to++ = bos;
            memcpy(to, ids + i * n_own, n_own * sizeof(*to));
        }
    }
    free(ids);
    free(text);
    return st;
}

static enum status calibrate(const struct wanted *wanted, const struct subject *subject,
                             const struct progress *progress,
                             struct calibrate_report *report, struct error *err)
{
    struct calibrate_options options = {
        .imatrix = wanted->out,
        .legacy = wanted->legacy,
        .moments = wanted->hessian,
        .held_every = (unsigned)wanted->held_every,
        .max_memory = wanted->max_memory,
        .force = wanted->force,
        .arithmetic = wanted->exact ? ARITH_F32 : ARITH_FAST,
    };
    struct chunks chunks = {0};
    enum status st = OK;

    for (size_t i = 0; i < wanted->texts.n && st == OK; i++)
        st = add_text(subject, wanted, wanted->texts.at[i], &chunks, err);
    if (st == OK) {
        struct calibrate_text text = {
            .ids = chunks.ids,
            .n_chunks = chunks.n,
            .n_ctx = (uint32_t)wanted->n_ctx,
            .names = wanted->texts.at,
            .n_names = wanted->texts.n,
        };

        if (wanted->n_chunks > 0 && (size_t)wanted->n_chunks < text.n_chunks)
            text.n_chunks = (size_t)wanted->n_chunks;
        st = calibrate_run(subject->model, &text, &options, progress, report, err);
    }
    free(chunks.ids);
    return st;
}

static enum status print_report(const struct ui *ui, const struct wanted *wanted,
                                const struct calibrate_report *report, struct error *err)
{
    if (ui->json)
        return ui_json(
            json_pack(
                "{s:I,s:I,s:I,s:I,s:I,s:I,s:i}", "tokens", (json_int_t)report->tokens,
                "held_tokens", (json_int_t)report->held_tokens, "weights",
                (json_int_t)report->n_weights, "inputs", (json_int_t)report->n_inputs,
                "unseen", (json_int_t)report->n_unseen, "thin",
                (json_int_t)report->n_thin, "passes", (int)report->passes),
            err);
    printf("%llu tokens, %llu held out; %zu weights; %zu matrices unseen, %zu experts "
           "thin; %u "
           "pass%s over the text\n",
           (unsigned long long)report->tokens, (unsigned long long)report->held_tokens,
           report->n_weights, report->n_unseen, report->n_thin, report->passes,
           report->passes == 1 ? "" : "es");
    printf("%s\n", wanted->out);
    if (wanted->hessian)
        printf("%s\n", wanted->hessian);
    return OK;
}

int cmd_calibrate(int argc, char **argv)
{
    struct wanted wanted = {.n_ctx = 512, .held_every = 8};
    const struct option options[] = {
        {"text", 0, OPTION_TEXTS, &wanted.texts, "FILE",
         "text to run; may be given several times", 0, 0},
        {"output", 'o', OPTION_TEXT, &wanted.out, "STATS", "importance matrix to write",
         0, 0},
        {"hessian", 0, OPTION_TEXT, &wanted.hessian, "MOMENTS",
         "also write full second moments, for --method compensate", 0, 0},
        {"ctx", 0, OPTION_INT, &wanted.n_ctx, "N", "tokens a chunk (512)", 16, 32768},
        {"chunks", 0, OPTION_INT, &wanted.n_chunks, "N", "chunks at most (all)", 1, 1e9},
        {"held-out", 0, OPTION_INT, &wanted.held_every, "N",
         "keep every N-th chunk of the moments apart, 0 for none (8)", 0, 1000},
        {"max-memory", 0, OPTION_SIZE, &wanted.max_memory, "SIZE",
         "moments in hand at once; less takes more passes (2G)", 0, 0},
        {"legacy", 0, OPTION_FLAG, &wanted.legacy, NULL, "write the older .dat form", 0,
         0},
        {"exact", 0, OPTION_FLAG, &wanted.exact, NULL,
         "every product in f32, also of quantized weights", 0, 0},
        {"force", 'f', OPTION_FLAG, &wanted.force, NULL, "overwrite", 0, 0},
        {0},
    };
    const struct verb verb = {
        .name = "calibrate",
        .operands = "MODEL --text FILE -o STATS",
        .summary = "Run texts through a model and write what its inputs look like.",
        .examples =
            "carat calibrate ./gemma-4-E2B --text mixed.txt -o e2b.imatrix.gguf\n",
        .options = options,
        .min_operands = 1,
        .max_operands = 1,
    };
    const struct source_options source = {0};
    struct calibrate_report report = {0};
    struct subject subject = {0};
    struct error err = {0};
    struct args args;
    struct ui ui;
    int code;

    if (!args_parse(&verb, argc, argv, &args, &code))
        return code;
    if (wanted.texts.n == 0)
        return args_refuse(&verb, "--text is needed");
    if (!wanted.out)
        return args_refuse(&verb, "-o is needed");
    ui_begin(&ui, &verb, &args);
    const struct progress progress = ui_progress(&ui, UI_ITEMS);
    enum status st = convert_open_model(args.operands[0], &source, &subject.model, &err);
    if (st == OK)
        st = tokenizer_from_meta(subject.model->meta, &subject.tok, &err);
    if (st == OK)
        st = calibrate(&wanted, &subject, &progress, &report, &err);
    ui_clear(&ui);
    if (st == OK)
        st = print_report(&ui, &wanted, &report, &err);
    tokenizer_free(subject.tok);
    model_close(subject.model);
    return ui_end(&ui, st, &err);
}
