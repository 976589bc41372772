/*
 * draft_gain.h - what drafting gains, computed from what its parts cost
 *
 * A step of n guesses costs n guesses and one pass of the target over n + 1 tokens, and gives
 * drafted_tokens() of runtime.h. All costs are in decode steps of the target alone, which gives one token for
 * one; so the tokens of a step over its cost are the speed-up.
 */
#ifndef CLI_DRAFT_GAIN_H
#define CLI_DRAFT_GAIN_H

enum { DRAFT_PASS = 8 }; /* tokens in the longest pass that is looked at */

struct draft_costs {
    double guess;                  /* one of them */
    double verify[DRAFT_PASS + 1]; /* [k]: a pass over k tokens; [0] is not used */
};

/* n_guesses: 0 ... DRAFT_PASS - 1; acceptance: 0 ... 1. */
double draft_speed_up(const struct draft_costs *costs, double acceptance, int n_guesses);

/* The number of guesses with the largest speed-up, the fewest of equals; 0 when none pays. */
int draft_best_guesses(const struct draft_costs *costs, double acceptance);

/* The least acceptance from which on some number of guesses pays, within 2^-30; infinite when none
 * does at 1. */
double draft_break_even(const struct draft_costs *costs);

#endif
