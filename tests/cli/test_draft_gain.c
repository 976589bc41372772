/*
 * test_draft_gain.c - what drafting gains, from costs that are easy to reckon with
 */
#include "cli/draft_gain.h"

#include <criterion/criterion.h>
#include <math.h>

/* A pass over k tokens costs 1 + slope (k - 1) decode steps. */
static struct draft_costs costs_of(double guess, double slope)
{
    struct draft_costs c = {.guess = guess};

    for (int k = 1; k <= DRAFT_PASS; k++)
        c.verify[k] = 1 + slope * (k - 1);
    return c;
}

Test(draft_gain, no_guess_is_the_decode_step_itself)
{
    const struct draft_costs c = costs_of(0.1, 0.2);

    cr_expect_float_eq(draft_speed_up(&c, 0.7, 0), 1.0, 1e-12);
}

Test(draft_gain, a_step_gives_a_token_for_each_guess_that_comes_true_and_one_more)
{
    const struct draft_costs c = costs_of(0.1, 0.2);

    cr_expect_float_eq(draft_speed_up(&c, 0.5, 1), 1.5 / 1.3, 1e-12);
    cr_expect_float_eq(draft_speed_up(&c, 0.5, 2), 1.75 / 1.6, 1e-12);
    cr_expect_float_eq(draft_speed_up(&c, 1.0, 3), 4 / 1.9, 1e-12);
    cr_expect_float_eq(draft_speed_up(&c, 0.0, 3), 1 / 1.9, 1e-12);
}

Test(draft_gain, the_best_number_of_guesses_is_better_than_its_neighbours)
{
    const struct draft_costs c = costs_of(0.02, 0.15);

    for (double a = 0.3; a < 0.99; a += 0.1) {
        const int n = draft_best_guesses(&c, a);
        const double best = draft_speed_up(&c, a, n);

        cr_expect_gt(best, 1.0, "at %g", a);
        cr_expect(n == DRAFT_PASS - 1 || best >= draft_speed_up(&c, a, n + 1), "%g", a);
        cr_expect(n == 0 || best > draft_speed_up(&c, a, n - 1), "%g", a);
    }
    cr_expect_eq(draft_best_guesses(&c, 1.0), DRAFT_PASS - 1);
}

/* With equal steps the first guess is the cheapest to win: 1 + a > 1 + guess + slope. */
Test(draft_gain, guesses_pay_from_their_cost_on)
{
    const struct draft_costs c = costs_of(0.05, 0.25);

    cr_expect_float_eq(draft_break_even(&c), 0.3, 1e-8);
    cr_expect_eq(draft_best_guesses(&c, 0.29), 0);
    cr_expect_gt(draft_best_guesses(&c, 0.31), 0);
}

/* Where a second token is dear and all others are free, one guess is not worth it and many are. */
Test(draft_gain, more_guesses_may_pay_where_one_does_not)
{
    struct draft_costs c = costs_of(0.0, 0.0);

    for (int k = 2; k <= DRAFT_PASS; k++)
        c.verify[k] = 2.0;
    cr_expect_lt(draft_speed_up(&c, 0.6, 1), 1.0);
    cr_expect_eq(draft_best_guesses(&c, 0.6), DRAFT_PASS - 1);
    cr_expect_lt(draft_break_even(&c), 0.6);
}

Test(draft_gain, nothing_pays_where_a_pass_costs_its_tokens)
{
    const struct draft_costs c = costs_of(0.01, 1.0);

    cr_expect_eq(draft_best_guesses(&c, 1.0), 0);
    cr_expect(isinf(draft_break_even(&c)));
}
