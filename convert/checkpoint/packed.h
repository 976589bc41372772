/*
 * packed.h - weights stored as codes with scales: one provider for all of them (private)
 *
 * A packed weight is up to N_SECTIONS stored arrays. Each section says which of its units a row of
 * the weight needs; fetch() reads just those, decode() is a function of one row. A section is laid
 * out in one of two ways:
 *
 *     along rows      unit u belongs to the elements [u * per_unit, (u + 1) * per_unit) of the
 *                     row-major weight: codes, scales a row or a group, scales of a tensor
 *     across columns  n_lines lines of line_units units; output row r is unit r / per_unit of
 *                     every line: codes packed along the input dimension (GPTQ, AWQ)
 */
#ifndef CONVERT_CHECKPOINT_PACKED_H
#define CONVERT_CHECKPOINT_PACKED_H

#include "convert/checkpoint/catalogue.h"

enum section_role { CODES, SCALES, ZEROS, GROUPS, NESTED, N_SECTIONS };

struct section {
    const struct raw_tensor *raw; /* NULL: not there */
    bool across;                  /* columns */
    uint64_t per_unit;            /* elements (along) or rows (across) a unit */
    uint64_t unit_bytes;
    uint64_t n_units; /* along: in all; across: a line */
    uint64_t n_lines; /* across */
};

/* What fetch() read of one section. */
struct window {
    const uint8_t *bytes;
    uint64_t first, n; /* units (of each line) */
};

struct packed;

typedef void packed_row(const struct packed *p, const struct window *windows,
                        uint64_t row, void *out);

struct packed {
    const char *found; /* the codes' own name */
    uint64_t rows, cols;
    struct section sections[N_SECTIONS];
    packed_row *decode; /* to cols floats */
    packed_row *repack; /* to a row of the exact type's blocks; NULL */
    /* For integer codes: the unsigned code of one weight, and what a group of columns makes of
     * codes: weight = scale * code + bias. */
    unsigned (*code)(const struct packed *p, const struct window *windows, uint64_t row,
                     uint64_t col);
    void (*constants)(const struct packed *p, const struct window *windows, uint64_t row,
                      uint64_t group, float *scale, float *bias);
    unsigned bits;       /* a code */
    int32_t code_offset; /* what an unsigned code stands above zero */
    uint64_t group;      /* columns that share a scale */
    uint64_t block_rows; /* scale grids: rows that share a scale */
    uint64_t grid_cols;  /* scales in a row of the grid */
    unsigned zero_add;   /* GPTQ v1: zeros are stored minus this */
    float global;        /* one more scale for the whole tensor */
    bool divides;        /* by it, instead of multiplying */
    const float *book;   /* code book of 16 (bitsandbytes) */
    const float
        *nested_book; /* 256, for scales that are themselves quantized; else NULL */
    float nested_offset;
    uint64_t nested_block;
};

/* The unit of a section that element (row, col) belongs to, as an address. */
const uint8_t *window_element(const struct packed *p, const struct window *windows,
                              enum section_role role, uint64_t element);
/* Across: the unit of `row` in line `line`. */
const uint8_t *window_column(const struct packed *p, const struct window *windows,
                             enum section_role role, uint64_t line, uint64_t row);

/* Code i of a bit string, least significant bits first; bits <= 8. */
static inline unsigned packed_code(const uint8_t *p, uint64_t i, unsigned bits)
{
    const uint64_t at = i * bits;
    const unsigned shift = (unsigned)(at & 7);
    unsigned value = p[at >> 3];

    if (shift + bits > 8)
        value |= (unsigned)p[(at >> 3) + 1] << 8;
    return value >> shift & ((1u << bits) - 1);
}

/* The one number at p. */
static inline float packed_number(const struct section *s, const uint8_t *p)
{
    float x;

    dtype_widen(s->raw->t->dtype, p, &x, 1);
    return x;
}

/* Code `col` of a row that is one bit string. */
unsigned packed_string_code(const struct packed *p, const struct window *windows,
                            uint64_t row, uint64_t col);
/* Number `group` of the row's run of numbers in a section along rows. */
float packed_group_scale(const struct packed *p, const struct window *windows,
                         enum section_role role, uint64_t row, uint64_t group);

/* ---- making one ---- */

/* A module in hand: its path ("layers.3.mlp.up_proj") and the stored tensors that begin so. */
struct module {
    struct checkpoint *cp;
    const char *path;
    const char *weight; /* the source tensor's name: path + ".weight" */
    const json_t *quantization;
};

/* The raw tensor path + suffix, or NULL; marks it taken. */
const struct raw_tensor *module_take(const struct module *m, const char *suffix);
/* The same, but its absence is ERR_CORRUPT with a sentence. */
MUST_CHECK enum status module_need(const struct module *m, const char *suffix,
                                   const struct raw_tensor **out, struct error *err);
/* One number, stored as a tensor with one element. */
MUST_CHECK enum status module_number(const struct module *m, const struct raw_tensor *raw,
                                     float *out, struct error *err);
