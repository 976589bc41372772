/*
 * packed_books.c - bitsandbytes: 4-bit codes of a code book over the flattened weight, and int8
 *
 *     4 bit   book[code] * absmax[element / blocksize], high nibble first; absmax itself may be
 *             quantized: nested_book[code] * nested_absmax[block / nested_blocksize] + offset
 *     int8    code * SCB[row] / 127
 *
 * Source: bitsandbytes 0.45 to 0.50 (functional.QuantState, Linear8bitLt state dicts).
 */
#include "convert/checkpoint/packed.h"

#include <inttypes.h>
#include <stdio.h>

enum { STATE_BYTES = 1 << 16 };

/* ---- 4 bit ---- */

static float block_scale(const struct packed *p, const struct window *windows,
                         uint64_t element)
{
    const struct section *scales = &p->sections[SCALES];
    const uint8_t *at = window_element(p, windows, SCALES, element);

    if (!p->nested_book)
        return packed_number(scales, at);
    return p->nested_book[*at] *
               packed_number(&p->sections[NESTED],
                             window_element(p, windows, NESTED, element)) +
           p->nested_offset;
}

static void decode_book(const struct packed *p, const struct window *windows,
                        uint64_t row, void *out)
{
    const uint64_t first = row * p->cols;
    float *x = out, scale = 0;

    for (uint64_t c = 0; c < p->cols; c++) {
        const uint64_t element = first + c;
        const uint8_t pair = *window_element(p, windows, CODES, element);

        if (c == 0 || element % p->group == 0)
            scale = block_scale(p, windows, element);
        x[c] = p->book[element % 2 ? pair & 15 : pair >> 4] * scale;
    }
}

/* A code book: n f32 in the arena. */
static enum status take_book(const struct module *m, const char *suffix, size_t n,
                             const float **book, struct error *err)
{
    const struct raw_tensor *raw;
    const uint8_t *bytes;
    float *x;
    enum status st = module_need(m, suffix, &raw, err);

    if (st != OK)
        return st;
    if (raw->t->dtype != DTYPE_F32 || tensor_elements(raw->t) != n)
        return module_misfit(m, raw, err, "a code book of %zu F32 expected", n);
    st = module_bytes(m, raw, n * sizeof(*x), &bytes, err);
    x = st == OK ? arena_array(&m->cp->arena, n, sizeof(*x)) : NULL;
    if (st == OK && !x)
        return fail(err, ERR_NOMEM, "%s: no memory for it", raw->t->name);
    if (st == OK)
        memcpy(x, bytes, n * sizeof(*x));
    *book = x;
    return st;
}

/* The JSON beside a weight: shape, block sizes. */
static enum status read_state(const struct module *m, const struct raw_tensor *raw,
                              json_t **out, struct error *err)
{
    const uint8_t *bytes;
    enum status st = module_bytes(m, raw, STATE_BYTES, &bytes, err);

    if (st != OK)
        return st;
    *out = json_loadb((const char *)bytes, (size_t)raw->t->n_bytes,
                      JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return fail(err, ERR_CORRUPT, "%s: %s is not a JSON object", m->cp->path,
                    raw->t->name);
    }
    return OK;
}

static enum status read_shape(const struct module *m, const struct raw_tensor *codes,
                              const json_t *state, struct packed *p, uint64_t *dims,
                              int *n_dims, struct error *err)
{
    const json_t *shape = json_object_get(state, "shape");
    uint64_t elements = 1;

    *n_dims = (int)json_array_size(shape);
    if (*n_dims < 2 || *n_dims > TENSOR_MAX_DIMS)
        return module_misfit(m, codes, err, "its quant_state has no shape of a weight");
    for (int i = 0; i < *n_dims; i++) {
        const json_int_t n = json_integer_value(json_array_get(shape, (size_t)i));

        dims[i] = n > 0 ? (uint64_t)n : 0;
        if (!mul_u64(elements, dims[i], &elements))
            elements = 0;
    }
    if (elements == 0 || (elements + 1) / 2 != codes->t->n_bytes)
        return module_misfit(m, codes, err, "its quant_state says %" PRIu64 " weights",
                             elements);
    p->cols = dims[*n_dims - 1];
    p->rows = elements / p->cols;
    return OK;
}

static enum status take_nested(const struct module *m, struct packed *p,
                               const json_t *state, struct error *err)
{
    const uint64_t block = packed_config_u64(state, "nested_blocksize", 256);
    const struct raw_tensor *raw;
    enum status st = take_book(m, ".nested_quant_map", 256, &p->nested_book, err);

    if (st == OK)
        st = module_need(m, ".nested_absmax", &raw, err);
    if (st != OK)
        return st;
    if (block == 0 || block > 1u << 20 || raw->t->dtype != DTYPE_F32)
        return module_misfit(m, raw, err, "F32 scales of blocks expected");
    p->nested_offset = (float)json_number_value(json_object_get(state, "nested_offset"));
    return section_along(m, p, NESTED, raw, p->group * block, 4, err);
}

static bool is_named(const json_t *state, const char *name)
{
    const char *type = json_string_value(json_object_get(state, "quant_type"));

    return type && strcmp(type, name) == 0;
}

