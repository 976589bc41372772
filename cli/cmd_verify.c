/*
 * cmd_verify.c - carat verify: is this file the quantization of that source?
 */
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/conversion.h"
#include "cli/judge.h"
#include "cli/ui.h"

struct verify_call {
    const char *model, *source;
    bool is_fast, is_plain;
    struct conversion made; /* what else the file was made with */
};

static const char DRAFTER[] = "a drafter's layers read its target's keys and values";

/* `left_out` says why nothing was evaluated; NULL when something was, or nobody asked. */
static enum status print_json(const struct certificate *certificate, const char *left_out,
                              struct error *err)
{
    json_t *out;
    json_t *checks = json_array();

    for (size_t i = 0; i < certificate->n; i++) {
        const struct finding *f = &certificate->findings[i];
        json_array_append_new(checks,
                              json_pack("{s:s, s:b, s:s}", "check", f->check, "holds",
                                        (int)f->holds, "detail", f->detail));
    }
    out = json_pack("{s:b, s:o}", "certified", (int)certificate_holds(certificate),
                    "checks", checks);
    if (left_out)
        json_object_set_new(
            out, "left_out",
            json_pack("{s:[s, s], s:s}", "checks", "layers", "logits", "why", left_out));
    return ui_json(out, err);
}

/* What does not hold comes first, so that the first line says which tensor or key and why. */
static void print_text(const struct ui *ui, const struct certificate *certificate,
                       const char *left_out)
{
    for (int holds = 0; holds < 2; holds++)
        for (size_t i = 0; i < certificate->n; i++) {
            const struct finding *f = &certificate->findings[i];
            if (f->holds == (holds == 1))
                printf("%s%-4s%s %-10s %s\n", f->holds ? ui_green(ui) : ui_red(ui),
                       f->holds ? "ok" : "NO", ui_plain(ui), f->check, f->detail);
        }
    if (left_out)
        printf("--   layers     left out, and logits: %s\n", left_out);
    printf("%s\n", certificate_holds(certificate) ? "certified" : "not certified");
}

static enum status probe(struct judge *file, struct judge *source,
                         struct certificate *certificate, const char **left_out,
                         struct error *err)
{
    const struct runtime_options options = {.arithmetic = ARITH_F32};

    if (runtime_open(file->model, &options, &file->rt, err) != OK)
        return fail_at(err, file->model->path);
    if (runtime_facts(file->rt)->is_drafter) {
        *left_out = DRAFTER;
        return OK;
    }
    if (runtime_open(source->model, &options, &source->rt, err) != OK)
        return fail_at(err, source->model->path);
    return verify_probe(file->rt, source->rt, source->tok, certificate, err);
}

/* The source as the file's own conversion saw it. */
static enum status open_source(struct verify_call *call, const struct judge *file,
                               struct judge *source, struct error *err)
{
    struct source_options options;
    enum status st = conversion_source(&call->made, &options, err);

    options.equalize_from = file->model->meta;
    return st == OK ? judge_open_model(source, call->source, &options, err) : st;
}

static enum status work(struct verify_call *call, struct ui *ui, bool *holds,
                        struct error *err)
{
    struct progress progress = ui_progress(ui, UI_ITEMS);
    struct certificate certificate;
    struct judge file = {0}, source = {0};
    const char *left_out = NULL;
    enum status st = judge_open_model(&file, call->model, NULL, err);

    if (st == OK)
        st = open_source(call, &file, &source, err);
    if (st == OK)
        st = verify_certify(file.model, source.model, call->is_plain, &progress,
                            &certificate, err);
    if (st == OK && !call->is_fast && certificate_holds(&certificate))
        st = probe(&file, &source, &certificate, &left_out, err);
    ui_clear(ui);
    if (st == OK) {
        *holds = certificate_holds(&certificate);
        if (ui->json)
            st = print_json(&certificate, left_out, err);
        else
            print_text(ui, &certificate, left_out);
    }
    judge_close(&file);
    judge_close(&source);
    return st;
}

int cmd_verify(int argc, char **argv)
{
    struct verify_call call = {0};
    int method = 0;
    struct option options[3 + CONVERSION_SOURCE + 1] = {
        {"source", 's', OPTION_TEXT, &call.source, "SOURCE",
         "what the file was made from"},
        {"fast", 0, OPTION_FLAG, &call.is_fast, NULL,
         "leave out what needs a forward pass"},
        {"method", 0, OPTION_CHOICE, &method, "any|plain",
         "plain: every byte must be that of plain rounding (any)"},
    };
    const struct verb verb = {
        .name = "verify",
        .operands = "MODEL --source SOURCE",
        .summary =
            "Certify that MODEL is a quantization of SOURCE: metadata, tokenizer, every "
            "tensor, every layer. What it was converted with is given here too.",
        .examples =
            "  carat verify model-Q4_0.gguf --source checkpoint/\n"
            "  carat verify model-Q8_0.gguf --source checkpoint/ --method plain --fast\n"
            "  carat verify mine-Q4_0.gguf --source checkpoint/ --lora adapter/\n",
        .options = options,
        .min_operands = 1,
        .max_operands = 1,
    };
    struct error err = {0};
    struct args args;
    bool holds = false;
    struct ui ui;
    int code;

    (void)conversion_source_rows(&call.made, options + 3);
    if (!args_parse(&verb, argc, argv, &args, &code))
        return code;
    if (!call.source)
        return args_refuse(&verb, "say what it was made from (--source SOURCE)");
    ui_begin(&ui, &verb, &args);
    call.model = args.operands[0];
    call.is_plain = method == 1;
    code = ui_end(&ui, work(&call, &ui, &holds, &err), &err);
    conversion_free(&call.made);
    return code == EXIT_YES && !holds ? EXIT_NO : code;
}
