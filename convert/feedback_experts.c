/*
 * feedback_experts.c - second moments of an expert that saw few tokens
 */
#include "convert/feedback_experts.h"

#include <stdlib.h>

bool feedback_entry(const struct moments *moments, const struct work_item *item,
                    uint64_t matrix, struct moments_entry *entry)
{
    char input[MOMENTS_NAME];

    const size_t n = (size_t)item->e->ne[0];

    if (!moments_input(item->e->name, item->e->n_dims == 3 ? (int)matrix : -1, input))
        return false;
    if (moments)
        return moments_find(moments, input, entry) && entry->n == n;
    *entry = (struct moments_entry){.n = n, .group = moments_group_columns(n)};
    return true;
}

/* What all experts of a tensor are asked for. */
struct question {
    const struct moments *moments;
    const struct work_item *item;
    size_t n, group; /* columns of the group; which */
    bool held;
};

/* Add an expert's moments, times its tokens. */
static enum status add_expert(const struct question *q, const struct moments_entry *entry,
                              float *square, double *sum, struct error *err)
{
    const double tokens = q->held ? entry->held_tokens : entry->tokens;
    enum status st = moments_read_square(q->moments, entry, q->held, q->group * q->n,
                                         q->n, square, err);

    for (size_t i = 0; i < q->n * q->n && st == OK; i++)
        sum[i] += tokens * (double)square[i];
    return st;
}

static double tokens_of_experts(const struct question *q)
{
    struct moments_entry entry;
    double tokens = 0;

    for (uint64_t e = 0; e < q->item->e->ne[2]; e++)
        if (feedback_entry(q->moments, q->item, e, &entry))
            tokens += q->held ? entry.held_tokens : entry.tokens;
    return tokens;
}

static enum status mean_of_experts(const struct question *q, float *mean,
                                   struct error *err)
{
    const size_t square = q->n * q->n;
    const double tokens = tokens_of_experts(q);
    double *sum = calloc(square, sizeof(*sum));
    struct moments_entry entry;
    enum status st =
        sum ? OK
            : fail(err, ERR_NOMEM, "%s: no memory for its experts", q->item->e->name);

    if (st == OK && feedback_entry(q->moments, q->item, 0, &entry) && entry.is_diagonal) {
        free(sum);
        return moments_read_common(q->moments, &entry, q->held, q->group * q->n, q->n,
                                   mean, err);
    }
    for (uint64_t e = 0; e < q->item->e->ne[2] && st == OK; e++) {
        if (!feedback_entry(q->moments, q->item, e, &entry))
            continue;
        st = add_expert(q, &entry, mean, sum, err);
    }
    for (size_t i = 0; i < square && st == OK; i++)
        mean[i] = tokens > 0 ? (float)(sum[i] / tokens) : 0.0f;
    free(sum);
    return st;
}

static enum status load_means(struct expert_means *means, struct question *q,
                              struct error *err)
{
    const size_t bytes = q->n * q->n * sizeof(float);
    enum status st;

    if (means->item == q->item && means->group == q->group)
        return OK;
    expert_means_free(means);
    means->h = malloc(bytes);
    means->held = malloc(bytes);
    if (!means->h || !means->held)
        return fail(err, ERR_NOMEM, "%s: no memory for its experts", q->item->e->name);
    st = mean_of_experts(q, means->h, err);
    q->held = true;
    means->has_held = tokens_of_experts(q) > 0;
    if (st == OK)
        st = mean_of_experts(q, means->held, err);
    if (st == OK) {
        means->item = q->item;
        means->group = q->group;
    }
    return st;
}

static void shrink_to(const float *mean, size_t n, double tokens, double weight, float *h)
{
    const double share = tokens / (tokens + weight);

    for (size_t i = 0; i < n; i++)
        h[i] = (float)(share * (double)h[i] + (1 - share) * (double)mean[i]);
}

/* The mean counts like 2 n tokens; an eighth of that among the held-out ones. Where no expert has any of
 * those, the others must do. */
enum status expert_shrink(struct expert_means *means, const struct moments *moments,
                          const struct work_item *item, const struct moments_entry *entry,
                          size_t group, float *h, float *held, float *diagonal,
                          struct error *err)
{
    const size_t n = entry->group;
    struct question q = {.moments = moments, .item = item, .n = n, .group = group};
    const enum status st = load_means(means, &q, err);

    if (st != OK)
        return st;
    shrink_to(means->h, n * n, entry->tokens, 2.0 * (double)n, h);
    if (means->has_held)
        shrink_to(means->held, n * n, entry->held_tokens, 0.25 * (double)n, held);
    else
        memcpy(held, h, n * n * sizeof(*held));
    for (size_t j = 0; j < n; j++)
        diagonal[j] = h[j * n + j];
    return OK;
}

void expert_means_free(struct expert_means *means)
{
    free(means->h);
    free(means->held);
    *means = (struct expert_means){0};
}
