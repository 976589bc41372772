/*
 * loader_rules.c - what llama.cpp would refuse in a well-formed GGUF, or silently take otherwise
 *
 * Scalars are read strictly by type, required keys are required, and after loading the number of
 * tensors an architecture created must be the number in the file: one too many is fatal.
 *
 * Source: llama.cpp 0.5.0, src/llama-model-loader.cpp, src/models/gemma4.cpp.
 */
#include "cli/inspect.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

struct rules {
    const struct gguf *file;
    const struct gguf_meta *meta;
    void (*say)(void *arg, const char *sentence);
    void *arg;
    uint32_t n_layers, n_shared, n_ple;
};

__attribute__((format(printf, 2, 3))) static void say(const struct rules *rules,
                                                      const char *fmt, ...)
{
    char sentence[480];
    va_list list;

    va_start(list, fmt);
    vsnprintf(sentence, sizeof(sentence), fmt, list);
    va_end(list);
    rules->say(rules->arg, sentence);
}

/* ---- keys ---- */

enum { REQUIRED = 1, PER_LAYER = 2 /* an array, one entry a layer, will do as well */ };

static const struct key_rule {
    const char *key; /* after "gemma4." */
    enum gguf_type type;
    int flags;
    const char *without; /* what its absence means, where that surprises */
} key_rules[] = {
    {"block_count", GGUF_U32, REQUIRED, NULL},
    {"context_length", GGUF_U32, REQUIRED, NULL},
    {"embedding_length", GGUF_U32, REQUIRED, NULL},
    {"feed_forward_length", GGUF_U32, PER_LAYER, "it is taken for 0"},
    {"attention.head_count", GGUF_U32, PER_LAYER, "it is taken for 0"},
    {"attention.head_count_kv", GGUF_U32, PER_LAYER, "it is taken for head_count"},
    {"attention.layer_norm_rms_epsilon", GGUF_F32, REQUIRED, NULL},
    {"attention.key_length", GGUF_U32, 0,
     "it is taken for embedding_length / head_count"},
    {"attention.value_length", GGUF_U32, 0,
     "it is taken for embedding_length / head_count"},
    {"attention.key_length_swa", GGUF_U32, REQUIRED, NULL},
    {"attention.value_length_swa", GGUF_U32, REQUIRED, NULL},
    {"attention.sliding_window", GGUF_U32, REQUIRED, NULL},
    {"attention.sliding_window_pattern", GGUF_BOOL, REQUIRED | PER_LAYER, NULL},
    {"attention.shared_kv_layers", GGUF_U32, 0, NULL},
    {"embedding_length_per_layer_input", GGUF_U32, REQUIRED, NULL},
    {"rope.freq_base", GGUF_F32, 0, "it is taken for 10000"},
    {"final_logit_softcapping", GGUF_F32, 0, "logits are not capped"},
};

static bool is_right_type(const struct gguf_value *value, const struct key_rule *rule)
{
    if (value->type != GGUF_ARRAY)
        return value->type == rule->type;
    if (!(rule->flags & PER_LAYER))
        return false;
    return value->element == rule->type ||
           (rule->type == GGUF_U32 && value->element == GGUF_I32);
}

static void check_key(const struct rules *rules, const struct key_rule *rule)
{
    const struct gguf_value *value;
    char key[96];

    snprintf(key, sizeof(key), "gemma4.%s", rule->key);
    value = gguf_meta_find(rules->meta, key);
    if (!value && (rule->flags & REQUIRED))
        say(rules, "%s: missing, and required", key);
    else if (!value && rule->without)
        say(rules, "%s: missing, so %s", key, rule->without);
    else if (!value)
        return;
    else if (!is_right_type(value, rule))
        say(rules, "%s: a %s, where a %s is wanted", key, gguf_type_name(value->type),
            gguf_type_name(rule->type));
    else if (value->type == GGUF_ARRAY && value->count != rules->n_layers)
        say(rules, "%s: %" PRIu64 " entries for %" PRIu32 " layers", key, value->count,
            rules->n_layers);
}

static void check_typed(const struct rules *rules, const char *key, enum gguf_type type)
{
    const struct gguf_value *value = gguf_meta_find(rules->meta, key);

    if (value && value->type != type)
        say(rules, "%s: a %s, where a %s is wanted", key, gguf_type_name(value->type),
            gguf_type_name(type));
}

