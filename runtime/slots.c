/*
 * slots.c - the two tables of names, and what their words mean for a model in hand
 */
#include "runtime/slots.h"

#include <stddef.h>
#include <string.h>

#define LAYER(member) offsetof(struct layer_weights, member)
#define MODEL(member) offsetof(struct weights, member)

static const struct slot layer_slots[] = {
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"attn_q.weight", LAYER(q), MATRIX, ALWAYS, HEADS, EMBD},
    {"attn_k.weight", LAYER(k), MATRIX, OWN_K, KV_HEADS, EMBD},
    {"attn_v.weight", LAYER(v), MATRIX, OWN_V, KV_HEADS, EMBD},
    {"attn_output.weight", LAYER(o), MATRIX, ALWAYS, EMBD, HEADS},
    {"attn_q_norm.weight", LAYER(q_norm), VECTOR, QK_NORM, ONE, HEAD},
    {"attn_k_norm.weight", LAYER(k_norm), VECTOR, OWN_K_NORM, ONE, HEAD},
    {"post_attention_norm.weight", LAYER(post_attention_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"ffn_norm.weight", LAYER(ffn_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"ffn_gate.weight", LAYER(gate), MATRIX, ALWAYS, FF, EMBD},
    {"ffn_up.weight", LAYER(up), MATRIX, ALWAYS, FF, EMBD},
    {"ffn_down.weight", LAYER(down), MATRIX, ALWAYS, EMBD, FF},
    {"post_ffw_norm.weight", LAYER(post_ffw_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"layer_output_scale.weight", LAYER(scale), VECTOR, LAYER_SCALE, ONE, ONE},
    {"canvas_output_scale.weight", LAYER(canvas_scale), VECTOR, IS_DENOISER, ONE, ONE},
    {"inp_gate.weight", LAYER(inp_gate), MATRIX, HAS_PLE, PLE, EMBD},
    {"proj.weight", LAYER(proj), MATRIX, HAS_PLE, EMBD, PLE},
    {"post_norm.weight", LAYER(post_norm), VECTOR, HAS_PLE, ONE, EMBD},
    {"pre_ffw_norm_2.weight", LAYER(pre_ffw_norm_2), VECTOR, HAS_EXPERTS, ONE, EMBD},
    {"post_ffw_norm_1.weight", LAYER(post_ffw_norm_1), VECTOR, HAS_EXPERTS, ONE, EMBD},
    {"post_ffw_norm_2.weight", LAYER(post_ffw_norm_2), VECTOR, HAS_EXPERTS, ONE, EMBD},
    {"ffn_gate_inp.weight", LAYER(router), MATRIX, HAS_EXPERTS, EXPERTS, EMBD},
    {"ffn_gate_inp.scale", LAYER(router_scale), VECTOR, HAS_EXPERTS, ONE, EMBD},
    {"ffn_down_exps.scale", LAYER(expert_scale), VECTOR, HAS_EXPERTS, ONE, EXPERTS},
    {"ffn_gate_exps.weight", LAYER(gate_exps), EXPERT_MATRICES, HAS_EXPERTS, FF_EXPERT,
     EMBD},
    {"ffn_up_exps.weight", LAYER(up_exps), EXPERT_MATRICES, HAS_EXPERTS, FF_EXPERT, EMBD},
    {"ffn_down_exps.weight", LAYER(down_exps), EXPERT_MATRICES, HAS_EXPERTS, EMBD,
     FF_EXPERT},
};

static const struct slot model_slots[] = {
    {"token_embd.weight", MODEL(token_embd), MATRIX, ALWAYS, ANY, EMBD},
    {"output.weight", MODEL(output), MATRIX, MAYBE, VOCAB, EMBD},
    {"output_norm.weight", MODEL(output_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"rope_freqs.weight", MODEL(rope_freqs), VECTOR, PARTIAL_ROPE, ONE, HALF_HEAD},
    {"per_layer_model_proj.weight", MODEL(ple_proj), MATRIX, HAS_PLE, PLE_ALL, EMBD},
    {"per_layer_proj_norm.weight", MODEL(ple_norm), VECTOR, HAS_PLE, ONE, PLE},
    {"nextn.pre_projection.weight", MODEL(pre_proj), MATRIX, IS_DRAFTER, EMBD,
     EMBD_OUT_2},
    {"nextn.post_projection.weight", MODEL(post_proj), MATRIX, IS_DRAFTER, EMBD_OUT,
     EMBD},
    {"condition_norm.weight", MODEL(condition_norm), VECTOR, IS_DENOISER, ONE, EMBD},
    {"condition_gate.weight", MODEL(condition_gate), MATRIX, IS_DENOISER, FF, EMBD},
    {"condition_up.weight", MODEL(condition_up), MATRIX, IS_DENOISER, FF, EMBD},
    {"condition_down.weight", MODEL(condition_down), MATRIX, IS_DENOISER, EMBD, FF},
    {"dense_2.weight", MODEL(dense_2), MATRIX, ENCODER, ANY, EMBD},
    {"dense_3.weight", MODEL(dense_3), MATRIX, ENCODER, ANY, ANY},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct slots slots_of_layers(void)
{
    return (struct slots){layer_slots, LENGTH(layer_slots)};
}

struct slots slots_of_model(void)
{
    return (struct slots){model_slots, LENGTH(model_slots)};
}

static const struct fused fused[] = {
    {"attn_q.weight", "attn_qkv.weight", 0, 3, {HEADS, KV_HEADS, KV_HEADS}},
    {"attn_k.weight", "attn_qkv.weight", 1, 3, {HEADS, KV_HEADS, KV_HEADS}},
    {"attn_v.weight", "attn_qkv.weight", 2, 3, {HEADS, KV_HEADS, KV_HEADS}},
    {"ffn_gate_exps.weight",
     "ffn_gate_up_exps.weight",
     0,
     2,
     {FF_EXPERT, FF_EXPERT, ONE}},
    {"ffn_up_exps.weight", "ffn_gate_up_exps.weight", 1, 2, {FF_EXPERT, FF_EXPERT, ONE}},
};

const struct fused *slots_fused(const char *name)
{
    for (size_t i = 0; i < LENGTH(fused); i++)
        if (strcmp(fused[i].part, name) == 0)
            return &fused[i];
    return NULL;
}

const char *slots_dead_in_shared_layers(size_t i)
{
    static const char *const names[] = {"attn_k.weight", "attn_v.weight",
                                        "attn_k_norm.weight"};

    return i < LENGTH(names) ? names[i] : NULL;
}

const char *slots_dead_in_drafters(size_t i)
{
    static const char *const names[] = {"masked_embd_centroids.weight",
                                        "masked_embd_ordering",
                                        "masked_embd_ordering.weight"};

    return i < LENGTH(names) ? names[i] : NULL;
}

size_t slots_size(const struct place *place, enum dim dim)
{
    const struct config *c = place->config;
    const struct layer_facts *layer = &c->layers[place->layer];
    size_t d = place->in_layer ? layer->head_dim : c->rope[ROPE_GLOBAL].n_dims;

    switch (dim) {
    case EMBD:
        return c->n_embd;
    case VOCAB:
        return place->n_vocab;
    case HEAD:
        return d;
    case HALF_HEAD:
        return d / 2;
    case HEADS:
        return d * layer->n_heads;
    case KV_HEADS:
        return d * layer->n_kv_heads;
    case FF:
        return layer->n_ff;
    case FF_EXPERT:
        return c->n_ff_expert;
    case EXPERTS:
        return c->n_experts;
    case PLE:
        return c->n_ple;
    case PLE_ALL:
        return (size_t)c->n_ple * c->n_layers;
    case EMBD_OUT:
        return c->n_embd_out;
    case EMBD_OUT_2:
        return 2 * (size_t)c->n_embd_out;
    case ONE:
    case ANY:
        break;
    }
    return 1;
}
enum need slots_need(const struct place *place, enum when when)
{
    const struct family *family = place->config->family;
    const struct layer_facts *facts = &place->config->layers[place->layer];
    bool own_kv = place->layer < place->config->n_own_kv;
    bool yes = false;

    switch (when) {
    case ALWAYS:
        return REQUIRED;
    case MAYBE:
        return OPTIONAL;
    case ENCODER:
        return family->is_causal ? NO : OPTIONAL;
    case OWN_V:
        if (own_kv && family->has_keys_for_values && facts->rope == ROPE_GLOBAL)
            return OPTIONAL;
        yes = own_kv;
        break;
    case OWN_K:
        yes = own_kv;
        break;
    case OWN_K_NORM:
        yes = own_kv && family->has_qk_norm;
        break;
    case QK_NORM:
        yes = family->has_qk_norm;
        break;
    case LAYER_SCALE:
        yes = family->has_layer_scale;
        break;
    case HAS_PLE:
        yes = place->config->n_ple > 0;
        break;
    case HAS_EXPERTS:
        yes = place->config->n_experts > 0;
        break;
    case IS_DRAFTER:
        yes = family->is_drafter;
        break;
    case IS_DENOISER:
        yes = family->is_denoiser;
        break;
    case PARTIAL_ROPE:
        yes = family->has_partial_rope;
        break;
    }
    return yes ? REQUIRED : NO;
}
