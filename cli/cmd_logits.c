/*
 * cmd_logits.c - carat logits: what the runtime computes, for parity checks
 */
#include "cli/capture.h"
#include "cli/cli.h"
#include "cli/token_ids.h"
#include "cli/ui.h"
#include "convert/convert.h"

#include <inttypes.h>
#include <stdlib.h>

struct logits_call {
    const char *model, *ids, *out;
    bool hidden, force;
    int64_t n_greedy;
    struct runtime_options runtime;
};

struct keeper {
    struct capture *capture;
    size_t n_vocab;
};

static void keep_logits(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    struct keeper *keeper = arg;

    capture_rows(keeper->capture, "logits", position, n_rows, keeper->n_vocab, logits);
}

/* The continuation of whatever the sequence holds, whose last row of logits is given. */
struct follower {
    float *last;
    size_t n_vocab;
};

static void keep_last(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    struct follower *f = arg;

    (void)position;
    memcpy(f->last, logits + (n_rows - 1) * f->n_vocab, f->n_vocab * sizeof(*f->last));
}

static enum status follow(struct runtime *rt, struct sequence *seq,
                          struct capture *capture, size_t n, struct error *err)
{
    const struct capture_array *logits = capture_find(capture, "logits");
    struct follower f = {.n_vocab = runtime_facts(rt)->n_vocab};
    struct sampler greedy = {0};
    enum status st = OK;

    if (n == 0 || !logits)
        return OK;
    f.last = malloc(f.n_vocab * sizeof(*f.last));
    capture->greedy = calloc(n, sizeof(*capture->greedy));
    if (!f.last || !capture->greedy) {
        free(f.last);
        return fail(err, ERR_NOMEM, "no memory for %zu tokens", n);
    }
    keep_last(&f, 0, logits->n_rows, logits->x);
    for (size_t i = 0; i < n && st == OK; i++) {
        capture->greedy[i] = sampler_draw(&greedy, f.last, f.n_vocab, NULL);
        if (i + 1 < n)
            st = runtime_eval(rt, seq, &capture->greedy[i], 1,
                              &(struct logits_sink){.arg = &f, .rows = keep_last}, err);
    }
    capture->n_greedy = n;
    free(f.last);
    return st;
}

/* An encoder has no logits, but its layers can be looked at all the same. */
static enum status check_model(const struct logits_call *call, const struct runtime *rt,
                               struct error *err)
{
    const struct runtime_facts *facts = runtime_facts(rt);

    if (facts->is_causal || (call->hidden && call->n_greedy == 0))
        return OK;
    return fail(err, ERR_USAGE, "%s: a %s model has no logits (its layers: --hidden)",
                call->model, facts->architecture);
}

static enum status evaluate(const struct logits_call *call, struct runtime *rt,
                            struct sequence *seq, const int32_t *ids, size_t n,
                            struct capture *capture, struct error *err)
{
    struct keeper keeper = {.capture = capture, .n_vocab = runtime_facts(rt)->n_vocab};
    const struct logits_sink sink = {.arg = &keeper, .rows = keep_logits};
    enum status st;

    if (call->hidden)
        runtime_tap(rt, capture_event, capture);
    st = runtime_eval(rt, seq, ids, n, &sink, err);
    runtime_tap(rt, NULL, NULL);
    if (st == OK && capture->is_short)
        st = fail(err, ERR_NOMEM, "no memory for the logits of %zu tokens", n);
    return st == OK ? follow(rt, seq, capture, (size_t)call->n_greedy, err) : st;
}

static enum status work(const struct logits_call *call, const struct ui *ui,
                        struct error *err)
{
    struct capture capture = {0};
    struct model *model = NULL;
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    int32_t *ids = NULL;
    enum status st = token_ids_read(call->ids, &ids, &capture.n_positions, err);

    if (st == OK)
        st = output_check(call->out, call->force, err);
    if (st == OK)
        st = convert_open_model(call->model, &(struct source_options){0}, &model, err);
    if (st == OK && (st = runtime_open(model, &call->runtime, &rt, err)) != OK)
        (void)fail_at(err, call->model);
    if (st == OK)
        st = check_model(call, rt, err);
    if (st == OK)
        st = sequence_new(rt, (uint32_t)(capture.n_positions + (size_t)call->n_greedy),
                          &seq, err);
    if (st == OK)
        st = evaluate(call, rt, seq, ids, capture.n_positions, &capture, err);
    if (st == OK)
        st = capture_write(&capture, call->out, runtime_facts(rt)->n_ple, call->force,
                           err);
    if (st == OK && ui->json)
        st = ui_json(json_pack("{s:o, s:I, s:I}", "path", ui_json_string(call->out),
                               "tokens", (json_int_t)capture.n_positions, "tensors",
                               (json_int_t)(capture.n_arrays + (capture.greedy != NULL))),
                     err);
    sequence_free(seq);
    runtime_close(rt);
    model_close(model);
    capture_free(&capture);
    free(ids);
    return st;
}

int cmd_logits(int argc, char **argv)
{
    struct logits_call call = {0};
    int arithmetic = 0;
    const struct option options[] = {
        {"ids", 0, OPTION_TEXT, &call.ids, "FILE",
         "token ids, by spaces or commas; - is stdin"},
        {"output", 'o', OPTION_TEXT, &call.out, "OUT.safetensors", "where to write"},
        {"hidden", 0, OPTION_FLAG, &call.hidden, NULL,
         "add embed, ple, the output of every layer and of the final norm"},
        {"greedy", 0, OPTION_INT, &call.n_greedy, "N",
         "add N tokens of greedy continuation", 0, 1 << 20},
        {"arithmetic", 0, OPTION_CHOICE, &arithmetic, "f32|fast",
         "decode weights exactly, or round activations to 8 bits as `run` does (f32)"},
        {"force", 'f', OPTION_FLAG, &call.force, NULL, "overwrite"},
        {0},
    };
    const struct verb verb = {
        .name = "logits",
        .operands = "MODEL --ids FILE -o OUT.safetensors",
        .summary = "Logits of every position, and what the layers computed on the way.",
        .examples = "  carat tokenize model.gguf -p Hello | carat logits model.gguf "
                    "--ids - -o out.safetensors\n"
                    "  carat logits checkpoint/ --ids ids.txt --hidden --greedy 24 -o "
                    "out.safetensors\n",
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
    if (!call.ids || !call.out)
        return args_refuse(&verb, "%s is missing",
                           call.ids ? "--output FILE" : "--ids FILE");
    ui_begin(&ui, &verb, &args);
    call.model = args.operands[0];
    call.runtime.arithmetic = arithmetic ? ARITH_FAST : ARITH_F32;
    return ui_end(&ui, work(&call, &ui, &err), &err);
}
