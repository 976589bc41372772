/*
 * blocks.h - the byte layouts of tensor types, as they lie in a GGUF file
 *
 * This header is the specification the rest of the code is tested against.
 */
#ifndef FORMATS_BLOCKS_BLOCKS_H
#define FORMATS_BLOCKS_BLOCKS_H

#include "formats/formats.h"

#include <assert.h>

/* Tensor types by their number in a GGUF file. Those without a decoder here can be named and
 * measured (block_type_info), not read. */
enum block_type {
    TYPE_F32 = 0,
    TYPE_F16 = 1,
    TYPE_Q4_0 = 2,
    TYPE_Q4_1 = 3,
    TYPE_Q5_0 = 6,
    TYPE_Q5_1 = 7,
    TYPE_Q8_0 = 8,
    TYPE_Q2_K = 10,
    TYPE_Q3_K = 11,
    TYPE_Q4_K = 12,
    TYPE_Q5_K = 13,
    TYPE_Q6_K = 14,
    TYPE_IQ4_NL = 20,
    TYPE_IQ4_XS = 23,
    TYPE_I8 = 24,
    TYPE_I16 = 25,
    TYPE_I32 = 26,
    TYPE_I64 = 27,
    TYPE_F64 = 28,
    TYPE_BF16 = 30,
    TYPE_MXFP4 = 39,
    TYPE_NVFP4 = 40,
    TYPE_COUNT = 43,
};

struct block_info {
    const char *name;  /* "Q4_K" */
    uint32_t weights;  /* elements a block */
    uint32_t bytes;    /* bytes a block */
    bool is_quantized; /* false for F32, F16, BF16, F64 and the integers */
    /* Decode n blocks to n * weights floats; any alignment of `in`. NULL: cannot be read. */
    void (*decode)(const void *in, float *x, size_t n);
};

/* NULL for a number that is retired or unknown. */
const struct block_info *block_type_info(enum block_type type);
const char *block_type_name(enum block_type type); /* "unknown type" when there is none */
bool block_type_from_name(const char *name, enum block_type *out); /* any case */

/* Bytes of a row of n_cols weights; n_cols must be a multiple of the block. */
size_t block_row_bytes(enum block_type type, uint64_t n_cols);

/* Decode n_weights (whole blocks) at `in`. The type must have a decoder. */
void block_decode(enum block_type type, const void *in, float *x, size_t n_weights);

/* ---- halves ---- */
float f32_from_f16(uint16_t h);
uint16_t f16_from_f32(float x); /* nearest even; overflow to infinity; NaN stays NaN */

static inline float f32_from_bf16(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

uint16_t bf16_from_f32(float x); /* nearest even; NaN is kept quiet */

/* ---- block structs (formats/blocks owns the layouts, with bounds and sources) ---- */

struct q8_0 {
    uint16_t d; /* f16 bits */
    int8_t q[32];
};
static_assert(sizeof(struct q8_0) == 34, "Q8_0 is a file layout");

struct q4_0 {
    uint16_t d;
    uint8_t q[16]; /* element i < 16 in the low nibble of q[i], i + 16 in the high one */
};
static_assert(sizeof(struct q4_0) == 18, "Q4_0 is a file layout");

struct q4_1 {
    uint16_t d, m;
    uint8_t q[16];
};
static_assert(sizeof(struct q4_1) == 20, "Q4_1 is a file layout");

struct q5_0 {
    uint16_t d;
    uint8_t h[4]; /* little-endian u32: bit i is the fifth bit of element i */
    uint8_t q[16];
};
static_assert(sizeof(struct q5_0) == 22, "Q5_0 is a file layout");

struct q5_1 {
    uint16_t d, m;
    uint8_t h[4];
    uint8_t q[16];
};
static_assert(sizeof(struct q5_1) == 24, "Q5_1 is a file layout");

struct q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t q[128];
};
static_assert(sizeof(struct q4_k) == 144, "Q4_K is a file layout");

struct q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t h[32];
    uint8_t q[128];
};
static_assert(sizeof(struct q5_k) == 176, "Q5_K is a file layout");

struct q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
};
static_assert(sizeof(struct q6_k) == 210, "Q6_K is a file layout");

/* Unpack / pack the eight 6-bit (scale, minimum) pairs of Q4_K and Q5_K. */
void k_scales_unpack(const uint8_t packed[12], uint8_t sc[8], uint8_t mn[8]);
void k_scales_pack(const uint8_t sc[8], const uint8_t mn[8], uint8_t packed[12]);

#endif
