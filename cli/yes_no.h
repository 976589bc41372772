/*
 * yes_no.h - a model's answer to a question of yes or no, as a probability
 */
#ifndef CLI_YES_NO_H
#define CLI_YES_NO_H

#include "formats/tokenizer/tokenizer.h"
#include "runtime/runtime.h"

struct yes_no {
    int32_t ids[2];  /* yes, no */
    float logits[2]; /* of the position behind the prompt */
    double p_yes;    /* softmax of those two: p of no is the rest */
};

/* The answer to a prompt of n > 0 ids, evaluated in an empty sequence. The two tokens are those of
 * carat.yes_token_id and carat.no_token_id where the file has them (ShieldGemma 2), else the pieces
 * "Yes" and "No" (ShieldGemma, and whoever is asked to begin so). ERR_USAGE when there are none.
 * Source: the model cards of ShieldGemma. */
MUST_CHECK enum status yes_no_answer(struct runtime *rt, struct sequence *seq,
                                     const struct gguf_meta *meta,
                                     const struct tokenizer *tok, const int32_t *ids,
                                     size_t n, struct yes_no *out, struct error *err);

#endif
