/*
 * tiny.c - small checkpoints to order
 */
#include "tests/convert/tiny.h"
#include "formats/safetensors/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Sizes; the vocabulary is that of the tokenizer in data/golden. */
enum { VOCAB = 4096, EMBD = 32, HEAD = 16, HEAD_FULL = 32, HEADS = 2, FF = 32, PLE = 16 };
enum { EXPERTS = 4, FF_EXPERT = 32 };

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "tiny: %s\n", what);
    abort();
}

uint64_t tiny_elements(const struct tiny_tensor *t)
{
    uint64_t n = 1;

    for (int i = 0; i < t->n_dims; i++)
        n *= t->dims[i];
    return n;
}

struct tiny_tensor *tiny_add(struct tiny *tiny, const char *name, int n_dims, uint64_t a,
                             uint64_t b, uint64_t c)
{
    must(tiny->n < TINY_MAX_TENSORS, "too many tensors");
    struct tiny_tensor *t = &tiny->tensors[tiny->n++];

    *t = (struct tiny_tensor){.n_dims = n_dims, .dims = {a, b, c}, .dtype = DTYPE_BF16};
    snprintf(t->name, sizeof(t->name), "%s", name);
    const size_t n = (size_t)tiny_elements(t);
    float *x = malloc(n * sizeof(*x));
    t->bf16 = malloc(n * sizeof(*t->bf16));
    must(x && t->bf16, "no memory");
    fixture_weights(x, n, hash_bytes(name, strlen(name)));
    for (size_t i = 0; i < n; i++) { /* the upper half of a float: rounded towards zero */
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof(bits));
        t->bf16[i] = (uint16_t)(bits >> 16);
    }
    free(x);
    return t;
}

struct tiny_tensor *tiny_tensor(struct tiny *tiny, const char *name)
{
    for (size_t i = 0; i < tiny->n; i++)
        if (strcmp(tiny->tensors[i].name, name) == 0)
            return &tiny->tensors[i];
    must(false, name);
    return NULL;
}

struct tiny_tensor *tiny_copy(struct tiny *tiny, const char *name, const char *from)
{
    const struct tiny_tensor *old = tiny_tensor(tiny, from);
    struct tiny_tensor *t =
        tiny_add(tiny, name, old->n_dims, old->dims[0], old->dims[1], old->dims[2]);

    memcpy(t->bf16, old->bf16, (size_t)tiny_elements(old) * sizeof(*t->bf16));
    return t;
}

void tiny_drop(struct tiny *tiny, const char *name)
{
    struct tiny_tensor *t = tiny_tensor(tiny, name);

    free(t->bf16);
    *t = tiny->tensors[--tiny->n];
}

void tiny_prefix(struct tiny *tiny, const char *prefix)
{
    for (size_t i = 0; i < tiny->n; i++) {
        char name[TINY_NAME];

        must((size_t)snprintf(name, sizeof(name), "%s%s", prefix, tiny->tensors[i].name) <
                 sizeof(name),
             "long name");
        memcpy(tiny->tensors[i].name, name, sizeof(name));
    }
}

/* ---- the models ---- */

static void add_layer(struct tiny *tiny, int layer, const char *name, int n_dims,
                      uint64_t a, uint64_t b, uint64_t c)
{
    char full[TINY_NAME];

    snprintf(full, sizeof(full), "layers.%d.%s", layer, name);
    tiny_add(tiny, full, n_dims, a, b, c);
}

