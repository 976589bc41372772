/*
 * denoise.c - one step of block diffusion: a canvas of tokens seen all at once
 *
 *     sc = sqrt(n_embd) * softmax(logits of the step before) E        0 in the first step
 *     u  = norm(sc);   x = norm(sqrt(n_embd) E[c] + W_down (gelu(W_gate u) * W_up u))
 *     layers as for text, with scales of their own; every canvas position sees the whole canvas
 *     and what the text's next position would see of the text
 *
 * The canvas's keys and values lie in the cache behind the text's, and are written over by the
 * next step.
 */
#include "runtime/pass.h"

#include <math.h>
#include <stdlib.h>

enum { ROW_GRAIN = 8 };

struct mixing {
    const struct runtime *rt;
    const float *shares; /* n rows of n_vocab, which add up to 1 */
    float *out;          /* n rows of n_embd */
};

/* Rows [begin, end): the embedding's rows, mixed. A row of E is decoded once for them all. */
static void mix_rows(void *arg, size_t begin, size_t end)
{
    const struct mixing *m = arg;
    const struct matrix *e = &m->rt->weights.token_embd.matrix;
    const size_t width = e->n_cols, row_bytes = block_row_bytes(e->type, width);
    float *row = m->rt->scratch.branch + begin * width; /* free until the layers run */

    memset(m->out + begin * width, 0, (end - begin) * width * sizeof(*m->out));
    for (size_t v = 0; v < e->n_rows; v++) {
        block_decode(e->type, (const uint8_t *)e->data + v * row_bytes, row, width);
        for (size_t t = begin; t < end; t++)
            kernels_add_scaled(m->rt->kernels, m->out + t * width, row,
                               m->shares[t * e->n_rows + v], width);
    }
}

/* s->h = what the step before thought, as embeddings; zero before the first. */
static enum status recall(const struct pass *p, const float *previous, struct error *err)
{
    const struct runtime *rt = p->rt;
    const size_t n_vocab = rt->weights.n_vocab, width = rt->config.n_embd;
    float *h = rt->scratch.h, *shares;

    memset(h, 0, p->n * width * sizeof(*h));
    if (!previous)
        return OK;
    shares = malloc(p->n * n_vocab * sizeof(*shares));
    if (!shares)
        return fail(err, ERR_NOMEM, "no memory for the step before");
    memcpy(shares, previous, p->n * n_vocab * sizeof(*shares));
    for (size_t t = 0; t < p->n; t++)
        kernels_softmax(rt->kernels, shares + t * n_vocab, n_vocab);
    parallel_for(p->n, ROW_GRAIN, mix_rows,
                 &(struct mixing){.rt = rt, .shares = shares, .out = h});
    kernels_scale(rt->kernels, h, sqrtf((float)width), p->n * width);
    free(shares);
    return OK;
}

static void condition(struct pass *p)
{
    const struct config *c = &p->rt->config;
    const struct weights *w = &p->rt->weights;
    const struct kernels *k = p->rt->kernels;
    struct scratch *s = &p->rt->scratch;
    const size_t n = p->n * c->n_embd;

    kernels_rms_norm(k, s->h, w->condition_norm, p->n, c->n_embd, c->eps, s->h);
    pass_multiply(p, -1, &w->condition_gate, s->h, s->gate);
    pass_multiply(p, -1, &w->condition_up, s->h, s->up);
    kernels_gelu_mul(k, s->gate, s->up, p->n * w->condition_gate.matrix.n_rows, s->gate);
    pass_multiply(p, -1, &w->condition_down, s->gate, s->branch);
    kernels_add(k, p->x, s->branch, n);
    kernels_rms_norm(k, p->x, NULL, p->n, c->n_embd, c->eps, p->x);
    tap_rows(p, "embed", -1, c->n_embd, p->x);
}

static enum status check(const struct runtime *rt, const struct sequence *seq,
                         const int32_t *ids, size_t n, struct error *err)
{
    if (!rt->config.family->is_denoiser)
        return fail(err, ERR_USAGE, "a %s model has no canvas",
                    rt->config.family->architecture);
    if (n == 0 || n > seq->n_ctx - seq->length || n > seq->max_batch)
        return fail(err, ERR_USAGE,
                    "a canvas of %zu after %u tokens does not fit a context of %u", n,
                    seq->length, seq->n_ctx);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= rt->weights.n_vocab)
            return fail(err, ERR_USAGE, "token id %d is not in 0 .. %zu", ids[i],
                        rt->weights.n_vocab - 1);
    return OK;
}

enum status runtime_denoise(struct runtime *rt, struct sequence *seq,
                            const int32_t *canvas, size_t n, const float *previous,
                            const struct logits_sink *sink, struct error *err)
{
    struct pass p = {.rt = rt,
                     .seq = seq,
                     .position = seq->length,
                     .end = seq->length + (uint32_t)n,
                     .n = n,
                     .on_canvas = true};
    enum status st = check(rt, seq, canvas, n, err);

    if (st != OK || (st = scratch_reserve(rt, n, err)) != OK)
        return st;
    p.x = rt->scratch.x;
    st = recall(&p, previous, err);
    if (st != OK)
        return st;
    embed_rows(rt, canvas, n, p.x);
    condition(&p);
    rope_fill(&p);
    for (uint32_t i = 0; i < rt->config.n_layers && st == OK; i++)
        st = block_step(&p, i, err);
    if (st == OK)
        pass_finish(&p, sink);
    return st;
}
