/*
 * packed_columns.c - GPTQ and AWQ: {in, out} matrices of codes, read a column at a time
 *
 *     GPTQ   qweight {in * b / 32, out}, packed along the input; qzeros {groups, out * b / 32};
 *            scales {groups, out}; g_idx {in}
 *            weight[o][i] = (q - (z + d)) * scale[g_idx[i]][o], d = 1 in format v1, where zeros are
 *            stored minus one, modulo 2^b
 *     AWQ    qweight {in, out / 8}, packed along the output in the order 0 2 4 6 1 3 5 7;
 *            weight[o][i] = (q - z) * scale[i / group][o]
 *
 * Sources: GPTQModel (pack, gptq_v2 conversion, dynamic), AutoAWQ (gemm packing), AutoRound 0.8
 * (packing formats of inference/backend.py).
 */
#include "convert/checkpoint/packed.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

/* ---- GPTQ ---- */

/* Bits [at, at + bits) of the column of words that belongs to `row`. */
static unsigned column_bits(const struct packed *p, const struct window *windows,
                            uint64_t row, uint64_t i)
{
    const uint64_t at = i * p->bits;
    const unsigned shift = (unsigned)(at & 31);
    uint64_t word = load_u32(window_column(p, windows, CODES, at >> 5, row));

    if (shift + p->bits > 32)
        word |= (uint64_t)load_u32(window_column(p, windows, CODES, (at >> 5) + 1, row))
                << 32;
    return (unsigned)(word >> shift) & ((1u << p->bits) - 1);
}

/* Zeros of one group are a bit string along the output; its line is read whole. */
static unsigned gptq_zero(const struct packed *p, const struct window *windows,
                          uint64_t row, uint64_t group)
{
    const uint8_t *line = windows[ZEROS].bytes + group * p->sections[ZEROS].unit_bytes;
    const uint64_t at = row * p->bits;
    const unsigned shift = (unsigned)(at & 31), mask = (1u << p->bits) - 1;
    uint64_t word = load_u32(line + (at >> 5) * 4);

    if (shift + p->bits > 32)
        word |= (uint64_t)load_u32(line + ((at >> 5) + 1) * 4) << 32;
    return ((unsigned)(word >> shift) + p->zero_add) & mask;
}

static void gptq_constants(const struct packed *p, const struct window *windows,
                           uint64_t row, uint64_t group, float *scale, float *bias)
{
    *scale = packed_number(&p->sections[SCALES],
                           window_column(p, windows, SCALES, group, row));
    *bias = *scale * -(float)gptq_zero(p, windows, row, group);
}

static void decode_gptq(const struct packed *p, const struct window *windows,
                        uint64_t row, void *out)
{
    const uint8_t *order = p->sections[GROUPS].raw ? windows[GROUPS].bytes : NULL;
    uint64_t last = UINT64_MAX;
    float *x = out, scale = 0, bias;
    unsigned zero = 0;

    for (uint64_t i = 0; i < p->cols; i++) {
        const uint64_t g = order ? load_u32(order + 4 * i) : i / p->group;

        if (g != last) {
            gptq_constants(p, windows, row, g, &scale, &bias);
            zero = gptq_zero(p, windows, row, g);
            last = g;
        }
        x[i] = (float)((int)column_bits(p, windows, row, i) - (int)zero) * scale;
    }
}

/* Activation order: kept only when it is not the plain one, so that plain groups can be repacked. */
static enum status take_order(const struct module *m, struct packed *p, uint64_t n_groups,
                              struct error *err)
{
    const struct raw_tensor *raw = module_take(m, ".g_idx");
    const uint8_t *bytes;
    bool is_plain = true;
    enum status st;

    if (!raw)
        return OK;
    if (raw->t->dtype != DTYPE_I32 || tensor_elements(raw->t) != p->cols)
        return module_misfit(m, raw, err, "%" PRIu64 " group numbers expected", p->cols);
    st = module_bytes(m, raw, (size_t)p->cols * 4, &bytes, err);
    for (uint64_t i = 0; i < p->cols && st == OK; i++) {
        const uint32_t g = load_u32(bytes + 4 * i);

        if (g >= n_groups)
            return module_misfit(m, raw, err,
                                 "input %" PRIu64 " is in group %" PRIu32 " of %" PRIu64,
                                 i, g, n_groups);
        is_plain &= g == i / p->group;
    }
    return st != OK || is_plain
               ? st
               : section_along(m, p, GROUPS, raw, p->rows * p->cols, p->cols * 4, err);
}

