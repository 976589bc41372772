/*
 * test_pace.c - guesses are many while they come true, and few when they do not
 */
#include "runtime/pace.h"

#include <criterion/criterion.h>

enum { MOST = 7 };

static const double PRICE = 0.2;

/* One step with a drafter whose first `n_right` guesses are right; how many were asked for. */
static size_t step(struct pace *pace, size_t n_right)
{
    const size_t n = pace_guesses(pace);

    pace_learn(pace, n, n_right < n ? n_right : n);
    return n;
}

static size_t steps(struct pace *pace, size_t n_steps, size_t n_right)
{
    size_t n = 0;

    for (size_t i = 0; i < n_steps; i++)
        n += step(pace, n_right);
    return n;
}

Test(pace, a_perfect_drafter_is_asked_for_all_it_may_give)
{
    struct pace pace = pace_new(MOST, PRICE);

    cr_expect_gt(pace_guesses(&pace), 0);
    steps(&pace, 8, MOST);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(step(&pace, MOST), MOST);
}

Test(pace, a_drafter_of_no_use_costs_one_guess_in_33_steps)
{
    struct pace pace = pace_new(MOST, PRICE);

    cr_expect_leq(steps(&pace, 100, 0), 4 * MOST);
    cr_expect_eq(steps(&pace, 330, 0), 10);
}

/* Half right: 1.5 tokens for 1.2 steps, and 1.75 for 1.4, and 1.875 for 1.6. */
Test(pace, a_mediocre_drafter_is_asked_for_little)
{
    struct pace pace = pace_new(MOST, PRICE);
    size_t n = 0;

    for (int i = 0; i < 500; i++)
        n += step(&pace, (size_t)i % 2);
    cr_expect_geq(n, 500);
    cr_expect_leq(n, 2 * 500);
}

/* A guess that costs as much as it saves is not made, but for a look now and then. */
Test(pace, dear_guesses_are_few)
{
    struct pace cheap = pace_new(MOST, 0.1), dear = pace_new(MOST, 0.9);
    size_t n_cheap = 0, n_dear = 0;

    for (int i = 0; i < 400; i++) {
        n_cheap += step(&cheap, (size_t)(i % 4));
        n_dear += step(&dear, (size_t)(i % 4));
    }
    cr_expect_gt(n_cheap, 400);
    cr_expect_lt(n_dear, 400);
    cr_expect_gt(n_dear, 0);
}

Test(pace, comes_back_when_the_text_becomes_predictable_and_slows_down_when_it_does_not)
{
    struct pace pace = pace_new(MOST, PRICE);

    steps(&pace, 500, 0);
    steps(&pace, 33 + 40, MOST);
    cr_expect_eq(pace_guesses(&pace), MOST);
    steps(&pace, 60, 0);
    cr_expect_leq(pace_guesses(&pace), 1);
}

Test(pace, without_a_drafter_nothing_is_guessed)
{
    struct pace pace = pace_new(0, PRICE);

    cr_expect_eq(steps(&pace, 50, 0), 0);
}
