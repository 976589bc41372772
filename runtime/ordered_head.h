/*
 * ordered_head.h - the likeliest token without looking at all of them
 *
 * A small drafter's embedding is nearly all of what a guess reads. Its tokens stand in clusters of
 * equal size, each with a centroid of the model's width:
 *
 *     c = C y;  chosen = the n_chosen largest of c, first of equals
 *     logits = E y for the tokens of the chosen clusters; the guess is the first of the largest
 *
 * Source: Gemma4Assistant's masked embedder in the transformers library. In a file it is three keys
 * of this project's own (runtime.h); without them the whole embedding is used.
 */
#ifndef RUNTIME_ORDERED_HEAD_H
#define RUNTIME_ORDERED_HEAD_H

#include "runtime/runtime.h"

struct ordered_head;

/* NULL in *out when the model has none of the keys. `rt` is borrowed. ERR_CORRUPT names the key; ERR_NOMEM. */
MUST_CHECK enum status ordered_head_open(struct runtime *rt, struct ordered_head **out,
                                         struct error *err);

/* The guess from y, n_embd floats. With `logits` (n_vocab floats) the candidates' are written there;
 * all others are set to the least of them minus 1. */
int32_t ordered_head_pick(struct ordered_head *head, const float *y, float *logits);
void ordered_head_free(struct ordered_head *head); /* NULL is fine */

#endif
