/*
 * attention.c - queries, keys and values of one layer, and what the queries see
 *
 *     q = rope(norm(W_q h));  k = rope(norm(W_k h));  v = norm(W_v h), weightless
 *     x += norm(W_o attend(q, k, v))
 *
 * A layer without W_v takes W_k h, before its norm and rotation, for v. A layer that shares
 * computes q only and reads the cache of its source. Family members leave norms out.
 */
#include "runtime/pass.h"

static void rotate(const struct pass *p, const struct layer_facts *layer, size_t n_heads,
                   float *x)
{
    kernels_rope(p->rt->kernels, x, p->n, n_heads, layer->head_dim, p->cos[layer->rope],
                 p->sin[layer->rope]);
}

static void norm_heads(const struct pass *p, const struct layer_facts *layer,
                       size_t n_heads, const float *weight, float *x)
{
    kernels_rms_norm(p->rt->kernels, x, weight, p->n * n_heads, layer->head_dim,
                     p->rt->config.eps, x);
}

static void make_queries(struct pass *p, uint32_t i)
{
    const struct layer_facts *layer = &p->rt->config.layers[i];
    const struct layer_weights *w = &p->rt->weights.layers[i];
    struct scratch *s = &p->rt->scratch;

    pass_multiply(p, (int)i, &w->q, s->h, s->q);
    if (w->q_norm)
        norm_heads(p, layer, layer->n_heads, w->q_norm, s->q);
    rotate(p, layer, layer->n_heads, s->q);
}

static void make_keys_and_values(struct pass *p, uint32_t i)
{
    const struct layer_facts *layer = &p->rt->config.layers[i];
    const struct layer_weights *w = &p->rt->weights.layers[i];
    struct scratch *s = &p->rt->scratch;
    size_t width = (size_t)layer->n_kv_heads * layer->head_dim;

    pass_multiply(p, (int)i, &w->k, s->h, s->k);
    if (w->v.matrix.data)
        pass_multiply(p, (int)i, &w->v, s->h, s->v);
    else
        memcpy(s->v, s->k, p->n * width * sizeof(*s->v));
    if (w->k_norm)
        norm_heads(p, layer, layer->n_kv_heads, w->k_norm, s->k);
    rotate(p, layer, layer->n_kv_heads, s->k);
    if (p->rt->config.family->has_value_norm)
        norm_heads(p, layer, layer->n_kv_heads, NULL, s->v);
    tap_rows(p, "k", (int)i, width, s->k);
    tap_rows(p, "v", (int)i, width, s->v);
    cache_store(p, i, s->k, s->v);
}

static void find_spans(const struct pass *p, const struct layer_facts *layer)
{
    struct span *spans = p->rt->scratch.spans;

    for (size_t t = 0; t < p->n; t++) {
        uint32_t at = p->position + (p->on_canvas ? 0 : (uint32_t)t);
        uint32_t back = (uint32_t)layer->back, ahead = (uint32_t)layer->ahead;

        spans[t].first = at > back ? at - back : 0;
        spans[t].end =
            !p->on_canvas && p->end > at && p->end - at > ahead ? at + ahead + 1 : p->end;
    }
}

static void attend(const struct pass *p, uint32_t i)
{
    const struct config *c = &p->rt->config;
    const struct layer_facts *layer = &c->layers[i];
    const struct kv *kv = &p->seq->layers[layer->kv_layer];
    struct scratch *s = &p->rt->scratch;
    struct attention a = {
        .n_heads = layer->n_heads,
        .n_kv_heads = layer->n_kv_heads,
        .head_dim = layer->head_dim,
        .k = kv->k,
        .v = kv->v,
        .stride = kv->stride,
        .n_cells = kv->n_cells,
        .scale = c->score_scale,
        .softcap = c->score_softcap,
    };

    find_spans(p, layer);
    kernels_attention(p->rt->kernels, &a, s->q, s->spans, p->n, s->attended);
}

void attention_step(struct pass *p, uint32_t i)
{
    const struct config *c = &p->rt->config;
    const struct layer_weights *w = &p->rt->weights.layers[i];
    const struct kernels *k = p->rt->kernels;
    struct scratch *s = &p->rt->scratch;

    kernels_rms_norm(k, p->x, w->attn_norm, p->n, c->n_embd, c->eps, s->h);
    make_queries(p, i);
    if (i < c->n_own_kv)
        make_keys_and_values(p, i);
    attend(p, i);
    pass_multiply(p, (int)i, &w->o, s->attended, s->branch);
    kernels_rms_norm(k, s->branch, w->post_attention_norm, p->n, c->n_embd, c->eps,
                     s->branch);
    kernels_add(k, p->x, s->branch, p->n * c->n_embd);
}
