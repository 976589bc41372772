/*
 * codec.c - one row a type: who encodes it, by which method
 */
#include "quantize/codec.h"

static const struct codec codecs[TYPE_COUNT] = {
    [TYPE_F32] = {round_copy, round_copy, round_copy, NULL},
    [TYPE_F16] = {round_f16, round_f16, round_f16, NULL},
    [TYPE_BF16] = {round_bf16, round_bf16, round_bf16, NULL},
    [TYPE_Q4_0] = {round_small_plain, round_small_weighted, search_signed, grid_rows},
    [TYPE_Q5_0] = {round_small_plain, round_small_weighted, search_signed, NULL},
    [TYPE_Q8_0] = {round_small_plain, round_small_plain, search_signed, NULL},
    [TYPE_Q4_1] = {round_small_plain, round_small_weighted, search_affine, NULL},
    [TYPE_Q5_1] = {round_small_plain, round_small_weighted, search_affine, NULL},
    [TYPE_Q4_K] = {round_k_plain, round_k_weighted, search_k, NULL},
    [TYPE_Q5_K] = {round_k_plain, round_k_weighted, search_k, NULL},
    [TYPE_Q6_K] = {round_6k, round_6k, search_6k, NULL},
};

const struct codec *codec_find(enum block_type type)
{
    static const struct codec none = {0};

    return (unsigned)type < TYPE_COUNT ? &codecs[type] : &none;
}