/* A whole small tensor as bytes in the checkpoint's arena. ERR_CORRUPT beyond `limit` bytes. */
MUST_CHECK enum status module_bytes(const struct module *m, const struct raw_tensor *raw,
                                    size_t limit, const uint8_t **out, struct error *err);
/* ERR_SHAPE: what `raw` is, and why that does not fit. */
__attribute__((format(printf, 4, 5))) MUST_CHECK enum status
module_misfit(const struct module *m, const struct raw_tensor *raw, struct error *err,
              const char *fmt, ...);

/* Sections. along(): the raw tensor is n units of `per_unit` elements each; across(): lines of
 * units. They check that the raw tensor is as large as that. */
MUST_CHECK enum status section_along(const struct module *m, struct packed *p,
                                     enum section_role role, const struct raw_tensor *raw,
                                     uint64_t per_unit, uint64_t unit_bytes,
                                     struct error *err);
MUST_CHECK enum status section_across(const struct module *m, struct packed *p,
                                      enum section_role role,
                                      const struct raw_tensor *raw, uint64_t n_lines,
                                      uint64_t per_unit, uint64_t unit_bytes,
                                      struct error *err);

/* Add the source tensor: p (copied) provides its rows. `dims` are the weight's; `type` for people;
 * `exact` a block type when p->repack is set, else F32. */
MUST_CHECK enum status packed_add(const struct module *m, const struct packed *p,
                                  const uint64_t *dims, int n_dims, const char *type,
                                  enum block_type exact, struct error *err);

/* Which block type holds the weight exactly, from p->code and p->constants: sets p->repack and
 * *exact to Q4_0 or Q4_1 where codes have 4 bits, groups are whole blocks of 32 in column order,
 * and every scale (and bias) is a finite f16; otherwise leaves p->repack NULL. Reads scales and
 * zeros, in slabs. log_warn says so when only the range of f16 stands in the way. */
MUST_CHECK enum status packed_find_exact(struct packed *p, const char *weight,
                                         enum block_type *exact, struct error *err);

/* True for numbers that f16 holds exactly. */
bool packed_fits_f16(float x);

/* Read everything but the codes of rows [first, first + n) into *raw (owned, free) and open
 * windows on it: for looking at scales. */
MUST_CHECK enum status packed_look(const struct packed *p, uint64_t first, uint64_t n,
                                   void **raw, struct window windows[N_SECTIONS],
                                   struct error *err);

/* ---- the formats; each looks for its modules and adds them ---- */

MUST_CHECK enum status compressed_claim(struct checkpoint *cp, const json_t *config,
                                        struct error *err);
MUST_CHECK enum status float8_claim(struct checkpoint *cp, const json_t *config,
                                    struct error *err);
MUST_CHECK enum status gptq_claim(struct checkpoint *cp, const json_t *config,
                                  struct error *err);
MUST_CHECK enum status awq_claim(struct checkpoint *cp, const json_t *config,
                                 struct error *err);
MUST_CHECK enum status autoround_claim(struct checkpoint *cp, const json_t *config,
                                       struct error *err);
MUST_CHECK enum status bitsandbytes_claim(struct checkpoint *cp, const json_t *config,
                                          struct error *err);
MUST_CHECK enum status mlx_claim(struct checkpoint *cp, const json_t *config,
                                 struct error *err);
MUST_CHECK enum status modelopt_claim(struct checkpoint *cp, const json_t *config,
                                      struct error *err);
MUST_CHECK enum status torchao_claim(struct checkpoint *cp, const json_t *config,
                                     struct error *err);
MUST_CHECK enum status mobile_claim(struct checkpoint *cp, const json_t *config,
                                    struct error *err);

/* Call fn for every module that has a stored tensor path + suffix, in canonical order. */
MUST_CHECK enum status
module_each(struct checkpoint *cp, const json_t *quantization, const char *suffix,
            enum status (*fn)(const struct module *m, struct error *err),
            struct error *err);

/* A scale grid over codes of one whole byte (int8 or fp8): scale [1], [out], [out, groups] or
 * [ceil(out / block_rows), ceil(in / block_cols)]; of stacked matrices also one each. U8 scales of FP8
 * codes are exponents. `zero` (NULL: none) has a byte where each scale is, to be taken from codes. */
MUST_CHECK enum status grid_add(const struct module *m, const struct raw_tensor *codes,
                                const struct raw_tensor *scale,
                                const struct raw_tensor *zero, uint64_t block_rows,
                                uint64_t block_cols, struct error *err);

/* FP4 codes, two a byte, the even one low; a scale (E4M3, or E8M0 in U8) per `group` columns. */
MUST_CHECK enum status fp4_add(const struct module *m, const struct raw_tensor *codes,
                               const struct raw_tensor *scale, uint64_t group,
                               float global, bool divides, struct error *err);

/* An integer member of a JSON object, or `otherwise`. */
uint64_t packed_config_u64(const json_t *object, const char *key, uint64_t otherwise);

#endif
