/*
 * successors.h - an order of the vocabulary, and directions by which weights can know it
 *
 * A made target and a made drafter both continue a text token by token: what follows t is next(t).
 * Tokens have codes, vectors of signs, so that a matrix can hold "t" in its columns; those of two tokens
 * are nearly orthogonal. The first half is shared by the tokens of a cluster (the
 * drafter's ordered head looks for it), the second is a token's own.
 *
 * A drafter agrees with its target on a share of the tokens: the others it takes for their neighbour,
 * t ^ 1. So it knows an order, too, and its clusters hold what follows the tokens of the target's.
 */
#ifndef BENCH_SUCCESSORS_H
#define BENCH_SUCCESSORS_H

#include <stddef.h>
#include <stdint.h>

enum { CLUSTER = 128 }; /* tokens, of neighbouring ids */

struct successors {
    int64_t n_vocab;
    int32_t *next;   /* next[t] follows t: each token follows one */
    int32_t *before; /* next[before[t]] == t */
};

/* Those a model agrees with in `share` of the tokens, 0 to 1: 1 is the target's own. n_vocab is a
 * multiple of CLUSTER, below 2^24. Aborts without memory. */
struct successors successors_new(int64_t n_vocab, double share);
void successors_free(struct successors *s);

/* Column `i` of the code of `token`, of `n_code` columns: -1 or 1. */
float successors_code(int32_t token, int64_t i, int64_t n_code);

/* Bits that look random, of a number. */
uint64_t mix64(uint64_t x);

#endif
