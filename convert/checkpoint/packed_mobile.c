/*
 * packed_mobile.c - Gemma mobile: (code - 2^(b-1)) * scale[row], or scale[row][slice]
 *
 * Source: transformers 5.23 (quant_method "gemma").
 */
#include "convert/checkpoint/packed.h"
#include "convert/checkpoint/pattern.h"

#include <inttypes.h>
#include <stdio.h>

static void decode_mobile(const struct packed *p, const struct window *windows,
                          uint64_t row, void *out)
{
    const uint8_t *codes = window_element(p, windows, CODES, row * p->cols);
    const bool is_signed = p->sections[CODES].raw->t->dtype == DTYPE_I8;
    float *x = out;

    for (uint64_t c = 0; c < p->cols; c++) {
        const float scale = packed_group_scale(p, windows, SCALES, row, c / p->group);
        const int32_t code =
            is_signed ? (int8_t)codes[c]
                      : (int32_t)packed_code(codes, c, p->bits) - p->code_offset;

        x[c] = (float)code * scale;
    }
}

/* The width of a table in elements, which its bytes alone do not tell. */
static uint64_t mobile_cols(const struct module *m)
{
    uint64_t hidden = 0, layers = 0, slice = 0;

    if (!catalogue_config_u64(m->cp, "hidden_size", &hidden))
        return 0;
    if (strcmp(m->path, "embed_tokens_per_layer") != 0)
        return hidden;
    if (!catalogue_config_u64(m->cp, "num_hidden_layers", &layers) ||
        !catalogue_config_u64(m->cp, "hidden_size_per_layer_input", &slice) ||
        layers > 1u << 16 || slice > 1u << 16)
        return 0;
    return layers * slice;
}

/* The bits a module was given: the entry whose expression matches its path is not needed where the
 * width is known; a linear's width is what its codes, at the bits that make it whole, say. */
static enum status add_mobile(const struct module *m, const struct raw_tensor *codes,
                              const struct raw_tensor *scale, uint64_t cols,
                              struct error *err)
{
    struct packed p = {.decode = decode_mobile, .cols = cols, .bits = 8};
    uint64_t dims[2], n_scales;
    char type[32];
    enum status st;

    if (codes->t->n_dims != 2 || cols == 0 || cols / 4 > codes->t->dims[1] ||
        (codes->t->dtype != DTYPE_U8 && codes->t->dtype != DTYPE_I8))
        return module_misfit(m, codes, err, "rows of packed codes expected");
    p.rows = dims[0] = codes->t->dims[0];
    dims[1] = cols;
    if (codes->t->dtype == DTYPE_U8)
        p.bits = (unsigned)(codes->t->dims[1] * 8 / cols);
    if ((p.bits != 2 && p.bits != 4 && p.bits != 8) ||
        codes->t->dims[1] * 8 != cols * p.bits)
        return module_misfit(m, codes, err,
                             "%" PRIu64 " codes a row of 2, 4 or 8 bits expected", cols);
    p.code_offset = 1 << (p.bits - 1);
    n_scales = p.rows ? tensor_elements(scale->t) / p.rows : 0;
    if (n_scales == 0 || n_scales > cols || cols % n_scales != 0 ||
        !dtype_is_float(scale->t->dtype))
        return module_misfit(m, scale, err,
                             "a scale for each of %" PRIu64 " rows expected", p.rows);
    p.group = cols / n_scales;
    st = section_along(m, &p, CODES, codes, cols, codes->t->dims[1], err);
    if (st == OK)
        st = section_along(m, &p, SCALES, scale, cols,
                           n_scales * dtype_bits(scale->t->dtype) / 8, err);
    snprintf(type, sizeof(type), "int%u a row", p.bits);
    return st == OK ? packed_add(m, &p, dims, 2, type, TYPE_F32, err) : st;
}

static enum status claim_mobile_table(const struct module *m, struct error *err)
{
    const struct raw_tensor *codes, *scale;
    enum status st = module_need(m, ".embedding_quantized", &codes, err);

    if (st == OK)
        st = module_need(m, ".embedding_scale", &scale, err);
    return st == OK ? add_mobile(m, codes, scale, mobile_cols(m), err) : st;
}

/* The bits of a linear: the entry of module_quant_configs that names it, else num_bits. */
static uint64_t mobile_bits(const struct module *m)
{
    json_t *entries = json_object_get(m->quantization, "module_quant_configs"), *entry;
    const char *key;

    json_object_foreach(
        entries, key,
        entry) if (pattern_matches(key, m->path,
                                   false)) return packed_config_u64(entry, "num_bits", 0);
    return packed_config_u64(m->quantization, "num_bits", 4);
}

static enum status claim_mobile_linear(const struct module *m, struct error *err)
{
    const struct raw_tensor *codes, *scale;
    enum status st = module_need(m, ".weight", &codes, err);
    uint64_t bits, cols = 0;

    if (st == OK)
        st = module_need(m, ".weight_scale", &scale, err);
    if (st != OK)
        return st;
    bits = codes->t->dtype == DTYPE_I8 ? 8 : mobile_bits(m);
    if (codes->t->n_dims == 2 && bits > 0)
        cols = codes->t->dims[1] * 8 / bits;
    return add_mobile(m, codes, scale, cols, err);
}

static enum status ignore_activation_scales(const struct module *m, struct error *err)
{
    (void)err;
    module_take(m, ".input_activation_scale");
    module_take(m, ".output_activation_scale");
    return OK;
}

enum status mobile_claim(struct checkpoint *cp, const json_t *config, struct error *err)
{
    enum status st = patterns_check(json_object_get(config, "module_quant_configs"),
                                    "config.json: module_quant_configs", err);

    if (st == OK)
        st = module_each(cp, config, ".embedding_quantized", claim_mobile_table, err);
    if (st == OK)
        st = module_each(cp, config, ".weight_scale", claim_mobile_linear, err);
    if (st == OK)
        st = module_each(cp, config, ".input_activation_scale", ignore_activation_scales,
                         err);
    return st == OK ? module_each(cp, config, ".output_activation_scale",
                                  ignore_activation_scales, err)
                    : st;
}
