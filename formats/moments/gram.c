/*
 * gram.c - sums of x x^T, threads owning strips of the result
 */
#include "formats/moments/gram.h"

#include "formats/moments/moments.h"

#include <stdlib.h>

static gram_tile *tile_best(void)
{
#ifdef CARAT_X86
    if (cpu_level() == CPU_AVX512)
        return gram_tile_avx512;
    if (cpu_level() == CPU_AVX2)
        return gram_tile_avx2;
#endif
    return gram_tile_scalar;
}

/* The sums are kept with a stride of whole tiles, so that no tile is cut at the edge. */
static size_t stride_of(size_t n)
{
    return (n + GRAM_TILE - 1) / GRAM_TILE * GRAM_TILE;
}

enum status gram_new(size_t n, struct gram *gram, struct error *err)
{
    size_t stride = stride_of(n), count;

    *gram = (struct gram){.n = n};
    if (mul_size(stride, stride, &count))
        gram->sum = calloc(count, sizeof(*gram->sum));
    return gram->sum
               ? OK
               : fail(err, ERR_NOMEM, "no memory for %zu x %zu second moments", n, n);
}

void gram_free(struct gram *gram)
{
    free(gram->sum);
    *gram = (struct gram){0};
}

struct strip_job {
    struct gram *gram;
    const float *x;
    size_t n_rows;
    gram_tile *tile;
};

/* Columns [first, first + GRAM_TILE) of every row, packed; zeros past the edge. */
static void pack(const struct strip_job *job, size_t first, float *out)
{
    size_t n = job->gram->n, width = n - first < GRAM_TILE ? n - first : GRAM_TILE;

    for (size_t t = 0; t < job->n_rows; t++, out += GRAM_TILE) {
        memcpy(out, job->x + t * n + first, width * sizeof(*out));
        for (size_t j = width; j < GRAM_TILE; j++)
            out[j] = 0;
    }
}

/* Strips [begin, end) of GRAM_TILE rows of the lower triangle. */
static void add_strips(void *arg, size_t begin, size_t end)
{
    const struct strip_job *job = arg;
    size_t stride = stride_of(job->gram->n);
    float a[GRAM_ROWS * GRAM_TILE], b[GRAM_ROWS * GRAM_TILE];

    for (size_t i = begin; i < end; i++) {
        pack(job, i * GRAM_TILE, a);
        for (size_t j = 0; j <= i; j++) {
            double *sum = job->gram->sum + i * GRAM_TILE * stride + j * GRAM_TILE;

            pack(job, j * GRAM_TILE, b);
            job->tile(a, b, job->n_rows, sum, stride);
        }
    }
}

void gram_add(struct gram *gram, const float *x, size_t n_rows)
{
    struct strip_job job = {.gram = gram, .tile = tile_best()};
    size_t n_strips = stride_of(gram->n) / GRAM_TILE;

    gram->tokens += n_rows;
    for (size_t done = 0; done < n_rows; done += job.n_rows) {
        job.x = x + done * gram->n;
        job.n_rows = n_rows - done < GRAM_ROWS ? n_rows - done : GRAM_ROWS;
        parallel_for(n_strips, 1, add_strips, &job);
    }
}

void gram_mean(const struct gram *gram, float *h)
{
    size_t n = gram->n, stride = stride_of(n);
    double scale = gram->tokens > 0 ? 1.0 / (double)gram->tokens : 0.0;

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            h[i * n + j] = h[j * n + i] = (float)(gram->sum[i * stride + j] * scale);
}
