/*
 * method.c - how each tensor's rows are rounded
 *
 * Weights that come from quantization-aware training lie on a grid of 4-bit codes; searching or
 * pushing errors around would take them off it. They are told by their first rows.
 */
#include "convert/feedback.h"

#include <stdlib.h>

enum { SAMPLE_ROWS = 64, GRID_COLUMNS = 32 };

/* At least this share of the sample's blocks lies on a grid: what training leaves, minus blocks that
 * rounding to bfloat16 spoiled. Weights that were not trained so have practically none. */
static const double GRID_SHARE = 0.9;

static enum status is_on_grid(const struct work_item *item, bool *answer,
                              struct error *err)
{
    const uint64_t cols = item->e->ne[0];
    const uint64_t n = item->n_rows < SAMPLE_ROWS ? item->n_rows : SAMPLE_ROWS;
    float *x;
    enum status st;

    *answer = false;
    if (cols % GRID_COLUMNS != 0 || n == 0)
        return OK;
    x = malloc((size_t)(n * cols) * sizeof(*x));
    if (!x)
        return fail(err, ERR_NOMEM, "%s: no memory for rows", item->e->name);
    st = source_read(item->e->t, 0, n, x, err);
    if (st == OK && quantize_all_finite(x, (size_t)(n * cols), &(size_t){0}))
        *answer = (double)quantize_count_grid(x, (size_t)n, (size_t)cols) >=
                  GRID_SHARE * (double)(n * cols / GRID_COLUMNS);
    free(x);
    return st;
}

enum status work_decide_method(const struct work *work, struct work_item *item,
                               struct error *err)
{
    const struct block_info *info = block_type_info(item->type);
    bool on_grid;
    enum status st;

    item->method = METHOD_PLAIN;
    if (work->method == METHOD_PLAIN || !info->is_quantized ||
        item->type == item->e->kept)
        return OK;
    st = is_on_grid(item, &on_grid, err);
    if (st != OK)
        return st;
    if (on_grid)
        item->method = item->type == TYPE_Q4_0 ? METHOD_GRID : METHOD_PLAIN;
    else if (work->moments && work->method == METHOD_COMPENSATE &&
             feedback_covers(work->moments, item))
        item->method = METHOD_COMPENSATE;
    else if (quantize_can(item->type, METHOD_SEARCH))
        item->method = METHOD_SEARCH;
    return OK;
}
