/*
 * test_figures.c - quantiles as stated, and intervals that hold what they promise
 */
#include "tests/fixture.h"
#include "verify/figures.h"

#include <criterion/criterion.h>
#include <math.h>

Test(figures, quantiles_interpolate_between_neighbours)
{
    static const double x[] = {1.0, 2.0, 4.0, 8.0};

    cr_expect_float_eq(figures_quantile(x, 4, 0.0), 1.0, 0.0);
    cr_expect_float_eq(figures_quantile(x, 4, 0.5), 3.0, 1e-15);
    cr_expect_float_eq(figures_quantile(x, 4, 0.9), 4.0 + 0.7 * 4.0, 1e-12);
    cr_expect_float_eq(figures_quantile(x, 4, 1.0), 8.0, 0.0);
    cr_expect_float_eq(figures_quantile(x, 1, 0.3), 1.0, 0.0);
}

Test(figures, equal_blocks_leave_no_doubt)
{
    static const double num[] = {3.0, 3.0, 3.0, 3.0}, den[] = {2.0, 2.0, 2.0, 2.0};
    struct interval ci = figures_bootstrap(num, den, 4, 7);

    cr_expect(ci.is_known && ci.lo == 1.5 && ci.hi == 1.5);
}

Test(figures, one_block_has_no_interval)
{
    static const double one[] = {1.0};

    cr_expect_not(figures_bootstrap(one, one, 1, 7).is_known);
}

Test(figures, the_same_seed_draws_the_same_interval)
{
    enum { BLOCKS = 20 };
    double num[BLOCKS], den[BLOCKS];
    uint64_t state = 3;

    for (int i = 0; i < BLOCKS; i++) {
        num[i] = (double)fixture_uniform(&state);
        den[i] = 1.0;
    }
    struct interval a = figures_bootstrap(num, den, BLOCKS, 7);
    struct interval b = figures_bootstrap(num, den, BLOCKS, 7);
    struct interval c = figures_bootstrap(num, den, BLOCKS, 8);

    cr_expect(a.lo == b.lo && a.hi == b.hi);
    cr_expect(a.lo != c.lo || a.hi != c.hi);
}

/* Over 400 seeded samples of bell-shaped blocks the interval holds the true mean 95 % of the time, however
 * few they are; with 400 trials the count has a standard deviation of 4.4, and four of them are allowed. */
Test(figures, intervals_hold_the_truth_nineteen_times_in_twenty)
{
    enum { TRIALS = 400, MOST = 12 };
    static const size_t counts[] = {2, 3, 4, 5, 6, MOST};
    uint64_t state = 31;

    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        int held = 0;

        for (int t = 0; t < TRIALS; t++) {
            double num[MOST], den[MOST];
            for (size_t i = 0; i < counts[c]; i++) {
                double sum = 0.0;
                for (int k = 0; k < 12; k++)
                    sum += (double)fixture_uniform(&state);
                num[i] = 100.0 * sum;
                den[i] = 100.0;
            }
            struct interval ci = figures_bootstrap(num, den, counts[c], (uint64_t)t);
            held += ci.lo <= 6.0 && 6.0 <= ci.hi;
        }
        cr_expect(held >= 380 - 18 && held <= 380 + 18, "%zu blocks: %d of %d", counts[c],
                  held, TRIALS);
    }
}
