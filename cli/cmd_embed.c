/*
 * cmd_embed.c - carat embed: sentence embeddings of the encoders, one row a line of text
 */
#include "cli/cli.h"
#include "cli/source_tokenizer.h"
#include "cli/ui.h"
#include "convert/convert.h"
#include "formats/safetensors/safetensors.h"
#include "runtime/runtime.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct embed_call {
    const char *model, *text, *out, *prefix;
    int64_t n_dims;
    bool force;
    struct runtime_options runtime;
};

/* An encoder, ready, and the rows so far. */
struct embedder {
    struct model *model;
    struct tokenizer *tok;
    struct runtime *rt;
    struct sequence *seq;
    size_t n_embedding, n_dims; /* what the model gives, what is kept of it */
    float *rows, *row;
    size_t n_rows;
};

static enum status open_embedder(const struct embed_call *call, struct embedder *e,
                                 struct error *err)
{
    enum status st =
        convert_open_model(call->model, &(struct source_options){0}, &e->model, err);

    if (st != OK)
        return st;
    if ((st = tokenizer_from_meta(e->model->meta, &e->tok, err)) != OK ||
        (st = runtime_open(e->model, &call->runtime, &e->rt, err)) != OK)
        return fail_at(err, call->model);
    if (runtime_facts(e->rt)->is_causal)
        return fail(err, ERR_USAGE, "%s: a %s model generates text and embeds none",
                    call->model, runtime_facts(e->rt)->architecture);
    e->n_embedding = e->n_dims = runtime_facts(e->rt)->n_embedding;
    if (call->n_dims > (int64_t)e->n_dims)
        return fail(err, ERR_USAGE, "%s: embeddings have %zu dimensions, not %lld",
                    call->model, e->n_dims, (long long)call->n_dims);
    if (call->n_dims > 0)
        e->n_dims = (size_t)call->n_dims;
    return sequence_new(e->rt, runtime_facts(e->rt)->context_length, &e->seq, err);
}

static void close_embedder(struct embedder *e)
{
    sequence_free(e->seq);
    runtime_close(e->rt);
    tokenizer_free(e->tok);
    model_close(e->model);
    free(e->rows);
    free(e->row);
}

/* BOS, prefix and line, EOS; *ids is owned by the caller. */
static enum status encode(const struct embed_call *call, const struct embedder *e,
                          const char *line, size_t n, int32_t **ids, size_t *n_ids,
                          struct error *err)
{
    size_t n_prefix = call->prefix ? strlen(call->prefix) : 0;
    char *text = malloc(n_prefix + n + 1);
    int32_t *grown;
    enum status st;

    if (!text)
        return fail(err, ERR_NOMEM, "no memory for a line");
    if (n_prefix > 0)
        memcpy(text, call->prefix, n_prefix);
    memcpy(text + n_prefix, line, n);
    st = tokenizer_encode(e->tok, text, n_prefix + n, TOKENIZE_BOS, ids, n_ids, err);
    free(text);
    if (st != OK)
        return st;
    grown = realloc(*ids, (*n_ids + 1) * sizeof(*grown));
    if (!grown) {
        free(*ids);
        return fail(err, ERR_NOMEM, "no memory for a line");
    }
    grown[(*n_ids)++] = tokenizer_eos(e->tok);
    *ids = grown;
    return OK;
}

/* The first n_dims of an embedding, made length 1 again. */
static void keep(struct embedder *e)
{
    float *to = e->rows + e->n_rows++ * e->n_dims;
    double square = 0.0;

    for (size_t i = 0; i < e->n_dims; i++)
        square += (double)e->row[i] * (double)e->row[i];
    for (size_t i = 0; i < e->n_dims; i++)
        to[i] = e->n_dims == e->n_embedding || square <= 0.0
                    ? e->row[i]
                    : (float)((double)e->row[i] / sqrt(square));
}

static enum status embed_line(const struct embed_call *call, struct embedder *e,
                              const char *line, size_t n, struct error *err)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    enum status st = encode(call, e, line, n, &ids, &n_ids, err);

    if (st != OK)
        return st;
    st = runtime_embed(e->rt, e->seq, ids, n_ids, e->row, err);
    free(ids);
    if (st == OK)
        keep(e);
    return st;
}

