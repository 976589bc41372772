/*
 * cmd_sensitivity.c - carat sensitivity: what each tensor costs in each type
 *
 * The model runs once as it is, and once for every tensor with that one rounded; the divergences
 * between go into a file that convert --target-size chooses types by.
 */
#include "cli/cli.h"
#include "cli/judge.h"
#include "cli/mixed_text.h"
#include "cli/ui.h"
#include "convert/sensitivity/sensitivity.h"

#include <stdlib.h>
#include <unistd.h>

/* Everything the command line says. */
struct wanted {
    struct texts texts;
    const char *out, *type;
    int64_t n_ctx, n_chunks;
    int method; /* positions in "plain|search" */
    bool every, force, resume;
    uint64_t seed;
};

/* The types that tensors may be given. */
static const enum block_type candidates[] = {TYPE_Q4_0, TYPE_Q4_K, TYPE_Q4_1, TYPE_Q5_0,
                                             TYPE_Q5_K, TYPE_Q5_1, TYPE_Q6_K, TYPE_Q8_0};
enum { N_CANDIDATES = sizeof(candidates) / sizeof(candidates[0]) };

/* What is at hand while it is measured. */
struct study {
    const struct wanted *wanted;
    struct judge judge; /* the model as it is */
    struct trial *trial;
    struct logits_facts facts;
    struct logits_file *reference;
    char *reference_path;
    const char *part_path; /* what is measured so far, in the form of the result */
    struct sensitivity
        part;             /* what an interrupted run measured, when this one resumes it */
    enum block_type type; /* run for each tensor */
    struct sensitivity result;
};

/* ---- the reference ---- */

static enum status make_reference(struct study *s, const struct progress *progress,
                                  struct error *err)
{
    struct runtime *rt = NULL;
    struct runtime_source *source = NULL;
    struct perplexity ppl;
    enum status st =
        runtime_open(trial_model(s->trial),
                     &(struct runtime_options){.arithmetic = ARITH_F32}, &rt, err);

    if (st == OK &&
        (st = runtime_source_new(rt, s->facts.text.n_ctx, &source, err)) != OK)
        (void)fail_at(err, s->judge.model->path);
    if (st == OK) {
        const struct logits_source view = runtime_source_view(source);

        s->facts.n_vocab = view.n_vocab;
        s->facts.n_entries = LOGITS_ENTRIES;
        st = verify_reference(&view, &s->facts, s->reference_path, true, s->wanted->seed,
                              progress, &ppl, err);
    }
    runtime_source_free(source);
    runtime_close(rt);
    if (st == OK)
        st = logits_open(s->reference_path, &s->reference, err);
    (void)unlink(s->reference_path); /* it stays open, and is nobody else's */
    return st;
}

/* ---- one tensor ---- */

static enum status diverge(struct study *s, size_t i, enum block_type type, double *kld,
                           struct error *err)
{
    struct runtime *rt = NULL;
    struct runtime_source *source = NULL;
    struct comparison figures = {0};
    enum status st = trial_round(s->trial, i, type, err);

    if (st == OK)
        st = runtime_open(trial_model(s->trial),
                          &(struct runtime_options){.arithmetic = ARITH_F32}, &rt, err);
    if (st == OK)
        st = runtime_source_new(rt, s->facts.text.n_ctx, &source, err);
    if (st == OK) {
        const struct logits_source view = runtime_source_view(source);
        st = verify_compare(&view, s->reference, 0, s->wanted->seed, NULL, &figures, err);
    }
    *kld = st == OK && figures.kld.mean > 0 ? figures.kld.mean : 0;
    comparison_free(&figures);
    runtime_source_free(source);
    runtime_close(rt);
    return st;
}

static void add_row(struct study *s, const char *name, enum block_type type, double kld,
                    bool is_measured)
{
    s->result.rows[s->result.n_rows++] = (struct sensitivity_row){
        .tensor = name, .type = type, .kld = kld, .is_measured = is_measured};
}

/* The types that rows of this length can have; how many. */
static size_t fitting(uint64_t n_cols, enum block_type types[N_CANDIDATES])
{
    size_t n = 0;

    for (size_t k = 0; k < N_CANDIDATES; k++)
        if (n_cols % block_type_info(candidates[k])->weights == 0)
            types[n++] = candidates[k];
    return n;
}

/* Take a tensor's rows from the run that is resumed, when it has just those this one would make. */
static bool take_rows(struct study *s, const char *name, const enum block_type *types,
                      size_t n, enum block_type run)
{
    size_t found = 0;
    const struct sensitivity_row *rows = sensitivity_find(&s->part, name, &found);

    if (found != n)
        return false;
    for (size_t k = 0; k < n; k++)
        if (rows[k].type != types[k] ||
            rows[k].is_measured != (s->wanted->every || types[k] == run))
            return false;
    for (size_t k = 0; k < n; k++)
        add_row(s, name, types[k], rows[k].kld, rows[k].is_measured);
    return true;
}

