/*
 * equalize.c - decide, input by input, in the order that lets one rewrite see the one before
 */
#include "convert/equalize/rewrite.h"

#include <stdlib.h>

/* ---- parts ---- */

enum status rewrite_parts(const struct equalize_model *model, const struct rewrite *rw,
                          size_t set, struct part **out, size_t *n, struct error *err)
{
    size_t room = 0, at = 0;

    for (size_t i = 0; i < rw->n_readers; i++)
        room += (size_t)model->tensors[rw->readers[i].tensor].ne[2];
    *out = arena_array(model->arena, room + 1, sizeof(**out));
    if (!*out)
        return fail(err, ERR_NOMEM, "%s: no memory for its readers", rw->name);
    for (size_t i = 0; i < rw->n_readers; i++) {
        const struct equalize_tensor *e = &model->tensors[rw->readers[i].tensor];
        const bool has_own = rw->n_sets > 1;

        for (uint64_t m = has_own ? set : 0; m < (has_own ? set + 1 : e->ne[2]); m++)
            (*out)[at++] = (struct part){e, &rw->readers[i], m};
    }
    *n = at;
    return OK;
}

/* ---- what may be rewritten ---- */

/* Weights that are rounded anew, and not on a grid. */
static enum status may_change(const struct equalize_tensor *e, bool *answer,
                              struct error *err)
{
    const struct block_info *info = block_type_info(e->type);

    *answer = e->type == TYPE_F32;
    if (!info || !info->is_quantized || e->type == e->kept)
        return OK;
    const enum status st = source_find_grid(e->t, e->grid, err);
    *answer = *e->grid == GRID_OFF;
    return st;
}

static bool is_norm(const struct equalize_model *model, const struct side *side)
{
    return !side->is_rows && model->tensors[side->tensor].ne[1] == 1;
}

/* All tensors that take part may change; where the gate decides, some reader must be quantized. */
static enum status is_open(const struct equalize_model *model, const struct rewrite *rw,
                           bool is_gated, bool *answer, struct error *err)
{
    bool any_blocks = !is_gated;
    enum status st = OK;

    *answer = true;
    for (size_t i = 0; i < rw->n_producers && st == OK && *answer; i++) {
        const struct side *side = &rw->producers[i];

        if (is_norm(model, side))
            *answer = model->tensors[side->tensor].type == TYPE_F32;
        else
            st = may_change(&model->tensors[side->tensor], answer, err);
    }
    for (size_t i = 0; i < rw->n_readers && st == OK && *answer; i++) {
        const struct equalize_tensor *e = &model->tensors[rw->readers[i].tensor];

        any_blocks |= block_type_info(e->type)->is_quantized;
        st = may_change(e, answer, err);
    }
    *answer &= any_blocks;
    return st;
}

/* ---- one input ---- */

enum outcome { LEFT, SPARSE, FULL };

static bool any_step(const int8_t *k, size_t n)
{
    for (size_t j = 0; j < n; j++)
        if (k[j])
            return true;
    return false;
}

/* Only what is beyond a factor of sqrt(2). */
static void make_sparse(const int8_t *k, size_t n, int8_t *sparse)
{
    for (size_t j = 0; j < n; j++)
        sparse[j] = abs(k[j]) < EQUALIZE_STEPS / 2 ? 0 : k[j];
}

/* A simpler choice wins when it loses at most this much more than the best. */
static const double as_good = 1.02;

static enum outcome choose(const double losses[2], bool judged)
{
    if (!judged)
        return SPARSE;
    const double best = losses[0] < losses[1] ? losses[0] : losses[1];
    if (1.0 <= as_good * (best < 1.0 ? best : 1.0))
        return LEFT;
    return losses[1] <= as_good * best ? SPARSE : FULL;
}

/* Factors of one set, in k. */
static enum status decide_set(struct equalize_model *model, const struct rewrite *rw,
                              size_t set, const struct equalize_choice *choice, int8_t *k,
                              int8_t *sparse, enum outcome *outcome, bool *known,
                              struct error *err)
{
    const int8_t *const candidates[2] = {k, sparse};
    double losses[2];
    bool judged = false;
    enum status st = factors_find(model, rw, set, choice, k, known, err);

    *outcome = FULL;
    if (st != OK || !choice->is_gated)
        return st;
    make_sparse(k, rw->n, sparse);
    st = gate_losses(model, rw, set, choice, candidates, 2, losses, &judged, err);
    if (st != OK)
        return st;
    *outcome = choose(losses, judged);
    if (*outcome == LEFT)
        memset(k, 0, rw->n);
    else if (*outcome == SPARSE)
        memcpy(k, sparse, rw->n);
    return OK;
}

static enum status decide_input(struct equalize_model *model, struct rewrite *rw,
                                const struct equalize_choice *choice,
                                struct equalize_counts *counts, struct error *err)
{
    int8_t *k = arena_array(model->arena, rw->n_sets + 1, rw->n + 1);
    int8_t *sparse = malloc(rw->n + 1);
    enum outcome most = LEFT, outcome;
    bool known = true, all_known = true;
    enum status st = OK;

    if (!k || !sparse)
        st = fail(err, ERR_NOMEM, "%s: no memory for its factors", rw->name);
    for (size_t set = 0; set < rw->n_sets && st == OK; set++) {
        st = decide_set(model, rw, set, choice, k + set * rw->n, sparse, &outcome, &known,
                        err);
        if (st == OK && any_step(k + set * rw->n, rw->n)) {
            most = outcome > most ? outcome : most;
            all_known &= known;
        }
    }
    free(sparse);
    if (st != OK || most == LEFT)
        return st;
    rw->k = k;
    counts->n_full += most == FULL;
    counts->n_sparse += most == SPARSE;
    counts->n_unknown += !all_known;
    st = rewrite_apply(model, rw, err);
    return st == OK ? rewrite_statistics(model, rw, choice, err) : st;
}

enum status equalize_decide(struct equalize_model *model,
                            const struct equalize_choice *choice,
                            struct equalization **out, struct error *err)
{
    struct equalization *eq = arena_alloc(model->arena, sizeof(*eq));
    enum status st;

    if (!eq)
        return fail(err, ERR_NOMEM, "no memory for equalization");
    eq->is_gated = choice->is_gated;
    st = rewrites_list(model, &eq->rewrites, &eq->n_rewrites, err);
    eq->counts.n_inputs = st == OK ? eq->n_rewrites : 0;
    for (size_t i = 0; i < eq->n_rewrites && st == OK; i++) {
        bool open = false;

        st = is_open(model, &eq->rewrites[i], choice->is_gated, &open, err);
        if (st == OK && open)
            st = decide_input(model, &eq->rewrites[i], choice, &eq->counts, err);
        else
            eq->counts.n_barred++;
    }
    *out = eq;
    return st;
}

struct equalize_counts equalize_counts(const struct equalization *eq)
{
    return eq->counts;
}
