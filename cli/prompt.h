/*
 * prompt.h - what a user says, as the token ids a model is given
 */
#ifndef CLI_PROMPT_H
#define CLI_PROMPT_H

#include "formats/model/model.h"
#include "formats/tokenizer/tokenizer.h"

struct prompt {
    const char *text;   /* NULL: the whole of stdin */
    const char *system; /* with is_chat: the system turn, or NULL */
    bool is_chat;       /* render a conversation with the model's template */
    bool thinking;      /* with is_chat: let the model think first */
};

/* *ids is owned by the caller; at least one. ERR_USAGE when there is nothing to say, and when the
 * template refuses. */
MUST_CHECK enum status prompt_encode(const struct prompt *prompt,
                                     const struct tokenizer *tok,
                                     const struct gguf_meta *meta, int32_t **ids,
                                     size_t *n, struct error *err);

#endif
