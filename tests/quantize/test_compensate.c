/*
 * test_compensate.c - error feedback: the loss it reports, the loss it saves, the bytes it gives
 */
#include "quantize/compensate/compensate.h"
#include "quantize/compensate/factor.h"
#include "quantize/compensate/feedback_table.h"
#include "quantize/quantize.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { N = 512, N_ROWS = 21, N_SAMPLES = 700, MAX_ROW_BYTES = N * 2 };

static const enum block_type types[] = {TYPE_Q4_0, TYPE_Q4_1, TYPE_Q5_0, TYPE_Q5_1,
                                        TYPE_Q8_0, TYPE_Q4_K, TYPE_Q5_K, TYPE_Q6_K};
enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

static float h[N * N], w[N_ROWS * N];

static float uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-24f - 0.5f;
}

/* Inputs that share a few directions, with loud and silent channels: correlated moments. */
static void make_moments(void)
{
    static float x[N_SAMPLES][N], direction[8][N];
    uint64_t state = 7;

    for (int d = 0; d < 8; d++)
        for (int j = 0; j < N; j++)
            direction[d][j] = uniform(&state);
    for (int t = 0; t < N_SAMPLES; t++)
        for (int d = 0; d < 8; d++) {
            float a = 4 * uniform(&state);

            for (int j = 0; j < N; j++)
                x[t][j] += a * direction[d][j] + 0.2f * uniform(&state);
        }
    for (int t = 0; t < N_SAMPLES; t++) {
        x[t][17] *= 20;
        x[t][300] = 0;
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++) {
            double sum = 0;

            for (int t = 0; t < N_SAMPLES; t++)
                sum += (double)x[t][i] * (double)x[t][j];
            h[i * N + j] = h[j * N + i] = (float)(sum / N_SAMPLES);
        }
    for (int i = 0; i < N_ROWS * N; i++)
        w[i] = uniform(&state) + uniform(&state) + uniform(&state);
}

TestSuite(compensate, .init = make_moments);

static struct metric *metric_of(enum block_type type, double shrink, double damping)
{
    struct metric_options options = {.shrink = shrink, .damping = damping, .sweeps = 2};
    struct metric *metric = NULL;
    struct error err = {0};

    cr_assert_eq(metric_new(h, N, type, &options, &metric, &err), OK, "%s", err.text);
    return metric;
}

static double mean_energy_of_h(void)
{
    double sum = 0;

    for (int j = 0; j < N; j++)
        sum += (double)h[j * N + j];
    return sum / N;
}

/* H' of the usual options, in float64's roundings of float32. */
static void damp(double damping, float *damped)
{
    const double ridge = damping * mean_energy_of_h();

    for (int i = 0; i < N * N; i++)
        damped[i] = i / N == i % N ? h[i] + (float)ridge : 0.9f * h[i];
}

/* The loss under `moments` of the blocks that stand for w. */
static double loss_of(enum block_type type, const uint8_t *blocks, const float *moments)
{
    static float q[N_ROWS * N];
    struct error err = {0};
    double loss = 0;

    block_decode(type, blocks, q, N_ROWS * N);
    cr_assert_eq(layer_loss(moments, N, w, q, N_ROWS, &loss, &err), OK);
    return loss;
}

static double compensated_loss(const struct metric *metric, enum block_type type,
                               const float *moments)
{
    static uint8_t out[N_ROWS * MAX_ROW_BYTES];
    struct error err = {0};

    cr_assert_eq(compensate_rows(metric, w, N_ROWS, out, NULL, &err), OK);
    return loss_of(type, out, moments);
}

static double rounded_loss(enum block_type type, enum method method,
                           const float *importance, const float *moments)
{
    static uint8_t out[N_ROWS * MAX_ROW_BYTES];

    quantize_rows(type, method, w, N_ROWS, N, importance, out);
    return loss_of(type, out, moments);
}

/* The loss reported is (w - q) H' (w - q)^T of what the bytes decode to. H' is the same matrix in
 * float64 here; g is carried in float32 through n updates, so n * 2^-24 of the whole energy. */
