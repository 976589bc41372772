/*
 * draft.c - a drafter's pass: four layers that read another model's keys and values
 *
 *     x      = W_pre [ e(token) ; hidden ]       e: the target's scaled embedding
 *     blocks at one position, the first without keys, whichever guess it is
 *     y      = norm(x);  guess = first largest of E y;  hidden = W_post y for the next guess
 *
 * With an ordered head only the rows of E that are likely to hold it are looked at.
 */
#include "runtime/ordered_head.h"
#include "runtime/pass.h"

#include <stdlib.h>

struct drafter {
    struct runtime *rt;
    const struct runtime *target;
    struct ordered_head *head; /* owned; NULL: the whole embedding is looked through */
    float *input;              /* 2 * n_embd of the target: embedding, then hidden */
};

/* The target's last layer of this kind with keys of its own, or -1. */
static int64_t source_layer(const struct config *target, enum rope_kind kind)
{
    for (uint32_t i = target->n_own_kv; i > 0; i--)
        if (target->layers[i - 1].rope == kind)
            return (int64_t)i - 1;
    return -1;
}

static enum status link_layer(struct runtime *rt, const struct runtime *target,
                              uint32_t i, struct error *err)
{
    struct layer_facts *layer = &rt->config.layers[i];
    int64_t source = source_layer(&target->config, layer->rope);
    const struct layer_facts *from = source < 0 ? NULL : &target->config.layers[source];

    if (!from || from->n_kv_heads != layer->n_kv_heads ||
        from->head_dim != layer->head_dim)
        return fail(err, ERR_USAGE,
                    "%s: layer %u wants %u key heads of width %u, which %s does not have",
                    rt->model->path, i, layer->n_kv_heads, layer->head_dim,
                    target->model->path);
    layer->kv_layer = (uint32_t)source;
    return OK;
}

static enum status link(struct runtime *rt, const struct runtime *target,
                        struct error *err)
{
    enum status st = OK;

    if (!rt->config.family->is_drafter)
        return fail(err, ERR_USAGE, "%s: a %s model is no drafter", rt->model->path,
                    rt->config.family->architecture);
    if (rt->config.n_embd_out != target->config.n_embd ||
        rt->weights.n_vocab != target->weights.n_vocab)
        return fail(err, ERR_USAGE,
                    "%s: made for a model of width %u and %zu pieces; %s has %u and %zu",
                    rt->model->path, rt->config.n_embd_out, rt->weights.n_vocab,
                    target->model->path, target->config.n_embd, target->weights.n_vocab);
    for (uint32_t i = 0; i < rt->config.n_layers && st == OK; i++)
        st = link_layer(rt, target, i, err);
    return st;
}

enum status drafter_new(struct runtime *rt, const struct runtime *target,
                        struct drafter **out, struct error *err)
{
    struct drafter *d;
    enum status st = link(rt, target, err);

    if (st != OK || (st = scratch_reserve(rt, 1, err)) != OK)
        return st;
    d = calloc(1, sizeof(*d));
    if (d)
        d->input = calloc(2 * (size_t)target->config.n_embd, sizeof(*d->input));
    if (!d || !d->input) {
        drafter_free(d);
        return fail(err, ERR_NOMEM, "no memory for a drafter");
    }
    d->rt = rt;
    d->target = target;
    st = ordered_head_open(rt, &d->head, err);
    if (st != OK) {
        drafter_free(d);
        return st;
    }
    *out = d;
    return OK;
}

void drafter_free(struct drafter *drafter)
{
    if (!drafter)
        return;
    ordered_head_free(drafter->head);
    free(drafter->input);
    free(drafter);
}

/* The likeliest token after the stream, which has its final norm. */
static int32_t pick(struct drafter *d, struct pass *p)
{
    struct runtime *rt = d->rt;
    const struct weights *w = &rt->weights;
    float *logits = rt->scratch.logits;
    int32_t best;

    if (d->head) {
        best = ordered_head_pick(d->head, p->x, rt->tap ? logits : NULL);
    } else {
        pass_multiply(p, -1, &w->output, p->x, logits);
        best = (int32_t)kernels_argmax(logits, w->n_vocab);
    }
    tap_rows(p, "logits", -1, w->n_vocab, logits);
    return best;
}

/* One guess; the hidden half of the input becomes the next step's. */
static enum status guess(struct drafter *d, struct pass *p, int32_t token, int32_t *out,
                         struct error *err)
{
    struct runtime *rt = d->rt;
    const struct weights *w = &rt->weights;
    size_t n_target = d->target->config.n_embd;
    enum status st = OK;

    embed_rows(d->target, &token, 1, d->input); /* its own row, whatever it stands for */
    pass_multiply(p, -1, &w->pre_proj, d->input, p->x);
    tap_rows(p, "embed", -1, rt->config.n_embd, p->x);
    for (uint32_t i = 0; i < rt->config.n_layers && st == OK; i++)
        st = block_step(p, i, err);
    if (st != OK)
        return st;
    final_norm(p);
    *out = pick(d, p);
    pass_multiply(p, -1, &w->post_proj, p->x, d->input + n_target);
    tap_rows(p, "projected", -1, n_target, d->input + n_target);
    return OK;
}

enum status drafter_guess(struct drafter *drafter, struct sequence *seq, int32_t token,
                          const float *hidden, size_t n, int32_t *tokens,
                          struct error *err)
{
    size_t n_target = drafter->target->config.n_embd;
    struct pass p = {.rt = drafter->rt,
                     .seq = seq,
                     .position = seq->length,
                     .end = seq->length,
                     .n = 1,
                     .x = drafter->rt->scratch.x};
    enum status st = OK;

    if (seq->rt != drafter->target || seq->length == 0)
        return fail(err, ERR_USAGE, "a drafter needs its target's text, and some of it");
    memcpy(drafter->input + n_target, hidden, n_target * sizeof(*hidden));
    rope_fill(&p);
    for (size_t i = 0; i < n && st == OK; i++) {
        st = guess(drafter, &p, token, &tokens[i], err);
        token = tokens[i];
    }
    return st;
}
