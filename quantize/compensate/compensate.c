/*
 * compensate.c - rows in tiles of lanes: gather, round, pack
 */
#include "quantize/compensate/compensate.h"

#include "quantize/compensate/feedback_table.h"
#include "quantize/compensate/pack_codes.h"

#include <math.h>
#include <stdlib.h>

const struct feedback_core *feedback_at(enum cpu_level level)
{
    if (!cpu_can_run(level))
        return NULL;
    switch (level) {
    case CPU_SCALAR:
        return &feedback_scalar;
#ifdef CARAT_X86
    case CPU_AVX2:
        return &feedback_avx2;
    case CPU_AVX512:
        return &feedback_avx512;
#endif
    default:
        return NULL;
    }
}

const struct feedback_core *feedback_best(void)
{
    const struct feedback_core *core = feedback_at(cpu_level());

    return core ? core : &feedback_scalar;
}

/* ---- one tile's memory ---- */

/* Lanes a tile needs: four arrays of n, four of sub-blocks, two of super-blocks. */
static size_t tile_lanes(const struct metric *m)
{
    return 4 * m->n + 4 * (m->n / m->geometry.sub) + 2 * (m->n / m->geometry.super);
}

static struct tile tile_at(const struct metric *m, struct lane *memory)
{
    size_t n = m->n, n_subs = n / m->geometry.sub, n_supers = n / m->geometry.super;
    struct tile tile;

    tile.w = memory;
    tile.e = tile.w + n;
    tile.code = tile.e + n;
    tile.u = tile.code + n;
    tile.scale = tile.u + n;
    tile.offset = tile.scale + n_subs;
    tile.sc = tile.offset + n_subs;
    tile.mn = tile.sc + n_subs;
    tile.d = tile.mn + n_subs;
    tile.dmin = tile.d + n_supers;
    return tile;
}

struct job {
    const struct metric *metric;
    const struct feedback_core *core;
    const float *w;
    uint8_t *out;
    size_t n_rows, row_bytes;
    struct lane *memory; /* tile_lanes() a thread */
    double *loss;        /* a row */
};

/* Tiles [begin, end) of LANES rows. */
static void round_tiles(void *arg, size_t begin, size_t end)
{
    const struct job *job = arg;
    const struct metric *m = job->metric;
    size_t n = m->n;
    struct lane *memory = job->memory + (size_t)parallel_index() * tile_lanes(m);
    struct tile tile = tile_at(m, memory);

    for (size_t t = begin; t < end; t++) {
        size_t first = t * LANES;
        size_t n_lanes = job->n_rows - first < LANES ? job->n_rows - first : LANES;
        double loss[LANES];

        memset(memory, 0, tile_lanes(m) * sizeof(*memory));
        for (size_t r = 0; r < n_lanes; r++)
            for (size_t k = 0; k < n; k++)
                tile.w[k].v[r] = job->w[(first + r) * n + m->order[k]];
        job->core->round(m, &tile, loss);
        for (size_t r = 0; r < n_lanes; r++) {
            pack_row(m, &tile, r, job->out + (first + r) * job->row_bytes);
            job->loss[first + r] = loss[r];
        }
    }
}

enum status compensate_rows(const struct metric *metric, const float *w, size_t n_rows,
                            void *out, double *loss, struct error *err)
{
    struct job job = {
        .metric = metric,
        .core = feedback_best(),
        .w = w,
        .out = out,
        .n_rows = n_rows,
        .row_bytes = block_row_bytes(metric->geometry.type, metric->n),
    };
    size_t n_threads = (size_t)parallel_threads();
    enum status st = OK;

    job.memory = calloc(n_threads * tile_lanes(metric), sizeof(*job.memory));
    job.loss = calloc(n_rows + 1, sizeof(*job.loss));
    if (!job.memory || !job.loss) {
        st = fail(err, ERR_NOMEM, "no memory for tiles of %zu columns", metric->n);
        goto out;
    }
    parallel_for((n_rows + LANES - 1) / LANES, 1, round_tiles, &job);
    if (loss) {
        *loss = 0;
        for (size_t r = 0; r < n_rows; r++)
            *loss += job.loss[r];
    }

out:
    free(job.memory);
    free(job.loss);
    return st;
}

/* ---- the loss of any rounding ---- */

struct loss_job {
    const float *h, *w, *q;
    size_t n;
    double *loss, *scratch; /* a row; n a thread */
};

static void loss_of_rows(void *arg, size_t begin, size_t end)
{
    const struct loss_job *job = arg;
    size_t n = job->n;
    double *delta = job->scratch + (size_t)parallel_index() * n;

    for (size_t r = begin; r < end; r++) {
        double sum = 0;

        for (size_t j = 0; j < n; j++)
            delta[j] = (double)job->w[r * n + j] - (double)job->q[r * n + j];
        for (size_t i = 0; i < n; i++) {
            const float *row = job->h + i * n;
            double part[8] = {0};
            size_t j = 0;

            for (; j + 8 <= n; j += 8)
                for (size_t p = 0; p < 8; p++)
                    part[p] += (double)row[j + p] * delta[j + p];
            for (size_t p = 0; j < n; j++, p++)
                part[p] += (double)row[j] * delta[j];
            for (size_t p = 1; p < 8; p++)
                part[0] += part[p];
            sum += part[0] * delta[i];
        }
        job->loss[r] = sum;
    }
}

enum status layer_loss(const float *h, size_t n, const float *w, const float *q,
                       size_t n_rows, double *loss, struct error *err)
{
    struct loss_job job = {.h = h, .w = w, .q = q, .n = n};
    enum status st = OK;

    job.loss = calloc(n_rows + 1, sizeof(*job.loss));
    job.scratch = calloc((size_t)parallel_threads() * n, sizeof(*job.scratch));
    if (!job.loss || !job.scratch) {
        st = fail(err, ERR_NOMEM, "no memory for the loss of %zu columns", n);
        goto out;
    }
    parallel_for(n_rows, 4, loss_of_rows, &job);
    *loss = 0;
    for (size_t r = 0; r < n_rows; r++)
        *loss += job.loss[r];

out:
    free(job.loss);
    free(job.scratch);
    return st;
}
