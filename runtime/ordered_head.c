/*
 * ordered_head.c - the clusters nearest to a hidden state, and the best of their tokens
 */
#include "runtime/ordered_head.h"
#include "runtime/pass.h"

#include <math.h>
#include <stdlib.h>

struct ordered_head {
    struct runtime *rt;
    size_t n_clusters, n_each, n_chosen;
    float *centroids; /* n_clusters rows of n_embd */
    int32_t *tokens;  /* n_clusters rows of n_each */

    float *nearness; /* n_clusters: scratch */
    int32_t *ids;    /* n_chosen * n_each candidates */
    uint8_t *rows;   /* of the embedding, theirs */
    float *logits;   /* theirs */
};

static enum status check(const struct runtime *rt, const struct gguf_value *centroids,
                         const struct gguf_value *tokens, struct ordered_head *head,
                         struct error *err)
{
    const size_t n_vocab = rt->weights.n_vocab, n_embd = rt->config.n_embd;
    uint32_t n_chosen;

    if (!gguf_get_u32(rt->model->meta, ORDERED_HEAD_CHOSEN, &n_chosen))
        return fail(err, ERR_CORRUPT, "%s: missing, or no u32", ORDERED_HEAD_CHOSEN);
    head->n_chosen = n_chosen;
    if (!centroids || centroids->type != GGUF_ARRAY || centroids->element != GGUF_F32 ||
        centroids->count == 0 || centroids->count % n_embd != 0 ||
        n_vocab % (centroids->count / n_embd) != 0)
        return fail(err, ERR_CORRUPT, "%s: not centroids of width %zu for %zu pieces",
                    ORDERED_HEAD_CENTROIDS, n_embd, n_vocab);
    head->n_clusters = (size_t)centroids->count / n_embd;
    head->n_each = n_vocab / head->n_clusters;
    if (!tokens || tokens->type != GGUF_ARRAY || tokens->element != GGUF_I32 ||
        tokens->count != n_vocab)
        return fail(err, ERR_CORRUPT, "%s: not an array of %zu ids", ORDERED_HEAD_TOKENS,
                    n_vocab);
    if (head->n_chosen == 0 || head->n_chosen > head->n_clusters)
        return fail(err, ERR_CORRUPT, "%s: %zu is not in 1 .. %zu", ORDERED_HEAD_CHOSEN,
                    head->n_chosen, head->n_clusters);
    for (size_t i = 0; i < n_vocab; i++) {
        const int64_t id = gguf_value_int(tokens, i);

        if (id < 0 || (uint64_t)id >= n_vocab)
            return fail(err, ERR_CORRUPT, "%s: %lld is no id of %zu", ORDERED_HEAD_TOKENS,
                        (long long)id, n_vocab);
    }
    return OK;
}

static bool allocate(struct ordered_head *head)
{
    const struct matrix *e = &head->rt->weights.output.matrix;
    const size_t n = head->n_chosen * head->n_each;

    head->centroids = calloc(head->n_clusters * e->n_cols, sizeof(*head->centroids));
    head->tokens = calloc(head->n_clusters * head->n_each, sizeof(*head->tokens));
    head->nearness = calloc(head->n_clusters, sizeof(*head->nearness));
    head->ids = calloc(n, sizeof(*head->ids));
    head->rows = calloc(n, block_row_bytes(e->type, e->n_cols));
    head->logits = calloc(n, sizeof(*head->logits));
    return head->centroids && head->tokens && head->nearness && head->ids && head->rows &&
           head->logits;
}

enum status ordered_head_open(struct runtime *rt, struct ordered_head **out,
                              struct error *err)
{
    const struct gguf_meta *meta = rt->model->meta;
    const struct gguf_value *centroids = gguf_meta_find(meta, ORDERED_HEAD_CENTROIDS);
    const struct gguf_value *tokens = gguf_meta_find(meta, ORDERED_HEAD_TOKENS);
    struct ordered_head *head;
    enum status st;

    *out = NULL;
    if (!centroids && !tokens && !gguf_meta_find(meta, ORDERED_HEAD_CHOSEN))
        return OK;
    head = calloc(1, sizeof(*head));
    if (!head)
        return fail(err, ERR_NOMEM, "no memory for the ordered head");
    head->rt = rt;
    st = check(rt, centroids, tokens, head, err);
    if (st == OK && !allocate(head))
        st = fail(err, ERR_NOMEM, "no memory for the ordered head");
    if (st != OK) {
        ordered_head_free(head);
        return st == ERR_CORRUPT ? fail_at(err, rt->model->path) : st;
    }
    for (size_t i = 0; i < centroids->count; i++)
        head->centroids[i] = (float)gguf_value_real(centroids, i);
    for (size_t i = 0; i < tokens->count; i++)
        head->tokens[i] = (int32_t)gguf_value_int(tokens, i);
    *out = head;
    return OK;
}

/* The ids of the nearest clusters, one cluster after the other. */
static void choose(struct ordered_head *head, const float *y)
{
    struct runtime *rt = head->rt;
    const struct matrix centroids = {.type = TYPE_F32,
                                     .n_rows = head->n_clusters,
                                     .n_cols = rt->config.n_embd,
                                     .data = head->centroids};

    kernels_matmul(rt->kernels, rt->scratch.workspace, ARITH_F32, &centroids, y, 1,
                   head->nearness);
    for (size_t i = 0; i < head->n_chosen; i++) {
        const size_t best = kernels_argmax(head->nearness, head->n_clusters);

        head->nearness[best] = -INFINITY;
        memcpy(head->ids + i * head->n_each, head->tokens + best * head->n_each,
               head->n_each * sizeof(*head->ids));
    }
}

static void multiply(struct ordered_head *head, const float *y)
{
    struct runtime *rt = head->rt;
    struct matrix rows = rt->weights.output.matrix;
    const uint8_t *from = rows.data;
    const size_t row_bytes = block_row_bytes(rows.type, rows.n_cols);

    rows.n_rows = head->n_chosen * head->n_each;
    rows.data = head->rows;
    for (size_t i = 0; i < rows.n_rows; i++)
        memcpy(head->rows + i * row_bytes, from + (size_t)head->ids[i] * row_bytes,
               row_bytes);
    kernels_matmul(rt->kernels, rt->scratch.workspace, rt->arithmetic, &rows, y, 1,
                   head->logits);
}

static void spread(const struct ordered_head *head, float *logits)
{
    const size_t n = head->n_chosen * head->n_each, n_vocab = head->rt->weights.n_vocab;
    float least = head->logits[0];

    for (size_t i = 1; i < n; i++)
        least = head->logits[i] < least ? head->logits[i] : least;
    for (size_t i = 0; i < n_vocab; i++)
        logits[i] = least - 1.0f;
    for (size_t i = 0; i < n; i++)
        logits[head->ids[i]] = head->logits[i];
}

int32_t ordered_head_pick(struct ordered_head *head, const float *y, float *logits)
{
    const size_t n = head->n_chosen * head->n_each;
    size_t best = 0;

    choose(head, y);
    multiply(head, y);
    if (logits)
        spread(head, logits);
    for (size_t i = 1; i < n; i++)
        if (head->logits[i] > head->logits[best] ||
            (head->logits[i] == head->logits[best] && head->ids[i] < head->ids[best]))
            best = i;
    return head->ids[best];
}

void ordered_head_free(struct ordered_head *head)
{
    if (!head)
        return;
    free(head->centroids);
    free(head->tokens);
    free(head->nearness);
    free(head->ids);
    free(head->rows);
    free(head->logits);
    free(head);
}