static void check_split(const struct rules *rules)
{
    int32_t total;

    check_typed(rules, "split.no", GGUF_U16);
    check_typed(rules, "split.count", GGUF_U16);
    check_typed(rules, "split.tensors.count", GGUF_I32);
    if (gguf_get_i32(rules->meta, "split.tensors.count", &total) &&
        total != (int64_t)gguf_count(rules->file))
        say(rules, "split.tensors.count: %" PRId32 " tensors, where the files have %zu",
            total, gguf_count(rules->file));
    if (gguf_alignment(rules->file, 0) != 32)
        say(rules,
            "general.alignment: %" PRIu32 " in the first file; what llama-quantize and "
            "gguf-split make of it does not load",
            gguf_alignment(rules->file, 0));
}

static void check_tokenizer(const struct rules *rules)
{
    if (!gguf_meta_find(rules->meta, "tokenizer.ggml.model"))
        say(rules, "tokenizer.ggml.model: missing, so there is no vocabulary");
    else if (!gguf_meta_find(rules->meta, "tokenizer.chat_template"))
        say(rules,
            "tokenizer.chat_template: missing, so chat programs guess the turn format");
    check_typed(rules, "tokenizer.ggml.bos_token_id", GGUF_U32);
    check_typed(rules, "tokenizer.ggml.eos_token_id", GGUF_U32);
    check_typed(rules, "tokenizer.ggml.add_bos_token", GGUF_BOOL);
}

/* ---- tensors ---- */

enum need {
    OPTIONAL,
    ALWAYS,
    WITH_PLE, /* when embedding_length_per_layer_input is not 0 */
    WITH_KV,  /* in layers that do not share another's keys and values */
};

struct tensor_rule {
    const char *name; /* of a layer: after "blk.N." */
    enum need need;
};

static const struct tensor_rule model_rules[] = {
    {"token_embd.weight", ALWAYS},
    {"output_norm.weight", ALWAYS},
    {"rope_freqs.weight", ALWAYS},
    {"output.weight", OPTIONAL},
    {"per_layer_token_embd.weight", WITH_PLE},
    {"per_layer_model_proj.weight", WITH_PLE},
    {"per_layer_proj_norm.weight", WITH_PLE},
    {NULL, OPTIONAL},
};

static const struct tensor_rule layer_rules[] = {
    {"attn_norm.weight", ALWAYS},
    {"attn_q.weight", ALWAYS},
    {"attn_k.weight", WITH_KV},
    {"attn_v.weight", OPTIONAL},
    {"attn_qkv.weight", OPTIONAL},
    {"attn_output.weight", ALWAYS},
    {"attn_q_norm.weight", ALWAYS},
    {"attn_k_norm.weight", WITH_KV},
    {"post_attention_norm.weight", ALWAYS},
    {"ffn_norm.weight", ALWAYS},
    {"ffn_gate.weight", ALWAYS},
    {"ffn_up.weight", ALWAYS},
    {"ffn_down.weight", ALWAYS},
    {"post_ffw_norm.weight", ALWAYS},
    {"layer_output_scale.weight", OPTIONAL},
    {"inp_gate.weight", WITH_PLE},
    {"proj.weight", WITH_PLE},
    {"post_norm.weight", WITH_PLE},
    {"ffn_gate_inp.weight", OPTIONAL},
    {"ffn_gate_inp.scale", OPTIONAL},
    {"ffn_gate_up_exps.weight", OPTIONAL},
    {"ffn_gate_exps.weight", OPTIONAL},
    {"ffn_up_exps.weight", OPTIONAL},
    {"ffn_down_exps.weight", OPTIONAL},
    {"ffn_gate_up_exps.scale", OPTIONAL},
    {"ffn_gate_exps.scale", OPTIONAL},
    {"ffn_up_exps.scale", OPTIONAL},
    {"ffn_down_exps.scale", OPTIONAL},
    {"pre_ffw_norm_2.weight", OPTIONAL},
    {"post_ffw_norm_1.weight", OPTIONAL},
    {"post_ffw_norm_2.weight", OPTIONAL},
    {"attn_q.scale", OPTIONAL},
    {"attn_k.scale", OPTIONAL},
    {"attn_v.scale", OPTIONAL},
    {"attn_output.scale", OPTIONAL},
    {"ffn_gate.scale", OPTIONAL},
    {"ffn_up.scale", OPTIONAL},
    {"ffn_down.scale", OPTIONAL},
    {NULL, OPTIONAL},
};

static bool has(const struct rules *rules, int64_t layer, const char *name)
{
    char full[96];

    if (layer < 0)
        return gguf_find(rules->file, name) != NULL;
    snprintf(full, sizeof(full), "blk.%" PRId64 ".%s", layer, name);
    return gguf_find(rules->file, full) != NULL;
}

