/*
 * bench_compensate.c - how fast error feedback rounds, and how long a model of E2B's shape takes
 *
 * Prints TSV. Time is this process's own, one thread, so that a busy machine does not count. GMAC/s
 * divides the multiply-adds that every row needs, n^2 (1.5 + sweeps), by the whole time of
 * compensate_rows(), choice of scales included; the factor counts n^3 / 3 of float64,
 * its inverse included.
 */
#include "quantize/compensate/compensate.h"
#include "quantize/compensate/feedback_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SWEEPS = 3 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-24f - 0.5f;
}

/* Moments that correlate neighbours, and rows of weights. */
static void fill(float *h, size_t n, float *w, size_t n_weights)
{
    uint64_t state = 1;

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            h[i * n + j] = h[j * n + i] = 1.0f / (1.0f + (float)(i - j));
    for (size_t i = 0; i < n_weights; i++)
        w[i] = uniform(&state) + uniform(&state) + uniform(&state);
}

struct rates {
    double factor, rounding; /* GMAC/s */
};

static struct rates measure(enum block_type type, size_t n, size_t n_rows)
{
    const struct metric_options options = {
        .shrink = 0.1, .damping = 0.1, .sweeps = SWEEPS};
    float *h = malloc(n * n * sizeof(*h)), *w = malloc(n_rows * n * sizeof(*w));
    void *out = malloc(n_rows * block_row_bytes(type, n));
    struct metric *metric = NULL;
    struct error err = {0};
    const double cube = (double)n * (double)n * (double)n / 1e9;
    const double square = (double)n_rows * (double)n * (double)n / 1e9;
    struct rates rates;

    if (!h || !w || !out)
        exit(EXIT_FAILURE);
    fill(h, n, w, n_rows * n);
    double start = now();
    if (metric_new(h, n, type, &options, &metric, &err) != OK)
        exit(EXIT_FAILURE);
    rates.factor = cube / 3 / (now() - start);
    start = now();
    if (compensate_rows(metric, w, n_rows, out, NULL, &err) != OK)
        exit(EXIT_FAILURE);
    rates.rounding = square * (1.5 + SWEEPS) / (now() - start);
    metric_free(metric);
    free(h);
    free(w);
    free(out);
    return rates;
}

/* Matrices of E2B, 35 layers of width 1536: rows, columns as they are grouped, how many. */
static const struct {
    double rows, n, count;
} e2b[] = {
    {2048, 1536, 35 * 1.25}, {1536, 2048, 35},     {6144, 1536, 2 * 15},
    {12288, 1536, 2 * 20},   {1536, 3072, 2 * 15}, {1536, 4096, 3 * 20},
    {256, 1536, 35},         {1536, 256, 35},      {262144, 1536, 1},
};

static double e2b_gmac(void)
{
    double sum = 0;

    for (size_t i = 0; i < sizeof(e2b) / sizeof(e2b[0]); i++)
        sum += e2b[i].rows * e2b[i].n * e2b[i].n * e2b[i].count;
    return sum * (1.5 + SWEEPS) / 1e9;
}

int main(void)
{
    static const struct {
        enum block_type type;
        size_t n, n_rows;
    } jobs[] = {
        {TYPE_Q4_0, 512, 256}, {TYPE_Q4_0, 1536, 64}, {TYPE_Q4_K, 1536, 64},
        {TYPE_Q6_K, 1536, 64}, {TYPE_Q8_0, 1536, 64}, {TYPE_Q4_0, 4096, 32},
        {TYPE_Q4_K, 4096, 32},
    };

    parallel_set_threads(1);
    printf("type\tcolumns\tfactor GMAC/s\trounding GMAC/s\tE2B, minutes on two cores\n");
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        const struct rates rates = measure(jobs[i].type, jobs[i].n, jobs[i].n_rows);

        printf("%s\t%zu\t%.1f\t%.1f\t%.1f\n", block_type_name(jobs[i].type), jobs[i].n,
               rates.factor, rates.rounding, e2b_gmac() / rates.rounding / 120);
        fflush(stdout);
    }
    return EXIT_SUCCESS;
}
