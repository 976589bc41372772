/*
 * packed_floats.c - codes of a whole byte with a grid of scales, and FP4
 *
 *     int8, FP8    code * scale, a scale a tensor, a row or a block     (multiply, whatever its name)
 *     NVFP4        e2m1(code) * (scale[group of 16] op global), op: divide in compressed-tensors,
 *                  multiply in ModelOpt
 *     MXFP4        e2m1(code) * 2^(scale[group of 32] - 127)
 *
 * Sources: transformers (fine-grained fp8), compressed-tensors 0.20, ModelOpt's NVFP4 export, OCP
 * Microscaling Formats 1.0.
 */
#include "convert/checkpoint/packed.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- grids ---- */

static void decode_grid(const struct packed *p, const struct window *windows,
                        uint64_t row, void *out)
{
    const struct section *codes = &p->sections[CODES], *scales = &p->sections[SCALES];
    const struct section *zeros = &p->sections[ZEROS];
    const uint64_t at = row * p->cols;
    const uint8_t *line = window_element(p, windows, SCALES, at);
    const uint8_t *zero_line = zeros->raw ? window_element(p, windows, ZEROS, at) : NULL;
    const uint64_t width = dtype_bits(scales->raw->t->dtype) / 8;
    float *x = out, scale = 0, zero = 0;

    dtype_widen(codes->raw->t->dtype, window_element(p, windows, CODES, at), x,
                (size_t)p->cols);
    for (uint64_t c = 0; c < p->cols; c++) {
        if (c % p->group == 0) {
            scale = packed_number(scales, line + c / p->group * width);
            zero = zero_line ? packed_number(zeros, zero_line + c / p->group) : 0;
        }
        x[c] = (x[c] - zero) * scale;
    }
}

/* Int8 codes with one f16 scale a row are Q8_0 blocks that repeat it. */
static void repack_q8_0(const struct packed *p, const struct window *windows,
                        uint64_t row, void *out)
{
    const uint8_t *codes = window_element(p, windows, CODES, row * p->cols);
    const uint8_t *line = window_element(p, windows, SCALES, row * p->cols);
    const uint64_t width = dtype_bits(p->sections[SCALES].raw->t->dtype) / 8;
    struct q8_0 *blocks = out;

    for (uint64_t b = 0; b < p->cols / 32; b++) {
        struct q8_0 block;

        block.d = f16_from_f32(
            packed_number(&p->sections[SCALES], line + b * 32 / p->group * width));
        memcpy(block.q, codes + 32 * b, sizeof(block.q));
        memcpy(&blocks[b], &block, sizeof(block));
    }
}

static enum status scales_fit(const struct packed *p, bool *fit, struct error *err)
{
    const uint64_t n = tensor_elements(p->sections[SCALES].raw->t);
    const uint64_t width = dtype_bits(p->sections[SCALES].raw->t->dtype) / 8;
    const struct raw_tensor *raw = p->sections[SCALES].raw;
    uint8_t bytes[4096];
    enum status st = OK;

    *fit = true;
    for (uint64_t at = 0; at < n && *fit && st == OK; at += sizeof(bytes) / width) {
        const uint64_t room = sizeof(bytes) / width,
                       count = n - at < room ? n - at : room;

        st = raw_read(raw, at * width, (size_t)(count * width), bytes, err);
        for (uint64_t i = 0; i < count && st == OK; i++)
            *fit &=
                packed_fits_f16(packed_number(&p->sections[SCALES], bytes + i * width));
    }
    return st;
}

/* True when the scales are {rows, groups}, or the same a matrix: groups of columns. */
static bool has_groups(const struct packed *p, const struct raw_tensor *scale)
{
    const uint64_t n_groups = tensor_cols(scale->t);

    return scale->t->n_dims >= 2 && n_groups > 0 && tensor_rows(scale->t) == p->rows &&
           p->cols % n_groups == 0;
}

/* True when there is one for every matrix of a stack. */
static bool has_one_each(const struct raw_tensor *codes, const struct raw_tensor *scale)
{
    return codes->t->n_dims == 3 && tensor_elements(scale->t) == codes->t->dims[0] &&
           scale->t->dims[0] == codes->t->dims[0];
}

/* How many rows share a line of scales, and how many columns a scale. Blocks of rows do not span the
 * matrices of a stack. */
