/*
 * frames.h - what stands around the text of a chunk (private)
 *
 * A generator's chunk begins with BOS, where the vocabulary wants it. An encoder is used with BOS, a
 * prompt that names the task, the text and EOS, all of which are pooled: its chunks are given the
 * published prompts in turn. Sources: the model card of EmbeddingGemma,
 * config_sentence_transformers.json of its repository.
 */
#ifndef CONVERT_CALIBRATE_FRAMES_H
#define CONVERT_CALIBRATE_FRAMES_H

#include "formats/model/model.h"
#include "formats/tokenizer/tokenizer.h"

enum { MAX_FRAMES = 4 };

struct frames {
    struct frame {
        int32_t *ids; /* before the text; owned */
        size_t n;
    } list[MAX_FRAMES];
    size_t n;
    int32_t end; /* behind it; -1: nothing */
    bool is_encoder;
};

/* Of chunks of n_ctx tokens (0: what is usual for the model, which *n_ctx becomes); prompts that would
 * fill more than half of them are left out. ERR_NOMEM. */
MUST_CHECK enum status frames_make(const struct model *model, const struct tokenizer *tok,
                                   size_t *n_ctx, struct frames *out, struct error *err);
/* Tokens of text in a chunk with frame i; with the shortest of all. */
size_t frames_room(const struct frames *frames, size_t i, size_t n_ctx);
size_t frames_most_room(const struct frames *frames, size_t n_ctx);
void frames_free(struct frames *frames); /* a zeroed one is fine */

#endif