Test(compensate, reports_the_loss_of_the_bytes_it_writes)
{
    static float damped[N * N];
    static uint8_t out[N_ROWS * MAX_ROW_BYTES];

    damp(0.1, damped);
    for (int t = 0; t < N_TYPES; t++) {
        struct metric *metric = metric_of(types[t], 0.1, 0.1);
        struct error err = {0};
        double loss = 0;

        cr_assert_eq(compensate_rows(metric, w, N_ROWS, out, &loss, &err), OK);
        const double want = loss_of(types[t], out, damped);

        cr_expect(fabs(loss - want) <= 2e-3 * want, "%s: reports %g, is %g",
                  block_type_name(types[t]), loss, want);
        metric_free(metric);
    }
}

Test(compensate, loses_less_than_plain_rounding_where_inputs_correlate)
{
    for (int t = 0; t < N_TYPES; t++) {
        struct metric *metric = metric_of(types[t], 0.1, 0.01);
        const double ours = compensated_loss(metric, types[t], h);
        const double plain = rounded_loss(types[t], METHOD_PLAIN, NULL, h);

        cr_expect_lt(ours, 0.5 * plain, "%s: %g against %g", block_type_name(types[t]),
                     ours, plain);
        metric_free(metric);
    }
}

/* With H' = I nothing can be gained by feedback: the search must still not lose. */
Test(compensate, is_no_worse_than_plain_rounding_without_correlation)
{
    static float identity[N * N];
    struct metric_options options = {.sweeps = 2};

    for (int i = 0; i < N; i++)
        identity[i * N + i] = 1;
    for (int t = 0; t < N_TYPES; t++) {
        struct metric *metric = NULL;
        struct error err = {0};

        cr_assert_eq(metric_new(identity, N, types[t], &options, &metric, &err), OK);
        const double ours = compensated_loss(metric, types[t], identity);
        const double plain = rounded_loss(types[t], METHOD_PLAIN, NULL, identity);

        cr_expect_leq(ours, plain * 1.002, "%s: %g against %g", block_type_name(types[t]),
                      ours, plain);
        metric_free(metric);
    }
}

/* In the metric that both were made for: the search knows its diagonal, feedback all of it. */
Test(compensate, loses_less_in_its_own_metric_than_the_search_with_its_diagonal)
{
    static float damped[N * N], diagonal[N];

    damp(0.1, damped);
    for (int j = 0; j < N; j++)
        diagonal[j] = damped[j * N + j];
    for (int t = 0; t < N_TYPES; t++) {
        struct metric *metric = metric_of(types[t], 0.1, 0.1);
        const double ours = compensated_loss(metric, types[t], damped);
        const double search = rounded_loss(types[t], METHOD_SEARCH, diagonal, damped);

        cr_expect_lt(ours, search, "%s: %g against %g", block_type_name(types[t]), ours,
                     search);
        metric_free(metric);
    }
}

/* Columns are visited by energy, wherever they lie: exchange the two halves of all rows and moments, and
 * the halves of the bytes are exchanged. */
Test(compensate, does_not_depend_on_where_super_blocks_lie)
{
    static float turned_h[N * N], turned_w[N_ROWS * N];
    static uint8_t out[N_ROWS * MAX_ROW_BYTES], turned[N_ROWS * MAX_ROW_BYTES];
    const struct metric_options options = {.shrink = 0.1, .damping = 0.1, .sweeps = 2};

    for (int i = 0; i < N * N; i++)
        turned_h[i] = h[(i / N + N / 2) % N * N + (i % N + N / 2) % N];
    for (int i = 0; i < N_ROWS * N; i++)
        turned_w[i] = w[i / N * N + (i % N + N / 2) % N];
    for (int t = 0; t < N_TYPES; t++) {
        const size_t half = block_row_bytes(types[t], N / 2);
        struct metric *metric = metric_of(types[t], 0.1, 0.1), *other = NULL;
        struct error err = {0};

        cr_assert_eq(metric_new(turned_h, N, types[t], &options, &other, &err), OK);
        cr_assert_eq(compensate_rows(metric, w, N_ROWS, out, NULL, &err), OK);
        cr_assert_eq(compensate_rows(other, turned_w, N_ROWS, turned, NULL, &err), OK);
        for (size_t r = 0; r < N_ROWS; r++) {
            cr_expect_arr_eq(turned + 2 * r * half, out + (2 * r + 1) * half, half, "%s",
                             block_type_name(types[t]));
            cr_expect_arr_eq(turned + (2 * r + 1) * half, out + 2 * r * half, half, "%s",
                             block_type_name(types[t]));
        }
        metric_free(metric);
        metric_free(other);
    }
}

