/*
 * allocate.h - bytes where they count: one choice for each thing, the least loss within a budget
 *
 * A multiple-choice knapsack: things have choices of a size and a loss; losses add up. Sizes in a
 * model share a large common divisor (whole rows of blocks), so the budget has few thousands of
 * steps and dynamic programming finds the best sum exactly. With more than ALLOCATE_STEPS steps
 * sizes are rounded up to coarser ones, which never goes over, and what is left is spent on the
 * best single upgrades.
 *
 * Sources: Dudzinski and Walukiewicz, "Exact methods for the knapsack problem and its
 * generalizations" (1987), for the recurrence.
 */
#ifndef CONVERT_ALLOCATE_H
#define CONVERT_ALLOCATE_H

#include "base/base.h"

enum { ALLOCATE_STEPS = 1 << 17, ALLOCATE_CHOICES = 32 };

struct choice {
    uint64_t bytes;
    double loss; /* finite, not negative */
};

struct thing {
    const struct choice *choices; /* any order */
    size_t n;                     /* 1 .. ALLOCATE_CHOICES */
};

/* The sum of the smallest choices. */
uint64_t allocate_least(const struct thing *things, size_t n);

/* chosen[i] = index of thing i's choice; the sizes add up to at most `budget`, which is at least
 * allocate_least(). Among equals the smaller size and the first choice win. Sums of sizes must fit
 * uint64_t. ERR_NOMEM. */
MUST_CHECK enum status allocate(const struct thing *things, size_t n, uint64_t budget,
                                size_t *chosen, struct error *err);

#endif