/* attn_qkv is q, k and v in one; it stands for all three. */
static bool is_wanted(const struct rules *rules, int64_t layer,
                      const struct tensor_rule *rule)
{
    const bool is_fused = layer >= 0 && has(rules, layer, "attn_qkv.weight") &&
                          (strcmp(rule->name, "attn_q.weight") == 0 ||
                           strcmp(rule->name, "attn_k.weight") == 0);

    switch (rule->need) {
    case OPTIONAL:
        return false;
    case ALWAYS:
        return !is_fused;
    case WITH_PLE:
        return rules->n_ple > 0;
    case WITH_KV:
        return !is_fused && layer + rules->n_shared < rules->n_layers;
    }
    return false;
}

/* The last component of the tensor's name in its table, or false. */
static bool is_known(const struct rules *rules, const char *name)
{
    const struct tensor_rule *rule = model_rules;
    uint32_t layer;
    int n = 0;

    if (sscanf(name, "blk.%" SCNu32 ".%n", &layer, &n) == 1 && n > 0) {
        if (layer >= rules->n_layers)
            return false;
        rule = layer_rules;
        name += n;
    }
    for (; rule->name; rule++)
        if (strcmp(rule->name, name) == 0)
            return true;
    return strstr(name, ".input_scale") != NULL;
}

enum { MOST_NAMED = 5 };

static void check_unknown(const struct rules *rules)
{
    size_t n = 0;

    for (size_t i = 0; i < gguf_count(rules->file); i++) {
        const char *name = gguf_at(rules->file, i)->name;

        if (is_known(rules, name))
            continue;
        if (n++ < MOST_NAMED)
            say(rules, "%s: gemma4 has no such tensor, and one too many is refused",
                name);
    }
    if (n > MOST_NAMED)
        say(rules, "%zu more tensors that gemma4 does not have", n - MOST_NAMED);
}

static void check_missing(const struct rules *rules)
{
    size_t n = 0;

    for (int64_t layer = -1; layer < rules->n_layers; layer++) {
        const struct tensor_rule *rule = layer < 0 ? model_rules : layer_rules;

        for (; rule->name; rule++) {
            if (!is_wanted(rules, layer, rule) || has(rules, layer, rule->name))
                continue;
            if (n++ >= MOST_NAMED)
                continue;
            if (layer < 0)
                say(rules, "%s: missing, and required", rule->name);
            else
                say(rules, "blk.%" PRId64 ".%s: missing, and required", layer,
                    rule->name);
        }
    }
    if (n > MOST_NAMED)
        say(rules, "%zu more required tensors are missing", n - MOST_NAMED);
}

/* ---- */

static bool is_family(const char *arch)
{
    static const char *const known[] = {"gemma",   "gemma2",          "gemma3",
                                        "gemma3n", "gemma4",          "gemma-embedding",
                                        "clip",    "gemma4-assistant"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i], arch) == 0)
            return true;
    return false;
}

/* More layers than tensors cannot be; the bound keeps a hostile count from costing time. */
static void read_sizes(struct rules *rules)
{
    (void)gguf_get_u32(rules->meta, "gemma4.block_count", &rules->n_layers);
    (void)gguf_get_u32(rules->meta, "gemma4.attention.shared_kv_layers",
                       &rules->n_shared);
    (void)gguf_get_u32(rules->meta, "gemma4.embedding_length_per_layer_input",
                       &rules->n_ple);
    if (rules->n_layers > gguf_count(rules->file)) {
        say(rules, "gemma4.block_count: %" PRIu32 " layers, but only %zu tensors",
            rules->n_layers, gguf_count(rules->file));
        rules->n_layers = 0;
    }
}

void loader_rules(const struct gguf *file, void (*tell)(void *arg, const char *sentence),
                  void *arg)
{
    struct rules rules = {
        .file = file, .meta = gguf_metadata(file), .say = tell, .arg = arg};
    struct gguf_str arch;

    if (!gguf_get_str(rules.meta, "general.architecture", &arch))
        return; /* statistics, not a model */
    check_split(&rules);
    if (!is_family(arch.text))
        say(&rules, "general.architecture: %s is none of the Gemma family", arch.text);
    if (strcmp(arch.text, "clip") != 0)
        check_tokenizer(&rules);
    if (strcmp(arch.text, "gemma4") != 0)
        return;
    read_sizes(&rules);
    for (size_t i = 0; i < sizeof(key_rules) / sizeof(key_rules[0]); i++)
        check_key(&rules, &key_rules[i]);
    check_missing(&rules);
    check_unknown(&rules);
}
