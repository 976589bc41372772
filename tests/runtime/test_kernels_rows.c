/*
 * test_kernels_rows.c - norms, rotations and activations: bits of every table, and accuracy
 */
#include "runtime/kernels/row_math.h"
#include "tests/fixture.h"
#include "tests/runtime/kernel_tables.h"

#include <criterion/criterion.h>
#include <float.h>

enum { N = 1000 };

static float a[N], b[N], got[N], want[N];

static void fill(void)
{
    fixture_activations(a, N, 1);
    fixture_activations(b, N, 2);
}

TestSuite(rows, .init = fill);

/* The distance of x from the true value, in units of the last place of the latter. */
static double ulps(float x, double truth)
{
    int exponent;

    frexp(truth, &exponent);
    if (exponent < FLT_MIN_EXP)
        exponent = FLT_MIN_EXP;
    return fabs((double)x - truth) / ldexp(1.0, exponent - FLT_MANT_DIG);
}

/* Every 1009th float: 4 million of them, both signs, all magnitudes. */
static double worst_ulps(float (*f)(float x), double (*truth)(double x), float least,
                         float most)
{
    double worst = 0;

    for (uint64_t bits = 0; bits < 1ull << 32; bits += 1009) {
        float x = float_from_bits((uint32_t)bits);

        if (x >= least && x <= most)
            worst = fmax(worst, ulps(f(x), truth((double)x)));
    }
    return worst;
}

Test(math, exp_is_within_one_and_a_half_ulp)
{
    cr_expect_leq(worst_ulps(math_exp, exp, -87.0f, 88.0f), 1.5);
}

Test(math, exp_vanishes_below_its_range_and_stays_finite_above)
{
    cr_expect_eq(math_exp(-INFINITY), 0.0f);
    cr_expect_eq(math_exp(-87.01f), 0.0f);
    cr_expect(isfinite(math_exp(1000.0f)));
    cr_expect_eq(math_exp(0.0f), 1.0f);
}

Test(math, tanh_is_within_two_ulp)
{
    cr_expect_leq(worst_ulps(math_tanh, tanh, -FLT_MAX, FLT_MAX), 2.0);
}

static double gelu(double v)
{
    return v / (1 + exp(-2 * sqrt(2 / acos(-1)) * (v + 0.044715 * v * v * v)));
}

Test(math, gelu_keeps_its_relative_bound)
{
    for (float v = -8.0f; v < 30.0f; v += 0.001f) {
        double u = sqrt(2 / acos(-1)) * (double)(v + 0.044715f * v * v * v);
        double bound = fabs(gelu((double)v)) * 0x1p-21 * (1 + fabs(u)) + 1e-38;

        cr_expect_float_eq((double)math_gelu(v), gelu((double)v), bound, "at %g",
                           (double)v);
    }
}

/* Call check(table) for each table but the scalar one. */
static void each_table(void (*check)(const struct kernels *k))
{
    for (int table = 1; table < N_TABLES; table++) {
        const struct kernels *k = table_at(table);

        if (k)
            check(k);
    }
}

static const struct kernels *scalar(void)
{
    return table_at(0);
}

static void same_norm(const struct kernels *k)
{
    for (size_t n = 1; n < 100; n += 7) {
        kernels_rms_norm(scalar(), a, b, N / n, n, 1e-6f, want);
        kernels_rms_norm(k, a, b, N / n, n, 1e-6f, got);
        cr_expect_arr_eq(got, want, N / n * n * sizeof(*got), "%zu columns", n);
        kernels_rms_norm(scalar(), a, NULL, N / n, n, 1e-6f, want);
        kernels_rms_norm(k, a, NULL, N / n, n, 1e-6f, got);
        cr_expect_arr_eq(got, want, N / n * n * sizeof(*got), "%zu columns, no weight",
                         n);
    }
}

Test(rows, norms_have_the_same_bits_in_every_table)
{
    each_table(same_norm);
}

Test(rows, norm_agrees_with_double_precision)
{
    double sum = 0;

    kernels_rms_norm(kernels_best(), a, b, 1, N, 1e-6f, got);
    for (size_t i = 0; i < N; i++)
        sum += (double)a[i] * (double)a[i];
    for (size_t i = 0; i < N; i++) {
        double truth = (double)a[i] / sqrt(sum / N + 1e-6) * (double)b[i];
        /* half of the sum's (N / 8 + 3) roundings, and six of the steps after it */
        cr_expect_float_eq((double)got[i], truth, fabs(truth) * (N / 16 + 8) * 0x1p-24);
    }
}

