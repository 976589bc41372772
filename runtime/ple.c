/*
 * ple.c - per-layer embeddings: a small vector a layer and token, let in through a gate
 *
 *     ctx = norm(W_p x / sqrt(n_embd)), a slice a layer
 *     ple = (ctx + sqrt(n_ple) * row of the table) / sqrt(2)     ctx alone without a table
 *     x  += norm(W_proj (gelu(W_gate x) * ple))                  after the feed-forward branch
 *
 * ple_project() needs only the embedding, and the table's rows are on their way from disk while it
 * and the first layer run; ple_join() waits for them.
 */
#include "runtime/pass.h"

#include <math.h>

enum { ROW_GRAIN = 4, PIECE = 1024 };

static size_t row_width(const struct pass *p)
{
    return (size_t)p->rt->config.n_layers * p->rt->config.n_ple;
}

void ple_project(struct pass *p)
{
    const struct config *c = &p->rt->config;
    const struct weights *w = &p->rt->weights;
    const struct kernels *k = p->rt->kernels;

    if (c->n_ple == 0)
        return;
    p->ple = p->rt->scratch.ple;
    pass_multiply(p, -1, &w->ple_proj, p->x, p->ple);
    kernels_scale(k, p->ple, 1.0f / sqrtf((float)c->n_embd), p->n * row_width(p));
    kernels_rms_norm(k, p->ple, w->ple_norm, p->n * c->n_layers, c->n_ple, c->eps,
                     p->ple);
}

/* Let the table's part in: rows [begin, end) of the batch, a piece of a row at a time. */
static void join_rows(void *arg, size_t begin, size_t end)
{
    const struct pass *p = arg;
    const struct runtime *rt = p->rt;
    size_t width = row_width(p);
    float root = sqrtf((float)rt->config.n_ple);
    float piece[PIECE];

    for (size_t t = begin; t < end; t++) {
        for (size_t at = 0; at < width; at += PIECE) {
            size_t n = width - at < PIECE ? width - at : PIECE;

            ple_rows_get(rt->ple_rows, t, at, n, piece);
            kernels_add_scaled(rt->kernels, p->ple + t * width + at, piece, root, n);
        }
        kernels_scale(rt->kernels, p->ple + t * width, sqrtf(0.5f), width);
    }
}

enum status ple_join(struct pass *p, struct error *err)
{
    enum status st;

    if (p->rt->config.n_ple == 0)
        return OK;
    if (p->rt->ple_rows) {
        st = ple_rows_wait(p->rt->ple_rows, err);
        if (st != OK)
            return st;
        parallel_for(p->n, ROW_GRAIN, join_rows, p);
    }
    tap_rows(p, "ple", -1, row_width(p), p->ple);
    return OK;
}

struct gating {
    const struct pass *p;
    uint32_t layer;
};

static void gate_rows(void *arg, size_t begin, size_t end)
{
    const struct gating *g = arg;
    const struct runtime *rt = g->p->rt;
    size_t n_ple = rt->config.n_ple;

    for (size_t t = begin; t < end; t++) {
        float *gate = rt->scratch.gate + t * n_ple;

        kernels_gelu_mul(rt->kernels, gate,
                         g->p->ple + t * row_width(g->p) + g->layer * n_ple, n_ple, gate);
    }
}

/* Show what the slices are multiplied with: gelu(gate), by itself only for whoever looks. */
static void tap_gate(struct pass *p, uint32_t i)
{
    struct scratch *s = &p->rt->scratch;
    const size_t n = p->n * p->rt->config.n_ple;

    if (!p->rt->tap)
        return;
    for (size_t j = 0; j < n; j++)
        s->up[j] = 1.0f;
    kernels_gelu_mul(p->rt->kernels, s->gate, s->up, n, s->up);
    tap_rows(p, "ple_gate", (int)i, p->rt->config.n_ple, s->up);
}

void ple_step(struct pass *p, uint32_t i)
{
    const struct config *c = &p->rt->config;
    const struct layer_weights *w = &p->rt->weights.layers[i];
    const struct kernels *k = p->rt->kernels;
    struct scratch *s = &p->rt->scratch;

    pass_multiply(p, (int)i, &w->inp_gate, p->x, s->gate);
    tap_gate(p, i);
    parallel_for(p->n, ROW_GRAIN, gate_rows, &(struct gating){.p = p, .layer = i});
    pass_multiply(p, (int)i, &w->proj, s->gate, s->branch);
    kernels_rms_norm(k, s->branch, w->post_norm, p->n, c->n_embd, c->eps, s->branch);
    kernels_add(k, p->x, s->branch, p->n * c->n_embd);
}
