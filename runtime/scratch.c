/*
 * scratch.c - the buffers of one batch, as wide as the widest layer
 */
#include "runtime/pass.h"

enum { LOGITS_BYTES = 32 << 20 }; /* logits are made a few rows at a time */

/* Widths in elements a row. */
struct widths {
    size_t heads, kv_heads, inner, input;
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static struct widths find_widths(const struct config *c, const struct weights *weights)
{
    struct widths w = {.inner = larger(c->n_ff_expert, c->n_ple)};

    for (uint32_t i = 0; i < c->n_layers; i++) {
        const struct layer_facts *layer = &c->layers[i];

        w.heads = larger(w.heads, (size_t)layer->n_heads * layer->head_dim);
        w.kv_heads = larger(w.kv_heads, (size_t)layer->n_kv_heads * layer->head_dim);
        w.inner = larger(w.inner, layer->n_ff);
    }
    w.input = larger(larger(c->n_embd, w.heads), w.inner);
    w.input = larger(w.input, 2 * (size_t)c->n_embd_out);
    w.input = larger(w.input, weights->dense_3.matrix.n_cols);
    return w;
}

/* Hands out rows from the arena and remembers whether any was refused. */
struct allotment {
    struct arena *arena;
    size_t n_rows;
    bool is_short;
};

static void *rows(struct allotment *a, size_t width, size_t size)
{
    void *block = width ? arena_array(a->arena, a->n_rows * width, size) : NULL;

    a->is_short |= width > 0 && !block;
    return block;
}

static float *floats(struct allotment *a, size_t width)
{
    return rows(a, width, sizeof(float));
}

static void allot_stream(struct scratch *s, const struct config *c, struct widths w,
                         struct allotment *a)
{
    s->x = floats(a, c->n_embd);
    s->h = floats(a, c->n_embd);
    s->branch = floats(a, c->n_embd);
    s->q = floats(a, w.heads);
    s->attended = floats(a, w.heads);
    s->k = floats(a, w.kv_heads);
    s->v = floats(a, w.kv_heads);
    s->gate = floats(a, w.inner);
    s->up = floats(a, w.inner);
    s->ple = floats(a, (size_t)c->n_layers * c->n_ple);
    s->spans = rows(a, 1, sizeof(*s->spans));
    for (int kind = 0; kind < ROPE_KINDS; kind++) {
        s->cos[kind] = floats(a, c->rope[kind].n_dims / 2);
        s->sin[kind] = floats(a, c->rope[kind].n_dims / 2);
    }
}

static void allot_experts(struct scratch *s, const struct config *c, struct allotment *a)
{
    if (c->n_experts == 0)
        return;
    s->routed = floats(a, c->n_embd);
    s->expert_in = floats(a, c->n_embd);
    s->expert_out = floats(a, c->n_embd);
    s->router = floats(a, c->n_experts);
    s->expert_weights = floats(a, c->n_experts_used);
    s->expert_ids = rows(a, c->n_experts_used, sizeof(*s->expert_ids));
    s->expert_rows = rows(a, 1, sizeof(*s->expert_rows));
    s->expert_shares = floats(a, 1);
}

static void allot_pooled(struct scratch *s, const struct config *c,
                         const struct weights *weights, struct allotment *a)
{
    size_t width = larger(c->n_embd, larger(weights->dense_2.matrix.n_rows,
                                            weights->dense_3.matrix.n_rows));
    const size_t n = width * (a->n_rows / PASSAGE_TOKENS + 1);

    if (c->family->is_causal)
        return;
    s->pooled = arena_array(a->arena, n, sizeof(float));
    s->pooled_out = arena_array(a->arena, n, sizeof(float));
    a->is_short |= !s->pooled || !s->pooled_out;
}

static void allot_logits(struct scratch *s, size_t n_vocab, struct allotment *a)
{
    size_t fit = LOGITS_BYTES / sizeof(float) / n_vocab;

    s->logit_rows = fit < 1 ? 1 : fit < a->n_rows ? fit : a->n_rows;
    s->logits = arena_array(a->arena, s->logit_rows * n_vocab, sizeof(float));
    a->is_short |= !s->logits;
}

enum status scratch_reserve(struct runtime *rt, size_t n_rows, struct error *err)
{
    struct scratch *s = &rt->scratch;
    struct allotment a = {.arena = &s->arena, .n_rows = n_rows};
    struct widths w = find_widths(&rt->config, &rt->weights);

    if (n_rows <= s->n_rows)
        return OK;
    scratch_free(s);
    allot_stream(s, &rt->config, w, &a);
    allot_experts(s, &rt->config, &a);
    allot_pooled(s, &rt->config, &rt->weights, &a);
    allot_logits(s, rt->weights.n_vocab, &a);
    if (a.is_short || workspace_new(n_rows, w.input, &s->workspace, err)) {
        scratch_free(s);
        return fail(err, ERR_NOMEM, "no memory for a batch of %zu tokens", n_rows);
    }
    s->n_rows = n_rows;
    return OK;
}

void scratch_free(struct scratch *s)
{
    workspace_free(s->workspace);
    arena_free(&s->arena);
    *s = (struct scratch){0};
}