static enum status fit_grid(const struct module *m, struct packed *p,
                            const struct raw_tensor *codes,
                            const struct raw_tensor *scale, uint64_t block_rows,
                            uint64_t block_cols, struct error *err)
{
    const uint64_t n = tensor_elements(scale->t);
    const uint64_t matrix = codes->t->dims[codes->t->n_dims - 2];
    uint64_t lines, per_line = 1;

    if (!dtype_is_float(scale->t->dtype))
        return module_misfit(m, scale, err, "scales are floating-point numbers");
    p->group = p->cols;
    p->block_rows = 1;
    if (n == 1) {
        p->block_rows = p->rows;
    } else if (has_one_each(codes, scale)) {
        p->block_rows = matrix;
    } else if (block_rows == 0 && has_groups(p, scale)) {
        per_line = tensor_cols(scale->t);
        p->group = p->cols / per_line;
    } else if (n != p->rows || (scale->t->n_dims >= 2 && tensor_cols(scale->t) != 1)) {
        if (scale->t->n_dims < 2 || block_rows == 0 || block_cols == 0 ||
            (matrix != p->rows && matrix % block_rows != 0))
            return module_misfit(m, scale, err,
                                 "one scale, %" PRIu64
                                 " (one a row), or blocks of a stated size "
                                 "expected",
                                 p->rows);
        p->block_rows = block_rows < p->rows ? block_rows : p->rows;
        p->group = block_cols < p->cols ? block_cols : p->cols;
        per_line = tensor_cols(scale->t);
    }
    lines = (p->rows + p->block_rows - 1) / p->block_rows;
    if (per_line != (p->cols + p->group - 1) / p->group || n != lines * per_line)
        return module_misfit(m, scale, err,
                             "{%" PRIu64 ", %" PRIu64 "} expected for blocks of "
                             "%" PRIu64 " x %" PRIu64,
                             lines, (p->cols + p->group - 1) / p->group, p->block_rows,
                             p->group);
    return section_along(m, p, SCALES, scale, p->cols * p->block_rows,
                         per_line * dtype_bits(scale->t->dtype) / 8, err);
}

/* Zero points stand as the scales do. */
static enum status fit_zeros(const struct module *m, struct packed *p,
                             const struct raw_tensor *zero, struct error *err)
{
    const struct section *scales = &p->sections[SCALES];
    const uint64_t n = tensor_elements(scales->raw->t);

    if (dtype_bits(zero->t->dtype) != 8 || tensor_elements(zero->t) != n)
        return module_misfit(m, zero, err, "%" PRIu64 " zero points of a byte expected",
                             n);
    return section_along(m, p, ZEROS, zero, scales->per_unit, n / scales->n_units, err);
}

/* Exponents are stored as plain bytes too. */
static enum status as_exponents(const struct module *m, const struct raw_tensor **scale,
                                struct error *err)
{
    struct raw_tensor *raw = arena_alloc(&m->cp->arena, sizeof(*raw));
    struct tensor *t = arena_alloc(&m->cp->arena, sizeof(*t));

    if (!raw || !t)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    *t = *(*scale)->t;
    t->dtype = DTYPE_F8_E8M0;
    *raw = **scale;
    raw->t = t;
    *scale = raw;
    return OK;
}

/* "FP8 E4M3 128x128", "int8 a row", "int8 g32", "FP8 E4M3 a tensor". */
static void name_grid(const struct packed *p, enum dtype dtype, char *out, size_t n)
{
    const char *codes = dtype == DTYPE_I8        ? "int8"
                        : dtype == DTYPE_F8_E4M3 ? "FP8 E4M3"
                        : dtype == DTYPE_F8_E5M2 ? "FP8 E5M2"
                                                 : dtype_name(dtype);

    if (p->group < p->cols && p->block_rows == 1)
        snprintf(out, n, "%s g%" PRIu64, codes, p->group);
    else if (p->group < p->cols || (p->block_rows > 1 && p->block_rows < p->rows))
        snprintf(out, n, "%s %" PRIu64 "x%" PRIu64, codes, p->block_rows, p->group);
    else
        snprintf(out, n, "%s a %s", codes, p->block_rows == 1 ? "row" : "tensor");
}

