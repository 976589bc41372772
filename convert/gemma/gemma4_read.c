/*
 * gemma4_read.c - the config of Gemma 4, in both its spellings, with every contradiction named
 *
 * The full-attention layers' own sizes stand in global_head_dim and num_global_key_value_heads, or
 * in per_layer_config with the layers' numbers as keys, which wins.
 */
#include "convert/gemma/fields.h"
#include "convert/gemma/gemma4.h"

#include <stdio.h>

/* What would change the forward pass in ways no Gemma 4 file can express. */
static enum status refuse_other(const json_t *config, struct error *err)
{
    const char *act = json_string_value(field_find(config, "hidden_activation"));
    const char *both =
        json_string_value(field_find(config, "use_bidirectional_attention"));
    bool has_bias = false;
    const enum status st = field_bool(config, "attention_bias", false, &has_bias, err);

    if (st != OK)
        return st;
    if (has_bias)
        return fail(err, ERR_UNSUPPORTED, "attention_bias true is not supported");
    if (act && strcmp(act, "gelu_pytorch_tanh") != 0)
        return fail(
            err, ERR_UNSUPPORTED,
            "hidden_activation \"%s\" is not supported (gelu_pytorch_tanh expected)",
            act);
    if (both && strcmp(both, "all") == 0)
        return fail(
            err, ERR_UNSUPPORTED,
            "use_bidirectional_attention \"all\" is not supported: no causal model");
    return OK;
}

static bool is_unified(const char *model_type)
{
    return strncmp(model_type, "gemma4_unified", strlen("gemma4_unified")) == 0;
}

/* A drafter's layers all use another model's keys and values. */
static enum status check_shared(const struct gemma4_traits *traits,
                                const struct gemma_config *out, struct error *err)
{
    const bool all = out->n_kv_shared == out->n_layers;

    if (out->n_kv_shared > out->n_layers || all != traits->is_drafter)
        return fail(err, ERR_CORRUPT, "num_kv_shared_layers is %u of %u layers",
                    out->n_kv_shared, out->n_layers);
    return OK;
}

static enum status read_sizes(const json_t *config, const struct gemma4_traits *traits,
                              struct gemma_config *out, struct error *err)
{
    const bool unified = is_unified(out->model_type);
    const struct {
        const char *key;
        int64_t absent;
        uint32_t *to;
    } fields[] = {
        {"num_hidden_layers", FIELD_REQUIRED, &out->n_layers},
        {"hidden_size", FIELD_REQUIRED, &out->n_embd},
        {"intermediate_size", FIELD_REQUIRED, &out->n_ff},
        {"num_attention_heads", FIELD_REQUIRED, &out->n_heads},
        {"num_key_value_heads", FIELD_REQUIRED, &out->n_kv},
        {"head_dim", 256, &out->head_dim},
        {"global_head_dim", 512, &out->head_dim_full},
        {"num_global_key_value_heads", 0, &out->n_kv_full},
        {"max_position_embeddings", 131072, &out->n_ctx},
        {"sliding_window", unified ? 1024 : 512, &out->window},
        {"num_kv_shared_layers", 0, &out->n_kv_shared},
        {"vocab_size", 262144, &out->n_vocab},
        {"vocab_size_per_layer_input", 262144, &out->n_vocab_ple},
    };
    enum status st = OK;

    for (size_t i = 0; st == OK && i < sizeof(fields) / sizeof(fields[0]); i++)
        st = field_u32(config, fields[i].key, fields[i].absent, fields[i].to, err);
    /* null, unlike a missing key, says that there is no per-layer input */
    if (st == OK && !unified && !field_exists(config, "hidden_size_per_layer_input"))
        out->n_ple = traits->n_ple;
    else if (st == OK && !unified)
        st = field_u32(config, "hidden_size_per_layer_input", 0, &out->n_ple, err);
    if (st != OK)
        return st;

