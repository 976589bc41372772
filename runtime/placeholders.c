/*
 * placeholders.c - ids that stand for a piece of an image, a sound or a film
 *
 * Where one is fed without its picture, the model reads the row of the padding token instead of
 * the id's own, in the embedding and in the per-layer table: that is what it saw in training.
 */
#include "runtime/pass.h"

static bool is_placeholder(const struct gguf_str *piece)
{
    static const char *const pieces[MAX_PLACEHOLDERS] = {"<|image|>", "<|audio|>",
                                                         "<|video|>"};

    for (size_t i = 0; i < MAX_PLACEHOLDERS; i++)
        if (strlen(pieces[i]) == piece->n &&
            memcmp(pieces[i], piece->text, piece->n) == 0)
            return true;
    return false;
}

void placeholders_find(struct placeholders *found, const struct gguf_meta *meta,
                       size_t n_vocab)
{
    const struct gguf_value *tokens = gguf_meta_find(meta, "tokenizer.ggml.tokens");
    uint32_t pad = 0;

    *found = (struct placeholders){0};
    if (gguf_get_u32(meta, "tokenizer.ggml.padding_token_id", &pad) && pad < n_vocab)
        found->pad = (int32_t)pad;
    if (!tokens || tokens->type != GGUF_ARRAY || tokens->element != GGUF_STRING)
        return;
    for (uint64_t i = 0; i < tokens->count && i < n_vocab && found->n < MAX_PLACEHOLDERS;
         i++) {
        struct gguf_str piece = gguf_value_str(tokens, i);

        if (is_placeholder(&piece))
            found->ids[found->n++] = (int32_t)i;
    }
}

int32_t placeholders_row(const struct placeholders *found, int32_t id)
{
    for (size_t i = 0; i < found->n; i++)
        if (found->ids[i] == id)
            return found->pad;
    return id;
}
