/*
 * codec.h - one row a type: who encodes it, by which method
 *
 * An encoder gets whole rows. It may cut them as it likes, but the bytes of a row depend on
 * that row and the importance only.
 */
#ifndef QUANTIZE_CODEC_H
#define QUANTIZE_CODEC_H

#include "quantize/encoders.h"
#include "quantize/quantize.h"

/* A job: rows of finite floats and the weights of their columns. */
struct rows_in {
    const struct encoders *encode;
    enum block_type type;
    const float *x;
    size_t n_rows, n_cols;
    const float *importance; /* NULL: none */
};

typedef void rows_encoder(const struct rows_in *in, void *out);

struct codec {
    rows_encoder *plain;    /* NULL: not encoded at all   */
    rows_encoder *weighted; /* plain, with an importance matrix */
    rows_encoder *search;
    rows_encoder *grid;
};

/* Never NULL; a row of NULLs for a type that is not encoded. */
const struct codec *codec_find(enum block_type type);

/* round_float.c: types without blocks. */
rows_encoder round_copy, round_f16, round_bf16;
/* round_small.c: blocks of 32. */
rows_encoder round_small_plain, round_small_weighted;
/* round_k.c: Q4_K, Q5_K; round_6k.c: Q6_K. */
rows_encoder round_k_plain, round_k_weighted, round_6k;
/* search_small.c, search_k.c, search_6k.c */
rows_encoder search_signed, search_affine, search_k, search_6k;
/* grid.c */
rows_encoder grid_rows;

#endif
