/*
 * prompt.c - what a user says, as the token ids a model is given
 */
#include "cli/prompt.h"
#include "cli/source_tokenizer.h"
#include "formats/chat/chat.h"

#include <stdlib.h>

/* Without the line end that a shell leaves behind. */
static size_t trimmed(const char *text, size_t n)
{
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    return n;
}

static json_t *conversation(const struct prompt *prompt, const char *text, size_t n)
{
    json_t *messages = json_array();

    if (prompt->system)
        json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "system",
                                                  "content", prompt->system));
    json_array_append_new(messages,
                          json_pack("{s:s, s:s%}", "role", "user", "content", text, n));
    return messages;
}

static enum status render(const struct prompt *prompt, const struct gguf_meta *meta,
                          const char *text, size_t n, char **out, struct error *err)
{
    json_t *messages = conversation(prompt, text, trimmed(text, n));
    const struct chat_options options = {.answer_next = true,
                                         .thinking = prompt->thinking};
    enum status st;

    if (json_array_size(messages) != (prompt->system ? 2 : 1))
        st = fail(err, ERR_USAGE, "the prompt is not UTF-8");
    else
        st = chat_render(meta, messages, &options, out, err);
    json_decref(messages);
    return st;
}

enum status prompt_encode(const struct prompt *prompt, const struct tokenizer *tok,
                          const struct gguf_meta *meta, int32_t **ids, size_t *n_ids,
                          struct error *err)
{
    char *typed = NULL, *rendered = NULL;
    const char *text = prompt->text;
    size_t n = text ? strlen(text) : 0;
    enum status st = OK;

    if (!text) {
        st = source_text("-", &typed, &n, err);
        text = typed;
    }
    if (st == OK && prompt->is_chat) {
        st = render(prompt, meta, text, n, &rendered, err);
        text = rendered;
        n = rendered ? strlen(rendered) : 0;
    }
    if (st == OK)
        st = tokenizer_encode(tok, text, n, TOKENIZE_SPECIAL | TOKENIZE_BOS, ids, n_ids,
                              err);
    free(typed);
    free(rendered);
    if (st == OK && *n_ids == 0) {
        free(*ids);
        st = fail(err, ERR_USAGE, "the prompt is empty");
    }
    return st;
}
