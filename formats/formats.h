/*
 * formats.h - element types and tensors, as every format of this room describes them
 *
 * Shapes are {out, in}: slowest dimension first, as in safetensors. GGUF's reversed `ne` stays
 * inside formats/gguf.
 */
#ifndef FORMATS_FORMATS_H
#define FORMATS_FORMATS_H

#include "base/base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Element types of source tensors, named as safetensors names them. */
enum dtype {
    DTYPE_BOOL,
    DTYPE_F4,
    DTYPE_F6_E2M3,
    DTYPE_F6_E3M2,
    DTYPE_U8,
    DTYPE_I8,
    DTYPE_F8_E5M2,
    DTYPE_F8_E4M3, /* the "fn" variant: no infinities, 0x7f and 0xff are NaN */
    DTYPE_F8_E8M0,
    DTYPE_F8_E4M3FNUZ,
    DTYPE_F8_E5M2FNUZ,
    DTYPE_I16,
    DTYPE_U16,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I32,
    DTYPE_U32,
    DTYPE_F32,
    DTYPE_C64,
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_U64,
    DTYPE_COUNT,
};

const char *dtype_name(enum dtype dtype); /* "BF16" */
bool dtype_from_name(const char *name, enum dtype *out);
unsigned dtype_bits(enum dtype dtype); /* bits an element */
bool dtype_is_float(enum dtype dtype); /* can be widened to f32 by dtype_widen() */

/* Widen n elements at `src` (any alignment) to f32. F64 and the integer types are rounded to
 * nearest even; the float types up to 32 bits are exact. dtype must have whole bytes and not
 * be C64. */
void dtype_widen(enum dtype dtype, const void *src, float *x, size_t n);

enum { TENSOR_MAX_DIMS = 8 };

/* A tensor in a file: a view that owns nothing. */
struct tensor {
    const char *name; /* borrowed from the file object */
    enum dtype dtype;
    int n_dims; /* 0 is a scalar */
    uint64_t dims[TENSOR_MAX_DIMS];
    uint64_t offset;  /* of its first byte, from the start of its file */
    uint64_t n_bytes; /* exactly the product of dims times the width */
    int file;         /* which file of a set; 0 for a single one */
};

/* Elements in all; for n_dims == 0 one. Checked by whoever made the tensor: no overflow. */
uint64_t tensor_elements(const struct tensor *t);
/* The last dimension, and the product of the others; 1 x 1 for a scalar. */
uint64_t tensor_cols(const struct tensor *t);
uint64_t tensor_rows(const struct tensor *t);

/* Bytes of a tensor of that type and shape. ERR_CORRUPT, saying which, when the product of the
 * dimensions or its bits overflow, or when sub-byte elements do not fill the last byte. */
MUST_CHECK enum status tensor_measure(enum dtype dtype, const uint64_t *dims, int n_dims,
                                      uint64_t *n_bytes, struct error *err);

#endif
