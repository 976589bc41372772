/*
 * packed_strings.c - compressed-tensors: integers as bit strings along the input, and its kin
 *
 *     pack-quantized   (code - 2^(b-1) - zero) * scale[group]
 *
 * A row's codes are one little-endian bit string, least significant bits first; zeros are packed
 * along the output. FP4 and whole-byte formats are handed on to packed_floats.c.
 *
 * Source: compressed-tensors 0.10 to 0.20 (pack_to_int32 and the compressors' configurations).
 */
#include "convert/checkpoint/packed.h"

#include <inttypes.h>
#include <stdio.h>

/* The unsigned zero of a group: packed along the output, value `row` of column `group`. */
static int32_t string_zero(const struct packed *p, const struct window *windows,
                           uint64_t row, uint64_t group)
{
    const struct section *s = &p->sections[ZEROS];
    const unsigned per_word = 32 / p->bits;

    if (!s->raw)
        return p->code_offset;
    const uint8_t *line = window_element(p, windows, ZEROS, row * p->cols);
    if (s->raw->t->dtype == DTYPE_I8)
        return (int8_t)line[group] + p->code_offset;
    const uint32_t word = load_u32(line + 4 * group);
    return (int32_t)(word >> (row % per_word * p->bits) & ((1u << p->bits) - 1));
}

static void string_constants(const struct packed *p, const struct window *windows,
                             uint64_t row, uint64_t group, float *scale, float *bias)
{
    *scale = packed_group_scale(p, windows, SCALES, row, group);
    *bias = *scale * -(float)string_zero(p, windows, row, group);
}

static void decode_string(const struct packed *p, const struct window *windows,
                          uint64_t row, void *out)
{
    const uint8_t *codes = window_element(p, windows, CODES, row * p->cols);
    const bool is_ordered = !p->sections[GROUPS].raw;
    const uint8_t *groups = is_ordered ? NULL : windows[GROUPS].bytes;
    uint64_t last = UINT64_MAX;
    int32_t zero = 0;
    float scale = 0, *x = out;

    for (uint64_t c = 0; c < p->cols; c++) {
        const uint64_t g = is_ordered ? c / p->group : load_u32(groups + 4 * c);

        if (g != last) {
            scale = packed_group_scale(p, windows, SCALES, row, g);
            zero = string_zero(p, windows, row, g);
            last = g;
        }
        x[c] = (float)((int32_t)packed_code(codes, c, p->bits) - zero) * scale;
    }
}

/* The logical shape, as weight_shape says. */
static enum status logical_shape(const struct module *m, uint64_t dims[2],
                                 struct error *err)
{
    const struct raw_tensor *raw;
    const uint8_t *bytes;
    enum status st = module_need(m, ".weight_shape", &raw, err);
    const unsigned width = st == OK ? dtype_bits(raw->t->dtype) / 8 : 0;

    if (st != OK)
        return st;
    if (tensor_elements(raw->t) != 2 || (width != 8 && width != 4) ||
        dtype_is_float(raw->t->dtype))
        return module_misfit(m, raw, err, "two integers expected");
    st = module_bytes(m, raw, 16, &bytes, err);
    for (int i = 0; i < 2 && st == OK; i++)
        dims[i] = width == 8 ? load_u64(bytes + 8 * i) : load_u32(bytes + 4 * i);
    if (st == OK &&
        (dims[0] == 0 || dims[1] == 0 || dims[0] > 1u << 28 || dims[1] > 1u << 28))
        return module_misfit(m, raw, err, "%" PRIu64 " x %" PRIu64 " is no weight",
                             dims[0], dims[1]);
    return st;
}

/* The bits of a code: what some group of the configuration says, and the words then hold. */
static unsigned bits_of(const struct module *m, uint64_t cols, uint64_t words)
{
    json_t *groups = json_object_get(m->quantization, "config_groups"), *group;
    const char *key;

    json_object_foreach(groups, key, group)
    {
        const uint64_t bits =
            packed_config_u64(json_object_get(group, "weights"), "num_bits", 4);

        if (bits >= 1 && bits <= 8 && (cols * bits + 31) / 32 == words)
            return (unsigned)bits;
    }
    return 0;
}

/* Group numbers of an activation order: in range, or absent when unset (-1). */
static enum status take_order(const struct module *m, struct packed *p, uint64_t n_groups,
                              struct error *err)
{
    const struct raw_tensor *raw = module_take(m, ".weight_g_idx");
    const uint8_t *bytes;
    enum status st;

    if (!raw)
        return OK;
    if (raw->t->dtype != DTYPE_I32 || tensor_elements(raw->t) != p->cols)
        return module_misfit(m, raw, err, "%" PRIu64 " group numbers expected", p->cols);
    st = module_bytes(m, raw, (size_t)p->cols * 4, &bytes, err);
    for (uint64_t c = 0; c < p->cols && st == OK; c++) {
        if (load_u32(bytes + 4 * c) == UINT32_MAX)
            return OK; /* unset */
        if (load_u32(bytes + 4 * c) >= n_groups)
            return module_misfit(m, raw, err,
                                 "column %" PRIu64 " is in group %u of %" PRIu64, c,
                                 load_u32(bytes + 4 * c), n_groups);
    }
    return st == OK
               ? section_along(m, p, GROUPS, raw, p->rows * p->cols, p->cols * 4, err)
               : st;
}

