/*
 * bench_kernels.c - products, attention and row functions of every table, against the limits
 *
 *     bench_kernels [TABLE]
 *
 * Prints TSV. Decoding is one token against 96 MB of weights, which no cache holds: GB/s of
 * weights, and their share of the speed at which this machine reads memory; "few" are the tokens
 * that a drafter guesses, against the same. Prefill is 512 tokens
 * against 1024 rows of 1536: GOP/s, and the share of the multiply-adds it can do on registers
 * (of bytes for quantized weights, of f32 for the others). Limits are measured in the same run.
 * Best of several runs; CARAT_CPU and OMP_NUM_THREADS apply.
 */
#include "runtime/kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    RUNS = 5,
    COLS = 1536,
    PREFILL_TOKENS = 512,
    PREFILL_ROWS = 1024,
    MAX_FEW = 8,
    WEIGHT_BYTES = 96000000
};

static const enum block_type types[] = {
    TYPE_Q4_0, TYPE_Q8_0, TYPE_Q4_K, TYPE_Q6_K, TYPE_Q5_K, TYPE_Q4_1,
    TYPE_Q5_0, TYPE_Q5_1, TYPE_BF16, TYPE_F16,  TYPE_F32,
};

struct bench {
    const struct kernels *k;
    struct limits limits;
    struct workspace *ws;
    uint8_t *weights;
    float *x, *y;
};

static double best_product(const struct bench *b, const struct matrix *w, size_t n_tokens)
{
    double best = 1e9;

    for (int run = 0; run < RUNS; run++) {
        double start = clock_seconds();
        kernels_matmul(b->k, b->ws, ARITH_FAST, w, b->x, n_tokens, b->y);
        double took = clock_seconds() - start;
        best = took < best ? took : best;
    }
    return best;
}

static void row(const struct bench *b, const char *what, const char *type,
                size_t n_tokens, double bytes, double ops, double limit_ops)
{
    double of_read = bytes / b->limits.read, of_ops = ops / limit_ops;

    printf("%s\t%s\t%s\t%zu\t%.2f\t%.1f\t%.2f\n", what, type, kernels_name(b->k),
           n_tokens, bytes / 1e9, ops / 1e9, of_read > of_ops ? of_read : of_ops);
    fflush(stdout);
}

static void products(const struct bench *b, enum block_type type)
{
    size_t row_bytes = block_row_bytes(type, COLS);
    struct matrix w = {.type = type, .n_cols = COLS, .data = b->weights};
    bool is_quantized = block_type_info(type)->is_quantized;
    double limit = is_quantized ? b->limits.integer : b->limits.f32;

    w.n_rows = WEIGHT_BYTES / row_bytes;
    double seconds = best_product(b, &w, 1);
    row(b, "decode", block_type_name(type), 1, (double)(w.n_rows * row_bytes) / seconds,
        2.0 * (double)(w.n_rows * COLS) / seconds, limit);

    for (size_t n = 2; n <= MAX_FEW; n += n < 6 ? 1 : 2) {
        seconds = best_product(b, &w, n);
        row(b, "few", block_type_name(type), n, (double)(w.n_rows * row_bytes) / seconds,
            2.0 * (double)(w.n_rows * COLS * n) / seconds, limit);
    }

    w.n_rows = PREFILL_ROWS;
    seconds = best_product(b, &w, PREFILL_TOKENS);
    row(b, "prefill", block_type_name(type), PREFILL_TOKENS,
        (double)(w.n_rows * row_bytes) / seconds,
        2.0 * (double)(w.n_rows * COLS * PREFILL_TOKENS) / seconds, limit);
}

