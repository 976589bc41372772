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
    const char *name;   /* as people call it */
    enum status (*claim)(struct checkpoint *cp, const json_t *config, struct error *err);
} methods[] = {
    {"compressed-tensors", "compressed-tensors", compressed_claim},
    {"fp8", "FP8", float8_claim},
    {"fbgemm_fp8", "FBGEMM FP8", float8_claim},
    {"gptq", "GPTQ", gptq_claim},
    {"awq", "AWQ", awq_claim},
    {"auto-round", "AutoRound", autoround_claim},
    {"bitsandbytes", "bitsandbytes", bitsandbytes_claim},
    {"modelopt", "ModelOpt", modelopt_claim},
    {"gemma", "Gemma mobile", mobile_claim},
    {"torchao", "torchao", torchao_claim},
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
        if (strcmp(method, methods[i].method) == 0) {
            cp->quantizer = methods[i].name;
            return methods[i].claim(cp, config, err);
        }
    return fail(
        err, ERR_UNSUPPORTED,
        "%s/config.json: quantization_config: quant_method \"%s\" is not supported",
        cp->folder, method ? method : "none");
}

/* ModelOpt's own file holds the settings one level down. */
static enum status modelopt_file(struct checkpoint *cp, json_t **out, struct error *err)
{
    json_t *whole, *inner;
    enum status st = file_object(cp, "hf_quant_config.json", "modelopt", &whole, err);

    inner = json_object_get(whole, "quantization");
    *out = NULL;
    if (st == OK && json_is_object(inner)) {
        if (json_object_set_new(inner, "quant_method", json_string("modelopt")) != 0)
            st = fail(err, ERR_NOMEM, "no memory for hf_quant_config.json");
        *out = json_incref(inner);
    }
    json_decref(whole);
    return st;
}

/* The type of most bytes among the weights that were claimed; NULL: there are none. */
static const char *usual_type(const struct checkpoint *cp)
{
    enum { MOST = 16 };
    const char *types[MOST];
    uint64_t bytes[MOST];
    size_t n = 0, best = 0;

    for (size_t i = 0; i < cp->n_tensors; i++) {
        const struct source_tensor *t = cp->tensors[i];
        size_t k = 0;

        while (k < n && strcmp(types[k], t->type) != 0)
            k++;
        if (k == MOST)
            continue;
        bytes[k] = t->n_bytes + (k < n ? bytes[k] : 0);
        types[k] = t->type;
        n += k == n;
    }
    for (size_t k = 1; k < n; k++)
        best = bytes[k] > bytes[best] ? k : best;
    return n ? types[best] : NULL;
}

/* "2 shards, compressed-tensors: int4 g32"; a type that begins with the name says it once. */
static enum status describe(struct checkpoint *cp, struct error *err)
{
    const char *type = usual_type(cp);

    if (!type || !cp->quantizer)
        return OK;
    const bool is_said = strncmp(type, cp->quantizer, strlen(cp->quantizer)) == 0;
    cp->layout = arena_printf(&cp->arena, "%s, %s%s%s", cp->files,
                              is_said ? "" : cp->quantizer, is_said ? "" : ": ", type);
    return cp->layout ? OK : fail(err, ERR_NOMEM, "no memory for a sentence");
}

static enum status by_mlx(struct checkpoint *cp, const json_t *config, struct error *err)
{
    cp->quantizer = "MLX";
    return mlx_claim(cp, config, err);
}

static enum status claim(struct checkpoint *cp, struct error *err)
{
    const json_t *config = config_object(cp, "quantization_config");
    const json_t *mlx = config_object(cp, "quantization");
    json_t *file = NULL;
    enum status st = OK;

    if (mlx && !json_object_get(config, "quant_method"))
        return by_mlx(cp, mlx, err);
    if (config && !json_object_get(config, "quant_method") &&
        json_object_get(config, "group_size"))
        return by_mlx(cp, config, err);
    if (config)
        return claim_by(cp, config, err);

    st = file_object(cp, "quantize_config.json", "gptq", &file, err);
    if (st == OK && !file)
        st = file_object(cp, "quant_config.json", "awq", &file, err);
    if (st == OK && !file)
        st = modelopt_file(cp, &file, err);
    if (st == OK && file)
        st = claim_by(cp, file, err);
    if (st == OK && !file) { /* its codes have what describes them beside them */
        cp->quantizer = "bitsandbytes";
        st = bitsandbytes_claim(cp, NULL, err);
    }
    json_decref(file);
    return st;
}

enum status quantized_claim(struct checkpoint *cp, struct error *err)
{
    const enum status st = claim(cp, err);

    return st == OK ? describe(cp, err) : st;
}
