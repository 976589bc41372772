/*
 * gemma3.c - Gemma 3: the text models, the text part of multimodal ones, ShieldGemma 2, and
 * EmbeddingGemma, which reads in both directions
 *
 * MedGemma, FunctionGemma and TranslateGemma are among them by their config. Norms are stored as
 * differences from 1; files hold the sum.
 */
#include "convert/gemma/block_rows.h"
#include "convert/gemma/fields.h"
#include "convert/gemma/keys.h"
#include "convert/gemma/members.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_LAYERS = 1024, PERIOD = 6, WIDE_LAYERS = 62 };

static const struct gemma_tensor tensors[] = {GEMMA_BLOCK_ROWS};

/* The heads of a sentence-transformers folder. */
static const struct gemma_tensor embedding_tensors[] = {
    GEMMA_BLOCK_ROWS,
    {"dense_2.linear.weight", "dense_2.weight", WHEN_HEAD, {DIM_ANY, DIM_EMBD}},
    {"dense_3.linear.weight", "dense_3.weight", WHEN_HEAD, {DIM_ANY, DIM_ANY}},
};

/* ---- config.json ---- */

static enum status refuse_other(const json_t *config, struct error *err)
{
    const char *act = json_string_value(field_find(config, "hidden_activation"));
    bool has_bias = false;
    const enum status st = field_bool(config, "attention_bias", false, &has_bias, err);

    if (st != OK)
        return st;
    if (has_bias)
        return fail(err, ERR_UNSUPPORTED, "attention_bias true is not supported");
    if (act && strcmp(act, "gelu_pytorch_tanh") != 0)
        return fail(err, ERR_UNSUPPORTED,
                    "hidden_activation \"%s\" is not supported (gelu_pytorch_tanh "
                    "expected)",
                    act);
    if (field_find(config, "attn_logit_softcapping"))
        return fail(err, ERR_UNSUPPORTED,
                    "attn_logit_softcapping is not supported for this model");
    return OK;
}

/* Released configs leave out whatever has the value of the class's defaults. */
static enum status read_sizes(const json_t *config, struct gemma_config *out,
                              struct error *err)
{
    const struct {
        const char *key;
        uint32_t absent, *to;
    } fields[] = {
        {"num_hidden_layers", 26, &out->n_layers},
        {"hidden_size", 2304, &out->n_embd},
        {"intermediate_size", 9216, &out->n_ff},
        {"num_attention_heads", 8, &out->n_heads},
        {"num_key_value_heads", 4, &out->n_kv},
        {"head_dim", 256, &out->head_dim},
        {"max_position_embeddings", 131072, &out->n_ctx},
        {"sliding_window", 4096, &out->window},
        {"vocab_size", 262208, &out->n_vocab},
    };
    enum status st = OK;

    for (size_t i = 0; st == OK && i < sizeof(fields) / sizeof(fields[0]); i++)
        st = field_u32(config, fields[i].key, fields[i].absent, fields[i].to, err);
    if (st != OK)
        return st;
    if (out->n_layers == 0 || out->n_layers > MAX_LAYERS)
        return fail(err, ERR_CORRUPT, "num_hidden_layers is %u (1 to %d expected)",
                    out->n_layers, MAX_LAYERS);
    if (out->n_embd == 0 || out->n_heads == 0 || out->n_kv == 0 || out->head_dim == 0 ||
        out->n_ff == 0 || out->n_vocab == 0 || out->window == 0)
        return fail(err, ERR_CORRUPT,
                    "a size is 0 (hidden_size, intermediate_size, vocab_size, head_dim, "
                    "sliding_window or a number of heads)");
    if (out->n_heads % out->n_kv != 0)
        return fail(err, ERR_CORRUPT,
                    "num_attention_heads %u is not a multiple of num_key_value_heads %u",
                    out->n_heads, out->n_kv);
    out->head_dim_full = out->head_dim;
    return OK;
}

/* A rope's base, and the factor that divides its frequencies: 0 for none. Both spellings of the
 * type's key are in use. */
static enum status read_rope_of(const json_t *rope, const char *what, float *base,
                                float *factor, struct error *err)
{
    const json_t *theta = json_object_get(rope, "rope_theta");
    const char *type = json_string_value(json_object_get(rope, "rope_type"));

    if (!type)
        type = json_string_value(json_object_get(rope, "type"));
    if (json_is_number(theta))
        *base = (float)json_number_value(theta);
    *factor = 0;
    if (!type || strcmp(type, "default") == 0)
        return OK;
    *factor = (float)json_number_value(json_object_get(rope, "factor"));
    if (strcmp(type, "linear") != 0)
        return fail(err, ERR_UNSUPPORTED,
                    "%s: rope_type \"%s\" is not supported (default or linear expected)",
                    what, type);
    if (!(*factor > 0) || !isfinite(*factor))
        return fail(err, ERR_CORRUPT, "%s: factor is not a number above 0", what);
    return OK;
}