/* 8 heads on one K and V head of 256, 2048 positions: a local layer of a small member. */
static void attention(const struct bench *b, size_t n_tokens)
{
    struct attention a = {.n_heads = 8,
                          .n_kv_heads = 1,
                          .head_dim = 256,
                          .stride = 512,
                          .n_cells = 2048,
                          .scale = 1.0f};
    struct span spans[PREFILL_TOKENS];
    double best = 1e9, pairs = 0;

    a.k = b->x;
    a.v = b->x + 256;
    for (size_t t = 0; t < n_tokens; t++) {
        spans[t] = (struct span){.first = 0, .end = (uint32_t)(2048 - n_tokens + t + 1)};
        pairs += spans[t].end;
    }
    for (int run = 0; run < RUNS; run++) {
        double start = clock_seconds();
        kernels_attention(b->k, &a, b->x, spans, n_tokens, b->y);
        double took = clock_seconds() - start;
        best = took < best ? took : best;
    }
    row(b, "attention", "F32", n_tokens, (double)(2048 * 512 * sizeof(float)) / best,
        4.0 * 256 * 8 * pairs / best, b->limits.f32);
}

static void row_functions(const struct bench *b)
{
    size_t n = (size_t)PREFILL_TOKENS * COLS;
    double start, gelu = 1e9, norm = 1e9;

    for (int run = 0; run < RUNS; run++) {
        start = clock_seconds();
        kernels_gelu_mul(b->k, b->x, b->x, n, b->y);
        gelu = clock_seconds() - start < gelu ? clock_seconds() - start : gelu;
        start = clock_seconds();
        kernels_rms_norm(b->k, b->x, b->x, PREFILL_TOKENS, COLS, 1e-6f, b->y);
        norm = clock_seconds() - start < norm ? clock_seconds() - start : norm;
    }
    row(b, "gelu_mul", "F32", PREFILL_TOKENS, 12.0 * (double)n / gelu, 0, 1);
    row(b, "rms_norm", "F32", PREFILL_TOKENS, 8.0 * (double)n / norm, 0, 1);
}

static void fill(const struct bench *b, size_t n_floats)
{
    uint64_t state = 1;

    for (size_t i = 0; i + 8 <= WEIGHT_BYTES; i += 8) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = (state >> 7) & 0x3fff3fff3fff3fffu; /* halves below 2: no NaN */
        memcpy(b->weights + i, &bits, 8);
    }
    for (size_t i = 0; i < n_floats; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        b->x[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
}

static const struct kernels *table_named(const char *name)
{
    for (int level = CPU_SCALAR; level < CPU_LEVELS; level++) {
        const struct kernels *k = kernels_at((enum cpu_level)level);
        if (k && strcmp(kernels_name(k), name) == 0)
            return k;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct bench b = {.k = argc > 1 ? table_named(argv[1]) : kernels_best()};
    struct error err = {0};
    size_t n_floats = 2048 * 1024;
    int status = EXIT_FAILURE;

    b.weights = malloc(WEIGHT_BYTES);
    b.x = malloc(n_floats * sizeof(float));
    b.y = malloc(n_floats * sizeof(float) * 16);
    if (!b.k || !b.weights || !b.x || !b.y ||
        workspace_new(PREFILL_TOKENS, COLS, &b.ws, &err) != OK ||
        kernels_limits(b.k, &b.limits, &err) != OK)
        goto out;
    fill(&b, n_floats);
    printf("# %d threads: read %.2f GB/s, f32 %.1f GOP/s, integer %.1f GOP/s\n",
           parallel_threads(), b.limits.read / 1e9, b.limits.f32 / 1e9,
           b.limits.integer / 1e9);
    printf("what\ttype\ttable\ttokens\tGB/s\tGOP/s\tof limit\n");
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        products(&b, types[i]);
    attention(&b, 1);
    attention(&b, PREFILL_TOKENS);
    row_functions(&b);
    status = EXIT_SUCCESS;

out:
    if (status != EXIT_SUCCESS)
        fprintf(stderr, "bench_kernels: %s\n", err.text[0] ? err.text : "no such table");
    workspace_free(b.ws);
    free(b.weights);
    free(b.x);
    free(b.y);
    return status;
}
