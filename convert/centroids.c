/*
 * centroids.c - the ordered head of a drafter, from its checkpoint into metadata
 *
 *     masked_embedding.centroids.weight {n_centroids, n_embd}
 *     masked_embedding.token_ordering   {n_vocab}: the ids of the first centroid, then ...
 *
 * In a file they stand among the metadata, so that its tensors are those every engine expects.
 */
#include "convert/source.h"
#include "runtime/runtime.h"

struct ordered {
    struct aside centroids, order;
    uint32_t n_chosen;
};

/* What does not fit, or NULL. */
static const char *fault(const struct source *src, const struct ordered *o)
{
    const struct gemma_config *c = &src->config;
    const uint64_t n = o->centroids.n_dims == 2 ? o->centroids.dims[0] : 0;

    if (!o->centroids.x || !o->order.x)
        return "one of its two tensors is missing";
    if (n == 0 || o->centroids.dims[1] != c->n_embd)
        return "its centroids are not as wide as the model";
    if (o->order.n_dims != 1 || o->order.dims[0] != c->n_vocab || c->n_vocab % n != 0)
        return "its tokens are not the vocabulary";
    if (o->n_chosen == 0 || o->n_chosen > n)
        return "centroid_intermediate_top_k is not one of its clusters";
    for (uint32_t i = 0; i < c->n_vocab; i++)
        if (!(o->order.x[i] >= 0.0f && o->order.x[i] < (float)c->n_vocab))
            return "its tokens are not all in the vocabulary";
    return NULL;
}

static enum status describe(struct source *src, const struct ordered *o,
                            struct error *err)
{
    const size_t n_vocab = src->config.n_vocab,
                 n = (size_t)(o->centroids.dims[0] * o->centroids.dims[1]);
    int32_t *ids = arena_array(&src->arena, n_vocab, sizeof(*ids));

    if (!ids)
        return fail(err, ERR_NOMEM, "no memory for the order of tokens");
    for (size_t i = 0; i < n_vocab; i++)
        ids[i] = (int32_t)o->order.x[i];
    enum status st = gguf_set_u32(src->meta, ORDERED_HEAD_CHOSEN, o->n_chosen, err);
    if (st == OK)
        st = gguf_set_array(src->meta, ORDERED_HEAD_CENTROIDS, GGUF_F32, o->centroids.x,
                            n, err);
    if (st == OK)
        st = gguf_set_array(src->meta, ORDERED_HEAD_TOKENS, GGUF_I32, ids, n_vocab, err);
    return st;
}

enum status source_describe_ordered_head(struct source *src, struct error *err)
{
    const json_t *config = checkpoint_config(src->cp);
    const json_t *uses = json_object_get(config, "use_ordered_embeddings");
    const json_int_t n_chosen =
        json_integer_value(json_object_get(config, "centroid_intermediate_top_k"));
    struct ordered o = {
        .n_chosen = n_chosen > 0 && n_chosen <= INT32_MAX ? (uint32_t)n_chosen : 0};
    enum status st = OK;

    if (!json_is_true(uses))
        return OK;
    st = checkpoint_read_aside(src->cp, "masked_embedding.centroids.weight", &o.centroids,
                               err);
    if (st == OK)
        st = checkpoint_read_aside(src->cp, "masked_embedding.token_ordering", &o.order,
                                   err);
    if (st == OK) {
        const char *why = fault(src, &o);

        st = why ? source_note(src, err, "the ordered head is left out: %s", why)
                 : describe(src, &o, err);
    }
    return st;
}