static enum status take_scales(const struct module *m, struct packed *p,
                               struct error *err)
{
    const struct raw_tensor *raw;
    enum status st = module_need(m, ".weight_scale", &raw, err);
    uint64_t n_groups;

    if (st != OK)
        return st;
    n_groups = raw->t->n_dims == 2 ? raw->t->dims[1] : 1;
    if (!dtype_is_float(raw->t->dtype) || n_groups == 0 ||
        tensor_elements(raw->t) % n_groups != 0 ||
        tensor_elements(raw->t) / n_groups != p->rows || p->cols % n_groups != 0)
        return module_misfit(m, raw, err, "{%" PRIu64 ", groups} numbers expected",
                             p->rows);
    p->group = p->cols / n_groups;
    st = section_along(m, p, SCALES, raw, p->cols,
                       n_groups * dtype_bits(raw->t->dtype) / 8, err);
    return st == OK ? take_order(m, p, n_groups, err) : st;
}

static enum status take_zeros(const struct module *m, struct packed *p, struct error *err)
{
    const struct raw_tensor *raw = module_take(m, ".weight_zero_point");
    const uint64_t n_groups = p->cols / p->group, per_word = 32 / p->bits;

    if (!raw)
        return OK;
    if (raw->t->dtype == DTYPE_I8) /* older releases: one signed byte each */
        return section_along(m, p, ZEROS, raw, p->cols, n_groups, err);
    if (32 % p->bits != 0 || raw->t->dtype != DTYPE_I32)
        return module_misfit(m, raw, err, "zero points of %u bits in I32 are not known",
                             p->bits);
    return section_along(m, p, ZEROS, raw, p->cols * per_word, 4 * n_groups, err);
}

/* One module of pack-quantized integers. */
static enum status claim_string(const struct module *m, struct error *err)
{
    const struct raw_tensor *codes;
    struct packed p = {.decode = decode_string,
                       .code = packed_string_code,
                       .constants = string_constants};
    enum block_type exact = TYPE_F32;
    uint64_t dims[2];
    char type[40];
    enum status st = module_need(m, ".weight_packed", &codes, err);

    if (st == OK)
        st = logical_shape(m, dims, err);
    if (st != OK)
        return st;
    p.rows = dims[0];
    p.cols = dims[1];
    p.bits = codes->t->n_dims == 2 ? bits_of(m, p.cols, codes->t->dims[1]) : 0;
    if (codes->t->dtype != DTYPE_I32 || p.bits == 0 || codes->t->dims[0] != p.rows)
        return module_misfit(m, codes, err,
                             "weight_shape says %" PRIu64 " x %" PRIu64
                             ", which these words do "
                             "not hold",
                             p.rows, p.cols);
    p.code_offset = 1 << (p.bits - 1);
    st = section_along(m, &p, CODES, codes, p.cols, 4 * codes->t->dims[1], err);
    if (st == OK)
        st = take_scales(m, &p, err);
    if (st == OK)
        st = take_zeros(m, &p, err);
    if (st == OK)
        st = packed_find_exact(&p, m->weight, &exact, err);
    if (st != OK)
        return st;
    if (p.group < p.cols)
        snprintf(type, sizeof(type), "int%u g%" PRIu64 "%s", p.bits, p.group,
                 p.sections[GROUPS].raw ? ", act-order" : "");
    else
        snprintf(type, sizeof(type), "int%u a row", p.bits);
    return packed_add(m, &p, dims, 2, type, exact, err);
}

/* What compressed-tensors can put beside a weight without changing it. */
static const char *const beside[] = {
    ".input_scale",        ".output_scale", ".input_zero_point", ".output_zero_point",
    ".input_global_scale", ".k_scale",      ".v_scale",          ".q_scale",
};

static enum status ignore_beside(const struct module *m, struct error *err)
{
    (void)err;
    for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++)
        module_take(m, beside[i]);
    return OK;
}

/* FP4 or integers: told apart by what the codes are stored in. */
static enum status claim_packed(const struct module *m, struct error *err)
{
    const struct raw_tensor *codes, *scale, *global;
    float factor = 1;
    enum status st = module_need(m, ".weight_packed", &codes, err);

    if (st == OK && codes->t->dtype != DTYPE_U8)
        return claim_string(m, err);
    if (st == OK)
        st = module_need(m, ".weight_scale", &scale, err);
    if (st != OK)
        return st;
    module_take(m, ".weight_shape");
    global = module_take(m, ".weight_global_scale");
    if (global)
        st = module_number(m, global, &factor, err);
    if (st != OK)
        return st;
    return fp4_add(m, codes, scale, scale->t->dtype == DTYPE_U8 ? 32 : 16, factor,
                   global != NULL, err);
}