enum status grid_add(const struct module *m, const struct raw_tensor *codes,
                     const struct raw_tensor *scale, const struct raw_tensor *zero,
                     uint64_t block_rows, uint64_t block_cols, struct error *err)
{
    struct packed p = {.decode = decode_grid};
    char type[48];
    bool fit = false;
    enum status st = OK;

    if (codes->t->n_dims < 2 || dtype_bits(codes->t->dtype) != 8 ||
        (codes->t->dtype != DTYPE_I8 && !dtype_is_float(codes->t->dtype)))
        return module_misfit(m, codes, err, "int8 or FP8 codes expected");
    p.rows = tensor_rows(codes->t);
    p.cols = tensor_cols(codes->t);
    if (p.rows == 0 || p.cols == 0)
        return module_misfit(m, codes, err, "it is empty");
    if (scale->t->dtype == DTYPE_U8 && codes->t->dtype != DTYPE_I8)
        st = as_exponents(m, &scale, err);
    if (st == OK)
        st = section_along(m, &p, CODES, codes, p.cols, p.cols, err);
    if (st == OK)
        st = fit_grid(m, &p, codes, scale, block_rows, block_cols, err);
    if (st == OK && zero)
        st = fit_zeros(m, &p, zero, err);
    if (st == OK && codes->t->dtype == DTYPE_I8 && !zero && p.group % 32 == 0 &&
        p.cols % 32 == 0)
        st = scales_fit(&p, &fit, err);
    if (st != OK)
        return st;
    p.repack = fit ? repack_q8_0 : NULL;
    name_grid(&p, codes->t->dtype, type, sizeof(type));
    return packed_add(m, &p, codes->t->dims, codes->t->n_dims, type, TYPE_Q8_0, err);
}

/* ---- FP4 ---- */

static const float e2m1[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                               -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

/* Scales in U8 are exponents, or E4M3 where MLX stores nvfp4. */
static float fp4_scale(const struct packed *p, const uint8_t *at)
{
    enum dtype dtype = p->sections[SCALES].raw->t->dtype;
    float scale;

    if (dtype == DTYPE_U8)
        dtype = p->group == 32 ? DTYPE_F8_E8M0 : DTYPE_F8_E4M3;
    dtype_widen(dtype, at, &scale, 1);
    return p->divides ? scale / p->global : scale * p->global;
}

static void decode_fp4(const struct packed *p, const struct window *windows, uint64_t row,
                       void *out)
{
    const uint8_t *codes = window_element(p, windows, CODES, row * p->cols);
    const uint8_t *scales = window_element(p, windows, SCALES, row * p->cols);
    float *x = out, scale = 0;

    for (uint64_t c = 0; c < p->cols; c++) {
        if (c % p->group == 0)
            scale = fp4_scale(p, scales + c / p->group);
        x[c] = e2m1[packed_code(codes, c, 4)] * scale;
    }
}

enum status fp4_add(const struct module *m, const struct raw_tensor *codes,
                    const struct raw_tensor *scale, uint64_t group, float global,
                    bool divides, struct error *err)
{
    const uint64_t width = dtype_bits(codes->t->dtype) / 8;
    struct packed p = {.decode = decode_fp4,
                       .bits = 4,
                       .group = group,
                       .global = global,
                       .divides = divides};
    uint64_t dims[TENSOR_MAX_DIMS], unit;
    char type[32];
    enum status st;

    if (codes->t->n_dims < 2 || dtype_is_float(codes->t->dtype) || width == 0)
        return module_misfit(m, codes, err, "packed FP4 codes expected");
    memcpy(dims, codes->t->dims, sizeof(dims));
    unit = tensor_cols(codes->t) * width;
    p.rows = tensor_rows(codes->t);
    p.cols = dims[codes->t->n_dims - 1] = 2 * unit;
    if (p.rows == 0 || p.cols == 0 || p.cols % group != 0 ||
        dtype_bits(scale->t->dtype) != 8)
        return module_misfit(m, scale, err,
                             "a one-byte scale per %" PRIu64 " columns expected", group);
    st = section_along(m, &p, CODES, codes, p.cols, unit, err);
    if (st == OK)
        st = section_along(m, &p, SCALES, scale, p.cols, p.cols / group, err);
    snprintf(type, sizeof(type), "%s g%" PRIu64, group == 16 ? "NVFP4" : "MXFP4", group);
    return st == OK ? packed_add(m, &p, dims, codes->t->n_dims, type, TYPE_F32, err) : st;
}

/* ---- quant_method "fp8" ---- */

static bool is_fp8(const struct raw_tensor *raw)
{
    return raw && (raw->t->dtype == DTYPE_F8_E4M3 || raw->t->dtype == DTYPE_F8_E5M2);
}

/* With scales in blocks where the configuration has a size for them. */
static enum status float8_add(const struct module *m, struct raw_tensor *codes,
                              const struct raw_tensor *scale,
                              const struct raw_tensor *zero, struct error *err)
{
    const json_t *block = json_object_get(m->quantization, "weight_block_size");

    return grid_add(m, codes, scale, zero,
                    (uint64_t)json_integer_value(json_array_get(block, 0)),
                    (uint64_t)json_integer_value(json_array_get(block, 1)), err);
}

static enum status claim_float8(const struct module *m, struct error *err)
{
    struct raw_tensor *codes = catalogue_raw(m->cp, m->weight);
    const struct raw_tensor *scale;

    if (!is_fp8(codes) || codes->taken)
        return OK;
    codes->taken = true;
    scale = module_take(m, ".weight_scale_inv");
    if (!scale)
        scale = module_take(m, ".weight_scale");
    module_take(m, ".input_scale");
    module_take(m, ".input_scale_ub");
    module_take(m, ".activation_scale");
    if (!scale)
        return fail(err, ERR_CORRUPT,
                    "%s: %s is FP8 but has no weight_scale_inv or weight_scale",
                    m->cp->path, codes->t->name);
    return float8_add(m, codes, scale, module_take(m, ".weight_zero_point"), err);
}

/* Fused experts are parameters, not modules: NAME, and NAME_scale_inv beside it. */
static enum status claim_float8_experts(const struct module *m, const char *name,
                                        struct error *err)
{
    static const char *const ends[] = {"_scale_inv", ".weight_scale_inv", "_scale",
                                       ".weight_scale"};
    struct module own = *m;
    struct raw_tensor *codes;
    const struct raw_tensor *scale = NULL;

    own.path = own.weight = arena_printf(&m->cp->arena, "%s%s", m->path, name);
    if (!own.path)
        return fail(err, ERR_NOMEM, "no memory for names of tensors");
    codes = catalogue_raw(m->cp, own.path);
    if (!is_fp8(codes))
        return OK;
    codes->taken = true;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]) && !scale; i++)
        scale = module_take(&own, ends[i]);
    if (!scale)
        return fail(err, ERR_CORRUPT, "%s: %s is FP8 but has no scale beside it",
                    m->cp->path, codes->t->name);
    return float8_add(&own, codes, scale, NULL, err);
}