static size_t count_lines(const char *text, size_t n)
{
    size_t lines = 0;

    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n' || i + 1 == n;
    return lines;
}

static enum status embed_lines(const struct embed_call *call, struct embedder *e,
                               const char *text, size_t n,
                               const struct progress *progress, struct error *err)
{
    const size_t n_lines = count_lines(text, n);
    enum status st = OK;

    if (n_lines == 0)
        return fail(err, ERR_USAGE, "%s: no lines to embed", call->text);
    e->rows = calloc(n_lines, e->n_dims * sizeof(*e->rows));
    e->row = calloc(e->n_embedding, sizeof(*e->row));
    if (!e->rows || !e->row)
        return fail(err, ERR_NOMEM, "no memory for %zu embeddings", n_lines);
    for (size_t at = 0; at < n && st == OK;) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t length = end ? (size_t)(end - text) - at : n - at;

        st = embed_line(call, e, text + at, length, err);
        at += length + 1;
        progress_report(progress, "lines", e->n_rows, n_lines);
    }
    return st;
}

static enum status print(const struct embed_call *call, const struct embedder *e,
                         const struct ui *ui, struct error *err)
{
    if (ui->json)
        return ui_json(json_pack("{s:o, s:I, s:I}", "path", ui_json_string(call->out),
                                 "rows", (json_int_t)e->n_rows, "dimensions",
                                 (json_int_t)e->n_dims),
                       err);
    printf("%s: %zu embeddings of %zu\n", call->out, e->n_rows, e->n_dims);
    return OK;
}

static enum status work(const struct embed_call *call, struct ui *ui, struct error *err)
{
    const struct progress progress = ui_progress(ui, UI_ITEMS);
    struct embedder e = {0};
    char *text = NULL;
    size_t n = 0;
    enum status st = output_check(call->out, call->force, err);

    if (st == OK)
        st = open_embedder(call, &e, err);
    if (st == OK)
        st = source_text(call->text, &text, &n, err);
    if (st == OK)
        st = embed_lines(call, &e, text, n, &progress, err);
    if (st == OK)
        st = safetensors_write(call->out,
                               &(struct safetensors_item){.name = "embeddings",
                                                          .dtype = DTYPE_F32,
                                                          .n_dims = 2,
                                                          .dims = {e.n_rows, e.n_dims},
                                                          .data = e.rows},
                               1, NULL, call->force, err);
    ui_clear(ui);
    if (st == OK)
        st = print(call, &e, ui, err);
    free(text);
    close_embedder(&e);
    return st;
}

int cmd_embed(int argc, char **argv)
{
    struct embed_call call = {.text = "-"};
    int arithmetic = 0;
    const struct option options[] = {
        {"text", 0, OPTION_TEXT, &call.text, "FILE",
         "a text a line; - is stdin (the default)"},
        {"output", 'o', OPTION_TEXT, &call.out, "OUT.safetensors",
         "where \"embeddings\" {lines, dimensions} goes"},
        {"prefix", 0, OPTION_TEXT, &call.prefix, "TEXT",
         "put before every line: 'task: search result | query: '"},
        {"dims", 0, OPTION_INT, &call.n_dims, "N", "keep the first N dimensions (all)", 1,
         1 << 20},
        {"arithmetic", 0, OPTION_CHOICE, &arithmetic, "f32|fast",
         "decode weights exactly, or round activations to 8 bits (f32)"},
        {"force", 'f', OPTION_FLAG, &call.force, NULL, "overwrite"},
        {0},
    };
    const struct verb verb = {
        .name = "embed",
        .operands = "MODEL --text FILE -o OUT.safetensors",
        .summary =
            "Sentence embeddings by an encoder: one row of length 1 for each line.",
        .examples =
            "  carat embed embeddinggemma.gguf --text lines.txt -o rows.safetensors\n",
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
    if (!call.out)
        return args_refuse(&verb, "--output FILE is missing");
    ui_begin(&ui, &verb, &args);
    call.model = args.operands[0];
    call.runtime.arithmetic = arithmetic ? ARITH_FAST : ARITH_F32;
    return ui_end(&ui, work(&call, &ui, &err), &err);
}
