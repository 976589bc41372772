/*
 * method.c - how each tensor's rows are rounded
 *
 * Weights that come from quantization-aware training lie on a grid of 4-bit codes; searching or
 * pushing errors around would take them off it.
 */
#include "convert/feedback.h"
#include "quantize/compensate/compensate.h"

#include <inttypes.h>
#include <stdio.h>

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

/* Whether error feedback would round the item if its input's second moments were known; whose they are. */
static bool wants_moments(const struct work *work, const struct work_item *item,
                          char input[MOMENTS_NAME])
{
    return (item->method == METHOD_SEARCH || item->method == METHOD_COMPENSATE) &&
           compensate_can(item->type) && !is_input_only(work, item) &&
           moments_input(item->e->name, item->e->n_dims == 3 ? 0 : -1, input);
}

enum status work_note_moments(struct work *work, const char *path, struct error *err)
{
    size_t n = 0, n_without = 0;
    char input[MOMENTS_NAME], first[MOMENTS_NAME] = "";

    if (work->method != METHOD_COMPENSATE || !work->moments)
        return OK;
    for (size_t i = 0; i < work->n_items; i++) {
        const struct work_item *item = &work->items[i];
        struct moments_entry entry;

        if (!wants_moments(work, item, input))
            continue;
        if (moments_find(work->moments, input, &entry) && entry.n != item->e->ne[0])
            return fail(err, ERR_SHAPE,
                        "%s: %s has %zu columns (%" PRIu64 " of %s expected)", path,
                        input, entry.n, item->e->ne[0], item->e->name);
        if (item->method != METHOD_COMPENSATE && n_without++ == 0)
            snprintf(first, sizeof(first), "%s", input);
        n++;
    }
    if (n_without == 0)
        return OK;
    if (n_without == n)
        return fail(err, ERR_USAGE,
                    "%s: nothing of this model's inputs is in it (%s expected)", path,
                    first);
    return source_note(work->src, err, "%zu of %zu matrices are searched: %s lacks %s%s",
                       n_without, n, path, first, n_without > 1 ? " and others" : "");
}
