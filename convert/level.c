/*
 * level.c - a source's entries shown to convert/equalize, and taken back
 */
#include "convert/source.h"

#include <stdlib.h>

/* Dead tensors are nobody's inputs. */
static enum status show(struct source *src, const enum block_type *types,
                        struct equalize_model *model, struct error *err)
{
    *model = (struct equalize_model){.meta = src->meta, .arena = &src->arena};
    model->tensors =
        arena_array(&src->arena, src->n_entries + 1, sizeof(*model->tensors));
    if (!model->tensors)
        return fail(err, ERR_NOMEM, "%s: no memory for equalization", src->path);
    for (size_t i = 0; i < src->n_entries; i++) {
        struct source_entry *e = &src->entries[i];
        struct equalize_tensor *t = &model->tensors[model->n_tensors];

        if (e->is_dead)
            continue;
        *t = (struct equalize_tensor){.name = e->name,
                                      .t = e->t,
                                      .kept = e->kept,
                                      .grid = &e->grid,
                                      .type = types ? types[i] : e->kept,
                                      .n_dims = e->n_dims};
        memcpy(t->ne, e->ne, sizeof(t->ne));
        model->n_tensors++;
    }
    return OK;
}

static void take_back(struct source *src, const struct equalize_model *model)
{
    size_t n = 0;

    for (size_t i = 0; i < src->n_entries; i++) {
        struct source_entry *e = &src->entries[i];

        if (e->is_dead)
            continue;
        e->t = model->tensors[n].t;
        e->kept = model->tensors[n++].kept;
    }
}

enum status source_replay(struct source *src, const struct gguf_meta *keys,
                          struct error *err)
{
    struct equalize_model model;
    size_t n_inputs = 0;
    enum status st = show(src, NULL, &model, err);

    if (st == OK)
        st = equalize_replay(&model, keys, &n_inputs, err);
    if (st != OK || n_inputs == 0)
        return st;
    take_back(src, &model);
    return source_note(src, err, "rewritten with the factors of %zu equalized inputs",
                       n_inputs);
}

enum status source_equalize(struct source *src, const enum block_type *types,
                            const struct equalize_choice *choice,
                            struct equalization **out, struct error *err)
{
    struct equalize_model model;
    enum status st = show(src, types, &model, err);

    if (st == OK)
        st = equalize_decide(&model, choice, out, err);
    if (st != OK)
        return st;
    take_back(src, &model);
    const struct equalize_counts n = equalize_counts(*out);
    return source_note(
        src, err,
        "equalized %zu of %zu inputs: %zu whole, %zu where channels stand "
        "out; %zu not rounded anew%s",
        n.n_full + n.n_sparse, n.n_inputs, n.n_full, n.n_sparse, n.n_barred,
        n.n_unknown ? "; some from the weights alone, without statistics" : "");
}
