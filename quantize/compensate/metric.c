/*
 * metric.c - from second moments to a visiting order and a triangular factor
 *
 * With P the reversal of the order, the Cholesky factor C of P H' P gives V = P C P, upper
 * triangular with H' = V V^T, and U = V^-1 = P C^-1 P. Both steps are in float64, since condition
 * numbers of 1e6 are normal before damping; the result is stored in float32.
 */
#include "quantize/compensate/metric.h"

#include <math.h>
#include <stdlib.h>

static const struct geometry geometries[] = {
    {TYPE_Q4_0, 32, 32, -8, 7, false, false},
    {TYPE_Q5_0, 32, 32, -16, 15, false, false},
    {TYPE_Q8_0, 32, 32, -127, 127, false, false},
    {TYPE_Q4_1, 32, 32, 0, 15, true, false},
    {TYPE_Q5_1, 32, 32, 0, 31, true, false},
    {TYPE_Q4_K, 256, 32, 0, 15, true, true},
    {TYPE_Q5_K, 256, 32, 0, 31, true, true},
    {TYPE_Q6_K, 256, 16, -32, 31, false, true},
};

const struct geometry *geometry_find(enum block_type type)
{
    for (size_t i = 0; i < sizeof(geometries) / sizeof(geometries[0]); i++)
        if (geometries[i].type == type)
            return &geometries[i];
    return NULL;
}

bool compensate_can(enum block_type type)
{
    return geometry_find(type) != NULL;
}

/* ---- the order of visits ---- */

/* A run of columns and its energy, for sorting. */
struct group {
    double energy;
    uint32_t first;
};

