/*
 * grid_rows.c - weights that lie on a grid of 4-bit codes, told by their first rows
 */
#include "convert/checkpoint/checkpoint.h"

#include <stdlib.h>

enum { SAMPLE_ROWS = 64, GRID_COLUMNS = 32 };

/* At least this share of the sample's blocks lies on a grid: what training leaves, minus blocks that
 * rounding to bfloat16 spoiled. Weights that were not trained so have practically none. */
static const double GRID_SHARE = 0.9;

enum status source_on_grid(const struct source_tensor *t, bool *answer, struct error *err)
{
    const uint64_t cols = source_cols(t), rows = source_rows(t);
    const uint64_t n = rows < SAMPLE_ROWS ? rows : SAMPLE_ROWS;
    float *x;
    enum status st;

    *answer = false;
    if (cols % GRID_COLUMNS != 0 || n == 0)
        return OK;
    x = malloc((size_t)(n * cols) * sizeof(*x));
    if (!x)
        return fail(err, ERR_NOMEM, "%s: no memory for rows", t->name);
    st = source_read(t, 0, n, x, err);
    if (st == OK && quantize_all_finite(x, (size_t)(n * cols), &(size_t){0}))
        *answer = (double)quantize_count_grid(x, (size_t)n, (size_t)cols) >=
                  GRID_SHARE * (double)(n * cols / GRID_COLUMNS);
    free(x);
    return st;
}
