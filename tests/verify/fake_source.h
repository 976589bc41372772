/*
 * fake_source.h - a language model without weights: seeded logits that look like a model's
 */
#ifndef TESTS_VERIFY_FAKE_SOURCE_H
#define TESTS_VERIFY_FAKE_SOURCE_H

#include "verify/verify.h"

/* Logits of position p depend on the ids up to p alone: bell-shaped of scale `spread`, one piece
 * lifted by 6, plus disturbances of scale `noise` with tails heavier than a bell's. */
struct fake {
    uint32_t n_vocab;
    float spread, noise;
    uint64_t noise_seed;
    float *row; /* n_vocab floats */
};

struct logits_source fake_source(struct fake *fake);

/* n_chunks chunks of n_ctx random ids, the second half scored. Release with
 * logits_text_free(). */
struct logits_text fake_text(uint32_t n_vocab, uint32_t n_ctx, uint32_t n_chunks);

/* The divergence and the scored token's figures with nothing left out, in double. */
struct full_figures {
    double kld, nll_base, nll_model, same_top;
    uint64_t n;
};
struct full_figures fake_full(struct fake *base, struct fake *model,
                              const struct logits_text *text);

#endif