/* Symmetric zeros say which format they are in: 7 in each field is v1, 8 is v2 (at 4 bits). */
static enum status check_zeros(const struct module *m, const struct packed *p,
                               struct error *err)
{
    const struct raw_tensor *raw = p->sections[ZEROS].raw;
    const unsigned middle = 1u << (p->bits - 1), mask = (1u << p->bits) - 1;
    const uint64_t room = (uint64_t)4 << 20;
    const uint8_t *bytes;
    bool as_v1 = true, as_v2 = true;
    enum status st;

    if (!json_is_true(json_object_get(m->quantization, "sym")) || 32 % p->bits != 0 ||
        raw->t->n_bytes > room)
        return OK;
    st = module_bytes(m, raw, (size_t)room, &bytes, err);
    for (uint64_t w = 0; w < raw->t->n_bytes / 4 && st == OK; w++)
        for (unsigned at = 0; at < 32; at += p->bits) {
            const unsigned z = load_u32(bytes + 4 * w) >> at & mask;

            as_v1 &= z == middle - 1;
            as_v2 &= z == middle;
        }
    if (st == OK && (p->zero_add ? !as_v1 && as_v2 : !as_v2 && as_v1))
        return fail(err, ERR_CORRUPT,
                    "%s: %s: stored zeros are those of the other format than "
                    "checkpoint_format says",
                    m->cp->path, raw->t->name);
    return st;
}

/* How zeros are stored: GPTQModel has had two names for the key; AutoRound names a packing. */
static const char *gptq_format(const json_t *config)
{
    const char *format = json_string_value(json_object_get(config, "checkpoint_format"));
    const char *packing = json_string_value(json_object_get(config, "packing_format"));

    if (!format)
        format = json_string_value(json_object_get(config, "format"));
    if (packing)
        format = strcmp(packing, "auto_round:auto_gptq") == 0 ? "gptq" : "gptq_v2";
    return format ? format : "gptq";
}

/* True where modules may have settings of their own: what they are, their tensors say. */
static bool has_exceptions(const json_t *config)
{
    return json_object_size(json_object_get(config, "dynamic")) > 0 ||
           json_object_size(json_object_get(config, "extra_config")) > 0;
}

static uint64_t gptq_words(uint64_t n, unsigned bits)
{
    return (n * bits + 31) / 32;
}

/* The bits of a code: those of the configuration, or those that fit the words of zeros. */
static unsigned gptq_bits(const struct module *m, const struct raw_tensor *codes,
                          const struct raw_tensor *zeros)
{
    const uint64_t said = packed_config_u64(m->quantization, "bits", 4);
    const uint64_t rows = codes->t->n_dims == 2 ? codes->t->dims[1] : 0;

    if (said < 2 || said > 8 || zeros->t->n_dims != 2 || !has_exceptions(m->quantization))
        return said < 2 || said > 8 ? 0 : (unsigned)said;
    for (unsigned bits = (unsigned)said, n = 0; n < 7;
         n++, bits = bits == 8 ? 2 : bits + 1)
        if (gptq_words(rows, bits) == zeros->t->dims[1])
            return bits;
    return (unsigned)said;
}

/* The size of a group: that of the configuration where it gives so many, or else equal ones, or a
 * power of two with a rest. 0: none. */
static uint64_t gptq_group(const struct module *m, uint64_t cols, uint64_t n_groups)
{
    const uint64_t said =
        packed_config_u64(m->quantization, "group_size", cols); /* -1: the whole input */

    if (said > 0 && (cols + said - 1) / said == n_groups)
        return said;
    if (cols % n_groups == 0)
        return cols / n_groups;
    for (uint64_t group = 8; group < cols; group *= 2)
        if ((cols + group - 1) / group == n_groups)
            return group;
    return 0;
}

static enum status claim_gptq(const struct module *m, struct error *err)
{
    const struct raw_tensor *codes, *zeros, *scales;
    struct packed p = {
        .decode = decode_gptq, .code = column_bits, .constants = gptq_constants};
    enum block_type exact = TYPE_F32;
    uint64_t dims[2], n_groups, words;
    char type[40];
    enum status st = module_need(m, ".qweight", &codes, err);

