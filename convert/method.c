/*
 * method.c - how each tensor's rows are rounded
 *
 * Weights that come from quantization-aware training lie on a grid of 4-bit codes; searching or
 * pushing errors around would take them off it.
 */
#include "convert/feedback.h"

/* The embedding of a model with a head of its own: its rows are read, never multiplied. */
static bool is_input_only(const struct work *work, const struct work_item *item)
{
    if (strcmp(item->e->name, "token_embd.weight") != 0)
        return false;
    for (size_t i = 0; i < work->src->n_entries; i++)
        if (strcmp(work->src->entries[i].name, "output.weight") == 0)
            return true;
    return false;
}

enum status work_decide_method(struct work *work, struct work_item *item,
                               struct error *err)
{
    enum status st;

    item->method = METHOD_PLAIN;
    if (work->method == METHOD_PLAIN || !block_type_info(item->type)->is_quantized ||
        work_is_repacked(item))
        return OK;
    st = source_find_grid(item->e->t, &item->e->grid, err);
    if (st != OK)
        return st;
    work->n_off_grid += item->e->grid == GRID_ON && item->type != TYPE_Q4_0;
    if (item->e->grid == GRID_ON)
        item->method = item->type == TYPE_Q4_0 ? METHOD_GRID : METHOD_PLAIN;
    else if (work->method == METHOD_COMPENSATE && !is_input_only(work, item) &&
             feedback_covers(work->moments, item))
        item->method = METHOD_COMPENSATE;
    else if (quantize_can(item->type, METHOD_SEARCH))
        item->method = METHOD_SEARCH;
    return OK;
}
