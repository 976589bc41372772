/*
 * gram.c - sums of x x^T, threads owning strips of the result
 */
#include "formats/moments/gram.h"

#include "formats/moments/layout.h"

#include <stdlib.h>

enum { STRIPS = 4 }; /* of the result, that a thread makes together */

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

/* The lower triangle of a group is kept as strips of GRAM_TILE rows, whole tiles each: strip i has
 * i + 1 of them, so that no tile is cut at the edge and nothing above the diagonal is kept. */
static size_t strips_of(size_t group)
{
    return (group + GRAM_TILE - 1) / GRAM_TILE;
}

/* Where strip i begins; of the last strip and one more: how many numbers a group has. */
static size_t strip_at(size_t i)
{
    return (size_t)GRAM_TILE * GRAM_TILE / 2 * i * (i + 1);
}

static size_t group_numbers(const struct gram *gram)
{
    return strip_at(strips_of(gram->group));
}

size_t moments_group_columns(size_t n)
{
    const size_t unit = n % 256 == 0 ? 256 : n % 32 == 0 ? 32 : 1;
    size_t groups = (n + MOMENTS_COLUMNS - 1) / MOMENTS_COLUMNS;

    if (n == 0)
        return 0;
    while (n % groups != 0 || n / groups % unit != 0)
        groups++;
    return n / groups;
}

uint64_t gram_bytes(size_t n)
{
    const uint64_t group = moments_group_columns(n), strips = strips_of(group);

    return group ? n / group * (strips * (strips + 1) / 2) * GRAM_TILE * GRAM_TILE *
                       sizeof(double)
                 : 0;
}

enum status gram_new(size_t n, struct gram *gram, struct error *err)
{
    size_t square, count;

    *gram = (struct gram){.n = n, .group = moments_group_columns(n)};
    if (n > 0 && mul_size(gram->group + GRAM_TILE, gram->group + GRAM_TILE, &square) &&
        mul_size(square, n / gram->group, &count)) {
        count = n / gram->group * group_numbers(gram);
        gram->sum = calloc(count, sizeof(*gram->sum));
    }
    return gram->sum ? OK
                     : fail(err, ERR_NOMEM, "no memory for %zu x %zu second moments", n,
                            gram->group);
}

enum status gram_new_diagonal(size_t n, struct gram *gram, struct error *err)
{
    *gram = (struct gram){.n = n, .group = n, .is_diagonal = true};
    gram->sum = calloc(n + 1, sizeof(*gram->sum));
    return gram->sum ? OK : fail(err, ERR_NOMEM, "no memory for %zu second moments", n);
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

/* Strip `strip` of `group`: GRAM_TILE columns of every row, packed; zeros past the edge. */
static void pack(const struct strip_job *job, size_t group, size_t strip, float *out)
{
    const size_t n = job->gram->n, first = strip * GRAM_TILE;
    const size_t left = first < job->gram->group ? job->gram->group - first : 0;
    const size_t width = left < GRAM_TILE ? left : GRAM_TILE;
    const float *x = job->x + group * job->gram->group + first;

    for (size_t t = 0; t < job->n_rows; t++, out += GRAM_TILE) {
        memcpy(out, x + t * n, width * sizeof(*out));
        for (size_t j = width; j < GRAM_TILE; j++)
            out[j] = 0;
    }
}

/* Strips [first, first + n) of a group's lower triangle: a strip of columns is packed once for
 * all of them. */
static void add_strips(const struct strip_job *job, size_t group, size_t first, size_t n)
{
    double *sum = job->gram->sum + group * group_numbers(job->gram);
    float a[STRIPS][GRAM_ROWS * GRAM_TILE], b[GRAM_ROWS * GRAM_TILE];

    for (size_t i = 0; i < n; i++)
        pack(job, group, first + i, a[i]);
    for (size_t j = 0; j < first + n; j++) {
        pack(job, group, j, b);
        for (size_t i = j > first ? j - first : 0; i < n; i++)
            job->tile(a[i], b, job->n_rows, sum + strip_at(first + i) + j * GRAM_TILE,
                      (first + i + 1) * GRAM_TILE);
    }
}

/* Bundles of STRIPS strips, those of the groups one after the other. */
static void add_bundles(void *arg, size_t begin, size_t end)
{
    const struct strip_job *job = arg;
    const size_t n_strips = strips_of(job->gram->group);
    const size_t n_bundles = (n_strips + STRIPS - 1) / STRIPS;

    for (size_t i = begin; i < end; i++) {
        const size_t first = i % n_bundles * STRIPS;

        add_strips(job, i / n_bundles, first,
                   n_strips - first < STRIPS ? n_strips - first : STRIPS);
    }
}

/* Columns [begin, end) of a diagonal: as a tile sums them. */
static void add_squares(void *arg, size_t begin, size_t end)
{
    const struct strip_job *job = arg;
    const size_t n = job->gram->n;

    for (size_t j = begin; j < end; j++) {
        float sum = 0;

        for (size_t t = 0; t < job->n_rows; t++)
            sum += job->x[t * n + j] * job->x[t * n + j];
        job->gram->sum[j] += (double)sum;
    }
}

void gram_add(struct gram *gram, const float *x, size_t n_rows)
{
    struct strip_job job = {.gram = gram, .tile = tile_best()};
    const size_t n_strips = strips_of(gram->group);
    const size_t n_bundles = (n_strips + STRIPS - 1) / STRIPS;

    gram->tokens += n_rows;
    for (size_t done = 0; done < n_rows; done += job.n_rows) {
        job.x = x + done * gram->n;
        job.n_rows = n_rows - done < GRAM_ROWS ? n_rows - done : GRAM_ROWS;
        if (gram->is_diagonal)
            parallel_for(gram->n, 512, add_squares, &job);
        else
            parallel_for(gram->n / gram->group * n_bundles, 1, add_bundles, &job);
    }
}

void gram_file(const struct gram *gram, size_t group, float *h)
{
    const double scale = gram->tokens > 0 ? 1.0 / (double)gram->tokens : 0.0;
    const double *sum = gram->sum + group * (gram->is_diagonal ? 0 : group_numbers(gram));

    for (size_t j = 0; gram->is_diagonal && j < gram->n; j++)
        h[j] = (float)(sum[j] * scale);
    for (size_t i = 0; !gram->is_diagonal && i < gram->group; i++) {
        const size_t strip = i / GRAM_TILE;
        const double *row =
            sum + strip_at(strip) + i % GRAM_TILE * (strip + 1) * GRAM_TILE;

        for (size_t j = 0; j <= i; j++)
            h[triangle(i) + j] = (float)(row[j] * scale);
    }
}

void gram_mean(const struct gram *gram, float *h)
{
    const size_t n = gram->group;

    assert(!gram->is_diagonal);
    for (size_t g = 0; g < gram->n / n; g++, h += n * n) {
        gram_file(gram, g, h);
        for (size_t i = n; i-- > 0;) /* rows only move up */
            memmove(h + i * n, h + triangle(i), (i + 1) * sizeof(*h));
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++)
                h[j * n + i] = h[i * n + j];
    }
}