static enum status claim_float8_up(const struct module *m, struct error *err)
{
    return claim_float8_experts(m, ".gate_up_proj", err);
}

static enum status claim_float8_down(const struct module *m, struct error *err)
{
    return claim_float8_experts(m, ".experts.down_proj", err);
}

enum status float8_claim(struct checkpoint *cp, const json_t *config, struct error *err)
{
    enum status st = module_each(cp, config, ".weight", claim_float8, err);

    if (st == OK)
        st = module_each(cp, config, ".gate_up_proj", claim_float8_up, err);
    return st == OK
               ? module_each(cp, config, ".experts.down_proj", claim_float8_down, err)
               : st;
}

/* ---- ModelOpt ---- */

static enum status claim_modelopt(const struct module *m, struct error *err)
{
    const struct raw_tensor *codes, *scale, *second = module_take(m, ".weight_scale_2");
    float global = 1;
    enum status st = module_need(m, ".weight_scale", &scale, err);

    if (st == OK)
        st = module_need(m, ".weight", &codes, err);
    if (st == OK && second)
        st = module_number(m, second, &global, err);
    if (st != OK)
        return st;
    module_take(m, ".input_scale");
    module_take(m, ".k_scale");
    module_take(m, ".v_scale");
    if (codes->t->dtype == DTYPE_U8)
        return fp4_add(m, codes, scale, 16, global, false, err);
    return grid_add(m, codes, scale, NULL, 0, 0, err);
}

static bool is_modelopt_known(const char *algorithm)
{
    return !algorithm || strcmp(algorithm, "NVFP4") == 0 || strcmp(algorithm, "FP8") == 0;
}

enum status modelopt_claim(struct checkpoint *cp, const json_t *config, struct error *err)
{
    json_t *layers = json_object_get(config, "quantized_layers"), *layer;
    const char *key;
    const char *algorithm = json_string_value(json_object_get(config, "quant_algo"));

    json_object_foreach(layers, key, layer)
    {
        const char *own = json_string_value(json_object_get(layer, "quant_algo"));

        if (!is_modelopt_known(own))
            algorithm = own;
    }
    if (layers && algorithm && strcmp(algorithm, "MIXED_PRECISION") == 0)
        algorithm = NULL;
    if (!is_modelopt_known(algorithm))
        return fail(err, ERR_UNSUPPORTED,
                    "%s/config.json: ModelOpt quant_algo \"%s\" is not "
                    "supported",
                    cp->folder, algorithm);
    return module_each(cp, config, ".weight_scale", claim_modelopt, err);
}
