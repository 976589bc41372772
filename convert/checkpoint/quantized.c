/*
 * quantized.c - checkpoints that come quantized: which format, and who claims it
 *
 * The configuration only says which reader to ask; what each module is, its tensors say. Codes that
 * nobody claims stay raw and are refused with their dtype by the plain step.
 */
#include "convert/checkpoint/packed.h"

#include <stdio.h>

static const struct {
    const char *method; /* quant_method */
    enum status (*claim)(struct checkpoint *cp, const json_t *config, struct error *err);
} methods[] = {
    {"compressed-tensors", compressed_claim},
    {"fp8", float8_claim},
    {"gptq", gptq_claim},
    {"awq", awq_claim},
    {"bitsandbytes", bitsandbytes_claim},
    {"modelopt", modelopt_claim},
    {"gemma", mobile_claim},
    {"torchao", torchao_claim},
};

/* The configuration object under `key`, at the top or in text_config. */
static const json_t *config_object(const struct checkpoint *cp, const char *key)
{
    const json_t *object = json_object_get(cp->config, key);

    if (!json_is_object(object))
        object = json_object_get(json_object_get(cp->config, "text_config"), key);
    return json_is_object(object) ? object : NULL;
}

/* Older tools wrote a file of their own. */
static enum status file_object(struct checkpoint *cp, const char *name,
                               const char *method, json_t **out, struct error *err)
{
    const char *path = arena_printf(&cp->arena, "%s/%s", cp->folder, name);
    enum status st;

    *out = NULL;
    if (!path)
        return fail(err, ERR_NOMEM, "no memory for a path");
    if (!file_exists(path))
        return OK;
    st = json_read_file(path, out, err);
    if (st == OK && !json_object_get(*out, "quant_method") &&
        json_object_set_new(*out, "quant_method", json_string(method)) != 0)
        st = fail(err, ERR_NOMEM, "%s: no memory for it", path);
    return st;
}

static enum status claim_by(struct checkpoint *cp, const json_t *config,
                            struct error *err)
{
    const char *method = json_string_value(json_object_get(config, "quant_method"));

    for (size_t i = 0; method && i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(method, methods[i].method) == 0)
            return methods[i].claim(cp, config, err);
    return fail(
        err, ERR_UNSUPPORTED,
        "%s/config.json: quantization_config: quant_method \"%s\" is not supported",
        cp->folder, method ? method : "none");
}

enum status quantized_claim(struct checkpoint *cp, struct error *err)
{
    const json_t *config = config_object(cp, "quantization_config");
    const json_t *mlx = config_object(cp, "quantization");
    json_t *file = NULL;
    enum status st = OK;

    if (mlx && !json_object_get(config, "quant_method"))
        return mlx_claim(cp, mlx, err);
    if (config && !json_object_get(config, "quant_method") &&
        json_object_get(config, "group_size"))
        return mlx_claim(cp, config, err);
    if (config)
        return claim_by(cp, config, err);

    st = file_object(cp, "quantize_config.json", "gptq", &file, err);
    if (st == OK && !file)
        st = file_object(cp, "quant_config.json", "awq", &file, err);
    if (st == OK && file)
        st = claim_by(cp, file, err);
    json_decref(file);
    return st;
}
