/*
 * cmd_perplexity.c - carat perplexity: one model on one text
 */
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/judge.h"
#include "cli/ui.h"

struct perplexity_call {
    const char *model;
    struct judge_text text;
    struct runtime_options runtime;
    uint64_t seed;
};

static enum status print(const struct ui *ui, const struct perplexity *ppl,
                         const struct logits_text *text, struct error *err)
{
    if (ui->json)
        return ui_json(
            json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "perplexity",
                      ui_json_real(ppl->perplexity), "ppl_stderr",
                      ui_json_real(ppl->ppl_stderr), "ci95", judge_interval(&ppl->ci95),
                      "nll", ui_json_real(ppl->nll), "tokens", (json_int_t)ppl->n_tokens,
                      "chunks", (json_int_t)text->n_chunks, "ctx",
                      (json_int_t)text->n_ctx),
            err);

    printf("perplexity %.4f +/- %.4f", ppl->perplexity, ppl->ppl_stderr);
    if (ppl->ci95.is_known)
        printf(" (95 %% over chunks: %.4f to %.4f)", ppl->ci95.lo, ppl->ci95.hi);
    printf(", %.5f nats a token, %llu tokens in %u chunks of %u\n", ppl->nll,
           (unsigned long long)ppl->n_tokens, text->n_chunks, text->n_ctx);
    return OK;
}

static enum status work(const struct perplexity_call *call, struct ui *ui,
                        struct error *err)
{
    struct progress progress = ui_progress(ui, UI_ITEMS);
    struct logits_text text = {0};
    struct judge judge = {0};
    struct perplexity ppl;
    enum status st = judge_open(&judge, call->model, &call->runtime, err);

    if (st == OK)
        st = judge_read_text(&judge, &call->text, &text, err);
    if (st == OK)
        st = judge_context(&judge, text.n_ctx, err);
    if (st == OK) {
        struct logits_source source = judge_logits(&judge);
        st = verify_perplexity(&source, &text, call->seed, &progress, &ppl, err);
    }
    ui_clear(ui);
    if (st == OK)
        st = print(ui, &ppl, &text, err);
    logits_text_free(&text);
    judge_close(&judge);
    return st;
}

int cmd_perplexity(int argc, char **argv)
{
    struct perplexity_call call = {.runtime.arithmetic = ARITH_F32};
    int arithmetic = 0;
    const struct option options[] = {
        {"text", 0, OPTION_TEXT, &call.text.path, "FILE", "the text to score"},
        {"ctx", 'c', OPTION_INT, &call.text.n_ctx, "N", "tokens a chunk (512)", 4,
         1 << 20},
        {"chunks", 0, OPTION_INT, &call.text.n_chunks, "N", "at most this many (all)", 0,
         1e9},
        {"chat", 0, OPTION_FLAG, &call.text.is_chat, NULL,
         "the text is JSONL of conversations; only the model's turns are scored"},
        {"arithmetic", 0, OPTION_CHOICE, &arithmetic, "f32|fast",
         "decode weights exactly, or round activations to 8 bits as `run` does (f32)"},
        {0},
    };
    const struct verb verb = {
        .name = "perplexity",
        .operands = "MODEL --text FILE",
        .summary =
            "Perplexity by the protocol of llama-perplexity: disjoint chunks, the second "
            "half of each scored.",
        .examples =
            "  carat perplexity model.gguf --text wiki.test.raw\n"
            "  carat perplexity checkpoint/ --text wiki.test.raw --chunks 16 --json\n",
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
    call.runtime.arithmetic = arithmetic ? ARITH_FAST : ARITH_F32;
    call.seed = (uint64_t)args.seed;
    return ui_end(&ui, work(&call, &ui, &err), &err);
}
