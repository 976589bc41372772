/*
 * judge.c - a model opened to be judged: weights, vocabulary, arithmetic, text
 */
#include "cli/judge.h"

#include "cli/ui.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_TEXT_BYTES = 1 << 30 };

enum status judge_open_model(struct judge *judge, const char *path,
                             const struct source_options *options, struct error *err)
{
    static const struct source_options none = {0};
    enum status st =
        convert_open_model(path, options ? options : &none, &judge->model, err);

    if (st != OK)
        return st;
    st = tokenizer_from_meta(judge->model->meta, &judge->tok, err);
    return st == OK ? OK : fail_at(err, path);
}

enum status judge_open(struct judge *judge, const char *path,
                       const struct runtime_options *options, struct error *err)
{
    enum status st = judge_open_model(judge, path, NULL, err);

    if (st != OK)
        return st;
    st = runtime_open(judge->model, options, &judge->rt, err);
    return st == OK ? OK : fail_at(err, path);
}

enum status judge_context(struct judge *judge, uint32_t n_ctx, struct error *err)
{
    runtime_source_free(judge->source);
    judge->source = NULL;
    if (runtime_source_new(judge->rt, n_ctx, &judge->source, err) != OK)
        return fail_at(err, judge->model->path);
    return OK;
}

struct logits_source judge_logits(const struct judge *judge)
{
    return runtime_source_view(judge->source);
}

void judge_close(struct judge *judge)
{
    runtime_source_free(judge->source);
    runtime_close(judge->rt);
    tokenizer_free(judge->tok);
    model_close(judge->model);
    *judge = (struct judge){0};
}

/* The part after the last slash that is not at the end. */
static const char *last_part(const char *path)
{
    const char *part = path;

    for (const char *p = path; *p; p++)
        if (*p == '/' && p[1])
            part = p + 1;
    return part;
}

void judge_name(const struct judge *judge, char name[LOGITS_SOURCE_BYTES])
{
    struct gguf_str text;

    if (gguf_get_str(judge->model->meta, "general.name", &text) && text.n > 0)
        (void)snprintf(name, LOGITS_SOURCE_BYTES, "%s", text.text);
    else
        (void)snprintf(name, LOGITS_SOURCE_BYTES, "%s", last_part(judge->model->path));
}

enum status judge_read_text(const struct judge *judge, const struct judge_text *wanted,
                            struct logits_text *out, struct error *err)
{
    const struct text_options options = {(uint32_t)wanted->n_ctx,
                                         (uint32_t)wanted->n_chunks};
    char *bytes = NULL;
    size_t n = 0;
    enum status st;

    if (!wanted->path)
        return fail(err, ERR_USAGE, "no text was given (--text FILE)");
    st = file_read_all(wanted->path, MAX_TEXT_BYTES, &bytes, &n, err);
    if (st != OK)
        return st;
    if (wanted->is_chat)
        st = text_from_chat(judge->tok, judge->model->meta, bytes, n, &options, out, err);
    else
        st = text_from_prose(judge->tok, bytes, n, &options, out, err);
    free(bytes);
    return st == OK ? OK : fail_at(err, wanted->path);
}

json_t *judge_interval(const struct interval *ci)
{
    return ci->is_known ? json_pack("[o, o]", ui_json_real(ci->lo), ui_json_real(ci->hi))
                        : json_null();
}
