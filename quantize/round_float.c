/*
 * round_float.c - the types without blocks: F32, F16, BF16
 */
#include "quantize/codec.h"

void round_copy(const struct rows_in *in, void *out)
{
    memcpy(out, in->x, in->n_rows * in->n_cols * sizeof(*in->x));
}

void round_f16(const struct rows_in *in, void *out)
{
    in->encode->f16(in->x, out, in->n_rows * in->n_cols);
}

void round_bf16(const struct rows_in *in, void *out)
{
    in->encode->bf16(in->x, out, in->n_rows * in->n_cols);
}
