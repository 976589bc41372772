/*
 * config.c - GGUF metadata to struct config
 */
#include "runtime/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Far above any Gemma, and low enough that products of two fit 64 bits with room to spare; the
 * width of a head is what the attention kernels take. */
enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_HEAD = 512 };
enum { MAX_WINDOW = 1 << 30 };

/* The keys of one architecture, and where trouble is reported. */
struct keys {
    const struct gguf_meta *meta;
    const char *architecture;
    struct error *err;
};

struct name {
    char text[128];
};

static struct name full_name(const struct keys *keys, const char *key)
{
    struct name name;

    snprintf(name.text, sizeof(name.text), "%s.%s", keys->architecture, key);
    return name;
}

static const struct gguf_value *lookup(const struct keys *keys, const char *key)
{
    return gguf_meta_find(keys->meta, full_name(keys, key).text);
}

static bool is_integer(enum gguf_type type)
{
    return type != GGUF_F32 && type != GGUF_F64 && type != GGUF_STRING &&
           type != GGUF_ARRAY;
}

/* Element i of an integer key that is a scalar (the same for every i) or an array of n. */
static enum status element(const struct keys *keys, const char *key, uint32_t i,
                           uint32_t n, uint32_t min, uint32_t max, uint32_t *out)
{
    const struct gguf_value *value = lookup(keys, key);
    bool is_array = value && value->type == GGUF_ARRAY;
    int64_t v;

    if (!value)
        return fail(keys->err, ERR_CORRUPT, "%s: the key is missing",
                    full_name(keys, key).text);
    if (!is_integer(is_array ? value->element : value->type) ||
        (is_array && value->count != n))
        return fail(keys->err, ERR_CORRUPT, "%s: expected an integer%s",
                    full_name(keys, key).text, n > 1 ? " or one a layer" : "");
    v = gguf_value_int(value, is_array ? i : 0);
    if (v < (int64_t)min || v > (int64_t)max)
        return fail(keys->err, ERR_CORRUPT, "%s: %lld is not in %u .. %u",
                    full_name(keys, key).text, (long long)v, min, max);
    *out = (uint32_t)v;
    return OK;
}

static enum status integer(const struct keys *keys, const char *key, uint32_t min,
                           uint32_t max, uint32_t *out)
{
    return element(keys, key, 0, 1, min, max, out);
}

/* As integer(), leaving *out alone when the key is missing. */
static enum status optional_integer(const struct keys *keys, const char *key,
                                    uint32_t min, uint32_t max, uint32_t *out)
{
    return lookup(keys, key) ? integer(keys, key, min, max, out) : OK;
}

static enum status optional_real(const struct keys *keys, const char *key, float *out)
{
    const struct gguf_value *value = lookup(keys, key);
    double v;

    if (!value)
        return OK;
    if (value->type == GGUF_STRING || value->type == GGUF_ARRAY)
        return fail(keys->err, ERR_CORRUPT, "%s: expected a number",
                    full_name(keys, key).text);
    v = gguf_value_real(value, 0);
    if (!isfinite(v) || v < 0.0 || v > 1e30)
        return fail(keys->err, ERR_CORRUPT, "%s: %g makes no sense",
                    full_name(keys, key).text, v);
    *out = (float)v;
    return OK;
}

static enum status read_family(struct config *c, struct keys *keys)
{
    struct gguf_str architecture;
    char known[FAMILY_LIST];

    if (!gguf_get_str(keys->meta, "general.architecture", &architecture))
        return fail(keys->err, ERR_CORRUPT, "general.architecture: the key is missing");
    c->family = family_find(architecture.text);
    keys->architecture = architecture.text;
    if (c->family)
        return OK;
    return fail(keys->err, ERR_UNSUPPORTED,
                "architecture '%s' is not one this runtime runs (%s)", architecture.text,
                family_list(known));
}

static enum status read_widths(struct config *c, const struct keys *keys)
{
    enum status st;

    if ((st = integer(keys, "block_count", 1, MAX_LAYERS, &c->n_layers)) != OK ||
        (st = integer(keys, "embedding_length", 1, MAX_WIDTH, &c->n_embd)) != OK ||
        (st = integer(keys, "context_length", 1, INT32_MAX, &c->context_length)) != OK)
        return st;
    if (c->family->ple != PLE_NONE)
        st = optional_integer(keys, "embedding_length_per_layer_input", 0, MAX_WIDTH,
                              &c->n_ple);
    if (st == OK && c->family->is_drafter)
        st = integer(keys, "embedding_length_out", 1, MAX_WIDTH, &c->n_embd_out);
    return st;
}

static enum status read_experts(struct config *c, const struct keys *keys)
{
    enum status st = optional_integer(keys, "expert_count", 0, MAX_HEADS, &c->n_experts);

