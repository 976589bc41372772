/*
 * mlp.c - the gated feed-forward branch
 *
 *     x += norm( W_down (gelu(W_gate u) * W_up u) [+ experts] ),   u = norm(x)
 */
#include "runtime/pass.h"

void mlp_step(struct pass *p, uint32_t i)
{
    const struct config *c = &p->rt->config;
    const struct layer_weights *w = &p->rt->weights.layers[i];
    const struct kernels *k = p->rt->kernels;
    struct scratch *s = &p->rt->scratch;

    kernels_rms_norm(k, p->x, w->ffn_norm, p->n, c->n_embd, c->eps, s->h);
    pass_multiply(p, (int)i, &w->gate, s->h, s->gate);
    pass_multiply(p, (int)i, &w->up, s->h, s->up);
    kernels_gelu_mul(k, s->gate, s->up, p->n * c->layers[i].n_ff, s->gate);
    pass_multiply(p, (int)i, &w->down, s->gate, s->branch);
    if (c->n_experts > 0)
        moe_add(p, i);
    kernels_rms_norm(k, s->branch, w->post_ffw_norm, p->n, c->n_embd, c->eps, s->branch);
    kernels_add(k, p->x, s->branch, p->n * c->n_embd);
}
