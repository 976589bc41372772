/*
 * bench_encode.c - how fast rows of floats become blocks, by type, method and table
 *
 * Prints TSV. GB/s counts the float32 input; "of memcpy" divides by the speed at which the
 * same core copies the same number of bytes in the same run, the limit of any encoder.
 * One thread; the best of several runs.
 */
#include "quantize/codec.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUNS = 5, COLS = 2048 };

struct job {
    const char *method;
    size_t rows; /* fewer for the slow ones */
    bool important, search;
};

static const struct job jobs[] = {
    {"plain", 2048, false, false},
    {"plain+importance", 256, true, false},
    {"search", 256, false, true},
};

static const enum block_type types[] = {
    TYPE_F16,  TYPE_BF16, TYPE_Q8_0, TYPE_Q4_0, TYPE_Q4_1,
    TYPE_Q5_0, TYPE_Q5_1, TYPE_Q4_K, TYPE_Q5_K, TYPE_Q6_K,
};

static rows_encoder *encoder(const struct job *job, enum block_type type)
{
    const struct codec *codec = codec_find(type);

    if (job->search)
        return codec->search;
    return job->important ? codec->weighted : codec->plain;
}

static double copy_speed(const float *x, void *out, size_t n_bytes)
{
    double best = 0.0;

    for (int run = 0; run < RUNS; run++) {
        double start = clock_seconds();
        memcpy(out, x, n_bytes);
        double speed = (double)n_bytes / (clock_seconds() - start) / 1e9;
        best = speed > best ? speed : best;
    }
    return best;
}

static double speed(rows_encoder *encode, const struct rows_in *in, void *out)
{
    double best = 0.0, bytes = (double)(in->n_rows * in->n_cols * sizeof(*in->x));

    for (int run = 0; run < RUNS; run++) {
        double start = clock_seconds();
        encode(in, out);
        double rate = bytes / (clock_seconds() - start) / 1e9;
        best = rate > best ? rate : best;
    }
    return best;
}

static void report(const struct job *job, enum block_type type, struct rows_in *in,
                   void *out)
{
    double copy = copy_speed(in->x, out, job->rows * COLS * sizeof(*in->x));
    double scalar = 0.0;

    in->type = type;
    in->n_rows = job->rows;
    for (int level = CPU_SCALAR; level < CPU_LEVELS; level++) {
        in->encode = encoders_at((enum cpu_level)level);
        if (!in->encode)
            continue;
        double rate = speed(encoder(job, type), in, out);
        scalar = level == CPU_SCALAR ? rate : scalar;
        printf("%s\t%s\t%s\t%.3f\t%.1f\t%.2f\n", block_type_name(type), job->method,
               in->encode->name, rate, rate / scalar, rate / copy);
    }
}

int main(void)
{
    const size_t n = 2048 * (size_t)COLS;
    float *x = malloc(n * sizeof(*x));
    float *importance = malloc(COLS * sizeof(*importance));
    void *out = malloc(n * sizeof(*x));

    if (!x || !importance || !out)
        return EXIT_FAILURE;
    srand(1);
    for (size_t i = 0; i < n; i++)
        x[i] = ((float)rand() + (float)rand() - (float)rand() - (float)rand()) / 1e11f;
    for (size_t i = 0; i < COLS; i++)
        importance[i] = (float)rand() / (float)RAND_MAX;
    memset(out, 0, n * sizeof(*x));

    printf("type\tmethod\ttable\tGB/s\tx scalar\tof memcpy\n");
    for (size_t j = 0; j < sizeof(jobs) / sizeof(jobs[0]); j++) {
        struct rows_in in = {.x = x, .n_cols = COLS};

        in.importance = jobs[j].important ? importance : NULL;
        for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++)
            if (encoder(&jobs[j], types[t]))
                report(&jobs[j], types[t], &in, out);
    }
    free(x);
    free(importance);
    free(out);
    return EXIT_SUCCESS;
}
