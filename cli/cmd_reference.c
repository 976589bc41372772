/*
 * cmd_reference.c - carat reference: keep what a model says about a text, to compare others with
 */
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/judge.h"
#include "cli/ui.h"

struct reference_call {
    const char *model, *output;
    struct judge_text text;
    struct runtime_options runtime;
    int64_t n_entries;
    uint64_t seed;
    bool force;
};

static enum status print(const struct ui *ui, const char *path,
                         const struct logits_facts *facts, const struct perplexity *ppl,
                         struct error *err)
{
    char hex[65], size[UI_SIZE_TEXT], name[4 * LOGITS_SOURCE_BYTES];
    uint8_t digest[32];
    struct file *file = NULL;

    if (sha256_file(path, digest, err) != OK || file_open(path, &file, err) != OK)
        return err->code;
    sha256_hex(digest, hex);
    uint64_t n_bytes = file_size(file);
    file_close(file);
    if (ui->json)
        return ui_json(json_pack("{s:o, s:I, s:s, s:o, s:o, s:I, s:I, s:I, s:I}", "path",
                                 ui_json_string(path), "bytes", (json_int_t)n_bytes,
                                 "sha256", hex, "source", ui_json_string(facts->source),
                                 "perplexity", ui_json_real(ppl->perplexity), "tokens",
                                 (json_int_t)ppl->n_tokens, "chunks",
                                 (json_int_t)facts->text.n_chunks, "ctx",
                                 (json_int_t)facts->text.n_ctx, "record_bytes",
                                 (json_int_t)logits_record_bytes(facts->n_entries)),
                       err);

    printf("%s: %s, %zu bytes a scored token, sha256 %s\n", path, ui_size(size, n_bytes),
           logits_record_bytes(facts->n_entries), hex);
    text_escape(name, sizeof(name), facts->source, strlen(facts->source));
    printf("%s: perplexity %.4f +/- %.4f on %llu tokens in %u chunks of %u\n", name,
           ppl->perplexity, ppl->ppl_stderr, (unsigned long long)ppl->n_tokens,
           facts->text.n_chunks, facts->text.n_ctx);
    return OK;
}

static enum status work(const struct reference_call *call, struct ui *ui,
                        struct error *err)
{
    struct progress progress = ui_progress(ui, UI_ITEMS);
    struct logits_facts facts = {.n_entries = (uint32_t)call->n_entries};
    struct judge judge = {0};
    struct perplexity ppl;
    enum status st = judge_open(&judge, call->model, &call->runtime, err);

    if (st == OK)
        st = judge_read_text(&judge, &call->text, &facts.text, err);
    if (st == OK)
        st = judge_context(&judge, facts.text.n_ctx, err);
    if (st == OK) {
        struct logits_source source = judge_logits(&judge);

        facts.n_vocab = source.n_vocab;
        if (facts.n_entries > facts.n_vocab)
            facts.n_entries = facts.n_vocab; /* more would stand empty */
        tokenizer_digest(judge.tok, facts.tokenizer);
        judge_name(&judge, facts.source);
        st = verify_reference(&source, &facts, call->output, call->force, call->seed,
                              &progress, &ppl, err);
    }
    ui_clear(ui);
    if (st == OK)
        st = print(ui, call->output, &facts, &ppl, err);
    logits_text_free(&facts.text);
    judge_close(&judge);
    return st;
}

int cmd_reference(int argc, char **argv)
{
    struct reference_call call = {.n_entries = LOGITS_ENTRIES};
    int arithmetic = 0;
    const struct option options[] = {
        {"text", 0, OPTION_TEXT, &call.text.path, "FILE", "the text to score"},
        {"output", 'o', OPTION_TEXT, &call.output, "REF", "the file to write"},
        {"ctx", 'c', OPTION_INT, &call.text.n_ctx, "N", "tokens a chunk (512)", 4,
         1 << 20},
        {"chunks", 0, OPTION_INT, &call.text.n_chunks, "N", "at most this many (all)", 0,
         1e9},
        {"chat", 0, OPTION_FLAG, &call.text.is_chat, NULL,
         "the text is JSONL of conversations; only the model's turns are scored"},
        {"entries", 0, OPTION_INT, &call.n_entries, "N",
         "pieces kept a token (252: 2048 bytes), at most 65535 or the whole vocabulary: "
         "exact",
         2, 65535},
        {"arithmetic", 0, OPTION_CHOICE, &arithmetic, "f32|fast",
         "decode weights exactly, or round activations to 8 bits as `run` does (f32)"},
        {"force", 'f', OPTION_FLAG, &call.force, NULL, "overwrite REF"},
        {0},
    };
    const struct verb verb = {
        .name = "reference",
        .operands = "MODEL --text FILE -o REF",
        .summary = "Keep what MODEL says about every token of a text, in 2 KB a token.",
        .examples = "  carat reference checkpoint/ --text wiki.test.raw -o wiki.ref\n"
                    "  carat compare model-Q4_0.gguf --reference wiki.ref\n",
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
    if (!call.output)
        return args_refuse(&verb, "say where to write (-o REF)");
    ui_begin(&ui, &verb, &args);
    call.model = args.operands[0];
    call.runtime.arithmetic = arithmetic ? ARITH_FAST : ARITH_F32;
    call.seed = (uint64_t)args.seed;
    return ui_end(&ui, work(&call, &ui, &err), &err);
}
