/*
 * grid_rows.c - weights that lie on a grid of 4-bit codes, told by some of their rows
 */
#include "convert/checkpoint/checkpoint.h"

#include <stdlib.h>

/* Runs of rows, evenly spread: a table's first ones are often not trained at all. */
enum { RUNS = 8, RUN_ROWS = 8, GRID_COLUMNS = 32 };

/* At least this share of the sample's blocks lies on a grid: what training leaves, minus blocks that
 * rounding to bfloat16 spoiled. Weights that were not trained so have practically none. */
static const double GRID_SHARE = 0.9;

struct tally {
    size_t n_blocks, n_exact; /* but for blocks of zeros, which are on every grid */
};

static bool is_zero(const float *block)
{
    for (size_t i = 0; i < GRID_COLUMNS; i++)
        if (block[i] != 0.0F)
            return false;
    return true;
}

/* Rows [first, first + n). A value that is not finite puts its block off the grid. */
static enum status look(const struct source_tensor *t, uint64_t first, uint64_t n,
                        float *x, struct tally *tally, struct error *err)
{
    const size_t count = (size_t)(n * source_cols(t));
    const enum status st = source_read(t, first, n, x, err);

    for (size_t i = 0; st == OK && i < count; i += GRID_COLUMNS) {
        if (is_zero(x + i))
            continue;
        tally->n_blocks++;
        if (quantize_all_finite(x + i, GRID_COLUMNS, &(size_t){0}))
            tally->n_exact += quantize_count_grid(x + i, 1, GRID_COLUMNS);
    }
    return st;
}

enum status source_find_grid(const struct source_tensor *t, enum grid *grid,
                             struct error *err)
{
    const uint64_t cols = source_cols(t), rows = source_rows(t);
    const bool is_small = rows <= RUNS * RUN_ROWS;
    const uint64_t run = is_small ? rows : RUN_ROWS, n_runs = is_small ? 1 : RUNS;
    struct tally tally = {0};
    enum status st = OK;
    float *x;

    if (*grid != GRID_UNKNOWN)
        return OK;
    if (cols % GRID_COLUMNS != 0 || rows == 0 || cols == 0) {
        *grid = GRID_OFF;
        return OK;
    }
    x = malloc((size_t)(run * cols) * sizeof(*x));
    if (!x)
        return fail(err, ERR_NOMEM, "%s: no memory for rows", t->name);
    for (uint64_t i = 0; st == OK && i < n_runs; i++) {
        const uint64_t first = n_runs > 1 ? (rows - run) / (n_runs - 1) * i : 0;

        st = look(t, first, run, x, &tally, err);
    }
    if (st == OK)
        *grid = tally.n_blocks > 0 &&
                        (double)tally.n_exact >= GRID_SHARE * (double)tally.n_blocks
                    ? GRID_ON
                    : GRID_OFF;
    free(x);
    return st;
}