    if (st != OK || c->n_experts == 0)
        return st;
    st = integer(keys, "expert_used_count", 1, c->n_experts, &c->n_experts_used);
    if (st != OK)
        return st;
    return element(keys, "expert_feed_forward_length", 0, c->n_layers, 1, MAX_WIDTH,
                   &c->n_ff_expert);
}

static enum status read_numbers(struct config *c, const struct keys *keys)
{
    enum status st;

    c->eps = 1e-6f;
    if ((st = optional_real(keys, "attention.layer_norm_rms_epsilon", &c->eps)) != OK ||
        (st = optional_real(keys, "attn_logit_softcapping", &c->score_softcap)) != OK ||
        (st = optional_real(keys, "final_logit_softcapping", &c->logit_softcap)) != OK)
        return st;
    if (c->family->is_drafter)
        c->logit_softcap = 0.0f; /* drafters never bend their logits */
    return OK;
}

/* Global layers take the plain keys, local ones those ending in _swa where these exist. */
static enum status read_ropes(struct config *c, const struct keys *keys)
{
    struct rope_facts *global = &c->rope[ROPE_GLOBAL], *local = &c->rope[ROPE_LOCAL];
    struct gguf_str scaling = {0};
    enum status st;

    *global = (struct rope_facts){.base = 10000.0f, .factor = 1.0f};
    if ((st = integer(keys, "attention.key_length", 2, MAX_WIDTH, &global->n_dims)) !=
            OK ||
        (st = optional_real(keys, "rope.freq_base", &global->base)) != OK)
        return st;
    *local = *global;
    if (c->family->rope_base_local > 0.0f)
        local->base = c->family->rope_base_local;
    if (gguf_get_str(keys->meta, full_name(keys, "rope.scaling.type").text, &scaling)) {
        if (strcmp(scaling.text, "linear") == 0)
            st = optional_real(keys, "rope.scaling.factor", &global->factor);
        else if (strcmp(scaling.text, "none") != 0)
            st =
                fail(keys->err, ERR_UNSUPPORTED, "%s: rope scaling '%s' is not supported",
                     full_name(keys, "rope.scaling.type").text, scaling.text);
    }
    if (st != OK ||
        (st = optional_integer(keys, "attention.key_length_swa", 2, MAX_WIDTH,
                               &local->n_dims)) != OK ||
        (st = optional_real(keys, "rope.freq_base_swa", &local->base)) != OK)
        return st;
    if (global->base <= 0.0f || local->base <= 0.0f || global->factor <= 0.0f)
        return fail(keys->err, ERR_CORRUPT, "%s.rope: a base or factor of 0",
                    keys->architecture);
    if (global->n_dims % 8 || local->n_dims % 8 || global->n_dims > MAX_HEAD ||
        local->n_dims > MAX_HEAD)
        return fail(keys->err, ERR_UNSUPPORTED,
                    "%s: heads %u and %u wide (at most %d, and whole "
                    "eights)",
                    keys->architecture, global->n_dims, local->n_dims, MAX_HEAD);
    return OK;
}

/* Heads must be as wide for values as for keys, and rotate whole. */
static enum status check_lengths(const struct config *c, const struct keys *keys)
{
    static const struct {
        const char *key;
        enum rope_kind kind;
    } same[] = {
        {"attention.value_length", ROPE_GLOBAL},
        {"attention.value_length_swa", ROPE_LOCAL},
        {"rope.dimension_count", ROPE_GLOBAL},
        {"rope.dimension_count_swa", ROPE_LOCAL},
    };

    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        uint32_t want = c->rope[same[i].kind].n_dims, got = want;
        enum status st = optional_integer(keys, same[i].key, 0, MAX_WIDTH, &got);

        if (st != OK)
            return st;
        if (got != want)
            return fail(keys->err, ERR_UNSUPPORTED, "%s: %u, but heads are %u wide",
                        full_name(keys, same[i].key).text, got, want);
    }
    return OK;
}

static enum status is_local(const struct config *c, const struct keys *keys,
                            uint32_t layer, bool *out)
{
    const char *key = "attention.sliding_window_pattern";
    uint32_t v = c->family->global_period;
    enum status st;

    if (lookup(keys, key) || v == 0) {
        bool is_array = lookup(keys, key) && lookup(keys, key)->type == GGUF_ARRAY;

        st = element(keys, key, layer, c->n_layers, 0, MAX_LAYERS, &v);
        if (st != OK || is_array) {
            *out = v != 0;
            return st;
        }
    }
    *out = v > 0 && (layer + 1) % v != 0;
    return OK;
}

