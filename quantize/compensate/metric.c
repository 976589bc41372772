/*
 * metric.c - from second moments to a visiting order and a triangular factor
 *
 * With P the reversal of the order, the Cholesky factor C of P H' P gives V = P C P, upper
 * triangular with H' = V V^T, and U = V^-1 = P C^-1 P. Both steps are in float64, since condition
 * numbers of 1e6 are normal before damping; the result is stored in float32.
 */
#include "quantize/compensate/metric.h"

#include "quantize/compensate/factor.h"

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

/* What a factorisation works on; [n][n] each but for the scratch. */
struct factor {
    double *c, *x, *scratch;
};

struct fill {
    const float *h;
    struct metric *metric;
    const struct factor *f;
    double shrink, ridge;
};

/* Rows [begin, end) of H' as its factor wants it, in reverse; and as it is. */
static void fill_rows(void *arg, size_t begin, size_t end)
{
    const struct fill *fill = arg;
    struct metric *m = fill->metric;
    const size_t n = m->n;

    for (size_t k = begin; k < end; k++)
        for (size_t j = 0; j < n; j++) {
            const double value = damped(fill->h, m, k, j, fill->shrink, fill->ridge);

            m->h[k * n + j] = (float)value;
            if (j >= k)
                fill->f->c[(n - 1 - k) * n + (n - 1 - j)] = value;
        }
}

/* Bands of 16 rows of l: columns of x from behind. */
static void turn_bands(void *arg, size_t begin, size_t end)
{
    const struct fill *fill = arg;
    struct metric *m = fill->metric;
    const size_t n = m->n;

    for (size_t band = begin * FACTOR_BASE; band < end * FACTOR_BASE; band += FACTOR_BASE)
        for (size_t j = 0; j < n; j++)
            for (size_t k = band; k < band + FACTOR_BASE; k++)
                m->l[k * n + j] =
                    j <= k ? (float)fill->f->x[(n - 1 - j) * n + (n - 1 - k)] : 0.0f;
}

/* Factor with this ridge on the diagonal; fills h, l and inv_diag. False: not positive. */
static bool try_factor(const float *h, struct metric *metric, double shrink, double ridge,
                       const struct factor *f)
{
    const size_t n = metric->n;
    struct fill fill = {h, metric, f, shrink, ridge};

    parallel_for(n, 16, fill_rows, &fill);
    if (!factor_cholesky(f->c, n, factor_best(), f->scratch))
        return false;
    factor_invert(f->c, n, factor_best(), f->x, f->scratch);
    parallel_for(n / FACTOR_BASE, 1, turn_bands, &fill);
    for (size_t k = 0; k < n; k++)
        metric->inv_diag[k] = 1.0f / metric->l[k * n + k];
    return true;
}

enum status metric_new(const float *h, size_t n, enum block_type type,
                       const struct metric_options *options, struct metric **out,
                       struct error *err)
{
    const struct geometry *shape = geometry_find(type);
    struct metric *metric = NULL;
    struct factor f = {0};
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
    f.scratch = malloc(factor_scratch(n) * sizeof(*f.scratch));
    if (metric) {
        *metric = (struct metric){.n = n, .geometry = *shape, .sweeps = options->sweeps};
        metric->order = calloc(n, sizeof(*metric->order));
        metric->l = malloc(square / 2);
        metric->h = malloc(square / 2);
        metric->inv_diag = calloc(n, sizeof(*metric->inv_diag));
    }
    if (!metric || !f.c || !f.x || !f.scratch || !metric->order || !metric->l ||
        !metric->h || !metric->inv_diag) {
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
    free(f.scratch);
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
