/*
 * gemma4.c - Gemma 4: E2B, E4B, 26B-A4B, 31B (gemma4) and 12B (gemma4_unified), the text model
 */
#include "convert/gemma/gemma4.h"
#include "convert/gemma/block_rows.h"
#include "convert/gemma/keys.h"
#include "convert/gemma/members.h"

/* clang-format off: a tensor a row */
static const struct gemma_tensor tensors[] = {
    GEMMA_BLOCK_ROWS,
    GEMMA_SCALAR_ROW,
    GEMMA_EXPERT_ROWS,
    {"embed_tokens_per_layer.weight",
     "per_layer_token_embd.weight",
     WHEN_PLE,
     {DIM_VOCAB_PLE, DIM_PLE_ALL}},
    {"per_layer_model_projection.weight",
     "per_layer_model_proj.weight",
     WHEN_PLE,
     {DIM_PLE_ALL, DIM_EMBD}},
    {"per_layer_projection_norm.weight",
     "per_layer_proj_norm.weight",
     WHEN_PLE,
     {DIM_PLE}},
    {"layers.*.per_layer_input_gate.weight",
     "blk.*.inp_gate.weight",
     WHEN_PLE,
     {DIM_PLE, DIM_EMBD}},
    {"layers.*.per_layer_projection.weight",
     "blk.*.proj.weight",
     WHEN_PLE,
     {DIM_EMBD, DIM_PLE}},
    {"layers.*.post_per_layer_input_norm.weight",
     "blk.*.post_norm.weight",
     WHEN_PLE,
     {DIM_EMBD}},
};
/* clang-format on */

/* Arrays with one entry a layer, which some members have in place of a scalar. */
static enum status set_layer_arrays(const struct gemma_config *c, struct gguf_meta *meta,
                                    struct error *err)
{
    int32_t ff[GEMMA4_MAX_LAYERS], kv[GEMMA4_MAX_LAYERS];
    uint8_t sliding[GEMMA4_MAX_LAYERS];
    const char *arch = c->family->architecture;
    char key[KEY_NAME];
    enum status st = OK;

    for (uint32_t i = 0; i < c->n_layers; i++) {
        ff[i] = (int32_t)c->layers[i].n_ff;
        kv[i] = (int32_t)c->layers[i].n_kv;
        sliding[i] = c->layers[i].is_sliding;
    }
    if (c->is_double_wide)
        st = gguf_set_array(meta, key_name(key, arch, "feed_forward_length"), GGUF_I32,
                            ff, c->n_layers, err);
    if (st == OK && c->has_full_kv)
        st = gguf_set_array(meta, key_name(key, arch, "attention.head_count_kv"),
                            GGUF_I32, kv, c->n_layers, err);
    if (st == OK)
        st = gguf_set_array(meta, key_name(key, arch, "attention.sliding_window_pattern"),
                            GGUF_BOOL, sliding, c->n_layers, err);
    return st;
}

/* Scalars first; setting a key again keeps its place, so the arrays that replace some of them
 * stand where the converter writes them. */
enum status gemma4_describe(const struct gemma_config *c, uint32_t file_type,
                            struct gguf_meta *meta, struct error *err)
{
    const char *arch = c->family->architecture;
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
    enum status st =
        keys_set(arch, before, sizeof(before) / sizeof(before[0]), meta, err);

    if (st == OK)
        st = gguf_set_u32(meta, "general.file_type", file_type, err);
    if (st == OK)
        st = keys_set(arch, after, sizeof(after) / sizeof(after[0]), meta, err);
    return st == OK ? set_layer_arrays(c, meta, err) : st;
}

static enum status read_config(const json_t *config, struct arena *arena,
                               struct gemma_config *out, struct error *err)
{
    static const struct gemma4_traits traits = {.full_rope = "proportional",
                                                .n_ple = 256};

    return gemma4_read(config, &traits, arena, out, err);
}

static const char *const model_types[] = {"gemma4", "gemma4_text", "gemma4_unified",
                                          "gemma4_unified_text", NULL};

const struct gemma_family gemma4_family = {
    .name = "gemma4",
    .architecture = "gemma4",
    .model_types = model_types,
    .tensors = tensors,
    .n_tensors = sizeof(tensors) / sizeof(tensors[0]),
    .has_partial_rope = true,
    .read = read_config,
    .describe = gemma4_describe,
};