    if (out->n_layers == 0 || out->n_layers > GEMMA4_MAX_LAYERS)
        return fail(err, ERR_CORRUPT, "num_hidden_layers is %u (1 to %d expected)",
                    out->n_layers, GEMMA4_MAX_LAYERS);
    if (out->n_embd == 0 || out->n_heads == 0 || out->n_kv == 0 || out->head_dim == 0 ||
        out->n_ff == 0 || out->n_vocab == 0)
        return fail(err, ERR_CORRUPT,
                    "a size is 0 (hidden_size, intermediate_size, vocab_size, "
                    "head_dim or a number of heads)");
    return check_shared(traits, out, err);
}

static enum status read_experts(const json_t *config, bool always,
                                struct gemma_config *out, struct error *err)
{
    const char *width = field_find(config, "expert_intermediate_size") &&
                                !field_find(config, "moe_intermediate_size")
                            ? "expert_intermediate_size"
                            : "moe_intermediate_size";
    const char *count =
        field_find(config, "num_local_experts") ? "num_local_experts" : "num_experts";
    const char *used = field_find(config, "num_experts_per_tok") ? "num_experts_per_tok"
                                                                 : "top_k_experts";
    bool has_experts = false;
    enum status st = field_bool(config, "enable_moe_block", always, &has_experts, err);

    if (st != OK || !has_experts)
        return st;
    st = field_u32(config, count, FIELD_REQUIRED, &out->n_experts, err);
    if (st == OK)
        st = field_u32(config, used, FIELD_REQUIRED, &out->n_experts_used, err);
    if (st == OK)
        st = field_u32(config, width, FIELD_REQUIRED, &out->n_ff_expert, err);
    if (st != OK)
        return st;
    if (out->n_experts == 0 || out->n_experts > GEMMA4_MAX_EXPERTS ||
        out->n_experts_used == 0 || out->n_experts_used > out->n_experts ||
        out->n_ff_expert == 0)
        return fail(err, ERR_CORRUPT, "%u of %u experts of width %u: no such model",
                    out->n_experts_used, out->n_experts, out->n_ff_expert);
    return OK;
}

static enum status read_rope_of(const json_t *ropes, const char *kind,
                                const char *type_wanted, float *base, const json_t **out,
                                struct error *err)
{
    const json_t *rope = json_object_get(ropes, kind);
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    const json_t *theta = json_object_get(rope, "rope_theta");

    *out = rope;
    if (type && strcmp(type, type_wanted) != 0)
        return fail(
            err, ERR_UNSUPPORTED,
            "rope_parameters: rope_type \"%s\" of %s is not supported (%s expected)",
            type, kind, type_wanted);
    if (theta && !json_is_number(theta))
        return fail(err, ERR_CORRUPT, "rope_parameters: rope_theta of %s is not a number",
                    kind);
    if (theta)
        *base = (float)json_number_value(theta);
    return OK;
}

static enum status read_rope(const json_t *config, const char *full_rope,
                             struct gemma_config *out, struct error *err)
{
    const json_t *ropes = field_find(config, "rope_parameters");
    const json_t *full = NULL, *local = NULL;
    enum status st;

    /* Flat keys of Gemma 3-style rewrites; a scaling none of the models has is refused. */
    if (field_find(config, "rope_scaling"))
        return fail(err, ERR_UNSUPPORTED, "rope_scaling is not supported for this model");
    if (json_object_get(ropes, "rope_type") || json_object_get(ropes, "rope_theta"))
        return fail(
            err, ERR_UNSUPPORTED,
            "rope_parameters is one for all layers (one for full_attention and one "
            "for sliding_attention expected)");
    st = field_f32(config, "rope_theta", 1e6, &out->rope_base, err);
    if (st == OK)
        st = field_f32(config, "rope_local_base_freq", 1e4, &out->rope_base_swa, err);
    if (st == OK)
        st =
            read_rope_of(ropes, "full_attention", full_rope, &out->rope_base, &full, err);
    if (st == OK)
        st = read_rope_of(ropes, "sliding_attention", "default", &out->rope_base_swa,
                          &local, err);
    if (st != OK)
        return st;