/* Bases and scaling stand side by side, or in one object a kind of layer, or in one that is the full
 * layers'. */
static enum status read_rope(const json_t *config, struct gemma_config *out,
                             struct error *err)
{
    const json_t *ropes = field_find(config, "rope_parameters");
    const json_t *full = json_object_get(ropes, "full_attention");
    const json_t *local = json_object_get(ropes, "sliding_attention");
    const bool is_flat = json_object_size(ropes) > 0 && !full && !local;
    float local_factor = 0;
    enum status st = field_f32(config, "rope_theta", 1e6, &out->rope_base, err);

    if (st == OK)
        st = field_f32(config, "rope_local_base_freq", 1e4, &out->rope_base_swa, err);
    if (st == OK && !full && !is_flat)
        st = read_rope_of(field_find(config, "rope_scaling"), "rope_scaling",
                          &out->rope_base, &out->rope_factor, err);
    else if (st == OK)
        st = read_rope_of(is_flat ? ropes : full, "rope_parameters", &out->rope_base,
                          &out->rope_factor, err);
    if (st == OK)
        st = read_rope_of(local, "rope_parameters", &out->rope_base_swa, &local_factor,
                          err);
    if (st == OK && local_factor > 0)
        return fail(err, ERR_UNSUPPORTED,
                    "rope_parameters: scaling of sliding_attention is not supported");
    if (st == OK && (!(out->rope_base > 0) || !(out->rope_base_swa > 0)))
        return fail(err, ERR_CORRUPT, "rope_theta is not above 0");
    return st;
}

/* layer_types; else one full layer in every sliding_window_pattern. */
static enum status read_layers(const json_t *config, struct arena *arena,
                               struct gemma_config *out, struct error *err)
{
    const json_t *types = field_find(config, "layer_types");
    uint32_t period = PERIOD;
    enum status st = field_u32(config, "_sliding_window_pattern", PERIOD, &period, err);

    if (st == OK)
        st = field_u32(config, "sliding_window_pattern", period, &period, err);
    if (st != OK)
        return st;
    if (types && json_array_size(types) != out->n_layers)
        return fail(err, ERR_CORRUPT,
                    "layer_types has %zu entries (num_hidden_layers is %u)",
                    json_array_size(types), out->n_layers);
    out->layers = arena_array(arena, out->n_layers, sizeof(*out->layers));
    if (!out->layers)
        return fail(err, ERR_NOMEM, "no memory for %u layers", out->n_layers);
    for (uint32_t i = 0; i < out->n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));

        if (types && (!type || (strcmp(type, "sliding_attention") != 0 &&
                                strcmp(type, "full_attention") != 0)))
            return fail(err, ERR_UNSUPPORTED,
                        "layer_types[%u]: \"%s\" (sliding_attention or full_attention "
                        "expected)",
                        i, type ? type : "not a string");
        out->layers[i] = (struct gemma_layer){
            .is_sliding = types ? type[0] == 's' : period > 0 && (i + 1) % period != 0,
            .n_ff = out->n_ff,
            .n_kv = out->n_kv,
            .head_dim = out->head_dim};
    }
    return OK;
}

/* No key says by what scores are divided: engines take the root of a head's width, and in the
 * model of 62 layers that of hidden_size / num_attention_heads. */
static enum status check_scores(const json_t *config, const struct gemma_config *out,
                                struct error *err)
{
    const bool is_wide = out->n_layers == WIDE_LAYERS && out->family == &gemma3_family;
    const float taken = (float)(is_wide ? out->n_embd / out->n_heads : out->head_dim);
    float scalar = taken;
    const enum status st = field_f32(config, "query_pre_attn_scalar", 256, &scalar, err);

    if (st != OK || scalar == taken)
        return st;
    return fail(err, ERR_UNSUPPORTED,
                "query_pre_attn_scalar is %g (%g expected: no GGUF key holds another)",
                (double)scalar, (double)taken);
}

static enum status gemma3_read(const json_t *config, struct arena *arena,
                               struct gemma_config *out, struct error *err)
{
    enum status st = refuse_other(config, err);

    if (st == OK)
        st = read_sizes(config, out, err);
    if (st == OK)
        st = read_rope(config, out, err);
    if (st == OK)
        st = read_layers(config, arena, out, err);
    if (st == OK)
        st = check_scores(config, out, err);
    if (st == OK)
        st = field_f32(config, "rms_norm_eps", 1e-6, &out->rms_eps, err);
    if (st == OK)
        st = field_f32(config, "final_logit_softcapping", 0, &out->softcap, err);
    if (st == OK && strcmp(out->model_type, "shieldgemma2") == 0) {
        out->is_classifier = true;
        st = field_u32(config, "yes_token_index", 10784, &out->yes_token, err);
        if (st == OK)
            st = field_u32(config, "no_token_index", 3771, &out->no_token, err);
    }
    out->has_towers = json_is_object(json_object_get(config, "vision_config"));
    return st;
}

static bool reads_both_ways(const json_t *config)
{
    return json_is_true(field_find(config, "use_bidirectional_attention"));
}

