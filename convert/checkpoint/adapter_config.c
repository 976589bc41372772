/*
 * adapter_config.c - adapter_config.json: what kind, what scale, and what cannot be merged
 */
#include "convert/checkpoint/adapter.h"
#include "convert/checkpoint/pattern.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const struct {
    const char *type;
    enum adapter_kind kind;
} kinds[] = {
    {"LORA", ADAPTER_LORA}, {"LOHA", ADAPTER_LOHA}, {"LOKR", ADAPTER_LOKR},
    {"IA3", ADAPTER_IA3},   {"VERA", ADAPTER_VERA}, {"OFT", ADAPTER_OFT},
};

/* Keys that do not change what a merge is: selection, training, provenance. */
static const char *const harmless[] = {
    "alpha",
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "bias_d",
    "block_share",
    "coft",
    "corda_config",
    "d_initial",
    "decompose_both",
    "decompose_factor",
    "ensure_weight_tying",
    "eps",
    "eva_config",
    "exclude_modules",
    "feedforward_modules",
    "inference_mode",
    "init_ia3_weights",
    "init_lora_weights",
    "init_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "module_dropout",
    "modules_to_save",
    "num_cayley_neumann_terms",
    "oft_block_size",
    "peft_type",
    "peft_version",
    "projection_prng_key",
    "qalora_group_size",
    "r",
    "rank_dropout",
    "rank_dropout_scale",
    "rank_pattern",
    "revision",
    "runtime_config",
    "save_projection",
    "target_modules",
    "target_parameters",
    "task_type",
    "trainable_token_indices",
    "use_cayley_neumann",
    "use_dora",
    "use_effective_conv2d",
    "use_rslora",
    "vera_dropout",
    "velora_config",
};

/* Keys with a reason to refuse when they are set. */
static const struct {
    const char *key, *why;
} refused[] = {
    {"alora_invocation_tokens", "active only after its tokens, so it cannot be merged"},
    {"arrow_config", "a mixture chosen at run time cannot be merged"},
    {"fan_in_fan_out", "its base stores weights transposed, which no Gemma does"},
    {"kasa_config", "this variant has no merge"},
    {"layer_replication", "it changes the number of layers"},
    {"lora_bias", "the base's linear maps have no bias to add to"},
    {"monteclora_config", "this variant has no merge"},
    {"use_bdlora", "this variant has no merge"},
    {"use_qalora", "its input is pooled, so it cannot be merged"},
};

/* Initialisations that change the base: the adapter fits only the changed one. */
static const char *const base_changers[] = {"pissa", "olora",   "corda",
                                            "loftq", "lora_ga", "mica"};

static bool is_set(const json_t *value)
{
    if (json_is_object(value))
        return json_object_size(value) > 0;
    if (json_is_array(value))
        return json_array_size(value) > 0;
    if (json_is_number(value))
        return json_number_value(value) != 0;
    if (json_is_string(value))
        return *json_string_value(value) != '\0';
    return json_is_true(value);
}

static bool is_harmless(const char *key)
{
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
        if (strcmp(key, harmless[i]) == 0)
            return true;
    return false;
}

static enum status refuse_key(const struct adapter *ad, const char *key, const char *why,
                              struct error *err)
{
    return fail(err, ERR_UNSUPPORTED, "%s/adapter_config.json: %s: %s", ad->folder, key,
                why);
}

/* A number, and in patterns only numbers under expressions that are some: a default in place of
 * what cannot be read would be another adapter. */
static enum status check_numbers(const struct adapter *ad, struct error *err)
{
    static const char *const numbers[] = {"r", "lora_alpha", "alpha"};
    static const char *const patterns[] = {"rank_pattern", "alpha_pattern"};
    const char *key;
    json_t *value;

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        value = json_object_get(ad->config, numbers[i]);
        if (value && !json_is_null(value) && !json_is_number(value))
            return refuse_key(ad, numbers[i], "a number expected", err);
    }
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        json_t *entries = json_object_get(ad->config, patterns[i]);

        if (entries && !json_is_null(entries) && !json_is_object(entries))
            return refuse_key(ad, patterns[i], "an object expected", err);
        json_object_foreach(entries, key, value)
        {
            if (!json_is_number(value))
                return refuse_key(ad, patterns[i],
                                  "expressions with a number each expected", err);
        }
        if (patterns_check(entries, patterns[i], err) != OK)
            return fail(err, err->code, "%s/adapter_config.json: %s", ad->folder,
                        err->text);
    }
    return OK;
}

static enum status check_keys(const struct adapter *ad, struct error *err)
{
    const json_t *init = json_object_get(ad->config, "init_lora_weights");
    const char *key, *bias = json_string_value(json_object_get(ad->config, "bias"));
    const json_t *value;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (is_set(json_object_get(ad->config, refused[i].key)))
            return refuse_key(ad, refused[i].key, refused[i].why, err);
    for (size_t i = 0;
         json_is_string(init) && i < sizeof(base_changers) / sizeof(*base_changers); i++)
        if (strncmp(json_string_value(init), base_changers[i],
                    strlen(base_changers[i])) == 0)
            return fail(err, ERR_UNSUPPORTED,
                        "%s/adapter_config.json: init_lora_weights \"%s\" changed the "
                        "base it was "
                        "trained on; merging into the original would be wrong",
                        ad->folder, json_string_value(init));
    if (bias && strcmp(bias, "none") != 0)
        return refuse_key(ad, "bias", "the base's linear maps have no bias to replace",
                          err);
    json_object_foreach(
        ad->config, key,
        value) if (is_set(value) &&
                   !is_harmless(
                       key)) return refuse_key(ad, key,
                                               "a variant that is not known here", err);
    return OK;
}

