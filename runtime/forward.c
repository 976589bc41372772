/*
 * forward.c - one pass, to be read beside the specification
 *
 *     x = E[id] * sqrt(n_embd)
 *     for every layer:  attention, MLP (with experts), per-layer embedding, x *= scale
 *     logits = cap * tanh(E norm(x) / cap)
 */
#include "runtime/pass.h"

#include <math.h>
#include <stdlib.h>

void embed_rows(const struct runtime *rt, const int32_t *rows, size_t n, float *x)
{
    const struct matrix *e = &rt->weights.token_embd.matrix;
    size_t row_bytes = block_row_bytes(e->type, e->n_cols);

    for (size_t t = 0; t < n; t++)
        block_decode(e->type, (const uint8_t *)e->data + (size_t)rows[t] * row_bytes,
                     x + t * e->n_cols, e->n_cols);
    kernels_scale(rt->kernels, x, sqrtf((float)e->n_cols), n * e->n_cols);
}

/* The rows of the table are awaited as late as they can be, and the next batch's asked for. */
static enum status await_ple(struct pass *p, struct error *err)
{
    enum status st = ple_join(p, err);

    if (st == OK && p->n_next > 0 && p->rt->ple_rows)
        ple_rows_request(p->rt->ple_rows, p->rows + p->n, p->n_next);
    return st;
}

enum status block_step(struct pass *p, uint32_t i, struct error *err)
{
    const struct config *c = &p->rt->config;
    const struct layer_weights *w = &p->rt->weights.layers[i];
    enum status st = OK;

    attention_step(p, i);
    mlp_step(p, i);
    if (c->n_ple > 0 && i == 0 && !p->has_slices)
        st = await_ple(p, err);
    if (st != OK)
        return st;
    if (c->n_ple > 0)
        ple_step(p, i);
    const float *scale = p->on_canvas ? w->canvas_scale : w->scale;
    if (scale)
        kernels_scale(p->rt->kernels, p->x, scale[0], p->n * c->n_embd);
    tap_rows(p, "hidden", (int)i, c->n_embd, p->x);
    return interrupt_check(err);
}

/* Forget the first n rows: nothing later reads what they would become. */
static void drop(struct pass *p, size_t n)
{
    const struct config *c = &p->rt->config;

    for (int kind = 0; kind < ROPE_KINDS; kind++) {
        p->cos[kind] += n * (c->rope[kind].n_dims / 2);
        p->sin[kind] += n * (c->rope[kind].n_dims / 2);
    }
    p->x += n * c->n_embd;
    if (p->ple)
        p->ple += n * c->n_layers * c->n_ple;
    p->position += (uint32_t)n;
    p->n -= n;
}

/* Rows of the batch before the first whose logits are wanted; all of them without a sink. An
 * encoder has no logits, and every row is its answer. */
static size_t unwanted(const struct pass *p, const struct logits_sink *sink)
{
    if (!p->rt->config.family->is_causal)
        return 0;
    if (!sink || sink->first >= p->position + p->n)
        return p->n;
    return sink->first > p->position ? sink->first - p->position : 0;
}

/* Past the last layer with keys of its own, only rows whose logits are wanted matter. A tap is
 * shown everything. */
static void drop_unwanted(struct pass *p, uint32_t next_layer,
                          const struct logits_sink *sink)
{
    if (next_layer == p->rt->config.n_own_kv && !p->rt->tap)
        drop(p, unwanted(p, sink));
}

static void emit_logits(struct pass *p, const struct logits_sink *sink)
{
    const struct runtime *rt = p->rt;
    const struct matrix *head = &rt->weights.output.matrix;
    const struct scratch *s = &rt->scratch;

    while (p->n > 0) {
        size_t n = p->n < s->logit_rows ? p->n : s->logit_rows;

        kernels_matmul(rt->kernels, s->workspace, rt->arithmetic, head, p->x, n,
                       s->logits);
        if (rt->config.logit_softcap > 0.0f)
            kernels_softcap(rt->kernels, s->logits, n * head->n_rows,
                            rt->config.logit_softcap);
        sink->rows(sink->arg, p->position, n, s->logits);
        drop(p, n);
    }
}