/* ---- metadata ---- */

/* True when every sixth layer is full, as engines assume without a key. */
static bool is_usual_pattern(const struct gemma_config *c)
{
    for (uint32_t i = 0; i < c->n_layers; i++)
        if (c->layers[i].is_sliding != ((i + 1) % PERIOD != 0))
            return false;
    return true;
}

static enum status set_pattern(const struct gemma_config *c, struct gguf_meta *meta,
                               struct error *err)
{
    uint8_t sliding[MAX_LAYERS];
    char key[KEY_NAME];

    for (uint32_t i = 0; i < c->n_layers; i++)
        sliding[i] = c->layers[i].is_sliding;
    key_name(key, c->family->architecture, "attention.sliding_window_pattern");
    return gguf_set_array(meta, key, GGUF_BOOL, sliding, c->n_layers, err);
}

static enum status set_scaling(const struct gemma_config *c, struct gguf_meta *meta,
                               struct error *err)
{
    static const char linear[] = "linear";
    char key[KEY_NAME];
    enum status st;

    if (c->rope_factor == 0)
        return OK;
    key_name(key, c->family->architecture, "rope.scaling.type");
    st = gguf_set_str(meta, key, linear, strlen(linear), err);
    if (st != OK)
        return st;
    key_name(key, c->family->architecture, "rope.scaling.factor");
    return gguf_set_f32(meta, key, c->rope_factor, err);
}

/* The yes-or-no head is two rows of the vocabulary's: their ids are all there is to keep. */
static enum status set_classes(const struct gemma_config *c, struct gguf_meta *meta,
                               struct error *err)
{
    enum status st;

    if (!c->is_classifier)
        return OK;
    st = gguf_set_u32(meta, "carat.yes_token_id", c->yes_token, err);
    return st == OK ? gguf_set_u32(meta, "carat.no_token_id", c->no_token, err) : st;
}

static enum status gemma3_describe(const struct gemma_config *c, uint32_t file_type,
                                   struct gguf_meta *meta, struct error *err)
{
    const struct key_row sizes[] = {
        {"block_count", GGUF_U32, c->n_layers, false},
        {"context_length", GGUF_U32, c->n_ctx, false},
        {"embedding_length", GGUF_U32, c->n_embd, false},
        {"feed_forward_length", GGUF_U32, c->n_ff, false},
        {"attention.head_count", GGUF_U32, c->n_heads, false},
        {"attention.head_count_kv", GGUF_U32, c->n_kv, false},
    };
    const struct key_row numbers[] = {
        {"rope.freq_base", GGUF_F32, (double)c->rope_base, false},
        {"rope.freq_base_swa", GGUF_F32, (double)c->rope_base_swa, false},
        {"attention.layer_norm_rms_epsilon", GGUF_F32, (double)c->rms_eps, false},
        {"attention.key_length", GGUF_U32, c->head_dim, false},
        {"attention.value_length", GGUF_U32, c->head_dim, false},
    };
    const struct key_row rest[] = {
        {"final_logit_softcapping", GGUF_F32, (double)c->softcap, c->softcap == 0},
        {"attention.sliding_window", GGUF_U32, c->window, false},
    };
    const char *arch = c->family->architecture;
    enum status st = keys_set(arch, sizes, sizeof(sizes) / sizeof(sizes[0]), meta, err);

    if (st == OK)
        st = set_scaling(c, meta, err);
    if (st == OK)
        st = keys_set(arch, numbers, sizeof(numbers) / sizeof(numbers[0]), meta, err);
    if (st == OK)
        st = gguf_set_u32(meta, "general.file_type", file_type, err);
    if (st == OK)
        st = keys_set(arch, rest, sizeof(rest) / sizeof(rest[0]), meta, err);
    if (st == OK && !is_usual_pattern(c))
        st = set_pattern(c, meta, err);
    return st == OK ? set_classes(c, meta, err) : st;
}

static const char *const model_types[] = {"gemma3", "gemma3_text", "shieldgemma2", NULL};
static const char *const embedding_types[] = {"gemma3_text", NULL};

const struct gemma_family gemma3_family = {
    .name = "gemma3",
    .architecture = "gemma3",
    .model_types = model_types,
    .tensors = tensors,
    .n_tensors = sizeof(tensors) / sizeof(tensors[0]),
    .shifts_norms = true,
    .trims_vocabulary = true,
    .read = gemma3_read,
    .describe = gemma3_describe,
};

const struct gemma_family gemma_embedding_family = {
    .name = "EmbeddingGemma",
    .architecture = "gemma-embedding",
    .model_types = embedding_types,
    .accepts = reads_both_ways,
    .tensors = embedding_tensors,
    .n_tensors = sizeof(embedding_tensors) / sizeof(embedding_tensors[0]),
    .shifts_norms = true,
    .trims_vocabulary = true,
    .is_encoder = true,
    .read = gemma3_read,
    .describe = gemma3_describe,
};