/* What every member has. */
static void add_block(struct tiny *tiny, int layer, uint64_t head, uint64_t n_heads,
                      uint64_t n_kv, uint64_t ff, bool has_v)
{
    static const char *const norms[] = {
        "input_layernorm.weight", "post_attention_layernorm.weight",
        "pre_feedforward_layernorm.weight", "post_feedforward_layernorm.weight"};

    for (size_t i = 0; i < sizeof(norms) / sizeof(norms[0]); i++)
        add_layer(tiny, layer, norms[i], 1, EMBD, 0, 0);
    add_layer(tiny, layer, "self_attn.q_proj.weight", 2, n_heads * head, EMBD, 0);
    add_layer(tiny, layer, "self_attn.k_proj.weight", 2, n_kv * head, EMBD, 0);
    if (has_v)
        add_layer(tiny, layer, "self_attn.v_proj.weight", 2, n_kv * head, EMBD, 0);
    add_layer(tiny, layer, "self_attn.o_proj.weight", 2, EMBD, n_heads * head, 0);
    add_layer(tiny, layer, "self_attn.q_norm.weight", 1, head, 0, 0);
    add_layer(tiny, layer, "self_attn.k_norm.weight", 1, head, 0, 0);
    add_layer(tiny, layer, "mlp.gate_proj.weight", 2, ff, EMBD, 0);
    add_layer(tiny, layer, "mlp.up_proj.weight", 2, ff, EMBD, 0);
    add_layer(tiny, layer, "mlp.down_proj.weight", 2, EMBD, ff, 0);
}

static void add_common(struct tiny *tiny, int layer, uint64_t head, uint64_t ff,
                       bool has_v)
{
    add_block(tiny, layer, head, HEADS, 1, ff, has_v);
    add_layer(tiny, layer, "layer_scalar", 1, 1, 0, 0);
}

static void add_e2b(struct tiny *tiny)
{
    enum { LAYERS = 4, SHARED = 2 };

    tiny_add(tiny, "embed_tokens_per_layer.weight", 2, VOCAB, LAYERS * PLE, 0);
    tiny_add(tiny, "per_layer_model_projection.weight", 2, LAYERS * PLE, EMBD, 0);
    tiny_add(tiny, "per_layer_projection_norm.weight", 1, PLE, 0, 0);
    for (int i = 0; i < LAYERS; i++) {
        add_common(tiny, i, i % 2 ? HEAD_FULL : HEAD, i >= LAYERS - SHARED ? 2 * FF : FF,
                   true);
        add_layer(tiny, i, "per_layer_input_gate.weight", 2, PLE, EMBD, 0);
        add_layer(tiny, i, "per_layer_projection.weight", 2, EMBD, PLE, 0);
        add_layer(tiny, i, "post_per_layer_input_norm.weight", 1, EMBD, 0, 0);
    }
}

static void add_moe(struct tiny *tiny)
{
    for (int i = 0; i < 2; i++) {
        add_common(tiny, i, i % 2 ? HEAD_FULL : HEAD, FF, i % 2 == 0);
        add_layer(tiny, i, "router.proj.weight", 2, EXPERTS, EMBD, 0);
        add_layer(tiny, i, "router.scale", 1, EMBD, 0, 0);
        add_layer(tiny, i, "router.per_expert_scale", 1, EXPERTS, 0, 0);
        add_layer(tiny, i, "experts.gate_up_proj", 3, EXPERTS, 2 * FF_EXPERT, EMBD);
        add_layer(tiny, i, "experts.down_proj", 3, EXPERTS, EMBD, FF_EXPERT);
        add_layer(tiny, i, "pre_feedforward_layernorm_2.weight", 1, EMBD, 0, 0);
        add_layer(tiny, i, "post_feedforward_layernorm_1.weight", 1, EMBD, 0, 0);
        add_layer(tiny, i, "post_feedforward_layernorm_2.weight", 1, EMBD, 0, 0);
    }
}

static void add_gemma3(struct tiny *tiny)
{
    for (int i = 0; i < 2; i++)
        add_block(tiny, i, HEAD, 2 * HEADS, 2, FF, true);
}

/* Gemma 3's own keys; everything else has the value that Gemma 3 takes for granted. */
static json_t *config_of_gemma3(void)
{
    return json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:i}", "model_type",
                     "gemma3_text", "hidden_size", EMBD, "intermediate_size", FF,
                     "num_attention_heads", 2 * HEADS, "num_key_value_heads", 2,
                     "head_dim", HEAD, "num_hidden_layers", 2, "vocab_size", VOCAB,
                     "query_pre_attn_scalar", (double)HEAD, "sliding_window", 64);
}

