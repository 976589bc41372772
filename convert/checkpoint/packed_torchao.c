/*
 * packed_torchao.c - torchao: a weight's own tensors, flattened beside it
 *
 *     X._weight_qdata        int8 or FP8 {out, in}
 *     X._weight_scale        {out, 1}, {out, groups} or one
 *     X._weight_zero_point   where the scales are; (code - zero) * scale
 *
 * The settings say which class of tensor was flattened. Those whose codes take a byte each are read;
 * packed ones (int4, tiles of a GPU) have the same names and other layouts, and are refused by name.
 *
 * Source: torchao 0.18 (prototype.safetensors; Int8Tensor, Float8Tensor, IntxUnpackedToInt8Tensor).
 */
#include "convert/checkpoint/packed.h"

static const char *const known_settings[] = {
    "Int8WeightOnlyConfig",   "Int8DynamicActivationInt8WeightConfig",
    "IntxWeightOnlyConfig",   "Int8DynamicActivationIntxWeightConfig",
    "Float8WeightOnlyConfig", "Float8DynamicActivationFloat8WeightConfig",
    "ModuleFqnToConfig",      "FqnToConfig",
};

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* The first "..Config" anywhere below that is not known; NULL: there is none. Not deep: the file's
 * reader saw to that. */
static const char *unknown_settings(const json_t *settings)
{
    const char *type = json_string_value(json_object_get(settings, "_type")), *key,
               *found;
    json_t *member;

    if (type && ends_with(type, "Config")) {
        size_t i = 0;

        while (i < sizeof(known_settings) / sizeof(known_settings[0]) &&
               strcmp(type, known_settings[i]) != 0)
            i++;
        if (i == sizeof(known_settings) / sizeof(known_settings[0]))
            return type;
    }
    json_object_foreach((json_t *)(uintptr_t)settings, key, member)
    {
        found = unknown_settings(member);
        if (found)
            return found;
    }
    return NULL;
}

static enum status claim_torchao(const struct module *m, struct error *err)
{
    const struct raw_tensor *codes, *scale, *zero = module_take(m, "._weight_zero_point");
    enum status st = module_need(m, "._weight_qdata", &codes, err);

    if (st == OK)
        st = module_need(m, "._weight_scale", &scale, err);
    return st == OK ? grid_add(m, codes, scale, zero, 0, 0, err) : st;
}

enum status torchao_claim(struct checkpoint *cp, const json_t *config, struct error *err)
{
    const json_t *type = json_object_get(config, "quant_type");
    const char *unknown =
        json_is_string(type) ? json_string_value(type) : unknown_settings(type);

    if (unknown)
        return fail(err, ERR_UNSUPPORTED,
                    "%s/config.json: quantization_config: torchao's %s is not supported",
                    cp->folder, unknown);
    return module_each(cp, config, "._weight_qdata", claim_torchao, err);
}