static int by_energy(const void *left, const void *right)
{
    const struct group *a = left, *b = right;

    if (a->energy != b->energy)
        return a->energy > b->energy ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

/* Sort the runs of `width` columns that make up [first, first + n) by falling energy. */
static size_t sort_groups(const float *h, size_t n_cols, size_t first, size_t n,
                          size_t width, struct group *groups)
{
    size_t n_groups = n / width;

    for (size_t g = 0; g < n_groups; g++) {
        size_t start = first + g * width;

        groups[g] = (struct group){0, (uint32_t)start};
        for (size_t j = start; j < start + width; j++)
            groups[g].energy += (double)h[j * n_cols + j];
    }
    qsort(groups, n_groups, sizeof(*groups), by_energy);
    return n_groups;
}

/* Super-blocks, sub-blocks within them and columns within those, each by falling energy: errors
 * of loud columns are then corrected by quiet ones, and a block's scale is fixed before its first
 * column is rounded. */
static enum status choose_order(const float *h, struct metric *metric, struct error *err)
{
    const struct geometry *shape = &metric->geometry;
    size_t n = metric->n;
    struct group *groups = calloc(n + 2 * shape->super, sizeof(*groups));

    if (!groups)
        return fail(err, ERR_NOMEM, "no memory for %zu columns", n);
    struct group *subs = groups + n / shape->super;
    struct group *columns = subs + shape->super / shape->sub;
    size_t k = 0;
    size_t n_supers = sort_groups(h, n, 0, n, shape->super, groups);

    for (size_t s = 0; s < n_supers; s++) {
        size_t n_subs =
            sort_groups(h, n, groups[s].first, shape->super, shape->sub, subs);

        for (size_t b = 0; b < n_subs; b++) {
            size_t n_columns = sort_groups(h, n, subs[b].first, shape->sub, 1, columns);

            for (size_t j = 0; j < n_columns; j++)
                metric->order[k++] = columns[j].first;
        }
    }
    free(groups);
    return OK;
}

/* ---- float64 kernels with a fixed order of additions ---- */

enum { PANEL = 32, PARTIALS = 8 };

static double dot(const double *a, const double *b, size_t n)
{
    double part[PARTIALS] = {0};
    size_t i = 0;

    for (; i + PARTIALS <= n; i += PARTIALS)
        for (size_t p = 0; p < PARTIALS; p++)
            part[p] += a[i + p] * b[i + p];
    for (size_t p = 0; i < n; i++, p++)
        part[p] += a[i] * b[i];
    return ((part[0] + part[4]) + (part[1] + part[5])) +
           ((part[2] + part[6]) + (part[3] + part[7]));
}

struct factor {
    double *c;             /* [n][n], lower triangle */
    double *x;             /* [n][n], the inverse, lower triangle */
    size_t n, first, last; /* the panel of columns in hand */
};

/* Columns [first, last) of rows [begin, end) below the panel's own rows. */
static void below_panel(void *arg, size_t begin, size_t end)
{
    const struct factor *f = arg;

    for (size_t i = f->last + begin; i < f->last + end; i++)
        for (size_t j = f->first; j < f->last; j++) {
            double *row = f->c + i * f->n;
            const double *pivot = f->c + j * f->n;

            row[j] = (row[j] - dot(row, pivot, j)) / pivot[j];
        }
}

/* Cholesky in place on the lower triangle; false when a pivot is not positive. */
static bool cholesky(struct factor *f)
{
    for (f->first = 0; f->first < f->n; f->first = f->last) {
        f->last = f->first + PANEL < f->n ? f->first + PANEL : f->n;
        for (size_t i = f->first; i < f->last; i++) {
            double *row = f->c + i * f->n;

            for (size_t j = f->first; j < i; j++)
                row[j] = (row[j] - dot(row, f->c + j * f->n, j)) / f->c[j * f->n + j];
            double pivot = row[i] - dot(row, row, i);
            if (!(pivot > 0) || !isfinite(pivot))
                return false;
            row[i] = sqrt(pivot);
        }
        parallel_for(f->n - f->last, 16, below_panel, f);
    }
    return true;
}

/* Columns [begin, end) of the inverse of the lower triangle, row after row. */
static void invert_columns(void *arg, size_t begin, size_t end)
{
    const struct factor *f = arg;
    size_t n = f->n;

    for (size_t i = begin; i < n; i++) {
        const double *row = f->c + i * n;
        double *out = f->x + i * n;
        size_t stop = i < end ? i : end;

        for (size_t k = begin; k < i; k++) {
            const double *in = f->x + k * n;
            double weight = row[k];
            size_t until = k + 1 < stop ? k + 1 : stop;

            for (size_t j = begin; j < until; j++)
                out[j] -= weight * in[j];
        }
        for (size_t j = begin; j < stop; j++)
            out[j] /= row[i];
        if (i < end)
            out[i] = 1.0 / row[i];
    }
}

/* ---- putting it together ---- */

/* H' of the visiting order, from position (i, j). */
static double damped(const float *h, const struct metric *metric, size_t i, size_t j,
                     double shrink, double ridge)
{
    size_t a = metric->order[i], b = metric->order[j];
    double value = (double)h[a * metric->n + b];

    return a == b ? value + ridge : (1.0 - shrink) * value;
}

static double mean_energy(const float *h, size_t n)
{
    double sum = 0;

    for (size_t j = 0; j < n; j++)
        sum += (double)h[j * n + j];
    return sum / (double)n;
}

/* Factor with this ridge on the diagonal; fills h, l and inv_diag. False: not positive. */
static bool try_factor(const float *h, struct metric *metric, double shrink, double ridge,
                       struct factor *f)
{
    size_t n = metric->n;

    memset(f->x, 0, n * n * sizeof(*f->x));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            f->c[i * n + j] = damped(h, metric, n - 1 - i, n - 1 - j, shrink, ridge);
    if (!cholesky(f))
        return false;
    parallel_for(n, 64, invert_columns, f);

    for (size_t k = 0; k < n; k++) {
        for (size_t j = 0; j < n; j++) {
            metric->h[k * n + j] = (float)damped(h, metric, k, j, shrink, ridge);
            metric->l[k * n + j] =
                j <= k ? (float)f->x[(n - 1 - j) * n + (n - 1 - k)] : 0.0f;
        }
        metric->inv_diag[k] = 1.0f / metric->l[k * n + k];
    }
    return true;
}

enum status metric_new(const float *h, size_t n, enum block_type type,
                       const struct metric_options *options, struct metric **out,
                       struct error *err)
{
    const struct geometry *shape = geometry_find(type);
    struct metric *metric = NULL;
    struct factor f = {.n = n};
    enum status st = OK;
    double mean = mean_energy(h, n);
    size_t square;

    assert(shape && n > 0 && n % shape->super == 0);
    if (!isfinite(mean) || mean < 0)
        return fail(err, ERR_CORRUPT, "second moments are not finite and non-negative");
    if (!mul_size(n, n, &square) || !mul_size(square, sizeof(double), &square))
        return fail(err, ERR_NOMEM, "no memory for %zu x %zu second moments", n, n);

    metric = calloc(1, sizeof(*metric));
    f.c = malloc(square);
    f.x = malloc(square);
    if (metric) {
        *metric = (struct metric){.n = n, .geometry = *shape, .sweeps = options->sweeps};
        metric->order = calloc(n, sizeof(*metric->order));
        metric->l = malloc(square / 2);
        metric->h = malloc(square / 2);
        metric->inv_diag = calloc(n, sizeof(*metric->inv_diag));
    }
    if (!metric || !f.c || !f.x || !metric->order || !metric->l || !metric->h ||
        !metric->inv_diag) {
        st = fail(err, ERR_NOMEM, "no memory for %zu x %zu second moments", n, n);
        goto out;
    }
    st = choose_order(h, metric, err);
    if (st != OK)
        goto out;

    double damping = options->damping;
    double shrink = mean > 0 ? options->shrink : 0;
    bool done = false;
    for (int tries = 0; tries < 4 && !done; tries++) {
        /* No energy at all: the identity. */
        done = try_factor(h, metric, shrink, mean > 0 ? damping * mean : 1.0, &f);
        if (!done && tries < 3)
            log_warn("second moments of %zu columns are not positive with damping %g: "
                     "trying %g",
                     n, damping, damping > 0 ? damping * 10 : 1e-3);
        damping = damping > 0 ? damping * 10 : 1e-3;
    }
    if (!done)
        st = fail(err, ERR_CORRUPT, "second moments are not positive semi-definite");

out:
    free(f.c);
    free(f.x);
    if (st == OK)
        *out = metric;
    else
        metric_free(metric);
    return st;
}

void metric_free(struct metric *metric)
{
    if (!metric)
        return;
    free(metric->order);
    free(metric->l);
    free(metric->h);
    free(metric->inv_diag);
    free(metric);
}
