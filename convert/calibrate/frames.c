/*
 * frames.c - BOS for generators; BOS, prompt and EOS for encoders
 */
#include "convert/calibrate/frames.h"

#include <stdio.h>
#include <stdlib.h>

/* Queries and passages are short: an encoder sees its prompts as often as it does in use. */
enum { USUAL_CTX = 512, USUAL_ENCODER_CTX = 64 };

static const char *const prompts[] = {
    "task: search result | query: ",
    "title: none | text: ",
    "task: sentence similarity | query: ",
    "task: classification | query: ",
};
static_assert(sizeof(prompts) / sizeof(prompts[0]) == MAX_FRAMES, "one frame a prompt");

static bool is_encoder(const struct model *model)
{
    struct gguf_str arch;
    char key[128];

    if (!gguf_get_str(model->meta, "general.architecture", &arch))
        return false;
    snprintf(key, sizeof(key), "%.*s.pooling_type", (int)arch.n, arch.text);
    return gguf_meta_find(model->meta, key) != NULL;
}

static enum status add_prompt(struct frames *frames, const struct tokenizer *tok,
                              const char *prompt, size_t n_ctx, struct error *err)
{
    struct frame *frame = &frames->list[frames->n];
    enum status st = tokenizer_encode(tok, prompt, strlen(prompt), TOKENIZE_BOS,
                                      &frame->ids, &frame->n, err);

    if (st != OK)
        return st;
    frames->n++;
    if (2 * frame->n > n_ctx)
        frame->n = tokenizer_adds_bos(tok);
    return OK;
}

enum status frames_make(const struct model *model, const struct tokenizer *tok,
                        size_t *n_ctx, struct frames *out, struct error *err)
{
    enum status st = OK;

    *out = (struct frames){.end = -1, .is_encoder = is_encoder(model)};
    if (*n_ctx == 0)
        *n_ctx = out->is_encoder ? USUAL_ENCODER_CTX : USUAL_CTX;
    if (!out->is_encoder)
        return add_prompt(out, tok, "", *n_ctx, err);
    if (tokenizer_adds_eos(tok))
        out->end = tokenizer_eos(tok);
    for (size_t i = 0; i < MAX_FRAMES && st == OK; i++)
        st = add_prompt(out, tok, prompts[i], *n_ctx, err);
    return st;
}

size_t frames_room(const struct frames *frames, size_t i, size_t n_ctx)
{
    return n_ctx - frames->list[i].n - (frames->end >= 0);
}

size_t frames_most_room(const struct frames *frames, size_t n_ctx)
{
    size_t most = 0;

    for (size_t i = 0; i < frames->n; i++)
        if (frames_room(frames, i, n_ctx) > most)
            most = frames_room(frames, i, n_ctx);
    return most;
}

void frames_free(struct frames *frames)
{
    for (size_t i = 0; i < frames->n; i++)
        free(frames->list[i].ids);
    *frames = (struct frames){0};
}
