/*
 * slabs.c - cut a plan into slabs
 */
#include "convert/slabs.h"

struct slab_cursor slabs_begin(const struct work *work)
{
    return (struct slab_cursor){.work = work};
}

static uint64_t rows_a_slab(const struct work_item *item)
{
    const uint64_t cols = item->e->ne[0];
    const uint64_t n = cols ? SLAB_WEIGHTS / cols : 1;

    return n ? n : 1;
}

/* Where the next tensor of the same file begins, or the file ends. */
static uint64_t end_of(const struct work *work, size_t at)
{
    const int file = work->items[at].file;

    for (size_t i = at + 1; i < work->n_items; i++)
        if (work->items[i].file == file)
            return work->items[i].offset;
    return work->files[file].n_bytes;
}

bool slabs_next(struct slab_cursor *cursor, struct slab *out)
{
    const struct work *work = cursor->work;
    struct slab *next = &cursor->next;

    if (next->item == work->n_items)
        return false;

    const struct work_item *item = &work->items[next->item];
    const uint64_t left = item->n_rows - next->first, most = rows_a_slab(item);
    next->n_rows = left < most ? left : most;
    next->file = item->file;
    next->offset = item->offset + next->first * item->row_bytes;
    next->n_bytes = (size_t)next->n_rows * item->row_bytes;
    next->n_padding = 0;
    if (next->n_rows == left)
        next->n_padding =
            (size_t)(end_of(work, next->item) - next->offset - next->n_bytes);
    *out = *next;

    next->number++;
    next->first += next->n_rows;
    if (next->first == item->n_rows) {
        next->item++;
        next->first = 0;
    }
    return true;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

struct slab_sizes slabs_sizes(const struct work *work)
{
    struct slab_cursor cursor = slabs_begin(work);
    struct slab_sizes sizes = {0};
    struct slab slab;

    while (slabs_next(&cursor, &slab)) {
        const struct work_item *item = &work->items[slab.item];
        const struct source_tensor *t = item->e->t;

        sizes.raw =
            max_size(sizes.raw, t->provider->fetch_bytes(t, slab.first, slab.n_rows));
        sizes.packed = max_size(sizes.packed, slab.n_bytes);
        sizes.row = max_size(sizes.row, (size_t)item->e->ne[0]);
    }
    return sizes;
}
