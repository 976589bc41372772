/*
 * cmd_bench.c - carat bench: how fast a model runs, and how fast this machine could
 *
 * Prefill is bound by multiplications and decoding by reading weights, so the one is compared with
 * the multiply-adds that registers allow and the other with the speed of memory, both measured
 * in the same run. Attention is not counted as work, though its time is.
 */
#include "cli/args.h"
#include "cli/bench_draft.h"
#include "cli/cli.h"
#include "cli/ui.h"
#include "convert/convert.h"
#include "runtime/kernels/kernels.h"
#include "runtime/runtime.h"

#include <stdlib.h>

struct bench_call {
    const char *path, *draft; /* draft: NULL without */
    struct runtime_options runtime;
    int64_t n_prompt, n_decode, n_runs;
    uint64_t seed;
};

/* What is opened, in this order. */
struct bench {
    struct model *model;
    struct runtime *rt;
    struct sequence *seq;
    int32_t *ids; /* n_prompt + n_decode of them, and DRAFT_PASS */
};

/* The best run of a phase. */
struct phase {
    const char *name, *limit;
    int64_t n_tokens;
    double seconds;           /* a token */
    double bytes, ops, share; /* a second; share of the limit that binds this phase */
};

struct report {
    struct limits limits;
    struct phase prefill, decode;
    struct draft_report draft; /* with --draft */
};

static enum status bench_open(struct bench *b, const struct bench_call *call,
                              struct error *err)
{
    struct source_options source = {0};
    size_t n = (size_t)(call->n_prompt + call->n_decode);
    size_t n_ctx = n + (call->draft ? bench_draft_room(call->n_decode) : 0);
    enum status st = convert_open_model(call->path, &source, &b->model, err);
    uint64_t state = call->seed;

    if (st == OK && (st = runtime_open(b->model, &call->runtime, &b->rt, err)) != OK)
        (void)fail_at(err, call->path);
    if (st == OK && !runtime_facts(b->rt)->is_causal)
        st = fail(err, ERR_USAGE, "%s: a %s model does not generate text", call->path,
                  runtime_facts(b->rt)->architecture);
    if (st == OK)
        st = sequence_new(b->rt, (uint32_t)n_ctx, &b->seq, err);
    if (st != OK)
        return st;
    n += DRAFT_PASS;
    b->ids = calloc(n, sizeof(*b->ids));
    if (!b->ids)
        return fail(err, ERR_NOMEM, "no memory for %zu token ids", n);
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        b->ids[i] = (int32_t)((state >> 33) % runtime_facts(b->rt)->n_vocab);
    }
    return OK;
}

static void bench_close(struct bench *b)
{
    free(b->ids);
    sequence_free(b->seq);
    runtime_close(b->rt);
    model_close(b->model);
}

static void drop_rows(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    (void)arg, (void)position, (void)n_rows, (void)logits;
}

/* One prompt and what follows it, from an empty context; seconds a token. */
static enum status run_once(const struct bench *b, const struct bench_call *call,
                            double *prefill, double *decode, struct error *err)
{
    struct logits_sink sink = {.first = (uint32_t)call->n_prompt - 1, .rows = drop_rows};
    double start = clock_seconds();

    sequence_reset(b->seq);
    enum status st =
        runtime_eval(b->rt, b->seq, b->ids, (size_t)call->n_prompt, &sink, err);
    *prefill = (clock_seconds() - start) / (double)call->n_prompt;

    start = clock_seconds();
    for (int64_t i = 0; st == OK && i < call->n_decode; i++)
        st = runtime_eval(b->rt, b->seq, b->ids + call->n_prompt + i, 1, &sink, err);
    *decode = (clock_seconds() - start) / (double)call->n_decode;
    return st;
}

/* The best of several runs: the first one also reads the file. */
static enum status run_all(const struct bench *b, const struct bench_call *call,
                           struct report *report, struct ui *ui, struct error *err)
{
    struct progress progress = ui_progress(ui, UI_ITEMS);
    enum status st = OK;

    report->prefill.seconds = report->decode.seconds = 1e30;
    for (int64_t run = 0; st == OK && run < call->n_runs; run++) {
        double prefill, decode;

        progress_report(&progress, "runs", (uint64_t)run, (uint64_t)call->n_runs);
        st = run_once(b, call, &prefill, &decode, err);
        if (prefill < report->prefill.seconds)
            report->prefill.seconds = prefill;
        if (decode < report->decode.seconds)
            report->decode.seconds = decode;
    }
    ui_clear(ui);
    return st;
}

/* After the runs: in the context that the last of them left. */
static enum status run_draft(const struct bench *b, const struct bench_call *call,
                             struct report *report, struct error *err)
{
    const struct draft_bench draft = {
        .path = call->draft,
        .options = &call->runtime,
        .target = b->rt,
        .seq = b->seq,
        .ids = b->ids + call->n_prompt + call->n_decode,
        .n_rounds = call->n_decode,
    };

    return call->draft ? bench_draft(&draft, &report->draft, err) : OK;
}

static void judge_speed(const struct bench *b, const struct bench_call *call,
                        struct report *report)
{
    const struct runtime_facts *facts = runtime_facts(b->rt);
    double macs = (double)facts->n_macs, bytes = (double)facts->weight_bytes;
    double wanted = (double)facts->n_macs_wanted;
    /* Below 10 bits a weight the file is quantized, and products are of bytes. */
    bool is_integer = call->runtime.arithmetic == ARITH_FAST && !call->runtime.scalar &&
                      8 * bytes < 10 * macs;
    struct phase *prefill = &report->prefill, *decode = &report->decode;
    double n = (double)call->n_prompt;

