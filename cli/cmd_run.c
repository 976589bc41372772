/*
 * cmd_run.c - carat run: a model goes on from a text
 */
#include "cli/cli.h"
#include "cli/prompt.h"
#include "cli/ui.h"
#include "cli/yes_no.h"
#include "convert/convert.h"
#include "runtime/runtime.h"

#include <stdlib.h>

struct run_call {
    const char *model, *draft;
    struct prompt prompt;
    double temperature, top_p, min_p;
    int64_t top_k, n_predict, n_ctx, n_guesses;
    uint64_t seed;
    bool yes_no;
    struct runtime_options runtime;
};

/* A model with what it takes to talk to it, and maybe the drafter that speeds it up. */
struct talker {
    struct model *model, *draft_model;
    struct tokenizer *tok;
    struct runtime *rt, *draft_rt;
    struct sequence *seq;
    struct drafter *drafter;
};

/* How it went. */
struct outcome {
    size_t n_prompt, n_tokens;
    double prompt_seconds, seconds;
    const char *stop; /* "end", "length", "context" */
    struct generation_counts counts;
    json_t *ids; /* with --json */
};

static enum status open_drafter(const struct run_call *call, struct talker *t,
                                struct error *err)
{
    enum status st = convert_open_model(call->draft, &(struct source_options){0},
                                        &t->draft_model, err);

    if (st == OK &&
        (st = runtime_open(t->draft_model, &call->runtime, &t->draft_rt, err)) != OK)
        (void)fail_at(err, call->draft);
    return st == OK ? drafter_new(t->draft_rt, t->rt, &t->drafter, err) : st;
}

static enum status open_talker(const struct run_call *call, struct talker *t,
                               struct error *err)
{
    enum status st =
        convert_open_model(call->model, &(struct source_options){0}, &t->model, err);

    if (st != OK)
        return st;
    if ((st = tokenizer_from_meta(t->model->meta, &t->tok, err)) != OK ||
        (st = runtime_open(t->model, &call->runtime, &t->rt, err)) != OK)
        return fail_at(err, call->model);
    if (!runtime_facts(t->rt)->is_causal)
        return fail(err, ERR_USAGE,
                    "%s: a %s model does not generate text (see carat embed)",
                    call->model, runtime_facts(t->rt)->architecture);
    return call->draft ? open_drafter(call, t, err) : OK;
}

static void close_talker(struct talker *t)
{
    drafter_free(t->drafter);
    sequence_free(t->seq);
    runtime_close(t->draft_rt);
    runtime_close(t->rt);
    tokenizer_free(t->tok);
    model_close(t->draft_model);
    model_close(t->model);
}

/* The context asked for; else enough for this prompt and its answer. */
static uint32_t context_for(const struct run_call *call, const struct talker *t,
                            size_t n_prompt)
{
    uint64_t most = runtime_facts(t->rt)->context_length;
    uint64_t wanted = n_prompt + (uint64_t)call->n_predict;

    if (call->n_ctx > 0)
        return (uint32_t)call->n_ctx;
    return (uint32_t)(wanted < most ? wanted : most);
}

/* Ids the model's maker says must never be drawn; owned by the caller. NULL: no memory. */
static int32_t *banned_ids(const struct gguf_meta *meta, size_t *n)
{
    const struct gguf_value *value =
        gguf_meta_find(meta, "tokenizer.ggml.suppress_tokens");
    bool are_ids = value && value->type == GGUF_ARRAY && value->element == GGUF_I32;
    int32_t *ids;

    *n = are_ids ? (size_t)value->count : 0;
    ids = calloc(*n + 1, sizeof(*ids));
    for (size_t i = 0; ids && i < *n; i++)
        ids[i] = (int32_t)gguf_value_int(value, i);
    return ids;
}

/* What the options leave open is what the model's maker recommends. */
static struct sampler sampler_for(const struct run_call *call,
                                  const struct gguf_meta *meta)
{
    int64_t top_k = 0;
    double top_p = 1;

    (void)gguf_get_int(meta, "general.sampling.top_k", &top_k);
    (void)gguf_get_real(meta, "general.sampling.top_p", &top_p);
    struct sampler s = {.temperature = (float)call->temperature,
                        .top_k = (uint32_t)top_k,
                        .top_p = (float)top_p,
                        .min_p = (float)call->min_p,
                        .state = call->seed};

    if (call->top_k >= 0)
        s.top_k = (uint32_t)call->top_k;
    if (call->top_p >= 0.0)
        s.top_p = (float)call->top_p;
    return s;
}

static void show(const struct ui *ui, const struct talker *t, struct outcome *outcome,
                 int32_t id)
{
    size_t n;
    const char *piece = tokenizer_piece(t->tok, id, false, &n);

    if (ui->json) {
        json_array_append_new(outcome->ids, json_integer(id));
        return;
    }
    fwrite(piece, 1, n, stdout);
    fflush(stdout);
}