/* After many sweeps no other code of a single column does better: all of them are tried, in float64. g is
 * carried in float32, hence a hundredth of what one step of the code costs. */
Test(compensate, descends_to_where_no_single_code_can_be_bettered)
{
    static float damped[N * N], q[N_ROWS * N];
    static uint8_t out[N_ROWS * MAX_ROW_BYTES];
    const struct metric_options options = {.shrink = 0.1, .damping = 0.1, .sweeps = 60};
    struct metric *metric = NULL;
    struct error err = {0};
    float d;

    damp(0.1, damped);
    cr_assert_eq(metric_new(h, N, TYPE_Q4_0, &options, &metric, &err), OK);
    cr_assert_eq(compensate_rows(metric, w, N_ROWS, out, NULL, &err), OK);
    metric_free(metric);
    block_decode(TYPE_Q4_0, out, q, N_ROWS * N);
    for (int r = 0; r < N_ROWS; r++)
        for (int j = 0; j < N; j++) {
            const uint8_t *block =
                out + (size_t)r * block_row_bytes(TYPE_Q4_0, N) + (size_t)(j / 32) * 18;
            const int nibble = block[2 + j % 16] >> (j % 32 / 16 * 4) & 15;
            double g = 0;

            block_decode(TYPE_F16, block, &d, 1);
            for (int i = 0; i < N; i++)
                g += (double)damped[j * N + i] *
                     ((double)w[r * N + i] - (double)q[r * N + i]);
            for (int code = 0; code < 16; code++) {
                const double moved = (double)d * (code - nibble);
                const double step = (double)d * (double)d * (double)damped[j * N + j];
                const double gain =
                    2 * moved * g - moved * moved * (double)damped[j * N + j];

                cr_assert_leq(gain, 0.01 * step, "row %d, column %d: %d instead of %d", r,
                              j, code, nibble);
            }
        }
}

Test(compensate, gives_the_same_bytes_with_any_number_of_threads)
{
    static uint8_t one[N_ROWS * MAX_ROW_BYTES], three[N_ROWS * MAX_ROW_BYTES];

    for (int t = 0; t < N_TYPES; t++) {
        struct error err = {0};
        size_t n_bytes = N_ROWS * block_row_bytes(types[t], N);

        parallel_set_threads(1);
        struct metric *metric = metric_of(types[t], 0.1, 0.1);
        cr_assert_eq(compensate_rows(metric, w, N_ROWS, one, NULL, &err), OK);
        metric_free(metric);
        parallel_set_threads(3);
        metric = metric_of(types[t], 0.1, 0.1);
        cr_assert_eq(compensate_rows(metric, w, N_ROWS, three, NULL, &err), OK);
        metric_free(metric);
        cr_expect_arr_eq(one, three, n_bytes, "%s", block_type_name(types[t]));
    }
}

/* Every core rounds the same tile to the same codes, scales and losses. */
Test(compensate, every_core_agrees_with_scalar)
{
    for (int t = 0; t < N_TYPES; t++) {
        struct metric *metric = metric_of(types[t], 0.1, 0.1);
        double want_loss[LANES], got_loss[LANES];

        for (int level = CPU_SCALAR + 1; level < CPU_LEVELS; level++) {
            const struct feedback_core *core = feedback_at((enum cpu_level)level);
            struct lane *memory[2];

            if (!core)
                continue;
            for (int i = 0; i < 2; i++) {
                struct lane *m = memory[i] = calloc(10 * N, sizeof(**memory));
                struct tile tile = {m,         m + N,     m + 2 * N, m + 4 * N,
                                    m + 5 * N, m + 6 * N, m + 7 * N, m + 8 * N,
                                    m + 9 * N, m + 3 * N};

                for (int k = 0; k < N; k++)
                    for (int r = 0; r < LANES; r++)
                        m[k].v[r] = w[r * N + k];
                (i ? core : &feedback_scalar)
                    ->round(metric, &tile, i ? got_loss : want_loss);
            }
            cr_expect_arr_eq(memory[0], memory[1], 10 * N * sizeof(**memory), "%s %s",
                             core->name, block_type_name(types[t]));
            cr_expect_arr_eq(want_loss, got_loss, sizeof(want_loss));
            free(memory[0]);
            free(memory[1]);
        }
        metric_free(metric);
    }
}