static void same_elements(const struct kernels *k)
{
    for (size_t n = 0; n < 70; n++) {
        kernels_gelu_mul(scalar(), a, b, n, want);
        kernels_gelu_mul(k, a, b, n, got);
        cr_expect_arr_eq(got, want, n * sizeof(*got), "gelu of %zu", n);
        kernels_softcap(scalar(), want, n, 30.0f);
        kernels_softcap(k, got, n, 30.0f);
        cr_expect_arr_eq(got, want, n * sizeof(*got), "softcap of %zu", n);
        kernels_add(scalar(), want, a, n);
        kernels_add(k, got, a, n);
        kernels_mul(scalar(), want, b, n);
        kernels_mul(k, got, b, n);
        kernels_add_scaled(scalar(), want, a, 0.3f, n);
        kernels_add_scaled(k, got, a, 0.3f, n);
        kernels_scale(scalar(), want, 1.7f, n);
        kernels_scale(k, got, 1.7f, n);
        cr_expect_arr_eq(got, want, n * sizeof(*got), "sums of %zu", n);
        if (n > 0) {
            kernels_softmax(scalar(), want, n);
            kernels_softmax(k, got, n);
        }
        cr_expect_arr_eq(got, want, n * sizeof(*got), "softmax of %zu", n);
    }
}

Test(rows, elementwise_functions_have_the_same_bits_in_every_table)
{
    each_table(same_elements);
}

static void same_rotation(const struct kernels *k)
{
    for (size_t half = 1; half < 40; half += 3) {
        memcpy(want, a, sizeof(want));
        memcpy(got, a, sizeof(got));
        kernels_rope(scalar(), want, 3, 2, 2 * half, b, b + 500);
        kernels_rope(k, got, 3, 2, 2 * half, b, b + 500);
        cr_expect_arr_eq(got, want, sizeof(got), "%zu pairs", half);
    }
}

Test(rows, rotations_have_the_same_bits_in_every_table)
{
    each_table(same_rotation);
}

Test(rows, rotation_by_a_quarter_turn_exchanges_the_halves)
{
    float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const float cosines[4] = {0, 0, 0, 1}, sines[4] = {1, 1, 1, 0};
    static const float turned[8] = {-5, -6, -7, 4, 1, 2, 3, 8};

    kernels_rope(kernels_best(), x, 1, 1, 8, cosines, sines);
    cr_expect_arr_eq(x, turned, sizeof(x));
}

Test(rows, gelu_may_overwrite_its_inputs)
{
    kernels_gelu_mul(kernels_best(), a, b, N, want);
    memcpy(got, a, sizeof(got));
    kernels_gelu_mul(kernels_best(), got, b, N, got);
    cr_expect_arr_eq(got, want, sizeof(got));
    memcpy(got, b, sizeof(got));
    kernels_gelu_mul(kernels_best(), a, got, N, got);
    cr_expect_arr_eq(got, want, sizeof(got));
}

Test(rows, softmax_sums_to_one)
{
    double sum = 0;

    kernels_softmax(kernels_best(), a, N);
    for (size_t i = 0; i < N; i++)
        sum += (double)a[i];
    cr_expect_float_eq(sum, 1.0, (N / 8 + 6) * 0x1p-24);
}

Test(rows, the_first_of_equal_maxima_wins)
{
    static const float x[] = {1, 7, -3, 7, 2};

    cr_expect_eq(kernels_argmax(x, 5), 1);
    cr_expect_eq(kernels_argmax(x, 1), 0);
}

Test(rows, row_functions_give_the_same_bits_for_any_thread_count)
{
    enum { ROWS = 40, COLS = 1536 };
    static float x[ROWS * COLS], one[ROWS * COLS], more[ROWS * COLS];

    fixture_activations(x, ROWS * COLS, 9);
    parallel_set_threads(1);
    kernels_rms_norm(kernels_best(), x, NULL, ROWS, COLS, 1e-6f, one);
    kernels_gelu_mul(kernels_best(), one, x, ROWS * COLS, one);
    parallel_set_threads(3);
    kernels_rms_norm(kernels_best(), x, NULL, ROWS, COLS, 1e-6f, more);
    kernels_gelu_mul(kernels_best(), more, x, ROWS * COLS, more);
    cr_expect_arr_eq(one, more, sizeof(one));
}