static enum status generate(const struct run_call *call, const struct ui *ui,
                            struct talker *t, struct generation *gen,
                            struct outcome *outcome, struct error *err)
{
    const double begin = clock_seconds();
    enum status st = OK;
    int32_t id;

    outcome->stop = "length";
    while (outcome->n_tokens < (size_t)call->n_predict) {
        if (generation_is_full(gen)) {
            outcome->stop = "context";
            break;
        }
        st = generation_next(gen, &id, err);
        if (st != OK)
            break;
        outcome->n_tokens++;
        if (tokenizer_is_end(t->tok, id)) {
            outcome->stop = "end";
            break;
        }
        show(ui, t, outcome, id);
    }
    outcome->seconds = clock_seconds() - begin;
    outcome->counts = generation_counts(gen);
    return st;
}

static enum status talk(const struct run_call *call, const struct ui *ui,
                        struct talker *t, const int32_t *ids, struct outcome *outcome,
                        struct error *err)
{
    struct generation_options options = {.sampler = sampler_for(call, t->model->meta),
                                         .drafter = t->drafter,
                                         .n_guesses = (uint32_t)call->n_guesses};
    struct generation *gen = NULL;
    int32_t *banned = banned_ids(t->model->meta, &options.n_banned);
    const double begin = clock_seconds();
    enum status st;

    if (!banned)
        return fail(err, ERR_NOMEM, "no memory for %zu tokens", options.n_banned);
    options.banned = banned;
    st = sequence_new(t->rt, context_for(call, t, outcome->n_prompt), &t->seq, err);
    if (st == OK)
        st = generation_new(t->rt, t->seq, &options, &gen, err);
    if (st == OK)
        st = generation_prompt(gen, ids, outcome->n_prompt, err);
    outcome->prompt_seconds = clock_seconds() - begin;
    if (st == OK)
        st = generate(call, ui, t, gen, outcome, err);
    generation_free(gen);
    free(banned);
    return st;
}

static double rate(double n, double seconds)
{
    return seconds > 0.0 ? n / seconds : 0.0;
}

static void note(struct ui *ui, const struct outcome *o)
{
    printf("\n");
    fflush(stdout);
    ui_note(
        ui,
        "%zu prompt tokens at %.1f a second, %zu tokens at %.1f a second, stopped at %s",
        o->n_prompt, rate((double)o->n_prompt, o->prompt_seconds), o->n_tokens,
        rate((double)o->n_tokens, o->seconds),
        o->stop[0] == 'e'   ? "an end token"
        : o->stop[0] == 'l' ? "the limit"
                            : "a full context");
    if (o->counts.n_guessed > 0)
        ui_note(ui, "%llu of %llu guesses came true, %llu passes",
                (unsigned long long)o->counts.n_accepted,
                (unsigned long long)o->counts.n_guessed,
                (unsigned long long)o->counts.n_steps);
}

static enum status print_json(const struct talker *t, const struct outcome *o,
                              struct error *err)
{
    size_t n_ids = json_array_size(o->ids), n = 0;
    int32_t *ids = calloc(n_ids + 1, sizeof(*ids));
    char *text = NULL;
    enum status st = ids ? OK : fail(err, ERR_NOMEM, "no memory for %zu tokens", n_ids);

    for (size_t i = 0; st == OK && i < n_ids; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(o->ids, i));
    if (st == OK)
        st = tokenizer_decode(t->tok, ids, n_ids, false, &text, &n, err);
    if (st == OK)
        st = ui_json(json_pack("{s:o, s:O, s:s, s:I, s:o, s:o, s:I, s:I}", "text",
                               ui_json_text(text, n), "tokens", o->ids, "stop", o->stop,
                               "prompt_tokens", (json_int_t)o->n_prompt,
                               "prompt_per_second",
                               ui_json_real(rate((double)o->n_prompt, o->prompt_seconds)),
                               "tokens_per_second",
                               ui_json_real(rate((double)o->n_tokens, o->seconds)),
                               "guessed", (json_int_t)o->counts.n_guessed, "accepted",
                               (json_int_t)o->counts.n_accepted),
                     err);
    free(text);
    free(ids);
    return st;
}

/* With --yes-no: a probability in the place of a text. */
static enum status answer(const struct run_call *call, const struct ui *ui,
                          struct talker *t, const int32_t *ids, size_t n,
                          struct error *err)
{
    struct yes_no a = {0};
    enum status st = sequence_new(t->rt, (uint32_t)n, &t->seq, err);