    if (st == OK)
        st = module_need(m, ".qzeros", &zeros, err);
    if (st == OK)
        st = module_need(m, ".scales", &scales, err);
    if (st != OK)
        return st;
    p.bits = gptq_bits(m, codes, zeros);
    p.zero_add = strcmp(gptq_format(m->quantization), "gptq_v2") != 0;
    if (codes->t->n_dims != 2 || codes->t->dtype != DTYPE_I32 || p.bits < 2 ||
        p.bits > 8 || scales->t->n_dims != 2 || codes->t->dims[0] * 32 % p.bits != 0 ||
        scales->t->dims[0] == 0)
        return module_misfit(m, codes, err, "I32 {in * %u / 32, out} expected", p.bits);
    dims[0] = p.rows = codes->t->dims[1];
    dims[1] = p.cols = codes->t->dims[0] * 32 / p.bits;
    n_groups = scales->t->dims[0];
    p.group = gptq_group(m, p.cols, n_groups);
    if (p.group == 0)
        return module_misfit(m, scales, err, "groups of %" PRIu64 " inputs expected",
                             p.cols);
    words = gptq_words(p.rows, p.bits);
    if (!dtype_is_float(scales->t->dtype))
        return module_misfit(m, scales, err, "floating-point scales expected");
    st = section_across(m, &p, CODES, codes, codes->t->dims[0], 1, 4, err);
    if (st == OK)
        st = section_across(m, &p, SCALES, scales, n_groups, 1,
                            dtype_bits(scales->t->dtype) / 8, err);
    if (st == OK && zeros->t->n_bytes != n_groups * words * 4)
        return module_misfit(m, zeros, err, "%" PRIu64 " x %" PRIu64 " words expected",
                             n_groups, words);
    if (st == OK) /* every line, whole, whatever the rows */
        p.sections[ZEROS] = (struct section){.raw = zeros,
                                             .across = true,
                                             .per_unit = p.rows,
                                             .unit_bytes = words * 4,
                                             .n_units = 1,
                                             .n_lines = n_groups};
    if (st == OK)
        st = take_order(m, &p, n_groups, err);
    if (st == OK)
        st = check_zeros(m, &p, err);
    if (st == OK)
        st = packed_find_exact(&p, m->weight, &exact, err);
    if (st != OK)
        return st;
    snprintf(type, sizeof(type), "GPTQ %u bit g%" PRIu64 "%s", p.bits, p.group,
             p.sections[GROUPS].raw ? ", act-order" : "");
    return packed_add(m, &p, dims, 2, type, exact, err);
}

enum status gptq_claim(struct checkpoint *cp, const json_t *config, struct error *err)
{
    const char *format = gptq_format(config);

    if (strcmp(format, "gptq") != 0 && strcmp(format, "gptq_v2") != 0)
        return fail(err, ERR_UNSUPPORTED,
                    "%s/config.json: GPTQ checkpoint_format \"%s\" is not "
                    "supported (gptq, gptq_v2)",
                    cp->folder, format);
    return module_each(cp, config, ".qweight", claim_gptq, err);
}

/* ---- AWQ ---- */

/* Where output feature k of eight sits in its word. */
static const uint8_t awq_place[8] = {0, 4, 1, 5, 2, 6, 3, 7};

static unsigned awq_field(const struct packed *p, const struct window *windows,
                          enum section_role role, uint64_t line, uint64_t row)
{
    return load_u32(window_column(p, windows, role, line, row)) >>
               (4 * awq_place[row % 8]) &
           15;
}

static unsigned awq_code(const struct packed *p, const struct window *windows,
                         uint64_t row, uint64_t col)
{
    return awq_field(p, windows, CODES, col, row);
}

static void awq_constants(const struct packed *p, const struct window *windows,
                          uint64_t row, uint64_t group, float *scale, float *bias)
{
    *scale = packed_number(&p->sections[SCALES],
                           window_column(p, windows, SCALES, group, row));
    *bias = *scale * -(float)awq_field(p, windows, ZEROS, group, row);
}

