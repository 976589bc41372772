/*
 * moe.c - the mixture of experts beside the dense MLP
 *
 *     p = softmax(W_r (norm(x) * scale / sqrt(n_embd)));  S = the largest k, first of equals
 *     w[e] = p[e] / sum of p over S * expert_scale[e]
 *     branch = norm_1(branch) + norm_2( sum over e in S of w[e] D_e (gelu(G_e y) * U_e y) ),
 *     y = norm(x; pre_ffw_norm_2)
 *
 * The router reads the stream itself, before any feed-forward norm. Rows are grouped by expert,
 * and experts are visited in ascending order: so a row's sum has one order in any batch.
 */
#include "runtime/pass.h"

#include <math.h>

/* Write the k indices of largest p, best first, to ids. */
static void choose(const float *p, size_t n, size_t k, int32_t *ids)
{
    for (size_t j = 0; j < k; j++) {
        int32_t best = -1;

        for (size_t e = 0; e < n; e++) {
            bool taken = false;

            for (size_t i = 0; i < j; i++)
                taken |= ids[i] == (int32_t)e;
            if (!taken && (best < 0 || p[e] > p[best]))
                best = (int32_t)e;
        }
        ids[j] = best;
    }
}

static void route_row(const struct runtime *rt, const float *expert_scale, size_t t)
{
    const struct config *c = &rt->config;
    const struct scratch *s = &rt->scratch;
    size_t k = c->n_experts_used;
    float *p = s->router + t * c->n_experts, *w = s->expert_weights + t * k;
    int32_t *ids = s->expert_ids + t * k;
    float sum = 0.0f;

    kernels_softmax(rt->kernels, p, c->n_experts);
    choose(p, c->n_experts, k, ids);
    for (size_t j = 0; j < k; j++)
        sum += p[ids[j]];
    for (size_t j = 0; j < k; j++)
        w[j] = p[ids[j]] / sum * expert_scale[ids[j]];
}

static void tap_choice(const struct pass *p, uint32_t i)
{
    const struct scratch *s = &p->rt->scratch;
    size_t k = p->rt->config.n_experts_used;

    if (!p->rt->tap)
        return;
    for (size_t j = 0; j < p->n * k;
         j++) /* the router's room is free again: ids as floats */
        s->router[j] = (float)s->expert_ids[j];
    tap_rows(p, "router.ids", (int)i, k, s->router);
    tap_rows(p, "router.weights", (int)i, k, s->expert_weights);
}

static void route(struct pass *p, uint32_t i)
{
    const struct config *c = &p->rt->config;
    const struct layer_weights *w = &p->rt->weights.layers[i];
    const struct kernels *k = p->rt->kernels;
    struct scratch *s = &p->rt->scratch;

    kernels_rms_norm(k, p->x, w->router_scale, p->n, c->n_embd, c->eps, s->h);
    kernels_scale(k, s->h, 1.0f / sqrtf((float)c->n_embd), p->n * c->n_embd);
    pass_multiply(p, (int)i, &w->router, s->h, s->router);
    for (size_t t = 0; t < p->n; t++)
        route_row(p->rt, w->expert_scale, t);
    tap_choice(p, i);
}

/* Gather the rows that chose expert e; how many. */
static size_t gather(const struct pass *p, size_t e)
{
    const struct config *c = &p->rt->config;
    const struct scratch *s = &p->rt->scratch;
    size_t n = 0, width = c->n_embd;

    for (size_t j = 0; j < p->n * c->n_experts_used; j++) {
        if (s->expert_ids[j] != (int32_t)e)
            continue;
        s->expert_rows[n] = (uint32_t)(j / c->n_experts_used);
        s->expert_shares[n] = s->expert_weights[j];
        memcpy(s->expert_in + n * width, s->h + s->expert_rows[n] * width,
               width * sizeof(float));
        n++;
    }
    return n;
}

static void multiply(const struct pass *p, uint32_t i, const struct linear *linear,
                     size_t e, size_t n, const float *x, float *y)
{
    struct matrix m = linear_expert(linear, e);

    tap_input(p->rt, (int)i, linear, (int)e, p->position, n, x);
    kernels_matmul(p->rt->kernels, p->rt->scratch.workspace, p->rt->arithmetic, &m, x, n,
                   y);
}

static void run_expert(const struct pass *p, uint32_t i, size_t e)
{
    const struct config *c = &p->rt->config;
    const struct layer_weights *w = &p->rt->weights.layers[i];
    const struct scratch *s = &p->rt->scratch;
    size_t n = gather(p, e);

    if (n == 0)
        return;
    multiply(p, i, &w->gate_exps, e, n, s->expert_in, s->gate);
    multiply(p, i, &w->up_exps, e, n, s->expert_in, s->up);
    kernels_gelu_mul(p->rt->kernels, s->gate, s->up, n * c->n_ff_expert, s->gate);
    multiply(p, i, &w->down_exps, e, n, s->gate, s->expert_out);
    for (size_t j = 0; j < n; j++)
        kernels_add_scaled(p->rt->kernels, s->routed + s->expert_rows[j] * c->n_embd,
                           s->expert_out + j * c->n_embd, s->expert_shares[j], c->n_embd);
}

void moe_add(struct pass *p, uint32_t i)
{
    const struct config *c = &p->rt->config;
    const struct layer_weights *w = &p->rt->weights.layers[i];
    const struct kernels *k = p->rt->kernels;
    struct scratch *s = &p->rt->scratch;
    size_t n = p->n * c->n_embd;

    route(p, i);
    kernels_rms_norm(k, p->x, w->pre_ffw_norm_2, p->n, c->n_embd, c->eps, s->h);
    tap_rows(p, "exps_in", (int)i, c->n_embd, s->h);
    memset(s->routed, 0, n * sizeof(*s->routed));
    for (size_t e = 0; e < c->n_experts; e++)
        run_expert(p, i, e);
    kernels_rms_norm(k, s->branch, w->post_ffw_norm_1, p->n, c->n_embd, c->eps,
                     s->branch);
    kernels_rms_norm(k, s->routed, w->post_ffw_norm_2, p->n, c->n_embd, c->eps,
                     s->routed);
    kernels_add(k, s->branch, s->routed, n);
}
