/*
 * score.h - walk a text chunk by chunk and look at every scored row of logits
 */
#ifndef VERIFY_SCORE_H
#define VERIFY_SCORE_H

#include "verify/verify.h"

/* What is done with the rows. */
struct scorer {
    void *arg;
    /* Scored token `index` is piece `target`; row is what was predicted for it. Called from
     * several threads at once, each index once, in any order within a chunk. */
    enum status (*row)(void *arg, uint64_t index, int32_t target,
                       const struct logits_row *row, struct error *err);
    /* Tokens [first, first + n) of a chunk have all been seen. From one thread; may be NULL. */
    enum status (*chunk)(void *arg, uint64_t first, uint64_t n, struct error *err);
};

/* Run the first n_chunks chunks. ERR_CORRUPT when the model gives logits that are not numbers;
 * what the source and the scorer report. Of several troubles in one chunk that of the lowest
 * index is told. */
MUST_CHECK enum status score_text(const struct logits_source *source,
                                  const struct logits_text *text, uint32_t n_chunks,
                                  const struct scorer *scorer,
                                  const struct progress *progress, struct error *err);

/* Scored tokens of the first n_chunks chunks (0: all); *n_chunks is clipped to what there is. */
uint64_t score_count(const struct logits_text *text, uint32_t *n_chunks);

/* counts[c] = scored tokens of chunk c. */
void score_chunk_counts(const struct logits_text *text, uint32_t n_chunks,
                        uint64_t *counts);

#endif
