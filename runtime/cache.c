/*
 * cache.c - a sequence: the keys and values of the positions evaluated so far
 *
 * Global layers keep every position of the context. Local layers keep a ring: what the first
 * query of a batch can see behind it, and the batch itself. So positions of the last batch can be
 * taken back: what they overwrote lies behind every window that is left.
 */
#include "runtime/pass.h"

#include <assert.h>
#include <stdlib.h>

static size_t cells_of(const struct sequence *seq, const struct layer_facts *layer)
{
    size_t ring = (size_t)layer->back + seq->max_batch;

    return layer->back != NO_LIMIT && ring < seq->n_ctx ? ring : seq->n_ctx;
}

enum status sequence_hold(struct sequence *seq, uint32_t i, struct error *err)
{
    const struct layer_facts *layer = &seq->rt->config.layers[i];
    struct kv *kv = &seq->layers[i];
    size_t n;

    kv->n_cells = cells_of(seq, layer);
    kv->stride = (size_t)layer->n_kv_heads * layer->head_dim;
    if (mul_size(kv->n_cells, kv->stride, &n)) {
        kv->k = calloc(n, sizeof(*kv->k));
        kv->v = calloc(n, sizeof(*kv->v));
    }
    if (kv->k && kv->v)
        return OK;
    return fail(err, ERR_NOMEM, "no memory for keys and values of %u positions",
                seq->n_ctx);
}

void sequence_release(struct sequence *seq, uint32_t layer)
{
    free(seq->layers[layer].k);
    free(seq->layers[layer].v);
    seq->layers[layer] = (struct kv){0};
}

enum status sequence_new_bare(struct runtime *rt, uint32_t n_ctx, struct sequence **out,
                              struct error *err)
{
    struct sequence *seq;

    if (n_ctx == 0 || n_ctx > INT32_MAX)
        return fail(err, ERR_USAGE, "a context of %u positions", n_ctx);
    seq = calloc(1, sizeof(*seq));
    if (!seq)
        return fail(err, ERR_NOMEM, "no memory for a sequence");
    seq->rt = rt;
    seq->n_ctx = n_ctx;
    seq->max_batch =
        n_ctx < MAX_BATCH || !rt->config.family->is_causal ? n_ctx : MAX_BATCH;
    seq->layers = calloc(rt->config.n_layers, sizeof(*seq->layers));
    if (!seq->layers) {
        free(seq);
        return fail(err, ERR_NOMEM, "no memory for a sequence");
    }
    *out = seq;
    return OK;
}

enum status sequence_new(struct runtime *rt, uint32_t n_ctx, struct sequence **out,
                         struct error *err)
{
    struct sequence *seq = NULL;
    enum status st = sequence_new_bare(rt, n_ctx, &seq, err);

    for (uint32_t i = 0; st == OK && i < rt->config.n_own_kv; i++)
        st = sequence_hold(seq, i, err);
    if (st != OK) {
        sequence_free(seq);
        return st;
    }
    *out = seq;
    return OK;
}

uint32_t sequence_length(const struct sequence *seq)
{
    return seq->length;
}

uint32_t sequence_room(const struct sequence *seq)
{
    return seq->n_ctx - seq->length;
}

void sequence_reset(struct sequence *seq)
{
    seq->length = 0;
    seq->hidden_first = seq->hidden_end = 0;
}

void sequence_truncate(struct sequence *seq, uint32_t length)
{
    assert(length <= seq->length && seq->length - length < seq->max_batch);
    seq->length = length;
}

const float *sequence_hidden(const struct sequence *seq, uint32_t position)
{
    if (position < seq->hidden_first || position >= seq->hidden_end)
        return NULL;
    return seq->hidden + (size_t)(position - seq->hidden_first) * seq->rt->config.n_embd;
}

void sequence_free(struct sequence *seq)
{
    if (!seq)
        return;
    for (uint32_t i = 0; seq->layers && i < seq->rt->config.n_layers; i++) {
        free(seq->layers[i].k);
        free(seq->layers[i].v);
    }
    free(seq->layers);
    free(seq);
}

void cache_store(const struct pass *p, uint32_t layer, const float *k, const float *v)
{
    struct kv *kv = &p->seq->layers[layer];

    for (size_t t = 0; t < p->n; t++) {
        size_t cell = (p->position + t) % kv->n_cells;

        memcpy(kv->k + cell * kv->stride, k + t * kv->stride, kv->stride * sizeof(*k));
        memcpy(kv->v + cell * kv->stride, v + t * kv->stride, kv->stride * sizeof(*v));
    }
}
