/*
 * bench_draft.h - what a drafter costs beside its target, and from which acceptance on it pays
 */
#ifndef CLI_BENCH_DRAFT_H
#define CLI_BENCH_DRAFT_H

#include "cli/draft_gain.h"
#include "runtime/runtime.h"

/* Where it runs: the target after a prompt, with room for bench_draft_room() tokens more. */
struct draft_bench {
    const char *path; /* of the drafter: anything that can be run */
    const struct runtime_options *options;
    struct runtime *target;
    struct sequence *seq;
    const int32_t *ids; /* DRAFT_PASS of them, to evaluate again and again */
    int64_t n_rounds;
};

/* Medians of the rounds. */
struct draft_report {
    double guess_seconds, verify_seconds[DRAFT_PASS + 1];
    struct draft_costs costs;
};

size_t bench_draft_room(int64_t n_rounds);

/* Time guesses, 4 in a row as `carat run` does, and passes over 1 to DRAFT_PASS tokens with all their
 * logits, in turns. What opening a model gives; ERR_USAGE when the drafter does not fit. */
MUST_CHECK enum status bench_draft(const struct draft_bench *bench,
                                   struct draft_report *out, struct error *err);

void bench_draft_print(const struct draft_report *report);
json_t *bench_draft_json(const struct draft_report *report); /* owned by the caller */

#endif