static enum status add_book(const struct module *m, const struct raw_tensor *codes,
                            const json_t *state, struct error *err)
{
    const struct raw_tensor *absmax;
    struct packed p = {.decode = decode_book, .bits = 4};
    uint64_t dims[TENSOR_MAX_DIMS];
    int n_dims;
    char type[32];
    enum status st = module_need(m, ".absmax", &absmax, err);

    if (st == OK)
        st = read_shape(m, codes, state, &p, dims, &n_dims, err);
    if (st == OK)
        st = take_book(m, ".quant_map", 16, &p.book, err);
    if (st != OK)
        return st;
    p.group = packed_config_u64(state, "blocksize", 64);
    if (p.group == 0 || p.group > 1u << 20 || (p.group & 1))
        return module_misfit(m, codes, err, "blocks of %" PRIu64 " weights are not known",
                             p.group);
    st = section_along(m, &p, CODES, codes, 2, 1, err);
    if (st == OK && absmax->t->dtype == DTYPE_U8)
        st = take_nested(m, &p, state, err);
    if (st == OK)
        st = section_along(m, &p, SCALES, absmax, p.group,
                           dtype_bits(absmax->t->dtype) / 8, err);
    if (st == OK && !p.nested_book && !dtype_is_float(absmax->t->dtype))
        return module_misfit(m, absmax, err,
                             "F32 scales, or U8 with nested ones, expected");
    snprintf(type, sizeof(type), "%s g%" PRIu64 "%s",
             is_named(state, "nf4")   ? "NF4"
             : is_named(state, "fp4") ? "FP4"
                                      : "4 bit book",
             p.group, p.nested_book ? ", double" : "");
    return st == OK ? packed_add(m, &p, dims, n_dims, type, TYPE_F32, err) : st;
}

static enum status claim_book(const struct module *m, const struct raw_tensor *state_raw,
                              struct error *err)
{
    const struct raw_tensor *codes;
    json_t *state = NULL;
    enum status st = module_need(m, "", &codes, err);

    if (st == OK)
        st = read_state(m, state_raw, &state, err);
    if (st == OK)
        st = add_book(m, codes, state, err);
    json_decref(state);
    return st;
}

/* "path.weight", or a fused parameter of experts, has its state and books beside it. */
static enum status claim_state(const struct module *m, const char *state,
                               struct error *err)
{
    const struct module own = {m->cp, m->path, m->path, m->quantization};

    return claim_book(&own, module_take(&own, state), err);
}

#define NF4_STATE ".quant_state.bitsandbytes__nf4"
#define FP4_STATE ".quant_state.bitsandbytes__fp4"

static enum status claim_nf4(const struct module *m, struct error *err)
{
    return claim_state(m, NF4_STATE, err);
}

static enum status claim_fp4(const struct module *m, struct error *err)
{
    return claim_state(m, FP4_STATE, err);
}

/* ---- int8 ---- */

static void decode_rows(const struct packed *p, const struct window *windows,
                        uint64_t row, void *out)
{
    const float scb = packed_number(&p->sections[SCALES],
                                    window_element(p, windows, SCALES, row * p->cols));
    const uint8_t *codes = window_element(p, windows, CODES, row * p->cols);
    const float scale = scb / 127.0f;
    float *x = out;

    for (uint64_t c = 0; c < p->cols; c++)
        x[c] = (float)(int8_t)codes[c] * scale;
}

static enum status claim_int8(const struct module *m, struct error *err)
{
    const struct raw_tensor *weight = catalogue_raw(m->cp, m->weight), *scale, *format;
    struct packed p = {.decode = decode_rows, .bits = 8};
    float layout = 0;
    enum status st;

    if (!weight || weight->t->dtype != DTYPE_I8)
        return OK; /* a leaving beside dense weights */
    weight = module_take(m, ".weight");
    format = module_take(m, ".weight_format");
    st = module_need(m, ".SCB", &scale, err);
    if (st == OK && format)
        st = module_number(m, format, &layout, err);
    if (st != OK)
        return st;
    if (layout > 0)
        return fail(err, ERR_UNSUPPORTED,
                    "%s: %s: weight_format %g, a tiling for old GPUs, is not "
                    "supported",
                    m->cp->path, weight->t->name, (double)layout);
    if (weight->t->n_dims != 2 || scale->t->dtype != DTYPE_F32)
        return module_misfit(m, weight, err, "I8 {out, in} with F32 SCB expected");
    p.rows = weight->t->dims[0];
    p.cols = weight->t->dims[1];
    if (p.rows == 0 || p.cols == 0)
        return module_misfit(m, weight, err, "it is empty");
    st = section_along(m, &p, CODES, weight, p.cols, p.cols, err);
    if (st == OK)
        st = section_along(m, &p, SCALES, scale, p.cols, 4, err);
    return st == OK ? packed_add(m, &p, weight->t->dims, 2, "int8 a row", TYPE_F32, err)
                    : st;
}

enum status bitsandbytes_claim(struct checkpoint *cp, const json_t *config,
                               struct error *err)
{
    enum status st = module_each(cp, config, NF4_STATE, claim_nf4, err);

    if (st == OK)
        st = module_each(cp, config, FP4_STATE, claim_fp4, err);
    return st == OK ? module_each(cp, config, ".SCB", claim_int8, err) : st;
}
