/*
 * gemma4.c - Gemma 4: E2B, E4B, 26B-A4B, 31B (gemma4) and 12B (gemma4_unified), the text model
 */
#include "convert/gemma/gemma4.h"
#include "convert/gemma/members.h"

#include <stdio.h>

/* clang-format off: a tensor a row */
static const struct gemma_tensor tensors[] = {
    {"embed_tokens.weight", "token_embd.weight", WHEN_ALWAYS, {DIM_VOCAB, DIM_EMBD}},
    {"lm_head.weight", "output.weight", WHEN_UNTIED, {DIM_VOCAB, DIM_EMBD}},
    {"norm.weight", "output_norm.weight", WHEN_ALWAYS, {DIM_EMBD}},
    {"embed_tokens_per_layer.weight",
     "per_layer_token_embd.weight", WHEN_PLE, {DIM_VOCAB_PLE, DIM_PLE_ALL}},
    {"per_layer_model_projection.weight",
     "per_layer_model_proj.weight", WHEN_PLE, {DIM_PLE_ALL, DIM_EMBD}},
    {"per_layer_projection_norm.weight",
     "per_layer_proj_norm.weight", WHEN_PLE, {DIM_PLE}},

    {"layers.*.input_layernorm.weight",
     "blk.*.attn_norm.weight", WHEN_ALWAYS, {DIM_EMBD}},
    {"layers.*.self_attn.q_proj.weight",
     "blk.*.attn_q.weight", WHEN_ALWAYS, {DIM_Q, DIM_EMBD}},
    {"layers.*.self_attn.k_proj.weight",
     "blk.*.attn_k.weight", WHEN_OWN_KV, {DIM_KV, DIM_EMBD}},
    {"layers.*.self_attn.v_proj.weight",
     "blk.*.attn_v.weight", WHEN_OWN_V, {DIM_KV, DIM_EMBD}},
    {"layers.*.self_attn.o_proj.weight",
     "blk.*.attn_output.weight", WHEN_ALWAYS, {DIM_EMBD, DIM_Q}},
    {"layers.*.self_attn.q_norm.weight",
     "blk.*.attn_q_norm.weight", WHEN_ALWAYS, {DIM_HEAD}},
    {"layers.*.self_attn.k_norm.weight",
     "blk.*.attn_k_norm.weight", WHEN_OWN_KV, {DIM_HEAD}},
    {"layers.*.post_attention_layernorm.weight",
     "blk.*.post_attention_norm.weight", WHEN_ALWAYS, {DIM_EMBD}},

    {"layers.*.pre_feedforward_layernorm.weight",
     "blk.*.ffn_norm.weight", WHEN_ALWAYS, {DIM_EMBD}},
    {"layers.*.mlp.gate_proj.weight",
     "blk.*.ffn_gate.weight", WHEN_ALWAYS, {DIM_FF, DIM_EMBD}},
    {"layers.*.mlp.up_proj.weight",
     "blk.*.ffn_up.weight", WHEN_ALWAYS, {DIM_FF, DIM_EMBD}},
    {"layers.*.mlp.down_proj.weight",
     "blk.*.ffn_down.weight", WHEN_ALWAYS, {DIM_EMBD, DIM_FF}},
    {"layers.*.post_feedforward_layernorm.weight",
     "blk.*.post_ffw_norm.weight", WHEN_ALWAYS, {DIM_EMBD}},
    {"layers.*.layer_scalar", "blk.*.layer_output_scale.weight", WHEN_ALWAYS, {DIM_ONE}},

    {"layers.*.per_layer_input_gate.weight",
     "blk.*.inp_gate.weight", WHEN_PLE, {DIM_PLE, DIM_EMBD}},
    {"layers.*.per_layer_projection.weight",
     "blk.*.proj.weight", WHEN_PLE, {DIM_EMBD, DIM_PLE}},
    {"layers.*.post_per_layer_input_norm.weight",
     "blk.*.post_norm.weight", WHEN_PLE, {DIM_EMBD}},

    {"layers.*.router.proj.weight",
     "blk.*.ffn_gate_inp.weight", WHEN_MOE, {DIM_EXPERTS, DIM_EMBD}},
    {"layers.*.router.scale", "blk.*.ffn_gate_inp.scale", WHEN_MOE, {DIM_EMBD}},
    {"layers.*.router.per_expert_scale",
     "blk.*.ffn_down_exps.scale", WHEN_MOE, {DIM_EXPERTS}},
    {"layers.*.experts.gate_up_proj",
     "blk.*.ffn_gate_up_exps.weight", WHEN_MOE, {DIM_EXPERTS, DIM_FF_EXPERT_2, DIM_EMBD}},
    {"layers.*.experts.down_proj",
     "blk.*.ffn_down_exps.weight", WHEN_MOE, {DIM_EXPERTS, DIM_EMBD, DIM_FF_EXPERT}},
    {"layers.*.pre_feedforward_layernorm_2.weight",
     "blk.*.pre_ffw_norm_2.weight", WHEN_MOE, {DIM_EMBD}},
    {"layers.*.post_feedforward_layernorm_1.weight",
     "blk.*.post_ffw_norm_1.weight", WHEN_MOE, {DIM_EMBD}},
    {"layers.*.post_feedforward_layernorm_2.weight",
     "blk.*.post_ffw_norm_2.weight", WHEN_MOE, {DIM_EMBD}},
};
/* clang-format on */

