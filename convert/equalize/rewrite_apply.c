/*
 * rewrite_apply.c - source tensors whose rows and columns are multiplied as they are decoded
 */
#include "convert/equalize/rewrite.h"

#include <math.h>
#include <stdlib.h>

/* Multiplications in F32: rows first, then columns. */
struct scaled {
    const struct source_tensor *base;
    uint64_t rows_a_mat;
    float *rows;      /* one a row of all matrices, or NULL */
    float *cols;      /* [n_sets][columns], or NULL */
    size_t n_columns; /* of one set */
    bool has_sets;    /* a set of column factors for each matrix */
};

float equalize_factor(int k)
{
    /* 2^(i/16) */
    static const float roots[EQUALIZE_STEPS] = {
        0x1p0F,        0x1.0b5586p0F, 0x1.172b84p0F, 0x1.2387a6p0F,
        0x1.306fe0p0F, 0x1.3dea64p0F, 0x1.4bfdaep0F, 0x1.5ab07ep0F,
        0x1.6a09e6p0F, 0x1.7a1148p0F, 0x1.8ace54p0F, 0x1.9c4918p0F,
        0x1.ae89fap0F, 0x1.c199bep0F, 0x1.d5818ep0F, 0x1.ea4afap0F};
    const int up = k + EQUALIZE_MOST;

    return ldexpf(roots[up % EQUALIZE_STEPS],
                  up / EQUALIZE_STEPS - EQUALIZE_MOST / EQUALIZE_STEPS);
}

size_t side_factor(const struct side *side, uint64_t c)
{
    return (size_t)(c / (side->width * side->repeat) * side->width + c % side->width);
}

/* ---- the provider ---- */

static size_t scaled_bytes(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    const struct scaled *s = t->self;

    return s->base->provider->fetch_bytes(s->base, first, n);
}

static enum status scaled_fetch(const struct source_tensor *t, uint64_t first, uint64_t n,
                                void *raw, struct error *err)
{
    const struct scaled *s = t->self;

    return s->base->provider->fetch(s->base, first, n, raw, err);
}

static void scaled_decode(const struct source_tensor *t, const struct fetched *in,
                          uint64_t from, uint64_t n, float *x)
{
    const struct scaled *s = t->self;
    const size_t cols = (size_t)source_cols(t);

    s->base->provider->decode(s->base, in, from, n, x);
    for (uint64_t r = from; r < from + n; r++, x += cols) {
        const float *by =
            s->cols ? s->cols + (s->has_sets ? r / s->rows_a_mat * s->n_columns : 0)
                    : NULL;

        for (size_t c = 0; s->rows && c < cols; c++)
            x[c] *= s->rows[r];
        for (size_t c = 0; by && c < cols; c++)
            x[c] *= by[c];
    }
}

static const struct provider scaled_provider = {
    .fetch_bytes = scaled_bytes, .fetch = scaled_fetch, .decode = scaled_decode};

static float *ones(struct arena *arena, size_t n)
{
    float *x = arena_array(arena, n, sizeof(*x));

    for (size_t i = 0; x && i < n; i++)
        x[i] = 1.0F;
    return x;
}

/* The wrapper of a tensor, put around it when there is none. NULL: memory. */
static struct scaled *wrap(struct equalize_model *model, size_t tensor)
{
    struct equalize_tensor *e = &model->tensors[tensor];
    struct source_tensor *t;
    struct scaled *s;

    if (e->is_rewritten) /* only wrap() sets it, so this is one of ours */
        return (struct scaled *)(uintptr_t)e->t->self;
    t = arena_alloc(model->arena, sizeof(*t));
    s = arena_alloc(model->arena, sizeof(*s));
    if (!t || !s)
        return NULL;
    *s = (struct scaled){.base = e->t, .rows_a_mat = e->ne[1]};
    *t = *e->t;
    t->transform = strcmp(t->transform, "copy") == 0
                       ? "equalize"
                       : arena_printf(model->arena, "%s, equalize", t->transform);
    t->exact = TYPE_F32;
    t->provider = &scaled_provider;
    t->self = s;
    e->t = t;
    e->kept = TYPE_F32;
    e->is_rewritten = true;
    return t->transform ? s : NULL;
}