    if (st == OK)
        st = yes_no_answer(t->rt, t->seq, t->model->meta, t->tok, ids, n, &a, err);
    if (st == ERR_USAGE)
        return fail_at(err, call->model);
    if (st == OK && ui->json)
        return ui_json(
            json_pack("{s:o, s:o, s:[i, i], s:[o, o], s:I}", "yes", ui_json_real(a.p_yes),
                      "no", ui_json_real(1.0 - a.p_yes), "tokens", (int)a.ids[0],
                      (int)a.ids[1], "logits", ui_json_real((double)a.logits[0]),
                      ui_json_real((double)a.logits[1]), "prompt_tokens", (json_int_t)n),
            err);
    if (st == OK)
        printf("yes %.6f\nno %.6f\n", a.p_yes, 1.0 - a.p_yes);
    return st;
}

static enum status go_on(const struct run_call *call, struct ui *ui, struct talker *t,
                         const int32_t *ids, size_t n, struct error *err)
{
    struct outcome outcome = {.n_prompt = n, .ids = json_array()};
    enum status st = talk(call, ui, t, ids, &outcome, err);

    if (st == OK && ui->json)
        st = print_json(t, &outcome, err);
    else if (st == OK)
        note(ui, &outcome);
    else if (outcome.n_tokens > 0)
        printf("\n");
    json_decref(outcome.ids);
    return st;
}

static enum status work(const struct run_call *call, struct ui *ui, struct error *err)
{
    struct talker talker = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    enum status st = open_talker(call, &talker, err);

    if (st == OK)
        st = prompt_encode(&call->prompt, talker.tok, talker.model->meta, &ids, &n, err);
    if (st == OK)
        st = call->yes_no ? answer(call, ui, &talker, ids, n, err)
                          : go_on(call, ui, &talker, ids, n, err);
    free(ids);
    close_talker(&talker);
    return st;
}

int cmd_run(int argc, char **argv)
{
    struct run_call call = {.n_predict = 256, .n_guesses = 7, .top_k = -1, .top_p = -1.0};
    int arithmetic = 0;
    const struct option options[] = {
        {"prompt", 'p', OPTION_TEXT, &call.prompt.text, "TEXT",
         "go on from this (default: stdin)"},
        {"chat", 0, OPTION_FLAG, &call.prompt.is_chat, NULL,
         "the prompt is a user's turn, rendered by the model's template"},
        {"system", 0, OPTION_TEXT, &call.prompt.system, "TEXT",
         "with --chat: the system turn"},
        {"think", 0, OPTION_FLAG, &call.prompt.thinking, NULL,
         "with --chat: think first"},
        {"n-predict", 'n', OPTION_INT, &call.n_predict, "N",
         "at most this many tokens (256)", 1, 1 << 24},
        {"temp", 0, OPTION_REAL, &call.temperature, "T",
         "sample at this temperature (0: greedy)", 0, 100},
        {"top-k", 0, OPTION_INT, &call.top_k, "K",
         "draw from the K likeliest; 0 is all (as the model says, else 0)", 0, 1 << 24},
        {"top-p", 0, OPTION_REAL, &call.top_p, "P",
         "draw from the likeliest that make up P (as the model says, else 1)", 0, 1},
        {"min-p", 0, OPTION_REAL, &call.min_p, "P",
         "draw from those at least P times as likely as the first (0)", 0, 1},
        {"ctx", 'c', OPTION_INT, &call.n_ctx, "N",
         "positions of the context (what is needed)", 1, 1 << 24},
        {"draft", 0, OPTION_TEXT, &call.draft, "DRAFTER",
         "guess ahead with this small model"},
        {"guesses", 0, OPTION_INT, &call.n_guesses, "N",
         "tokens to guess at once, at most: fewer when they do not come true (7)", 1, 63},
        {"yes-no", 0, OPTION_FLAG, &call.yes_no, NULL,
         "print the probability that the answer is yes, and that it is no"},
        {"arithmetic", 0, OPTION_CHOICE, &arithmetic, "fast|f32",
         "round activations to 8 bits, or decode weights exactly (fast)"},
        {"ple-in-memory", 0, OPTION_FLAG, &call.runtime.ple_in_memory, NULL,
         "hold the per-layer embedding table in memory instead of reading rows"},
        {0},
    };
    const struct verb verb = {
        .name = "run",
        .operands = "MODEL [-p TEXT]",
        .summary = "Generate: tokens appear as they are drawn, figures follow on stderr.",
        .examples =
            "  carat run model.gguf -p 'The capital of France is'\n"
            "  carat run model.gguf --chat -p 'Why is the sky blue?' --temp 1\n"
            "  carat run model.gguf --draft assistant.gguf --chat < question.txt\n"
            "  carat run shieldgemma.gguf --yes-no < policy-and-text.txt\n",
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
    ui_begin(&ui, &verb, &args);
    call.model = args.operands[0];
    call.seed = (uint64_t)args.seed;
    call.runtime.arithmetic = arithmetic ? ARITH_F32 : ARITH_FAST;
    return ui_end(&ui, work(&call, &ui, &err), &err);
}
