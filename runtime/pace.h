/*
 * pace.h - how many tokens to guess in the next step
 *
 * A guess that comes true saves a step, one that does not costs its share of a longer pass. With
 * acceptance a, the chance that a guess comes true when those before it did, a step of n guesses gives
 *
 *     1 + a + ... + a^n  tokens for the time of  1 + price n  steps without any.
 *
 * The acceptance is that of the steps so far, the last ones counting most, and n is what makes the most
 * of it. Where no guess pays, one is tried after a pause, which doubles each time it is vain: a drafter of no
 * use costs one guess in 32 steps. What is drawn does not depend on any of this.
 */
#ifndef RUNTIME_PACE_H
#define RUNTIME_PACE_H

#include <stddef.h>

struct pace {
    size_t most;        /* guesses in a step */
    double price;       /* of a guess and its place in the pass, in steps */
    size_t n;           /* what pays: 0 ... most */
    size_t pause, rest; /* steps without guesses after a vain one; how many are left */
    double n_true, n_false; /* guesses judged, older ones counting less */
};

struct pace pace_new(size_t most, double price);
/* Guesses for the next step: 0 ... most. */
size_t pace_guesses(const struct pace *pace);
/* A step is over: of its n_guesses the first n_true came true. */
void pace_learn(struct pace *pace, size_t n_guesses, size_t n_true);

#endif