    const json_t *share = json_object_get(full, "partial_rotary_factor");
    out->rotary_share = share ? (float)json_number_value(share) : 0.25F;
    if (!(out->rotary_share > 0 && out->rotary_share <= 1))
        return fail(err, ERR_CORRUPT,
                    "rope_parameters: partial_rotary_factor is %g (above 0, at most 1)",
                    json_number_value(share));
    return OK;
}

/* layer_types, or five sliding layers to one full. The last layer is full in every model; a list that
 * says otherwise is not the one its weights were trained with. */
static enum status read_layer_types(const json_t *config, struct gemma_config *out,
                                    struct error *err)
{
    const json_t *types = field_find(config, "layer_types");

    if (types && json_array_size(types) != out->n_layers)
        return fail(err, ERR_CORRUPT,
                    "layer_types has %zu entries (num_hidden_layers is %u)",
                    json_array_size(types), out->n_layers);
    for (uint32_t i = 0; i < out->n_layers; i++) {
        const char *type = types ? json_string_value(json_array_get(types, i)) : NULL;

        if (types && (!type || (strcmp(type, "sliding_attention") != 0 &&
                                strcmp(type, "full_attention") != 0)))
            return fail(
                err, ERR_UNSUPPORTED,
                "layer_types[%u]: \"%s\" (sliding_attention or full_attention expected)",
                i, type ? type : "not a string");
        out->layers[i].is_sliding = types ? type[0] == 's' : i % 6 != 5;
    }
    if (types && out->layers[out->n_layers - 1].is_sliding)
        return fail(
            err, ERR_CORRUPT,
            "layer_types: the last layer is sliding_attention (full_attention expected)");
    out->layers[out->n_layers - 1].is_sliding = false;
    return OK;
}

/* per_layer_config: {"5": {"head_dim": 512, "num_key_value_heads": 4}, ...} over the full layers. */
static enum status read_per_layer(const json_t *config, struct gemma_config *out,
                                  struct error *err)
{
    const json_t *table = field_find(config, "per_layer_config");
    bool first = true;

    if (!table)
        return OK;
    if (!json_is_object(table))
        return fail(err, ERR_CORRUPT, "per_layer_config is not an object");
    for (uint32_t i = 0; i < out->n_layers; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%u", i);
        const json_t *entry = json_object_get(table, key);
        uint32_t head_dim = 0, n_kv = 0;

        if (!entry)
            continue;
        if (out->layers[i].is_sliding)
            return fail(err, ERR_UNSUPPORTED, "per_layer_config has the sliding layer %u",
                        i);
        enum status st = field_u32(entry, "head_dim", out->head_dim, &head_dim, err);
        if (st == OK)
            st = field_u32(entry, "num_key_value_heads", 0, &n_kv, err);
        if (st != OK)
            return fail_at(err, "per_layer_config");
        if (!first && (head_dim != out->head_dim_full || n_kv != out->n_kv_full))
            return fail(err, ERR_UNSUPPORTED,
                        "per_layer_config: full layers of different shapes (layer %u)",
                        i);
        out->head_dim_full = head_dim;
        out->n_kv_full = n_kv;
        first = false;
    }
    return OK;
}

static enum status fill_layers(const struct gemma4_traits *traits, bool k_eq_v,
                               struct gemma_config *out, struct error *err)
{
    const uint32_t n_own = out->n_layers - out->n_kv_shared;
    bool has[2] = {false, false};