static json_t *config_of(enum tiny_kind kind)
{
    const bool moe = kind == TINY_MOE;
    json_t *types = moe ? json_pack("[s,s]", "sliding_attention", "full_attention")
                        : json_pack("[s,s,s,s]", "sliding_attention", "full_attention",
                                    "sliding_attention", "full_attention");
    json_t *text = json_pack(
        "{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:o}", "model_type",
        "gemma4_text", "hidden_size", EMBD, "intermediate_size", FF,
        "num_attention_heads", HEADS, "num_key_value_heads", 1, "head_dim", HEAD,
        "global_head_dim", HEAD_FULL, "num_hidden_layers", moe ? 2 : 4, "vocab_size",
        VOCAB, "vocab_size_per_layer_input", VOCAB, "hidden_size_per_layer_input",
        moe ? 0 : PLE, "final_logit_softcapping", 30.0, "layer_types", types);

    if (moe) {
        json_object_set_new(text, "enable_moe_block", json_true());
        json_object_set_new(text, "num_experts", json_integer(EXPERTS));
        json_object_set_new(text, "top_k_experts", json_integer(2));
        json_object_set_new(text, "moe_intermediate_size", json_integer(FF_EXPERT));
        json_object_set_new(text, "attention_k_eq_v", json_true());
        json_object_set_new(text, "num_global_key_value_heads", json_integer(1));
    } else {
        json_object_set_new(text, "num_kv_shared_layers", json_integer(2));
        json_object_set_new(text, "use_double_wide_mlp", json_true());
    }
    return json_pack("{s:s,s:o}", "model_type", "gemma4", "text_config", text);
}

void tiny_begin(struct tiny *tiny, enum tiny_kind kind)
{
    const bool is_3 = kind == TINY_GEMMA3;

    *tiny = (struct tiny){.config = is_3 ? config_of_gemma3() : config_of(kind)};
    must(tiny->config != NULL, "config");
    tiny->text = is_3 ? tiny->config : json_object_get(tiny->config, "text_config");
    fixture_folder(tiny->folder);
    tiny_add(tiny, "embed_tokens.weight", 2, VOCAB, EMBD, 0);
    tiny_add(tiny, "norm.weight", 1, EMBD, 0, 0);
    if (is_3)
        add_gemma3(tiny);
    else if (kind == TINY_MOE)
        add_moe(tiny);
    else
        add_e2b(tiny);
}

/* ---- writing ---- */

static void link_tokenizer(const struct tiny *tiny)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
    char from[512], to[FIXTURE_PATH];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(from, sizeof(from), "%s/golden/e2b/%s", CARAT_DATA, names[i]);
        fixture_join(to, tiny->folder, names[i]);
        unlink(to);
        must(symlink(from, to) == 0, "symlink");
    }
}

void tiny_write(const struct tiny *tiny)
{
    struct safetensors_item *items = calloc(tiny->n + 1, sizeof(*items));
    char path[FIXTURE_PATH];
    struct error err = {0};

    must(items != NULL, "no memory");
    for (size_t i = 0; i < tiny->n; i++) {
        const struct tiny_tensor *t = &tiny->tensors[i];

        items[i] = (struct safetensors_item){
            .name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->bf16};
        memcpy(items[i].dims, t->dims, sizeof(t->dims));
    }
    fixture_join(path, tiny->folder, "model.safetensors");
    must(safetensors_write(path, items, tiny->n, NULL, true, &err) == OK, err.text);
    free(items);

    char *text = json_dumps(tiny->config, 0);
    must(text != NULL, "config");
    fixture_join(path, tiny->folder, "config.json");
    fixture_write(path, text, strlen(text));
    free(text);
    link_tokenizer(tiny);
}

void tiny_end(struct tiny *tiny)
{
    for (size_t i = 0; i < tiny->n; i++)
        free(tiny->tensors[i].bf16);
    json_decref(tiny->config);
    fixture_remove(tiny->folder);
}