static void set_reach(const struct config *c, struct layer_facts *layer, bool local,
                      uint32_t window)
{
    layer->back = NO_LIMIT;
    layer->ahead = c->family->is_causal ? 0 : NO_LIMIT;
    if (!local || window == 0)
        return;
    if (c->family->is_causal) {
        /* The window counts the query itself. A drafter's query stands one past the last key,
         * and sees one key more than its target would. */
        layer->back = c->family->is_drafter ? (int32_t)window + 1 : (int32_t)window - 1;
        return;
    }
    layer->back = (int32_t)(c->family->halves_window ? window / 2 : window);
    layer->ahead = layer->back;
}

static enum status read_layer(struct config *c, const struct keys *keys, uint32_t i,
                              uint32_t window)
{
    struct layer_facts *layer = &c->layers[i];
    bool local = false;
    enum status st = is_local(c, keys, i, &local);

    if (st != OK || (st = element(keys, "attention.head_count", i, c->n_layers, 1,
                                  MAX_HEADS, &layer->n_heads)) != OK)
        return st;
    layer->n_kv_heads = layer->n_heads;
    if (lookup(keys, "attention.head_count_kv"))
        st = element(keys, "attention.head_count_kv", i, c->n_layers, 1, MAX_HEADS,
                     &layer->n_kv_heads);
    if (st != OK || (st = element(keys, "feed_forward_length", i, c->n_layers, 1,
                                  MAX_WIDTH, &layer->n_ff)) != OK)
        return st;
    if (layer->n_heads % layer->n_kv_heads != 0)
        return fail(keys->err, ERR_CORRUPT,
                    "layer %u: %u heads cannot share %u key heads", i, layer->n_heads,
                    layer->n_kv_heads);
    layer->rope = local ? ROPE_LOCAL : ROPE_GLOBAL;
    layer->head_dim = c->rope[layer->rope].n_dims;
    layer->kv_layer = i;
    set_reach(c, layer, local, window);
    return OK;
}

/* Layers from n_own_kv on read K and V of the last earlier layer of their own kind. A drafter's
 * layers all share: drafter_new() finds the layers of the target they read. */
static enum status share_kv(struct config *c, const struct keys *keys)
{
    uint32_t n_shared = 0;
    enum status st =
        optional_integer(keys, "attention.shared_kv_layers", 0, c->n_layers, &n_shared);

    if (st != OK)
        return st;
    c->n_own_kv = c->n_layers - n_shared;
    if (c->family->is_drafter)
        return n_shared == c->n_layers
                   ? OK
                   : fail(keys->err, ERR_CORRUPT,
                          "a drafter's layers must all share K and V");
    for (uint32_t i = c->n_own_kv; i < c->n_layers; i++) {
        uint32_t source = c->n_own_kv;

        while (source > 0 && c->layers[source - 1].rope != c->layers[i].rope)
            source--;
        if (source == 0 || c->layers[source - 1].n_kv_heads != c->layers[i].n_kv_heads)
            return fail(
                keys->err, ERR_CORRUPT,
                "layer %u shares K and V, but no earlier layer of its kind has any", i);
        c->layers[i].kv_layer = source - 1;
    }
    return OK;
}

static enum status read_layers(struct config *c, const struct keys *keys)
{
    uint32_t window = 0;
    enum status st =
        optional_integer(keys, "attention.sliding_window", 0, MAX_WINDOW, &window);

    if (st != OK)
        return st;
    c->layers = calloc(c->n_layers, sizeof(*c->layers));
    if (!c->layers)
        return fail(keys->err, ERR_NOMEM, "no memory for %u layers", c->n_layers);
    for (uint32_t i = 0; i < c->n_layers && st == OK; i++)
        st = read_layer(c, keys, i, window);
    return st == OK ? share_kv(c, keys) : st;
}

static void set_score_scale(struct config *c)
{
    uint32_t d = c->rope[ROPE_GLOBAL].n_dims;

    if (c->family->unit_scores)
        c->score_scale = 1.0f;
    else if (c->n_layers == c->family->wide_layers)
        c->score_scale = 1.0f / sqrtf((float)(c->n_embd / c->layers[0].n_heads));
    else
        c->score_scale = 1.0f / sqrtf((float)d);
}

enum status config_read(struct config *config, const struct gguf_meta *meta,
                        struct error *err)
{
    struct keys keys = {.meta = meta, .err = err};
    enum status st;

    *config = (struct config){0};
    if ((st = read_family(config, &keys)) == OK &&
        (st = read_widths(config, &keys)) == OK &&
        (st = read_experts(config, &keys)) == OK &&
        (st = read_numbers(config, &keys)) == OK &&
        (st = read_ropes(config, &keys)) == OK &&
        (st = check_lengths(config, &keys)) == OK &&
        (st = read_layers(config, &keys)) == OK)
        set_score_scale(config);
    else
        config_free(config);
    return st;
}

void config_free(struct config *config)
{
    free(config->layers);
    *config = (struct config){0};
}