    if (!k_eq_v && !traits->has_full_kv)
        out->n_kv_full = 0; /* the model looks at it only with K = V layers */
    out->has_full_kv = out->n_kv_full != 0;
    for (uint32_t i = 0; i < out->n_layers; i++) {
        struct gemma_layer *l = &out->layers[i];

        l->shares_kv = i >= n_own;
        l->v_is_k = k_eq_v && !l->is_sliding;
        l->head_dim = l->is_sliding ? out->head_dim : out->head_dim_full;
        l->n_kv = !l->is_sliding && out->has_full_kv ? out->n_kv_full : out->n_kv;
        l->n_ff = out->is_double_wide && l->shares_kv ? 2 * out->n_ff : out->n_ff;
        if (!l->shares_kv)
            has[l->is_sliding] = true;
        else if (!has[l->is_sliding] && !traits->is_drafter)
            return fail(
                err, ERR_CORRUPT,
                "num_kv_shared_layers is %u, but layer %u (%s) has no earlier layer of "
                "its kind to share with",
                out->n_kv_shared, i,
                l->is_sliding ? "sliding_attention" : "full_attention");
        if (l->head_dim == 0 || l->n_kv == 0 || out->n_heads % l->n_kv != 0)
            return fail(err, ERR_CORRUPT,
                        "layer %u: num_attention_heads %u is not a multiple of "
                        "num_key_value_heads %u, or the head size %u is 0",
                        i, out->n_heads, l->n_kv, l->head_dim);
    }
    return OK;
}

/* Zeros that would be read as "none" or divide by nothing. */
static enum status check_zeros(const json_t *config, const struct gemma_config *out,
                               struct error *err)
{
    if (field_find(config, "final_logit_softcapping") && !(out->softcap > 0))
        return fail(err, ERR_CORRUPT,
                    "final_logit_softcapping is %g (above 0, or null for none)",
                    (double)out->softcap);
    if (out->window == 0)
        return fail(err, ERR_CORRUPT, "sliding_window is 0");
    if (!(out->rms_eps > 0) || !(out->rope_base > 0) || !(out->rope_base_swa > 0))
        return fail(err, ERR_CORRUPT, "rms_norm_eps or rope_theta is not above 0");
    return OK;
}

enum status gemma4_read(const json_t *config, const struct gemma4_traits *traits,
                        struct arena *arena, struct gemma_config *out, struct error *err)
{
    bool k_eq_v = false;
    enum status st = refuse_other(config, err);

    if (st == OK)
        st = read_sizes(config, traits, out, err);
    if (st == OK)
        st = read_experts(config, traits->always_experts, out, err);
    if (st == OK)
        st = read_rope(config, traits->full_rope, out, err);
    if (st == OK)
        st = field_bool(config, "use_double_wide_mlp", false, &out->is_double_wide, err);
    if (st == OK)
        st = field_bool(config, "attention_k_eq_v", traits->always_k_eq_v, &k_eq_v, err);
    if (st == OK)
        st = field_f32(config, "rms_norm_eps", 1e-6, &out->rms_eps, err);
    if (st == OK)
        st = field_f32(config, "final_logit_softcapping", traits->softcap, &out->softcap,
                       err);
    if (st != OK)
        return st;

    out->layers = arena_array(arena, out->n_layers, sizeof(*out->layers));
    if (!out->layers)
        return fail(err, ERR_NOMEM, "no memory for %u layers", out->n_layers);
    st = read_layer_types(config, out, err);
    if (st == OK)
        st = read_per_layer(config, out, err);
    if (st == OK)
        st = fill_layers(traits, k_eq_v, out, err);
    if (st == OK && out->n_ple > 0 && out->n_vocab_ple < out->n_vocab)
        return fail(
            err, ERR_SHAPE,
            "embed_tokens_per_layer.weight: vocab_size_per_layer_input is %u, fewer rows "
            "than vocab_size %u",
            out->n_vocab_ple, out->n_vocab);
    if (st == OK)
        st = check_zeros(config, out, err);
    out->has_towers = json_is_object(json_object_get(config, "vision_config")) ||
                      json_is_object(json_object_get(config, "audio_config"));
    if (st == OK && out->softcap == 0 && !traits->is_drafter && !out->family->is_encoder)
        log_warn(
            "final_logit_softcapping is not set: logits are not capped (released models "
            "have 30)");
    return st;
}
