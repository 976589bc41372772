/*
 * packed_mlx.c - MLX: code * scale[group] + bias[group] over bit strings, and its float modes
 *
 * Source: mlx core ops (affine_dequantize, fp_dequantize) and mlx-lm's rule for settings a module.
 */
#include "convert/checkpoint/packed.h"

#include <inttypes.h>
#include <stdio.h>

/* The key of the common settings, which no module has. */
#define COMMON ""

static void affine_constants(const struct packed *p, const struct window *windows,
                             uint64_t row, uint64_t group, float *scale, float *bias)
{
    *scale = packed_group_scale(p, windows, SCALES, row, group);
    *bias = packed_group_scale(p, windows, ZEROS, row, group);
}

static void decode_affine(const struct packed *p, const struct window *windows,
                          uint64_t row, void *out)
{
    const uint8_t *codes = window_element(p, windows, CODES, row * p->cols);
    float *x = out;

    for (uint64_t g = 0; g < p->cols / p->group; g++) {
        float scale, bias;

        affine_constants(p, windows, row, g, &scale, &bias);
        for (uint64_t c = g * p->group; c < (g + 1) * p->group; c++)
            x[c] = (float)packed_code(codes, c, p->bits) * scale + bias;
    }
}

/* E4M3 codes with an E8M0 scale per 32. */
static void decode_mxfp8(const struct packed *p, const struct window *windows,
                         uint64_t row, void *out)
{
    const uint8_t *codes = window_element(p, windows, CODES, row * p->cols);
    const uint8_t *scales = window_element(p, windows, SCALES, row * p->cols);
    float *x = out;

    dtype_widen(DTYPE_F8_E4M3, codes, x, (size_t)p->cols);
    for (uint64_t c = 0; c < p->cols; c++) {
        float scale;

        dtype_widen(DTYPE_F8_E8M0, scales + c / p->group, &scale, 1);
        x[c] *= scale;
    }
}

/* The settings of a module: its own entry, else the common ones. An entry of its own inherits
 * nothing but the defaults of its mode. */
static const json_t *mlx_settings(const struct module *m)
{
    const json_t *own = json_object_get(m->quantization, m->path);

    return own ? own : json_object_get(m->quantization, COMMON);
}

/* What the configuration says, by canonical paths: looked up once a module. Owned by the caller;
 * NULL when memory is out. */
static json_t *settings_by_path(struct checkpoint *cp, const json_t *config)
{
    json_t *by_path = json_object(), *own;
    const char *key;
    bool is_whole =
        by_path && json_object_set(by_path, COMMON, (json_t *)(uintptr_t)config) == 0;

    json_object_foreach((json_t *)(uintptr_t)config, key, own)
    {
        const char *path = json_is_object(own) ? canonical_name(&cp->arena, key) : key;

        if (!path || (json_is_object(own) && !json_object_get(by_path, path) &&
                      json_object_set(by_path, path, own) != 0))
            is_whole = false;
    }
    if (!is_whole)
        json_decref(by_path);
    return is_whole ? by_path : NULL;
}

static enum status claim_mlx(const struct module *m, struct error *err)
{
    const json_t *settings = mlx_settings(m);
    const char *mode = json_string_value(json_object_get(settings, "mode"));
    const bool is_affine = !mode || strcmp(mode, "affine") == 0;
    const bool is_mxfp8 = mode && strcmp(mode, "mxfp8") == 0;
    const bool is_nvfp4 = mode && strcmp(mode, "nvfp4") == 0;
    const struct raw_tensor *codes, *scales, *biases = module_take(m, ".biases");
    struct packed p = {.decode = is_affine ? decode_affine : decode_mxfp8,
                       .code = packed_string_code,
                       .constants = affine_constants};
    enum block_type exact = TYPE_F32;
    uint64_t dims[TENSOR_MAX_DIMS], unit;
    char type[40];
    enum status st = module_need(m, ".scales", &scales, err);

    if (st == OK)
        st = module_need(m, ".weight", &codes, err);
    if (st != OK)
        return st;
    p.bits = (unsigned)packed_config_u64(settings, "bits", is_mxfp8 ? 8 : 4);
    p.group = packed_config_u64(settings, "group_size",
                                is_affine  ? 64
                                : is_nvfp4 ? 16
                                           : 32);
    if (codes->t->dtype != DTYPE_U32 || codes->t->n_dims < 2 || p.bits < 2 ||
        p.bits > 8 || p.group == 0)
        return module_misfit(m, codes, err, "words of %u-bit codes expected", p.bits);
    if (!is_affine && !is_mxfp8 && !is_nvfp4 && strcmp(mode, "mxfp4") != 0)
        return fail(err, ERR_UNSUPPORTED, "%s: %s: MLX mode \"%s\" is not supported",
                    m->cp->path, codes->t->name, mode);
    if (!is_affine && !is_mxfp8)
        return fp4_add(m, codes, scales, p.group, 1, false, err);

    memcpy(dims, codes->t->dims, sizeof(dims));
    unit = dims[codes->t->n_dims - 1] * 4;
    p.rows = tensor_rows(codes->t);
    p.cols = dims[codes->t->n_dims - 1] = unit * 8 / p.bits;
    if (p.cols == 0 || p.cols % p.group != 0 || (is_affine && !biases))
        return module_misfit(m, codes, err,
                             "groups of %" PRIu64 " with scales and biases expected",
                             p.group);
    if (is_affine &&
        (!dtype_is_float(scales->t->dtype) || !dtype_is_float(biases->t->dtype)))
        return module_misfit(m, scales, err, "floating-point scales and biases expected");
    if (!is_affine && dtype_bits(scales->t->dtype) != 8)
        return module_misfit(m, scales, err, "scales of a byte expected");
    st = section_along(m, &p, CODES, codes, p.cols, unit, err);
    if (st == OK)
        st = section_along(m, &p, SCALES, scales, p.cols,
                           p.cols / p.group * dtype_bits(scales->t->dtype) / 8, err);
    if (st == OK && is_affine)
        st = section_along(m, &p, ZEROS, biases, p.cols,
                           p.cols / p.group * dtype_bits(biases->t->dtype) / 8, err);
    if (st == OK && is_affine)
        st = packed_find_exact(&p, m->weight, &exact, err);
    if (st != OK)
        return st;
    snprintf(type, sizeof(type), "%s %u bit g%" PRIu64, is_affine ? "affine" : mode,
             p.bits, p.group);
    return packed_add(m, &p, dims, codes->t->n_dims, type, exact, err);
}

enum status mlx_claim(struct checkpoint *cp, const json_t *config, struct error *err)
{
    json_t *by_path = settings_by_path(cp, config);
    enum status st;

    if (!by_path)
        return fail(err, ERR_NOMEM, "no memory for settings of modules");
    st = module_each(cp, by_path, ".scales", claim_mlx, err);
    json_decref(by_path);
    return st;
}