/* ---- one rewrite ---- */

static bool scale_rows(struct equalize_model *model, const struct rewrite *rw,
                       const struct side *side)
{
    const uint64_t *ne = model->tensors[side->tensor].ne;
    struct scaled *s = wrap(model, side->tensor);

    if (s && !s->rows)
        s->rows = ones(model->arena, (size_t)(ne[1] * ne[2]));
    if (!s || !s->rows)
        return false;
    for (size_t set = 0; set < rw->n_sets; set++)
        for (size_t j = 0; j < rw->n; j++)
            s->rows[set * ne[1] + side->first + j] *=
                equalize_factor(rw->k[set * rw->n + j]);
    return true;
}

static bool scale_columns(struct equalize_model *model, const struct rewrite *rw,
                          const struct side *side, int sign)
{
    const uint64_t *ne = model->tensors[side->tensor].ne;
    struct scaled *s = wrap(model, side->tensor);

    if (s && !s->cols) {
        s->n_columns = (size_t)ne[0];
        s->has_sets = rw->n_sets > 1;
        s->cols = ones(model->arena, rw->n_sets * s->n_columns);
    }
    if (!s || !s->cols)
        return false;
    for (size_t set = 0; set < rw->n_sets; set++)
        for (size_t c = 0; c < s->n_columns; c++)
            s->cols[set * s->n_columns + c] *=
                equalize_factor(sign * rw->k[set * rw->n + side_factor(side, c)]);
    return true;
}

enum status rewrite_apply(struct equalize_model *model, const struct rewrite *rw,
                          struct error *err)
{
    bool fits = true;

    for (size_t i = 0; fits && i < rw->n_producers; i++)
        fits = rw->producers[i].is_rows ? scale_rows(model, rw, &rw->producers[i])
                                        : scale_columns(model, rw, &rw->producers[i], 1);
    for (size_t i = 0; fits && i < rw->n_readers; i++)
        fits = scale_columns(model, rw, &rw->readers[i], -1);
    return fits ? OK : fail(err, ERR_NOMEM, "no memory for factors of %s", rw->name);
}

/* ---- statistics ---- */

/* The input of one matrix of a reader; s has room for a factor a column. */
static enum status rescale_part(const struct rewrite *rw, const struct part *part,
                                const struct equalize_choice *choice, size_t set,
                                float *s, struct error *err)
{
    const struct equalize_tensor *e = part->tensor;
    struct moments_entry entry;
    char input[MOMENTS_NAME];

    for (uint64_t c = 0; c < e->ne[0]; c++)
        s[c] = equalize_factor(rw->k[set * rw->n + side_factor(part->side, c)]);
    if (choice->stats)
        stats_rescale(choice->stats, e->name, part->matrix, s, (size_t)e->ne[0]);
    if (!part_moments(choice, part, input, &entry))
        return OK;
    return moments_rescale(choice->moments, input, s, (size_t)e->ne[0], err);
}

enum status rewrite_statistics(const struct equalize_model *model,
                               const struct rewrite *rw,
                               const struct equalize_choice *choice, struct error *err)
{
    const size_t cols = (size_t)model->tensors[rw->readers[0].tensor].ne[0];
    float *s = malloc((cols + 1) * sizeof(*s)); /* readers are as wide as each other */
    enum status st = s ? OK : fail(err, ERR_NOMEM, "no memory for factors");

    for (size_t set = 0; set < rw->n_sets && st == OK; set++) {
        struct part *parts = NULL;
        size_t n = 0;

        st = rewrite_parts(model, rw, set, &parts, &n, err);
        for (size_t i = 0; i < n && st == OK; i++)
            st = rescale_part(rw, &parts[i], choice, set, s, err);
    }
    free(s);
    return st;
}