    prefill->name = "prefill";
    prefill->n_tokens = call->n_prompt;
    prefill->limit = is_integer ? "integer" : "f32";
    prefill->ops =
        2 * (macs - wanted + wanted / n) / prefill->seconds; /* one row of logits */
    prefill->bytes = bytes / n / prefill->seconds;
    prefill->share =
        prefill->ops / (is_integer ? report->limits.integer : report->limits.f32);

    decode->name = "decode";
    decode->n_tokens = call->n_decode;
    decode->limit = "read";
    decode->ops = 2 * macs / decode->seconds;
    decode->bytes = bytes / decode->seconds;
    decode->share = decode->bytes / report->limits.read;
}

static json_t *phase_json(const struct phase *p)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:s, s:o}", "tokens", (json_int_t)p->n_tokens,
                     "tokens_per_second", ui_json_real(1 / p->seconds), "gb_per_second",
                     ui_json_real(p->bytes / 1e9), "gop_per_second",
                     ui_json_real(p->ops / 1e9), "limit", p->limit, "share",
                     ui_json_real(p->share));
}

static enum status print_json(const struct bench *b, const struct bench_call *call,
                              const struct report *r, struct error *err)
{
    const struct runtime_facts *facts = runtime_facts(b->rt);
    json_t *limits = json_pack(
        "{s:o, s:o, s:o}", "read_gb_per_second", ui_json_real(r->limits.read / 1e9),
        "f32_gop_per_second", ui_json_real(r->limits.f32 / 1e9), "integer_gop_per_second",
        ui_json_real(r->limits.integer / 1e9));

    return ui_json(json_pack("{s:o, s:s, s:s, s:i, s:I, s:o, s:o, s:o, s:o*}", "model",
                             ui_json_string(call->path), "architecture",
                             facts->architecture, "kernels", facts->kernels, "threads",
                             parallel_threads(), "weight_bytes",
                             (json_int_t)facts->weight_bytes, "limits", limits, "prefill",
                             phase_json(&r->prefill), "decode", phase_json(&r->decode),
                             "draft", call->draft ? bench_draft_json(&r->draft) : NULL),
                   err);
}

static void print_phase(const struct phase *p)
{
    printf("%s\t%lld\t%.2f\t%.2f\t%.1f\t%s\t%.2f\n", p->name, (long long)p->n_tokens,
           1 / p->seconds, p->bytes / 1e9, p->ops / 1e9, p->limit, p->share);
}

static void print_text(const struct bench *b, const struct bench_call *call,
                       const struct report *r)
{
    const struct runtime_facts *facts = runtime_facts(b->rt);

    printf("# %s, %s kernels, %d threads, %.3f GB of weights a token\n",
           facts->architecture, facts->kernels, parallel_threads(),
           (double)facts->weight_bytes / 1e9);
    printf("# limits: read %.2f GB/s, f32 %.1f GOP/s, integer %.1f GOP/s\n",
           r->limits.read / 1e9, r->limits.f32 / 1e9, r->limits.integer / 1e9);
    printf("phase\ttokens\ttok/s\tGB/s\tGOP/s\tlimit\tshare\n");
    print_phase(&r->prefill);
    print_phase(&r->decode);
    if (call->draft)
        bench_draft_print(&r->draft);
}

static enum status work(const struct bench_call *call, struct ui *ui, struct error *err)
{
    struct report report = {0};
    struct bench bench = {0};
    enum status st = bench_open(&bench, call, err);

    if (st == OK)
        st =
            kernels_limits(call->runtime.scalar ? kernels_at(CPU_SCALAR) : kernels_best(),
                           &report.limits, err);
    if (st == OK)
        st = run_all(&bench, call, &report, ui, err);
    if (st == OK)
        st = run_draft(&bench, call, &report, err);
    if (st == OK) {
        judge_speed(&bench, call, &report);
        if (ui->json)
            st = print_json(&bench, call, &report, err);
        else
            print_text(&bench, call, &report);
    }
    bench_close(&bench);
    return st;
}

int cmd_bench(int argc, char **argv)
{
    struct bench_call call = {.n_prompt = 512, .n_decode = 32, .n_runs = 3};
    int arithmetic = 0, ple = 0;
    const struct option options[] = {
        {"prompt", 0, OPTION_INT, &call.n_prompt, "N", "tokens of prefill (512)", 1,
         1 << 20},
        {"tokens", 'n', OPTION_INT, &call.n_decode, "N", "tokens decoded after it (32)",
         1, 1 << 20},
        {"draft", 0, OPTION_TEXT, &call.draft, "DRAFTER",
         "what guesses and their checking cost, and from which acceptance on they pay"},
        {"runs", 0, OPTION_INT, &call.n_runs, "N", "the best of this many (3)", 1, 1000},
        {"ple", 0, OPTION_CHOICE, &ple, "disk|memory",
         "where the per-layer embedding table lies (disk)"},
        {"arithmetic", 0, OPTION_CHOICE, &arithmetic, "fast|f32",
         "round activations to 8 bits as `run` does, or decode weights exactly (fast)"},
        {0},
    };
    const struct verb verb = {
        .name = "bench",
        .operands = "MODEL",
        .summary =
            "Tokens a second, and the share of what this machine can read or multiply.",
        .examples = "  carat bench model.gguf\n"
                    "  carat bench model.gguf --prompt 128 --tokens 64 -t 2 --json\n"
                    "  carat bench model.gguf --draft assistant.gguf\n",
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
    call.path = args.operands[0];
    call.seed = (uint64_t)args.seed;
    call.runtime.arithmetic = arithmetic ? ARITH_F32 : ARITH_FAST;
    call.runtime.ple_in_memory = ple != 0;
    return ui_end(&ui, work(&call, &ui, &err), &err);
}
