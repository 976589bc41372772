/*
 * limits.c - how fast this machine reads memory and multiplies, when it does nothing else
 */
#include "runtime/kernels/kernel_table.h"

#include <stdlib.h>

enum {
    READ_BYTES = 256 << 20, /* well beyond the last-level cache */
    READ_PART = 1 << 20,
    READ_RUNS = 4,
    SPIN_ROUNDS = 1 << 17,
    SPIN_RUNS = 4,
    SPINS = 8, /* ranges a thread, so that a late thread costs little */
};

struct measure {
    const uint64_t *words;
    double (*spin)(size_t n, float *sink);
};

static void read_part(void *arg, size_t begin, size_t end)
{
    const struct measure *m = arg;
    volatile uint64_t sink;
    uint64_t sum[8] = {0};

    for (size_t i = begin; i < end; i += 8)
        for (size_t l = 0; l < 8; l++)
            sum[l] += m->words[i + l];
    sink = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
    (void)sink;
}

static void spin_part(void *arg, size_t begin, size_t end)
{
    const struct measure *m = arg;
    volatile float sink;
    float value = 0.0f;

    for (size_t i = begin; i < end; i++)
        m->spin(SPIN_ROUNDS, &value);
    sink = value;
    (void)sink;
}

static double best_seconds(struct measure *m, int runs, size_t n, size_t grain,
                           void (*body)(void *arg, size_t begin, size_t end))
{
    double best = 1e9;

    for (int run = 0; run < runs; run++) {
        double start = clock_seconds();

        parallel_for(n, grain, body, m);
        double took = clock_seconds() - start;
        best = took < best ? took : best;
    }
    return best;
}

static double spin_rate(struct measure *m, double (*spin)(size_t n, float *sink))
{
    size_t n = (size_t)parallel_threads() * SPINS;
    float value = 0.0f;

    m->spin = spin;
    return 2 * spin(SPIN_ROUNDS, &value) * (double)n /
           best_seconds(m, SPIN_RUNS, n, 1, spin_part);
}

enum status kernels_limits(const struct kernels *k, struct limits *out, struct error *err)
{
    uint64_t *words = malloc(READ_BYTES);
    size_t n = READ_BYTES / sizeof(*words);
    struct measure m = {.words = words};

    if (!words)
        return fail(err, ERR_NOMEM, "no memory to measure how fast it can be read");
    memset(words, 1, READ_BYTES);
    out->read = READ_BYTES /
                best_seconds(&m, READ_RUNS, n, READ_PART / sizeof(*words), read_part);
    out->f32 = spin_rate(&m, k->spin_f32);
    out->integer = spin_rate(&m, k->spin_integer);
    free(words);
    return OK;
}
