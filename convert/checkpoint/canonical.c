/*
 * canonical.c - one name for a tensor, whatever wrapper saved it
 *
 * Wrappers put their own names in front (model.language_model., base_model.model., module., ...)
 * or in between (_orig_mod, base_layer). What is left is the text model's own name.
 */
#include "convert/checkpoint/catalogue.h"

/* Elements that a wrapper puts anywhere in a path. */
static const char *const inner_wrappers[] = {"_orig_mod", "base_layer"};

/* Prefixes, stripped again and again until none fits. */
static const char *const prefixes[] = {
    "base_model.model.", "module.",  "model.",   "language_model.",
    "text_model.",       "encoder.", "decoder.",
};

/* Spellings inside a layer, and the ones used here. */
static const struct {
    const char *found, *canonical;
} spellings[] = {
    {"moe.experts.", "experts."},
    {"moe.gate_up_proj", "experts.gate_up_proj"},
    {"moe.down_proj", "experts.down_proj"},
    {"moe.per_expert_scale", "router.per_expert_scale"},
    {"experts.gate_up_proj.weight", "experts.gate_up_proj"},
    {"experts.down_proj.weight", "experts.down_proj"},
};

static const struct {
    const char *pattern; /* stars stand at its ends only */
    enum leftover kind;
} leftovers[] = {
    {"*rotary_emb.*", LEFTOVER_HARMLESS},
    {"*.inv_freq", LEFTOVER_HARMLESS},
    {"*.inv_timescales", LEFTOVER_HARMLESS},
    {"*.v_norm.weight", LEFTOVER_HARMLESS},
    {"*.softcap", LEFTOVER_HARMLESS},
    {"*embed_scale", LEFTOVER_HARMLESS},
    {"*root_size", LEFTOVER_HARMLESS},
    {"*embedding_post_projection_norm.*", LEFTOVER_HARMLESS},
    {"*pooler.scale", LEFTOVER_HARMLESS},
    {"embed_vision.embedding.weight", LEFTOVER_HARMLESS},
    {"*hard_embedding_norm.*", LEFTOVER_HARMLESS},
    {"*soft_embedding_norm.*", LEFTOVER_HARMLESS},
    {"optimizer.*", LEFTOVER_HARMLESS},
    {"*model_ema.*", LEFTOVER_HARMLESS},
    {"ema.*", LEFTOVER_HARMLESS},
    {"value_head.*", LEFTOVER_HARMLESS},
    {"v_head.*", LEFTOVER_HARMLESS},
    {"masked_embedding.*", LEFTOVER_ASIDE},
    {"vision_tower.*", LEFTOVER_TOWER},
    {"audio_tower.*", LEFTOVER_TOWER},
    {"embed_vision.*", LEFTOVER_TOWER},
    {"embed_audio.*", LEFTOVER_TOWER},
    {"vision_embedder.*", LEFTOVER_TOWER},
    {"multi_modal_projector.*", LEFTOVER_TOWER},
    {"*.SCB", LEFTOVER_HARMLESS},
    {"*.absmax", LEFTOVER_HARMLESS},
    {"*.q_scale", LEFTOVER_HARMLESS}, /* of a quantized cache, not of weights */
    {"*.k_scale", LEFTOVER_HARMLESS},
    {"*.v_scale", LEFTOVER_HARMLESS},
    {"*.q_zero_point", LEFTOVER_HARMLESS},
    {"*.k_zero_point", LEFTOVER_HARMLESS},
    {"*.v_zero_point", LEFTOVER_HARMLESS},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Remove every path element equal to `element`, in place. */
static void drop_element(char *name, const char *element)
{
    const size_t n = strlen(element);
    char *at = name;

    while (*at) {
        char *end = strchr(at, '.');
        const size_t len = end ? (size_t)(end - at) : strlen(at);

        if (len == n && memcmp(at, element, n) == 0 && end)
            memmove(at, end + 1, strlen(end + 1) + 1);
        else if (end)
            at = end + 1;
        else
            break;
    }
}

static const char *strip_prefixes(const char *name)
{
    for (size_t i = 0; i < COUNT(prefixes); i++)
        if (starts_with(name, prefixes[i])) {
            name += strlen(prefixes[i]);
            i = SIZE_MAX; /* once more from the first */
        }
    return name;
}

/* The part after "layers.N.", or NULL. */
static const char *inside_layer(const char *name)
{
    if (!starts_with(name, "layers."))
        return NULL;
    const char *dot = strchr(name + strlen("layers."), '.');
    return dot ? dot + 1 : NULL;
}

/* DiffusionGemma's decoder shares its encoder's weights, but for the scale of a layer's output. */
static bool is_canvas_scalar(const char *found)
{
    const char *end = strrchr(found, '.');

    return strstr(found, "decoder.layers.") && end && strcmp(end, ".layer_scalar") == 0;
}

static bool fits(const char *inner, const char *spelling)
{
    return spelling[strlen(spelling) - 1] == '.' ? starts_with(inner, spelling)
                                                 : strcmp(inner, spelling) == 0;
}

const char *canonical_name(struct arena *arena, const char *found)
{
    char *copy = arena_strdup(arena, found);

    if (!copy)
        return NULL;
    for (size_t i = 0; i < COUNT(inner_wrappers); i++)
        drop_element(copy, inner_wrappers[i]);

    const char *name = strip_prefixes(copy);
    if (is_canvas_scalar(found))
        return arena_printf(arena, "%.*s.canvas_scalar", (int)(strrchr(name, '.') - name),
                            name);
    for (size_t i = 0; i < COUNT(spellings); i++) {
        const char *inner = inside_layer(name);
        if (!inner || !fits(inner, spellings[i].found))
            continue;
        name = arena_printf(arena, "%.*s%s%s", (int)(inner - name), name,
                            spellings[i].canonical, inner + strlen(spellings[i].found));
        if (!name)
            return NULL;
    }
    return name;
}

/* A literal with a star in front, behind, both or neither: asked for every tensor and pattern. */
static bool fits_pattern(const char *name, size_t n_name, const char *pattern)
{
    const bool any_front = *pattern == '*';
    const char *literal = pattern + any_front;
    const size_t n = strlen(literal);
    const bool any_back = n > 0 && literal[n - 1] == '*';
    const size_t n_literal = n - any_back;

    if (n_literal > n_name)
        return false;
    if (!any_front && !any_back)
        return n_name == n_literal && memcmp(name, literal, n_literal) == 0;
    if (!any_front)
        return memcmp(name, literal, n_literal) == 0;
    if (!any_back)
        return memcmp(name + n_name - n_literal, literal, n_literal) == 0;
    for (size_t at = 0; at + n_literal <= n_name; at++)
        if (name[at] == *literal && memcmp(name + at, literal, n_literal) == 0)
            return true;
    return false;
}

enum leftover canonical_leftover(const char *canonical)
{
    const size_t n = strlen(canonical);

    for (size_t i = 0; i < COUNT(leftovers); i++)
        if (fits_pattern(canonical, n, leftovers[i].pattern))
            return leftovers[i].kind;
    return LEFTOVER_NO;
}
