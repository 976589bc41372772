/*
 * gemma.c - the members, and what their tables have in common
 */
#include "convert/gemma/gemma.h"
#include "convert/gemma/members.h"

#include <stdio.h>
#include <stdlib.h>

static const struct gemma_family *const families[] = {
    &gemma4_family,           &gemma4_assistant_family, &diffusion_gemma_family,
    &embedding_gemma2_family, &gemma_embedding_family,  &gemma3_family,
};

enum { N_FAMILIES = sizeof(families) / sizeof(families[0]) };

static bool answers_to(const struct gemma_family *family, const char *model_type,
                       const json_t *config)
{
    if (family->accepts && !family->accepts(config))
        return false;
    for (const char *const *name = family->model_types; *name; name++)
        if (strcmp(*name, model_type) == 0)
            return true;
    return false;
}

/* "gemma4, EmbeddingGemma, ..." */
static const char *list_supported(struct arena *arena)
{
    const char *list = "";

    for (int i = 0; i < N_FAMILIES; i++)
        list = arena_printf(arena, "%s%s%s", list ? list : "", i ? ", " : "",
                            families[i]->name);
    return list ? list : "";
}

enum status gemma_read_config(const json_t *config, struct arena *arena,
                              struct gemma_config *out, struct error *err)
{
    const char *model_type = json_string_value(json_object_get(config, "model_type"));

    if (!model_type)
        return fail(err, ERR_USAGE, "model_type is missing (one of %s expected)",
                    list_supported(arena));
    for (int i = 0; i < N_FAMILIES; i++) {
        if (!answers_to(families[i], model_type, config))
            continue;
        *out = (struct gemma_config){.family = families[i], .model_type = model_type};
        return families[i]->read(config, arena, out, err);
    }
    const json_t *names = json_object_get(config, "architectures");
    const char *name = json_string_value(json_array_get(names, 0));
    return fail(err, ERR_UNSUPPORTED,
                "model_type \"%s\"%s%s is not supported (supported: %s)", model_type,
                name ? ", " : "", name ? name : "", list_supported(arena));
}

/* Match a name against a pattern with at most one '*', which stands for a layer number. */
static bool matches(const char *pattern, const char *name, int *layer)
{
    const char *star = strchr(pattern, '*');

    *layer = -1;
    if (!star)
        return strcmp(pattern, name) == 0;

    const size_t head = (size_t)(star - pattern);
    if (strncmp(pattern, name, head) != 0 || name[head] < '0' || name[head] > '9')
        return false;
    char *end;
    const unsigned long n = strtoul(name + head, &end, 10);
    if (strcmp(end, star + 1) != 0 || n > INT32_MAX)
        return false;
    *layer = (int)n;
    return true;
}

const struct gemma_tensor *gemma_find_tensor(const struct gemma_config *config,
                                             const char *canonical, int *layer)
{
    const struct gemma_family *family = config->family;

    for (size_t i = 0; i < family->n_tensors; i++)
        if (matches(family->tensors[i].source, canonical, layer))
            return &family->tensors[i];
    return NULL;
}

bool gemma_has_tensor(const struct gemma_config *config, const struct gemma_tensor *rule,
                      int layer)
{
    switch (rule->when) {
    case WHEN_PLE:
        return config->n_ple > 0;
    case WHEN_MOE:
        return config->n_experts > 0;
    case WHEN_OWN_KV:
        return !config->layers[layer].shares_kv;
    case WHEN_OWN_V:
        return !config->layers[layer].shares_kv && !config->layers[layer].v_is_k;
    case WHEN_ALWAYS:
    case WHEN_UNTIED:
    case WHEN_HEAD:
        break;
    }
    return true;
}

uint64_t gemma_size(const struct gemma_config *config, enum gemma_dim dim, int layer)
{
    const struct gemma_layer *l = layer < 0 ? NULL : &config->layers[layer];

    switch (dim) {
    case DIM_NONE:
    case DIM_ANY:
        return 0;
    case DIM_ONE:
        return 1;
    case DIM_EMBD:
        return config->n_embd;
    case DIM_EMBD_OUT:
        return config->n_embd_out;
    case DIM_EMBD_OUT_2:
        return 2 * (uint64_t)config->n_embd_out;
    case DIM_VOCAB:
        return config->n_vocab;
    case DIM_VOCAB_PLE:
        return config->n_vocab_ple;
    case DIM_PLE:
        return config->n_ple;
    case DIM_PLE_ALL:
        return (uint64_t)config->n_ple * config->n_layers;
    case DIM_Q:
        return l ? (uint64_t)config->n_heads * l->head_dim : 0;
    case DIM_KV:
        return l ? (uint64_t)l->n_kv * l->head_dim : 0;
    case DIM_HEAD:
        return l ? l->head_dim : 0;
    case DIM_FF:
        return l ? l->n_ff : config->n_ff;
    case DIM_EXPERTS:
        return config->n_experts;
    case DIM_FF_EXPERT:
        return config->n_ff_expert;
    case DIM_FF_EXPERT_2:
        return 2 * (uint64_t)config->n_ff_expert;
    }
    return 0;
}

const char *gemma_size_keys(enum gemma_dim dim)
{
    static const char *const keys[] = {
        [DIM_NONE] = "",
        [DIM_ONE] = "1",
        [DIM_EMBD] = "hidden_size",
        [DIM_EMBD_OUT] = "backbone_hidden_size or embedding_dim",
        [DIM_EMBD_OUT_2] = "2 x backbone_hidden_size",
        [DIM_VOCAB] = "vocab_size",
        [DIM_VOCAB_PLE] = "vocab_size_per_layer_input",
        [DIM_PLE] = "hidden_size_per_layer_input",
        [DIM_PLE_ALL] = "hidden_size_per_layer_input x num_hidden_layers",
        [DIM_Q] = "num_attention_heads x head size",
        [DIM_KV] = "key-value heads x head size",
        [DIM_HEAD] = "head size",
        [DIM_FF] = "intermediate_size",
        [DIM_EXPERTS] = "num_experts",
        [DIM_FF_EXPERT] = "moe_intermediate_size",
        [DIM_FF_EXPERT_2] = "2 x moe_intermediate_size",
        [DIM_ANY] = "any",
    };

    return keys[dim];
}

const char *gemma_when_key(enum gemma_when when)
{
    return when == WHEN_PLE   ? "hidden_size_per_layer_input"
           : when == WHEN_MOE ? "enable_moe_block"
                              : NULL;
}

const char *gemma_name(struct arena *arena, const char *pattern, int layer)
{
    const char *star = strchr(pattern, '*');

    if (!star)
        return arena_strdup(arena, pattern);
    return arena_printf(arena, "%.*s%d%s", (int)(star - pattern), pattern, layer,
                        star + 1);
}
