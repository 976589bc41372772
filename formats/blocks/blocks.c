/*
 * blocks.c - every tensor type in one table
 */
#include "formats/blocks/decode.h"

#include <strings.h>

static void decode_f32(const void *in, float *x, size_t n)
{
    dtype_widen(DTYPE_F32, in, x, n);
}

static void decode_f16(const void *in, float *x, size_t n)
{
    dtype_widen(DTYPE_F16, in, x, n);
}

static void decode_bf16(const void *in, float *x, size_t n)
{
    dtype_widen(DTYPE_BF16, in, x, n);
}

static void decode_f64(const void *in, float *x, size_t n)
{
    dtype_widen(DTYPE_F64, in, x, n);
}

static void decode_i8(const void *in, float *x, size_t n)
{
    dtype_widen(DTYPE_I8, in, x, n);
}

static void decode_i16(const void *in, float *x, size_t n)
{
    dtype_widen(DTYPE_I16, in, x, n);
}

static void decode_i32(const void *in, float *x, size_t n)
{
    dtype_widen(DTYPE_I32, in, x, n);
}

static void decode_i64(const void *in, float *x, size_t n)
{
    dtype_widen(DTYPE_I64, in, x, n);
}

static const struct block_info types[TYPE_COUNT] = {
    [TYPE_F32] = {"F32", 1, 4, false, decode_f32},
    [TYPE_F16] = {"F16", 1, 2, false, decode_f16},
    [TYPE_Q4_0] = {"Q4_0", 32, 18, true, decode_q4_0},
    [TYPE_Q4_1] = {"Q4_1", 32, 20, true, decode_q4_1},
    [TYPE_Q5_0] = {"Q5_0", 32, 22, true, decode_q5_0},
    [TYPE_Q5_1] = {"Q5_1", 32, 24, true, decode_q5_1},
    [TYPE_Q8_0] = {"Q8_0", 32, 34, true, decode_q8_0},
    [TYPE_Q8_1] = {"Q8_1", 32, 36, true, NULL},
    [TYPE_Q2_K] = {"Q2_K", 256, 84, true, decode_q2_k},
    [TYPE_Q3_K] = {"Q3_K", 256, 110, true, decode_q3_k},
    [TYPE_Q4_K] = {"Q4_K", 256, 144, true, decode_q4_k},
    [TYPE_Q5_K] = {"Q5_K", 256, 176, true, decode_q5_k},
    [TYPE_Q6_K] = {"Q6_K", 256, 210, true, decode_q6_k},
    [TYPE_Q8_K] = {"Q8_K", 256, 292, true, NULL},
    [TYPE_IQ2_XXS] = {"IQ2_XXS", 256, 66, true, NULL},
    [TYPE_IQ2_XS] = {"IQ2_XS", 256, 74, true, NULL},
    [TYPE_IQ3_XXS] = {"IQ3_XXS", 256, 98, true, NULL},
    [TYPE_IQ1_S] = {"IQ1_S", 256, 50, true, NULL},
    [TYPE_IQ4_NL] = {"IQ4_NL", 32, 18, true, decode_iq4_nl},
    [TYPE_IQ3_S] = {"IQ3_S", 256, 110, true, NULL},
    [TYPE_IQ2_S] = {"IQ2_S", 256, 82, true, NULL},
    [TYPE_IQ4_XS] = {"IQ4_XS", 256, 136, true, decode_iq4_xs},
    [TYPE_I8] = {"I8", 1, 1, false, decode_i8},
    [TYPE_I16] = {"I16", 1, 2, false, decode_i16},
    [TYPE_I32] = {"I32", 1, 4, false, decode_i32},
    [TYPE_I64] = {"I64", 1, 8, false, decode_i64},
    [TYPE_F64] = {"F64", 1, 8, false, decode_f64},
    [TYPE_IQ1_M] = {"IQ1_M", 256, 56, true, NULL},
    [TYPE_BF16] = {"BF16", 1, 2, false, decode_bf16},
    [TYPE_TQ1_0] = {"TQ1_0", 256, 54, true, NULL},
    [TYPE_TQ2_0] = {"TQ2_0", 256, 66, true, NULL},
    [TYPE_MXFP4] = {"MXFP4", 32, 17, true, decode_mxfp4},
    [TYPE_NVFP4] = {"NVFP4", 64, 36, true, decode_nvfp4},
    [TYPE_Q1_0] = {"Q1_0", 128, 18, true, NULL},
    [TYPE_Q2_0] = {"Q2_0", 64, 18, true, NULL},
};

const struct block_info *block_type_info(enum block_type type)
{
    if ((unsigned)type >= TYPE_COUNT || !types[type].name)
        return NULL;
    return &types[type];
}

const char *block_type_name(enum block_type type)
{
    const struct block_info *info = block_type_info(type);

    return info ? info->name : "unknown type";
}

bool block_type_from_name(const char *name, enum block_type *out)
{
    for (int i = 0; i < TYPE_COUNT; i++) {
        if (types[i].name && strcasecmp(types[i].name, name) == 0) {
            *out = (enum block_type)i;
            return true;
        }
    }
    return false;
}

size_t block_row_bytes(enum block_type type, uint64_t n_cols)
{
    const struct block_info *info = block_type_info(type);

    assert(info && n_cols % info->weights == 0);
    return (size_t)(n_cols / info->weights * info->bytes);
}

void block_decode(enum block_type type, const void *in, float *x, size_t n_weights)
{
    const struct block_info *info = block_type_info(type);

    assert(info && info->decode && n_weights % info->weights == 0);
    info->decode(in, x, n_weights / info->weights);
}