static enum status measure_tensor(struct study *s, size_t i, struct error *err)
{
    const struct gguf_tensor *t = &trial_model(s->trial)->tensors[i];
    const enum block_type run = mix_fallback(s->type, t->ne[0]);
    enum block_type types[N_CANDIDATES + 1];
    double errors[N_CANDIDATES + 1], measured = 0;
    const size_t n = fitting(t->ne[0], types);
    enum status st;

    if (take_rows(s, t->name, types, n, run))
        return OK;
    types[n] = run;
    st = trial_errors(s->trial, i, types, n + 1, errors, err);
    if (st == OK && !s->wanted->every)
        st = diverge(s, i, run, &measured, err);
    for (size_t k = 0; st == OK && k < n; k++) {
        const bool is_run = s->wanted->every || types[k] == run;
        double kld = measured;

        if (s->wanted->every)
            st = diverge(s, i, types[k], &kld, err);
        else if (!is_run)
            kld = errors[n] > 0 ? measured * (errors[k] / errors[n]) : 0;
        if (st == OK)
            add_row(s, t->name, types[k], kld, is_run);
    }
    return st == OK ? sensitivity_write(&s->result, s->part_path, true, err) : st;
}

/* ---- all of them ---- */

static bool is_wanted(const struct study *s, size_t i)
{
    enum block_type types[N_CANDIDATES];
    const struct gguf_tensor *t = &s->judge.model->tensors[i];

    return trial_is_free(s->trial, i) && !block_type_info(t->type)->is_quantized &&
           fitting(t->ne[0], types) > 0;
}

static enum status measure_all(struct study *s, struct ui *ui, struct error *err)
{
    const struct progress progress = ui_progress(ui, UI_ITEMS);
    const struct model *model = s->judge.model;
    size_t n = 0, done = 0;
    enum status st = OK;

    for (size_t i = 0; i < model->n_tensors; i++)
        n += is_wanted(s, i);
    s->result.rows =
        arena_array(&s->result.arena, n * N_CANDIDATES + 1, sizeof(*s->result.rows));
    if (!s->result.rows)
        return fail(err, ERR_NOMEM, "no memory for %zu tensors", n);
    if (n == 0)
        return fail(err, ERR_USAGE, "%s: no tensor that could be rounded", model->path);
    for (size_t i = 0; st == OK && i < model->n_tensors; i++) {
        if (!is_wanted(s, i))
            continue;
        progress_report(&progress, model->tensors[i].name, done++, n);
        st = measure_tensor(s, i, err);
    }
    if (st == OK)
        progress_report(&progress, "", n, n);
    ui_clear(ui);
    return st;
}

static enum status read_texts(struct study *s, struct error *err)
{
    const struct wanted *w = s->wanted;
    struct documents documents;
    enum status st = documents_read(&w->texts, &documents, err);

    if (st == OK)
        st = mixed_text(s->judge.tok, s->judge.model->meta, &documents,
                        (uint32_t)w->n_ctx, (uint32_t)w->n_chunks, &s->facts.text, err);
    documents_free(&documents);
    return st;
}

/* The head of the file, known before the first tensor is. */
static enum status fill_head(struct study *s, struct error *err)
{
    char digest[65];

    sha256_hex(s->facts.text.sha256, digest);
    s->result.source = s->facts.source;
    s->result.text = arena_strdup(&s->result.arena, digest);
    s->result.method = s->wanted->method == METHOD_SEARCH ? "search" : "plain";
    s->result.n_tokens = s->facts.text.n_scored;
    return s->result.text ? OK : fail(err, ERR_NOMEM, "no memory for a digest");
}

/* What an earlier run left, which must have measured the same model on the same text. */
static enum status open_part(struct study *s, struct error *err)
{
    enum status st;

    if (!s->wanted->resume || !file_exists(s->part_path))
        return OK;
    st = sensitivity_read(s->part_path, &s->part, err);
    file_release(s->part_path);
    if (st == OK && (strcmp(s->part.text, s->result.text) != 0 ||
                     strcmp(s->part.source, s->result.source) != 0 ||
                     strcmp(s->part.method, s->result.method) != 0 ||
                     s->part.n_tokens != s->result.n_tokens))
        st = fail(err, ERR_USAGE,
                  "%s: it was measured on another model or text, or by another method; "
                  "without --resume it is begun anew",
                  s->part_path);
    return st;
}

static enum status open_study(struct study *s, const char *path, struct error *err)
{
    const struct wanted *w = s->wanted;
    enum status st;

    if (!block_type_from_name(w->type, &s->type) ||
        !quantize_can(s->type, (enum method)w->method))
        return fail(err, ERR_USAGE, "--type %s: not a type that can be written", w->type);
    st = judge_open_model(&s->judge, path, NULL, err);
    if (st == OK)
        st = read_texts(s, err);
    if (st == OK)
        st = trial_open(s->judge.model, (enum method)w->method, &s->trial, err);
    if (st != OK)
        return st;
    tokenizer_digest(s->judge.tok, s->facts.tokenizer);
    judge_name(&s->judge, s->facts.source);
    s->reference_path = arena_printf(&s->result.arena, "%s.reference", w->out);
    s->part_path = arena_printf(&s->result.arena, "%s.part", w->out);
    if (!s->reference_path || !s->part_path)
        return fail(err, ERR_NOMEM, "no memory for a path");
    st = fill_head(s, err);
    return st == OK ? open_part(s, err) : st;
}

