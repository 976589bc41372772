/*
 * runtime.c - open a model for running, and say what it is
 */
#include "runtime/runtime.h"
#include "runtime/pass.h"

#include <stdlib.h>

static uint64_t row_bytes(const struct matrix *m)
{
    return (uint64_t)m->n_rows * block_row_bytes(m->type, m->n_cols);
}

/* Count `n` matrices of this shape, read for every token. */
static void count(struct runtime_facts *facts, const struct linear *linear, uint32_t n)
{
    const struct matrix *m = &linear->matrix;

    if (m->n_rows == 0)
        return;
    facts->weight_bytes += row_bytes(m) * n;
    facts->n_macs += (uint64_t)m->n_rows * m->n_cols * n;
}

static void count_layer(struct runtime *rt, uint32_t i)
{
    const struct layer_weights *w = &rt->weights.layers[i];
    const struct linear *whole[] = {&w->q,  &w->k,    &w->v,        &w->o,    &w->gate,
                                    &w->up, &w->down, &w->inp_gate, &w->proj, &w->router};
    const struct linear *chosen[] = {&w->gate_exps, &w->up_exps, &w->down_exps};

    for (size_t j = 0; j < sizeof(whole) / sizeof(whole[0]); j++)
        count(&rt->facts, whole[j], 1);
    const uint64_t all = rt->facts.weight_bytes;
    for (size_t j = 0; j < sizeof(chosen) / sizeof(chosen[0]); j++)
        count(&rt->facts, chosen[j], rt->config.n_experts_used);
    rt->facts.expert_bytes += rt->facts.weight_bytes - all;
}

static uint32_t embedding_width(const struct runtime *rt)
{
    const struct matrix *m2 = &rt->weights.dense_2.matrix,
                        *m3 = &rt->weights.dense_3.matrix;

    if (rt->config.family->is_causal)
        return 0;
    return m3->data   ? (uint32_t)m3->n_rows
           : m2->data ? (uint32_t)m2->n_rows
                      : rt->config.n_embd;
}

/* The kernels' price for what all tokens share; experts are read anew for each. */
static double token_price(const struct runtime *rt)
{
    const double shared = kernels_token_price(rt->kernels);
    const double own =
        (double)rt->facts.expert_bytes / (double)(rt->facts.weight_bytes + 1);

    return own + (1.0 - own) * shared;
}

static void find_facts(struct runtime *rt)
{
    const struct config *c = &rt->config;

    rt->facts = (struct runtime_facts){
        .architecture = c->family->architecture,
        .n_layers = c->n_layers,
        .n_embd = c->n_embd,
        .n_vocab = (uint32_t)rt->weights.n_vocab,
        .n_ple = c->n_ple,
        .context_length = c->context_length,
        .is_causal = c->family->is_causal,
        .is_drafter = c->family->is_drafter,
        .n_embedding = embedding_width(rt),
        .kernels = kernels_name(rt->kernels),
    };
    count(&rt->facts, &rt->weights.ple_proj, 1);
    for (uint32_t i = 0; i < c->n_own_kv; i++)
        count_layer(rt, i);
    const uint64_t always = rt->facts.n_macs;
    for (uint32_t i = c->n_own_kv; i < c->n_layers; i++)
        count_layer(rt, i);
    count(&rt->facts, &rt->weights.output, 1);
    rt->facts.n_macs_wanted = rt->facts.n_macs - always;
    rt->facts.token_price = token_price(rt);
}

static enum status open_ple(struct runtime *rt, const struct runtime_options *options,
                            struct error *err)
{
    if (rt->weights.ple_table < 0)
        return OK;
    return ple_rows_open(
        rt->model, (size_t)rt->weights.ple_table,
        &(struct ple_rows_options){.in_memory = options->ple_in_memory,
                                   .cache_bytes = options->ple_cache_bytes,
                                   .max_requests = MAX_BATCH},
        &rt->ple_rows, err);
}

enum status runtime_open_holding(const struct model *model,
                                 const struct runtime_options *options,
                                 enum holding holding, struct runtime **out,
                                 struct error *err)
{
    struct runtime *rt = calloc(1, sizeof(*rt));
    enum status st;

    if (!rt)
        return fail(err, ERR_NOMEM, "no memory for a model");
    rt->model = model;
    rt->arithmetic = options->arithmetic;
    rt->kernels = options->scalar ? kernels_at(CPU_SCALAR) : kernels_best();
    if ((st = config_read(&rt->config, model->meta, err)) != OK ||
        (st = weights_open(&rt->weights, model, &rt->config, holding, err)) != OK ||
        (st = rope_open(rt, err)) != OK || (st = open_ple(rt, options, err)) != OK) {
        runtime_close(rt);
        return st;
    }
    if (rt->config.family->has_placeholders)
        placeholders_find(&rt->placeholders, model->meta, rt->weights.n_vocab);
    find_facts(rt);
    *out = rt;
    return OK;
}

enum status runtime_open(const struct model *model, const struct runtime_options *options,
                         struct runtime **out, struct error *err)
{
    return runtime_open_holding(model, options, HOLD_ALL, out, err);
}

const struct runtime_facts *runtime_facts(const struct runtime *rt)
{
    return &rt->facts;
}

void runtime_close(struct runtime *rt)
{
    if (!rt)
        return;
    ple_rows_close(rt->ple_rows);
    scratch_free(&rt->scratch);
    for (int kind = 0; kind < ROPE_KINDS; kind++)
        free(rt->rope_freqs[kind]);
    weights_close(&rt->weights);
    config_free(&rt->config);
    free(rt);
}