/* One row a key: u32 and f32 scalars in the converter's order. */
struct key_row {
    const char *key; /* after the architecture and a dot */
    enum gguf_type type;
    double value;
    bool left_out;
};

static enum status set_rows(struct gguf_meta *meta, const struct key_row *rows, size_t n,
                            struct error *err)
{
    char key[96];
    enum status st = OK;

    for (size_t i = 0; i < n && st == OK; i++) {
        if (rows[i].left_out)
            continue;
        snprintf(key, sizeof(key), "gemma4.%s", rows[i].key);
        st = rows[i].type == GGUF_F32
                 ? gguf_set_f32(meta, key, (float)rows[i].value, err)
                 : gguf_set_u32(meta, key, (uint32_t)rows[i].value, err);
    }
    return st;
}

/* Arrays with one entry a layer, which some members have in place of a scalar. */
static enum status set_layer_arrays(const struct gemma_config *c, struct gguf_meta *meta,
                                    struct error *err)
{
    int32_t ff[GEMMA4_MAX_LAYERS], kv[GEMMA4_MAX_LAYERS];
    uint8_t sliding[GEMMA4_MAX_LAYERS];
    enum status st = OK;

    for (uint32_t i = 0; i < c->n_layers; i++) {
        ff[i] = (int32_t)c->layers[i].n_ff;
        kv[i] = (int32_t)c->layers[i].n_kv;
        sliding[i] = c->layers[i].is_sliding;
    }
    if (c->is_double_wide)
        st = gguf_set_array(meta, "gemma4.feed_forward_length", GGUF_I32, ff, c->n_layers,
                            err);
    if (st == OK && c->has_full_kv)
        st = gguf_set_array(meta, "gemma4.attention.head_count_kv", GGUF_I32, kv,
                            c->n_layers, err);
    if (st == OK)
        st = gguf_set_array(meta, "gemma4.attention.sliding_window_pattern", GGUF_BOOL,
                            sliding, c->n_layers, err);
    return st;
}

/* Scalars first; setting a key again keeps its place, so the arrays that replace some of them
 * stand where the converter writes them. */
static enum status gemma4_describe(const struct gemma_config *c, uint32_t file_type,
                                   struct gguf_meta *meta, struct error *err)
{
    const bool dense = c->n_experts == 0;
    const struct key_row before[] = {
        {"block_count", GGUF_U32, c->n_layers, false},
        {"context_length", GGUF_U32, c->n_ctx, false},
        {"embedding_length", GGUF_U32, c->n_embd, false},
        {"feed_forward_length", GGUF_U32, c->n_ff, false},
        {"attention.head_count", GGUF_U32, c->n_heads, false},
        {"attention.head_count_kv", GGUF_U32, c->n_kv, false},
        {"rope.freq_base", GGUF_F32, (double)c->rope_base, false},
        {"rope.freq_base_swa", GGUF_F32, (double)c->rope_base_swa, false},
        {"attention.layer_norm_rms_epsilon", GGUF_F32, (double)c->rms_eps, false},
        {"expert_count", GGUF_U32, c->n_experts, dense},
        {"expert_used_count", GGUF_U32, c->n_experts_used, dense},
        {"attention.key_length", GGUF_U32, c->head_dim_full, false},
        {"attention.value_length", GGUF_U32, c->head_dim_full, false},
    };
    const struct key_row after[] = {
        {"final_logit_softcapping", GGUF_F32, (double)c->softcap, c->softcap == 0},
        {"attention.sliding_window", GGUF_U32, c->window, false},
        {"attention.shared_kv_layers", GGUF_U32, c->n_kv_shared, false},
        {"embedding_length_per_layer_input", GGUF_U32, c->n_ple, false},
        {"attention.sliding_window_pattern", GGUF_U32, 0, false},
        {"attention.key_length_swa", GGUF_U32, c->head_dim, false},
        {"attention.value_length_swa", GGUF_U32, c->head_dim, false},
        {"expert_feed_forward_length", GGUF_U32, c->n_ff_expert, dense},
        {"rope.dimension_count", GGUF_U32, c->head_dim_full, false},
        {"rope.dimension_count_swa", GGUF_U32, c->head_dim, false},
    };
    enum status st = set_rows(meta, before, sizeof(before) / sizeof(before[0]), err);

    if (st == OK)
        st = gguf_set_u32(meta, "general.file_type", file_type, err);
    if (st == OK)
        st = set_rows(meta, after, sizeof(after) / sizeof(after[0]), err);
    return st == OK ? set_layer_arrays(c, meta, err) : st;
}

static const char *const model_types[] = {"gemma4", "gemma4_text", "gemma4_unified",
                                          "gemma4_unified_text", NULL};

const struct gemma_family gemma4_family = {
    .name = "gemma4",
    .architecture = "gemma4",
    .model_types = model_types,
    .tensors = tensors,
    .n_tensors = sizeof(tensors) / sizeof(tensors[0]),
    .read = gemma4_read,
    .describe = gemma4_describe,
};