static void close_study(struct study *s)
{
    logits_close(s->reference);
    logits_text_free(&s->facts.text);
    trial_close(s->trial);
    judge_close(&s->judge);
    sensitivity_free(&s->result);
    sensitivity_free(&s->part);
}

static enum status file_result(struct study *s, struct error *err)
{
    const enum status st =
        sensitivity_write(&s->result, s->wanted->out, s->wanted->force, err);

    if (st == OK)
        (void)unlink(s->part_path);
    return st;
}

static enum status print_result(const struct study *s, const struct ui *ui,
                                struct error *err)
{
    size_t n_measured = 0;

    for (size_t i = 0; i < s->result.n_rows; i++)
        n_measured += s->result.rows[i].is_measured;
    if (ui->json)
        return ui_json(
            json_pack("{s:o, s:I, s:I, s:I}", "path", ui_json_string(s->wanted->out),
                      "rows", (json_int_t)s->result.n_rows, "measured",
                      (json_int_t)n_measured, "tokens", (json_int_t)s->result.n_tokens),
            err);
    printf("%s: %zu rows, %zu of them measured, on %llu scored tokens\n", s->wanted->out,
           s->result.n_rows, n_measured, (unsigned long long)s->result.n_tokens);
    return OK;
}

static enum status work(const struct wanted *wanted, const char *path, struct ui *ui,
                        struct error *err)
{
    struct study s = {.wanted = wanted};
    enum status st = output_check(wanted->out, wanted->force, err);
    if (st == OK)
        st = open_study(&s, path, err);
    if (st == OK)
        st = output_check(wanted->out, wanted->force, err);
    if (st == OK) {
        const struct progress progress = ui_progress(ui, UI_ITEMS);
        st = make_reference(&s, &progress, err);
    }
    ui_clear(ui);
    if (st == OK)
        st = measure_all(&s, ui, err);
    if (st == OK)
        st = file_result(&s, err);
    if (st == OK)
        st = print_result(&s, ui, err);
    close_study(&s);
    return st;
}

int cmd_sensitivity(int argc, char **argv)
{
    struct wanted wanted = {.type = "Q4_K", .n_ctx = 512, .n_chunks = 4};
    const struct option options[] = {
        {"text", 0, OPTION_TEXTS, &wanted.texts, "FILE",
         "text, or .jsonl of conversations, to run; may be given several times; "
         "'default', "
         "which is also taken without this, stands for the texts that carat carries",
         0, 0},
        {"output", 'o', OPTION_TEXT, &wanted.out, "FILE", "the file to write", 0, 0},
        {"ctx", 'c', OPTION_INT, &wanted.n_ctx, "N", "tokens a chunk (512)", 16, 32768},
        {"chunks", 0, OPTION_INT, &wanted.n_chunks, "N",
         "chunks of each text, spread over it (4; 0: all)", 0, 1e9},
        {"type", 0, OPTION_TEXT, &wanted.type, "T",
         "the type each tensor is run in; others are scaled from it (Q4_K)", 0, 0},
        {"every", 0, OPTION_FLAG, &wanted.every, NULL,
         "run every type: eight times as long", 0, 0},
        {"method", 0, OPTION_CHOICE, &wanted.method, "plain|search",
         "how tensors are rounded (plain)", 0, 0},
        {"force", 'f', OPTION_FLAG, &wanted.force, NULL, "overwrite", 0, 0},
        {"resume", 0, OPTION_FLAG, &wanted.resume, NULL,
         "go on from FILE.part, which an interrupted run left", 0, 0},
        {0},
    };
    const struct verb verb = {
        .name = "sensitivity",
        .operands = "MODEL -o FILE",
        .summary =
            "Measure what each tensor costs in each type, in divergence from MODEL. Runs "
            "the "
            "text once a tensor.",
        .examples =
            "  carat sensitivity gemma-4-E2B-it --text mixed.txt -o e2b.sens\n"
            "  carat convert gemma-4-E2B-it -o e2b.gguf --target-size 2.5G --sensitivity "
            "e2b.sens\n",
        .options = options,
        .min_operands = 1,
        .max_operands = 1,
    };
    struct error err = {0};
    struct args args;
    struct ui ui;
    int code;

    if (!args_parse(&verb, argc, argv, &args, &code))
        return code;
    if (wanted.texts.n == 0)
        wanted.texts = (struct texts){.at = {"default"}, .n = 1};
    if (!wanted.out)
        return args_refuse(&verb, "say where to write (-o FILE)");
    wanted.seed = (uint64_t)args.seed;
    ui_begin(&ui, &verb, &args);
    return ui_end(&ui, work(&wanted, args.operands[0], &ui, &err), &err);
}
