/*
 * test_sampler.c - draws follow the distribution they should, and nothing else
 */
#include "runtime/runtime.h"

#include <criterion/criterion.h>
#include <math.h>

enum { N = 7, N_DRAWS = 20000 };

/* Probabilities 0.4, 0.3, 0.2, 0.05, 0.05 at ids 2, 0, 5, 1, 4; ids 3 and 6 cannot be. */
static const float logits[N] = {-1.2039728f, -2.9957323f, -0.9162907f, -INFINITY,
                                -2.9957323f, -1.6094379f, NAN};

static void draw_many(struct sampler sampler, double share[N])
{
    float scratch[N];

    for (int i = 0; i < N; i++)
        share[i] = 0.0;
    for (int i = 0; i < N_DRAWS; i++)
        share[sampler_draw(&sampler, logits, N, scratch)] += 1.0 / N_DRAWS;
}

/* Five standard deviations of a share of p over N_DRAWS draws; the seeds are fixed. */
static void expect_shares(const char *why, struct sampler sampler, const double want[N])
{
    double share[N];

    draw_many(sampler, share);
    for (int i = 0; i < N; i++) {
        double bound = 5.0 * sqrt(want[i] * (1.0 - want[i]) / N_DRAWS);

        cr_expect_leq(fabs(share[i] - want[i]), bound,
                      "%s: id %d came up %g, expected %g", why, i, share[i], want[i]);
    }
}

Test(sampler, shares_are_the_probabilities_that_are_left)
{
    const struct sampler plain = {.temperature = 1.0f, .top_p = 1.0f, .state = 1};
    struct sampler s = plain;

    expect_shares("temperature 1", s, (double[N]){0.3, 0.05, 0.4, 0, 0.05, 0.2, 0});
    s.top_k = 2;
    expect_shares("top-k 2", s, (double[N]){3.0 / 7, 0, 4.0 / 7, 0, 0, 0, 0});
    s = plain;
    s.top_p = 0.75f;
    expect_shares("top-p 0.75", s, (double[N]){3.0 / 9, 0, 4.0 / 9, 0, 0, 2.0 / 9, 0});
    s = plain;
    s.min_p = 0.6f;
    expect_shares("min-p 0.6", s, (double[N]){3.0 / 7, 0, 4.0 / 7, 0, 0, 0, 0});
    s = plain;
    s.temperature = 0.5f; /* squares: 0.16, 0.09, 0.04, 0.0025, 0.0025 of 0.295 */
    expect_shares("temperature 0.5", s,
                  (double[N]){0.09 / 0.295, 0.0025 / 0.295, 0.16 / 0.295, 0,
                              0.0025 / 0.295, 0.04 / 0.295, 0});
}

Test(sampler, equal_logits_share_alike)
{
    const float equal[4] = {1.0f, 2.0f, 2.0f, 2.0f};
    struct sampler s = {.temperature = 1.0f, .top_k = 2, .top_p = 1.0f, .state = 3};
    float scratch[4];
    int count[4] = {0};

    for (int i = 0; i < 1000; i++)
        count[sampler_draw(&s, equal, 4, scratch)]++;
    cr_expect_eq(count[0] + count[3],
                 0); /* two of three equals: those of the lowest ids */
    cr_expect_gt(count[1], 400);
    cr_expect_gt(count[2], 400);
}

Test(sampler, greedy_takes_the_first_of_equals)
{
    struct sampler greedy = {0};

    cr_expect_eq(sampler_draw(&greedy, (float[]){1, 3, 3, 2}, 4, NULL), 1);
    cr_expect_eq(greedy.state, 0);
}

Test(sampler, what_is_not_a_number_is_never_drawn)
{
    struct sampler greedy = {0}, warm = {.temperature = 1.0f, .top_p = 1.0f};
    const float some[4] = {NAN, NAN, -3.0f, NAN};
    float scratch[4];

    cr_expect_eq(sampler_draw(&greedy, some, 4, NULL), 2);
    cr_expect_eq(sampler_draw(&warm, some, 4, scratch), 2);
}

Test(sampler, the_same_seed_draws_the_same)
{
    struct sampler a = {.temperature = 1.0f, .top_p = 1.0f, .state = 42}, b = a;
    float scratch[N];

    for (int i = 0; i < 100; i++)
        cr_assert_eq(sampler_draw(&a, logits, N, scratch),
                     sampler_draw(&b, logits, N, scratch));
}

/* Against a plain sort, at every k. */
Test(sampler, top_k_keeps_the_k_largest)
{
    enum { MANY = 257 };
    float x[MANY], scratch[MANY];
    uint32_t state = 9;

    for (int i = 0; i < MANY; i++)
        x[i] = (float)((state = state * 1664525u + 1013904223u) >> 24);
    for (uint32_t k = 1; k < MANY; k++) {
        struct sampler s = {.temperature = 1e6f, .top_k = k, .top_p = 1.0f, .state = k};
        int32_t id = sampler_draw(&s, x, MANY, scratch);
        uint32_t larger = 0;

        for (int i = 0; i < MANY; i++)
            larger += x[i] > x[id];
        cr_expect_lt(larger, k, "k = %u drew number %u", k, larger + 1);
    }
}