/* ---- the factor ---- */

enum { N_FACTOR = 304 };

static double factor_of[N_FACTOR * N_FACTOR], inverse_of[N_FACTOR * N_FACTOR];

/* The textbook's loops, products subtracted one by one. */
static void factor_plainly(size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double *row = factor_of + i * n, *pivot = factor_of + j * n, sum = row[j];

            for (size_t k = 0; k < j; k++)
                sum -= row[k] * pivot[k];
            row[j] = i == j ? sqrt(sum) : sum / pivot[j];
        }
    for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n; i++) {
            double sum = 0;

            for (size_t k = j; k < i; k++)
                sum -= factor_of[i * n + k] * inverse_of[k * n + j];
            inverse_of[i * n + j] = (i == j ? 1 : sum) / factor_of[i * n + i];
        }
}

/* Blocks, threads and vectors change no bit; sizes that halve evenly and ones that do not. */
Test(compensate, factors_as_the_textbook_does)
{
    static const size_t sizes[] = {16, 32, 48, 256, N_FACTOR};
    factor_kernel *kernels[] = {factor_scalar, factor_best()};
    static double c[N_FACTOR * N_FACTOR], x[N_FACTOR * N_FACTOR];
    double *scratch = malloc(factor_scratch(N_FACTOR) * sizeof(*scratch));

    cr_assert_not_null(scratch);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
        for (int round = 0; round < 4; round++) {
            const size_t n = sizes[s];

            memset(inverse_of, 0, sizeof(inverse_of));
            for (size_t i = 0; i < n * n; i++)
                factor_of[i] = c[i] =
                    (double)h[i / n * N + i % n] + (i / n == i % n ? 0.05 : 0);
            factor_plainly(n);
            parallel_set_threads(1 + round / 2 * 2);
            cr_assert(factor_cholesky(c, n, kernels[round % 2], scratch));
            factor_invert(c, n, kernels[round % 2], x, scratch);
            for (size_t i = 0; i < n; i++)
                cr_assert_arr_eq(c + i * n, factor_of + i * n, (i + 1) * sizeof(*c),
                                 "row %zu of %zu, round %d", i, n, round);
            cr_assert_arr_eq(x, inverse_of, n * n * sizeof(*x), "%zu, round %d", n,
                             round);
        }
    memset(c, 0, sizeof(c));
    cr_expect_not(factor_cholesky(c, N_FACTOR, factor_best(), scratch));
    free(scratch);
}

Test(compensate, treats_silent_inputs_as_the_identity)
{
    static float zero[N * N], q[N_ROWS * N];
    static uint8_t out[N_ROWS * MAX_ROW_BYTES];
    struct metric_options options = {.shrink = 0.1, .damping = 0.1, .sweeps = 1};
    struct metric *metric = NULL;
    struct error err = {0};

    cr_assert_eq(metric_new(zero, N, TYPE_Q4_0, &options, &metric, &err), OK);
    cr_assert_eq(compensate_rows(metric, w, N_ROWS, out, NULL, &err), OK);
    block_decode(TYPE_Q4_0, out, q, N_ROWS * N);
    for (int i = 0; i < N_ROWS * N; i++)
        cr_assert_float_eq(q[i], w[i], 0.2f);
    metric_free(metric);
}

Test(compensate, refuses_moments_that_are_none)
{
    struct metric_options options = {.shrink = 0.1, .damping = 0.1};
    struct metric *metric = NULL;
    struct error err = {0};

    h[0] = NAN;
    cr_expect_eq(metric_new(h, N, TYPE_Q4_0, &options, &metric, &err), ERR_CORRUPT);
    h[0] = -1e30f;
    cr_expect_eq(metric_new(h, N, TYPE_Q4_0, &options, &metric, &err), ERR_CORRUPT);
}