static uint64_t blocks_of(uint64_t n, uint64_t size)
{
    return size ? n / size + (n % size != 0) : 0;
}

/* The smaller of a block's side and the matrix's: what the block is to it. */
static uint64_t side(const json_t *pair, size_t i, uint64_t n)
{
    const json_int_t size = json_integer_value(json_array_get(pair, i));

    return size <= 0 ? 0 : (uint64_t)size < n ? (uint64_t)size : n;
}

/* The blocks that some group of the configuration has and the scales are of; the first where none
 * fits, for the sentence; {0, 0} where there are none. ERR_SHAPE when two sizes fit. */
static enum status find_blocks(const struct module *m, const struct raw_tensor *codes,
                               const struct raw_tensor *scale, uint64_t out[2],
                               struct error *err)
{
    json_t *groups = json_object_get(m->quantization, "config_groups"), *group;
    const uint64_t rows = tensor_rows(codes->t), cols = tensor_cols(codes->t);
    const char *key;
    bool found = false;

    out[0] = out[1] = 0;
    json_object_foreach(groups, key, group)
    {
        const json_t *pair =
            json_object_get(json_object_get(group, "weights"), "block_structure");
        const uint64_t block[2] = {side(pair, 0, rows), side(pair, 1, cols)};
        const bool fits = block[0] && block[1] && scale->t->n_dims == 2 &&
                          scale->t->dims[0] == blocks_of(rows, block[0]) &&
                          scale->t->dims[1] == blocks_of(cols, block[1]);

        if (fits && found && (block[0] != out[0] || block[1] != out[1]))
            return module_misfit(m, scale, err, "blocks of two sizes would fit");
        if (block[0] && block[1] && (fits || out[0] == 0)) {
            out[0] = block[0];
            out[1] = block[1];
        }
        found |= fits;
    }
    return OK;
}

/* Codes of a whole byte: int8 or fp8, a scale a tensor, a row or a block. */
static enum status claim_bytes(const struct module *m, struct error *err)
{
    const struct raw_tensor *scale = module_take(m, ".weight_scale"), *codes;
    uint64_t block[2];
    enum status st = module_need(m, ".weight", &codes, err);

    if (st != OK)
        return st;
    st = find_blocks(m, codes, scale, block, err);
    return st != OK ? st
                    : grid_add(m, codes, scale, module_take(m, ".weight_zero_point"),
                               block[0], block[1], err);
}

static const char *const known_formats[] = {
    "pack-quantized",       "int-quantized",        "float-quantized", "naive-quantized",
    "nvfp4-pack-quantized", "mxfp4-pack-quantized", "mxfp8-quantized", "dense",
    "mixed-precision",
};

static enum status check_format(const struct checkpoint *cp, const json_t *object,
                                struct error *err)
{
    const char *format = json_string_value(json_object_get(object, "format"));

    for (size_t i = 0; format && i < sizeof(known_formats) / sizeof(known_formats[0]);
         i++)
        if (strcmp(format, known_formats[i]) == 0)
            return OK;
    if (!format)
        return OK;
    return fail(err, ERR_UNSUPPORTED,
                "%s/config.json: compressed-tensors format \"%s\" is not "
                "supported",
                cp->folder, format);
}

/* Rotations of the weights are a part of them; those of activations are not, and without them the
 * weights mean nothing. */
static enum status check_rotations(const struct checkpoint *cp, const json_t *config,
                                   struct error *err)
{
    json_t *groups = json_object_get(json_object_get(config, "transform_config"),
                                     "config_groups"),
           *group, *apply;
    const char *key;
    size_t i;

    json_object_foreach(groups, key, group)
    {
        json_array_foreach(json_object_get(group, "apply"), i, apply)
        {
            const char *at = json_string_value(json_object_get(apply, "location"));

            if (!at || strncmp(at, "weight", strlen("weight")) != 0)
                return fail(err, ERR_UNSUPPORTED,
                            "%s/config.json: transform_config: activations are rotated "
                            "at run time (%s), which no GGUF says",
                            cp->folder, at ? at : key);
        }
    }
    return OK;
}

enum status compressed_claim(struct checkpoint *cp, const json_t *config,
                             struct error *err)
{
    const json_t *group;
    const char *key;
    enum status st = check_format(cp, config, err);

    if (st == OK)
        st = check_rotations(cp, config, err);
    json_object_foreach((json_t *)(uintptr_t)json_object_get(config, "config_groups"),
                        key, group) if (st == OK) st = check_format(cp, group, err);
    if (st == OK)
        st = module_each(cp, config, ".weight_packed", claim_packed, err);
    if (st == OK)
        st = module_each(cp, config, ".weight_scale", claim_bytes, err);
    for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]) && st == OK; i++)
        st = module_each(cp, config, beside[i], ignore_beside, err);
    return st;
}