static void decode_awq(const struct packed *p, const struct window *windows, uint64_t row,
                       void *out)
{
    float *x = out, scale = 0, bias;
    int zero = 0;

    for (uint64_t i = 0; i < p->cols; i++) {
        if (i % p->group == 0) {
            awq_constants(p, windows, row, i / p->group, &scale, &bias);
            zero = (int)awq_field(p, windows, ZEROS, i / p->group, row);
        }
        x[i] = (float)((int)awq_code(p, windows, row, i) - zero) * scale;
    }
}

static enum status claim_awq(const struct module *m, struct error *err)
{
    const struct raw_tensor *codes, *zeros, *scales;
    struct packed p = {
        .decode = decode_awq, .code = awq_code, .constants = awq_constants, .bits = 4};
    enum block_type exact = TYPE_F32;
    uint64_t dims[2], n_groups;
    char type[40];
    enum status st = module_need(m, ".qweight", &codes, err);

    if (st == OK)
        st = module_need(m, ".qzeros", &zeros, err);
    if (st == OK)
        st = module_need(m, ".scales", &scales, err);
    if (st != OK)
        return st;
    if (codes->t->n_dims != 2 || codes->t->dtype != DTYPE_I32 || scales->t->n_dims != 2 ||
        scales->t->dims[0] == 0 || codes->t->dims[0] % scales->t->dims[0] != 0 ||
        scales->t->dims[1] != codes->t->dims[1] * 8)
        return module_misfit(m, codes, err,
                             "I32 {in, out / 8} beside scales {groups, out} expected");
    dims[0] = p.rows = codes->t->dims[1] * 8;
    dims[1] = p.cols = codes->t->dims[0];
    n_groups = scales->t->dims[0];
    p.group = p.cols / n_groups;
    if (!dtype_is_float(scales->t->dtype))
        return module_misfit(m, scales, err, "floating-point scales expected");
    st = section_across(m, &p, CODES, codes, p.cols, 8, 4, err);
    if (st == OK)
        st = section_across(m, &p, ZEROS, zeros, n_groups, 8, 4, err);
    if (st == OK)
        st = section_across(m, &p, SCALES, scales, n_groups, 1,
                            dtype_bits(scales->t->dtype) / 8, err);
    if (st == OK)
        st = packed_find_exact(&p, m->weight, &exact, err);
    if (st != OK)
        return st;
    snprintf(type, sizeof(type), "AWQ 4 bit g%" PRIu64, p.group);
    return packed_add(m, &p, dims, 2, type, exact, err);
}

enum status awq_claim(struct checkpoint *cp, const json_t *config, struct error *err)
{
    const char *version = json_string_value(json_object_get(config, "version"));

    if (!version)
        version = json_string_value(json_object_get(config, "checkpoint_format"));
    if (version && strcasecmp(version, "gemm") != 0)
        return fail(err, ERR_UNSUPPORTED,
                    "%s/config.json: AWQ version \"%s\" is not supported "
                    "(gemm)",
                    cp->folder, version);
    if (packed_config_u64(config, "bits", 4) != 4)
        return fail(err, ERR_UNSUPPORTED,
                    "%s/config.json: AWQ with bits other than 4 is not "
                    "supported",
                    cp->folder);
    return module_each(cp, config, ".qweight", claim_awq, err);
}

/* ---- AutoRound: one of the two, or plain words of GPTQ with zeros as they are ---- */

enum status autoround_claim(struct checkpoint *cp, const json_t *config,
                            struct error *err)
{
    static const char *const packings[] = {"auto_round:auto_gptq", "auto_round",
                                           "auto_round:gptqmodel", "auto_round:auto_awq"};
    const char *packing = json_string_value(json_object_get(config, "packing_format"));
    const char *type = json_string_value(json_object_get(config, "data_type"));
    size_t i = 0;

    if (type && strcmp(type, "int") != 0)
        return fail(err, ERR_UNSUPPORTED,
                    "%s/config.json: AutoRound data_type \"%s\" is not supported (int)",
                    cp->folder, type);
    while (packing && i < sizeof(packings) / sizeof(packings[0]) &&
           strcmp(packing, packings[i]) != 0)
        i++;
    if (!packing || i == sizeof(packings) / sizeof(packings[0]))
        return fail(err, ERR_UNSUPPORTED,
                    "%s/config.json: AutoRound packing_format \"%s\" is not supported",
                    cp->folder, packing ? packing : "");
    return strcmp(packing, "auto_round:auto_awq") == 0 ? awq_claim(cp, config, err)
                                                       : gptq_claim(cp, config, err);
}
