/*
 * factor.c - columns halved until a base is left, the products between halves in tiles
 */
#include "quantize/compensate/factor.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { DEPTH = 256, BUNDLE = FACTOR_BASE, COLUMNS = FACTOR_COLUMNS, BASE = FACTOR_BASE };

factor_kernel *factor_best(void)
{
#ifdef CARAT_X86
    if (cpu_level() == CPU_AVX512)
        return factor_avx512;
    if (cpu_level() == CPU_AVX2)
        return factor_avx2;
#endif
    return factor_scalar;
}

size_t factor_scratch(size_t n)
{
    return n * DEPTH;
}

struct work {
    const double *c; /* [n][n], the factor, done or in the making */
    double *to; /* [n][n]: what products are subtracted from: c itself, or the inverse */
    double *packed; /* strips of COLUMNS columns, DEPTH rows each */
    factor_kernel *kernel;
    size_t n, columns;         /* of `to`: [columns, columns_end) */
    size_t columns_end, first; /* the first row of `to` */
    size_t k, depth;           /* columns of c in hand */
    bool is_inverse;
};

/* ---- products ---- */

/* Below the diagonal of the inverse only: rows above a strip's columns are zero. */
static size_t skipped(const struct work *w, size_t column)
{
    if (!w->is_inverse || column <= w->k)
        return 0;
    return column - w->k < w->depth ? column - w->k : w->depth;
}

/* Strips [begin, end) of the right factor: rows of c turned, or columns of the inverse. */
static void pack_strips(void *arg, size_t begin, size_t end)
{
    const struct work *w = arg;

    for (size_t s = begin; s < end; s++) {
        const size_t column = w->columns + s * COLUMNS;
        double *out = w->packed + s * COLUMNS * DEPTH;

        for (size_t k = 0; k < w->depth && w->is_inverse; k++)
            memcpy(out + k * COLUMNS, w->to + (w->k + k) * w->n + column,
                   COLUMNS * sizeof(*out));
        for (size_t j = 0; j < COLUMNS && !w->is_inverse; j++)
            for (size_t k = 0; k < w->depth; k++)
                out[k * COLUMNS + j] = w->c[(column + j) * w->n + w->k + k];
    }
}

/* Bundles of rows, each with every strip that has something on or below the diagonal. */
static void subtract_bundles(void *arg, size_t begin, size_t end)
{
    const struct work *w = arg;

    for (size_t b = begin; b < end; b++) {
        const size_t row = w->first + b * BUNDLE;

        for (size_t column = w->columns; column < w->columns_end && column < row + BUNDLE;
             column += COLUMNS) {
            const size_t skip = skipped(w, column);
            const double *strip =
                w->packed + (column - w->columns) * DEPTH + skip * COLUMNS;

            for (size_t i = row; i < row + BUNDLE; i += FACTOR_ROWS)
                w->kernel(w->c + i * w->n + w->k + skip, w->n, strip, w->depth - skip,
                          w->to + i * w->n + column, w->n);
        }
    }
}

/* to[rows][columns] -= c[rows][from .. until) * what stands there for `columns`. */
static void subtract(struct work *w, size_t rows, size_t rows_end, size_t from,
                     size_t until)
{
    w->first = rows;
    for (w->k = from; w->k < until; w->k += w->depth) {
        w->depth = until - w->k < DEPTH ? until - w->k : DEPTH;
        parallel_for((w->columns_end - w->columns) / COLUMNS, 4, pack_strips, w);
        parallel_for((rows_end - rows) / BUNDLE, 1, subtract_bundles, w);
    }
}

/* ---- the factor ---- */

static size_t middle(size_t first, size_t last)
{
    return first + (last - first) / 2 / BASE * BASE;
}

/* Columns [first, j) of a row of c are done with, those before first are subtracted: what is left of
 * column j. */
static double rest(const double *row, const double *pivot, size_t first, size_t j)
{
    double value = row[j];

    for (size_t k = first; k < j; k++)
        value -= row[k] * pivot[k];
    return value;
}

/* Rows below the base at w->k. */
static void below_base(void *arg, size_t begin, size_t end)
{
    const struct work *w = arg;

    for (size_t i = w->k + BASE + begin; i < w->k + BASE + end; i++)
        for (size_t j = w->k; j < w->k + BASE; j++) {
            double *row = w->to + i * w->n;
            const double *pivot = w->c + j * w->n;

            row[j] = rest(row, pivot, w->k, j) / pivot[j];
        }
}

static bool factor_base(struct work *w, size_t first)
{
    for (size_t i = first; i < first + BASE; i++) {
        double *row = w->to + i * w->n;

        for (size_t j = first; j < i; j++)
            row[j] = rest(row, w->c + j * w->n, first, j) / w->c[j * w->n + j];
        const double pivot = rest(row, row, first, i);
        if (!(pivot > 0) || !isfinite(pivot))
            return false;
        row[i] = sqrt(pivot);
    }
    w->k = first;
    parallel_for(w->n - first - BASE, 32, below_base, w);
    return true;
}

static bool factor_columns(struct work *w, size_t first, size_t last)
{
    const size_t mid = middle(first, last);

    if (last - first == BASE)
        return factor_base(w, first);
    if (!factor_columns(w, first, mid))
        return false;
    w->columns = mid;
    w->columns_end = last;
    subtract(w, mid, w->n, first, mid);
    return factor_columns(w, mid, last);
}

bool factor_cholesky(double *c, size_t n, factor_kernel *kernel, double *scratch)
{
    struct work w = {.c = c, .to = c, .packed = scratch, .kernel = kernel, .n = n};

    assert(n > 0 && n % BASE == 0);
    return factor_columns(&w, 0, n);
}

/* ---- its inverse ---- */

/* Columns [begin, end) of the base's rows. */
static void invert_base(void *arg, size_t begin, size_t end)
{
    const struct work *w = arg;

    for (size_t i = w->k; i < w->k + BASE; i++) {
        const double *row = w->c + i * w->n;
        double *out = w->to + i * w->n;

        for (size_t k = w->k; k < i; k++) {
            const double *in = w->to + k * w->n;
            const size_t stop = k < end ? k + 1 : end;

            for (size_t j = begin; j < stop; j++)
                out[j] -= row[k] * in[j];
        }
        for (size_t j = begin; j < end && j < i; j++)
            out[j] /= row[i];
        if (begin <= i && i < end)
            out[i] = 1.0 / row[i];
    }
}

static void invert_rows(struct work *w, size_t first, size_t last)
{
    const size_t mid = middle(first, last);

    if (last - first == BASE) {
        w->k = first;
        parallel_for(first + BASE, 256, invert_base, w);
        return;
    }
    invert_rows(w, first, mid);
    w->columns = 0;
    w->columns_end = mid;
    subtract(w, mid, last, first, mid);
    invert_rows(w, mid, last);
}

void factor_invert(const double *c, size_t n, factor_kernel *kernel, double *x,
                   double *scratch)
{
    struct work w = {
        .c = c, .to = x, .packed = scratch, .kernel = kernel, .n = n, .is_inverse = true};

    assert(n > 0 && n % BASE == 0);
    memset(x, 0, n * n * sizeof(*x));
    invert_rows(&w, 0, n);
}