void final_norm(struct pass *p)
{
    const struct runtime *rt = p->rt;
    const struct config *c = &rt->config;

    kernels_rms_norm(rt->kernels, p->x, rt->weights.output_norm, p->n, c->n_embd, c->eps,
                     p->x);
    tap_rows(p, "final_norm", -1, c->n_embd, p->x);
}

void pass_finish(struct pass *p, const struct logits_sink *sink)
{
    struct runtime *rt = p->rt;

    final_norm(p);
    if (rt->config.family->is_causal)
        tap_input(rt, -1, &rt->weights.output, -1, p->position, p->n, p->x);
    drop(p, unwanted(p, sink));
    p->seq->hidden = p->x;
    p->seq->hidden_first = p->position;
    p->seq->hidden_end = p->position + (uint32_t)p->n;
    if (rt->config.family->is_causal)
        emit_logits(p, sink);
}

static enum status run_batch(struct pass *p, const struct logits_sink *sink,
                             struct error *err)
{
    enum status st = OK;

    p->x = p->rt->scratch.x;
    embed_rows(p->rt, p->rows, p->n, p->x);
    tap_rows(p, "embed", -1, p->rt->config.n_embd, p->x);
    rope_fill(p);
    ple_project(p);
    for (uint32_t i = 0; i < p->rt->config.n_layers && p->n > 0 && st == OK; i++) {
        st = block_step(p, i, err);
        drop_unwanted(p, i + 1, sink);
    }
    if (st == OK && p->n > 0)
        pass_finish(p, sink);
    return st;
}

static enum status run_batches(struct runtime *rt, struct sequence *seq,
                               const int32_t *rows, size_t n,
                               const struct logits_sink *sink, struct error *err)
{
    size_t batch = n < seq->max_batch ? n : seq->max_batch;
    enum status st = scratch_reserve(rt, batch, err);

    seq->hidden_first = seq->hidden_end = 0;
    if (st == OK && rt->ple_rows)
        ple_rows_request(rt->ple_rows, rows, batch);
    while (n > 0 && st == OK) {
        struct pass p = {.rt = rt,
                         .seq = seq,
                         .position = seq->length,
                         .end = seq->length + (uint32_t)batch,
                         .n = batch,
                         .rows = rows};

        n -= batch;
        p.n_next = n < seq->max_batch ? n : seq->max_batch;
        st = run_batch(&p, sink, err);
        seq->length = p.end;
        rows += batch;
        batch = p.n_next;
    }
    if (rt->ple_rows)
        ple_rows_settle(rt->ple_rows);
    return st;
}

static enum status check(const struct runtime *rt, const struct sequence *seq,
                         const int32_t *ids, size_t n, struct error *err)
{
    if (rt->config.family->is_drafter)
        return fail(err, ERR_USAGE, "%s: a drafter runs beside its target only",
                    rt->model->path);
    if (n > seq->n_ctx - seq->length)
        return fail(err, ERR_USAGE, "%zu tokens after %u do not fit a context of %u", n,
                    seq->length, seq->n_ctx);
    if (!rt->config.family->is_causal && seq->length > 0)
        return fail(err, ERR_USAGE, "an encoder takes its whole text at once");
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= rt->weights.n_vocab)
            return fail(err, ERR_USAGE, "token id %d is not in 0 .. %zu", ids[i],
                        rt->weights.n_vocab - 1);
    return OK;
}

enum status runtime_eval(struct runtime *rt, struct sequence *seq, const int32_t *ids,
                         size_t n, const struct logits_sink *sink, struct error *err)
{
    enum status st = check(rt, seq, ids, n, err);
    int32_t *rows = NULL;

    if (st != OK || n == 0)
        return st;
    rows = malloc(n * sizeof(*rows));
    if (!rows)
        return fail(err, ERR_NOMEM, "no memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++)
        rows[i] = placeholders_row(&rt->placeholders, ids[i]);
    st = run_batches(rt, seq, rows, n, sink, err);
    free(rows);
    return st;
}
