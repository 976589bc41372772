/*
 * block_rows.h - the rows that the tables of all members share
 *
 * Embedding, head and final norm; and of a layer its four norms, attention with norms of queries
 * and keys, and the gated MLP.
 */
#ifndef CONVERT_GEMMA_BLOCK_ROWS_H
#define CONVERT_GEMMA_BLOCK_ROWS_H

#include "convert/gemma/gemma.h"

#define GEMMA_BLOCK_ROWS                                                              \
    {"embed_tokens.weight", "token_embd.weight", WHEN_ALWAYS, {DIM_VOCAB, DIM_EMBD}}, \
        {"lm_head.weight", "output.weight", WHEN_UNTIED, {DIM_VOCAB, DIM_EMBD}},      \
        {"norm.weight", "output_norm.weight", WHEN_ALWAYS, {DIM_EMBD}},               \
        {"layers.*.input_layernorm.weight",                                           \
         "blk.*.attn_norm.weight",                                                    \
         WHEN_ALWAYS,                                                                 \
         {DIM_EMBD}},                                                                 \
        {"layers.*.self_attn.q_proj.weight",                                          \
         "blk.*.attn_q.weight",                                                       \
         WHEN_ALWAYS,                                                                 \
         {DIM_Q, DIM_EMBD}},                                                          \
        {"layers.*.self_attn.k_proj.weight",                                          \
         "blk.*.attn_k.weight",                                                       \
         WHEN_OWN_KV,                                                                 \
         {DIM_KV, DIM_EMBD}},                                                         \
        {"layers.*.self_attn.v_proj.weight",                                          \
         "blk.*.attn_v.weight",                                                       \
         WHEN_OWN_V,                                                                  \
         {DIM_KV, DIM_EMBD}},                                                         \
        {"layers.*.self_attn.o_proj.weight",                                          \
         "blk.*.attn_output.weight",                                                  \
         WHEN_ALWAYS,                                                                 \
         {DIM_EMBD, DIM_Q}},                                                          \
        {"layers.*.self_attn.q_norm.weight",                                          \
         "blk.*.attn_q_norm.weight",                                                  \
         WHEN_ALWAYS,                                                                 \
         {DIM_HEAD}},                                                                 \
        {"layers.*.self_attn.k_norm.weight",                                          \
         "blk.*.attn_k_norm.weight",                                                  \
         WHEN_OWN_KV,                                                                 \
         {DIM_HEAD}},                                                                 \
        {"layers.*.post_attention_layernorm.weight",                                  \
         "blk.*.post_attention_norm.weight",                                          \
         WHEN_ALWAYS,                                                                 \
         {DIM_EMBD}},                                                                 \
        {"layers.*.pre_feedforward_layernorm.weight",                                 \
         "blk.*.ffn_norm.weight",                                                     \
         WHEN_ALWAYS,                                                                 \
         {DIM_EMBD}},                                                                 \
        {"layers.*.mlp.gate_proj.weight",                                             \
         "blk.*.ffn_gate.weight",                                                     \
         WHEN_ALWAYS,                                                                 \
         {DIM_FF, DIM_EMBD}},                                                         \
        {"layers.*.mlp.up_proj.weight",                                               \
         "blk.*.ffn_up.weight",                                                       \
         WHEN_ALWAYS,                                                                 \
         {DIM_FF, DIM_EMBD}},                                                         \
        {"layers.*.mlp.down_proj.weight",                                             \
         "blk.*.ffn_down.weight",                                                     \
         WHEN_ALWAYS,                                                                 \
         {DIM_EMBD, DIM_FF}},                                                         \
    {                                                                                 \
        "layers.*.post_feedforward_layernorm.weight", "blk.*.post_ffw_norm.weight",   \
            WHEN_ALWAYS,                                                              \
        {                                                                             \
            DIM_EMBD                                                                  \
        }                                                                             \
    }

/* Since Gemma 4. */
#define GEMMA_SCALAR_ROW                                                         \
    {                                                                            \
        "layers.*.layer_scalar", "blk.*.layer_output_scale.weight", WHEN_ALWAYS, \
        {                                                                        \
            DIM_ONE                                                              \
        }                                                                        \
    }

/* Experts beside the MLP. */
#define GEMMA_EXPERT_ROWS                                                               \
    {"layers.*.router.proj.weight",                                                     \
     "blk.*.ffn_gate_inp.weight",                                                       \
     WHEN_MOE,                                                                          \
     {DIM_EXPERTS, DIM_EMBD}},                                                          \
        {"layers.*.router.scale", "blk.*.ffn_gate_inp.scale", WHEN_MOE, {DIM_EMBD}},    \
        {"layers.*.router.per_expert_scale",                                            \
         "blk.*.ffn_down_exps.scale",                                                   \
         WHEN_MOE,                                                                      \
         {DIM_EXPERTS}},                                                                \
        {"layers.*.experts.gate_up_proj",                                               \
         "blk.*.ffn_gate_up_exps.weight",                                               \
         WHEN_MOE,                                                                      \
         {DIM_EXPERTS, DIM_FF_EXPERT_2, DIM_EMBD}},                                     \
        {"layers.*.experts.down_proj",                                                  \
         "blk.*.ffn_down_exps.weight",                                                  \
         WHEN_MOE,                                                                      \
         {DIM_EXPERTS, DIM_EMBD, DIM_FF_EXPERT}},                                       \
        {"layers.*.pre_feedforward_layernorm_2.weight",                                 \
         "blk.*.pre_ffw_norm_2.weight",                                                 \
         WHEN_MOE,                                                                      \
         {DIM_EMBD}},                                                                   \
        {"layers.*.post_feedforward_layernorm_1.weight",                                \
         "blk.*.post_ffw_norm_1.weight",                                                \
         WHEN_MOE,                                                                      \
         {DIM_EMBD}},                                                                   \
    {                                                                                   \
        "layers.*.post_feedforward_layernorm_2.weight", "blk.*.post_ffw_norm_2.weight", \
            WHEN_MOE,                                                                   \
        {                                                                               \
            DIM_EMBD                                                                    \
        }                                                                               \
    }

#endif