/* mlx-lm's own form has fine_tune_type in place of peft_type; older files have neither, and LoRA is
 * meant. Where those state an alpha, it counted in some releases and not in others. */
static enum status read_mlx(struct adapter *ad, struct error *err)
{
    const char *type = json_string_value(json_object_get(ad->config, "fine_tune_type"));
    const json_t *parameters = json_object_get(ad->config, "lora_parameters");

    ad->kind = ADAPTER_MLX;
    if (!type && is_set(json_object_get(parameters, "alpha")))
        return refuse_key(ad, "lora_parameters",
                          "of an early mlx-lm, whose scale depends on the release where "
                          "alpha is stated",
                          err);
    if (type && strcmp(type, "lora") != 0 && strcmp(type, "dora") != 0)
        return fail(err, ERR_UNSUPPORTED,
                    "%s/adapter_config.json: fine_tune_type \"%s\" (lora or "
                    "dora expected)",
                    ad->folder, type);
    return OK;
}

static enum status refuse_kind(const struct adapter *ad, const char *type,
                               struct error *err)
{
    if (!type && json_object_get(ad->config, "rank") &&
        json_object_get(ad->config, "alpha"))
        return fail(err, ERR_UNSUPPORTED,
                    "%s/adapter_config.json: rank and alpha alone: an adapter of "
                    "mlx-vlm, which is not known here",
                    ad->folder);
    return fail(err, ERR_UNSUPPORTED,
                "%s/adapter_config.json: peft_type %s cannot be merged into "
                "weights",
                ad->folder, type ? type : "is missing, which");
}

/* Whether it is mlx-lm's. */
static bool is_mlx(const json_t *config)
{
    return json_is_string(json_object_get(config, "fine_tune_type")) ||
           json_is_object(json_object_get(config, "lora_parameters"));
}

enum status adapter_read_config(struct adapter *ad, struct error *err)
{
    const char *path = arena_printf(&ad->cp->arena, "%s/adapter_config.json", ad->folder),
               *type;
    enum status st;

    if (!path)
        return fail(err, ERR_NOMEM, "no memory for a path");
    if (!file_exists(path))
        return fail(err, ERR_USAGE,
                    "%s: there is no adapter_config.json, so the scale of the "
                    "adapter is not known",
                    ad->folder);
    st = json_read_file(path, &ad->config, err);
    if (st != OK)
        return st;
    type = json_string_value(json_object_get(ad->config, "peft_type"));
    if (!type && is_mlx(ad->config))
        return read_mlx(ad, err);
    for (size_t i = 0; type && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(type, kinds[i].type) == 0) {
            ad->kind = kinds[i].kind;
            st = check_keys(ad, err);
            return st == OK ? check_numbers(ad, err) : st;
        }
    return refuse_kind(ad, type, err);
}

/* The first entry of a pattern object that matches, else the common value; NULL: neither. */
static const json_t *of_module(const struct adapter *ad, const char *pattern,
                               const char *common, const char *path)
{
    json_t *entries = json_object_get(ad->config, pattern), *value;
    const char *key;

    json_object_foreach(entries, key,
                        value) if (json_is_number(value) &&
                                   pattern_matches(key, path, true)) return value;
    value = json_object_get(ad->config, common);
    return json_is_number(value) ? value : NULL;
}

enum status adapter_scale(const struct adapter *ad, const struct adapter_group *group,
                          const char *asked, uint64_t rank, double *scale,
                          struct error *err)
{
    const json_t *r = of_module(ad, "rank_pattern", "r", asked), *alpha;
    const bool is_lora = ad->kind == ADAPTER_LORA;
    const double said = r ? json_number_value(r) : 8.0;

    if (ad->kind == ADAPTER_MLX) {
        const json_t *own =
            json_object_get(json_object_get(ad->config, "lora_parameters"), "scale");

        if (!json_is_number(own))
            return fail(err, ERR_CORRUPT,
                        "%s/adapter_config.json: lora_parameters.scale is missing",
                        ad->folder);
        *scale = json_number_value(own) * ad->strength;
        return OK;
    }
    if (rank == 0 && said >= 1 && said <= UINT32_MAX && said == floor(said))
        rank = (uint64_t)said;
    if (rank == 0 || (r && said != (double)rank))
        return fail(err, ERR_CORRUPT,
                    "%s: %s: r is %g in adapter_config.json and %" PRIu64
                    " in the tensors, so its scale is not known",
                    ad->folder, group->path, said, rank);
    alpha = of_module(ad, "alpha_pattern", is_lora ? "lora_alpha" : "alpha", asked);
    *scale = (alpha ? json_number_value(alpha) : 8.0) /
             (json_is_true(json_object_get(ad->config, "use_rslora")) ? sqrt((double)rank)
                                                                      : (double)rank);
    *scale *= ad->strength;
    return isfinite(*scale) ? OK
                            : fail(err, ERR_CORRUPT,
                                   "%s/adapter_config.json: the scale of %s is "
                                   "not finite",
                                   ad->folder, group->path);
}
