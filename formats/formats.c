/*
 * formats.c - names and widths of element types; how many elements a tensor has
 */
#include "formats/formats.h"

static const struct {
    const char *name;
    uint8_t bits;
    bool is_float;
} dtypes[DTYPE_COUNT] = {
    [DTYPE_BOOL] = {"BOOL", 8, false},
    [DTYPE_F4] = {"F4", 4, false},
    [DTYPE_F6_E2M3] = {"F6_E2M3", 6, false},
    [DTYPE_F6_E3M2] = {"F6_E3M2", 6, false},
    [DTYPE_U8] = {"U8", 8, false},
    [DTYPE_I8] = {"I8", 8, false},
    [DTYPE_F8_E5M2] = {"F8_E5M2", 8, true},
    [DTYPE_F8_E4M3] = {"F8_E4M3", 8, true},
    [DTYPE_F8_E8M0] = {"F8_E8M0", 8, true},
    [DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8, true},
    [DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8, true},
    [DTYPE_I16] = {"I16", 16, false},
    [DTYPE_U16] = {"U16", 16, false},
    [DTYPE_F16] = {"F16", 16, true},
    [DTYPE_BF16] = {"BF16", 16, true},
    [DTYPE_I32] = {"I32", 32, false},
    [DTYPE_U32] = {"U32", 32, false},
    [DTYPE_F32] = {"F32", 32, true},
    [DTYPE_C64] = {"C64", 64, false},
    [DTYPE_F64] = {"F64", 64, true},
    [DTYPE_I64] = {"I64", 64, false},
    [DTYPE_U64] = {"U64", 64, false},
};

const char *dtype_name(enum dtype dtype)
{
    return dtypes[dtype].name;
}

bool dtype_from_name(const char *name, enum dtype *out)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    }
    return false;
}

unsigned dtype_bits(enum dtype dtype)
{
    return dtypes[dtype].bits;
}

bool dtype_is_float(enum dtype dtype)
{
    return dtypes[dtype].is_float;
}

uint64_t tensor_elements(const struct tensor *t)
{
    return tensor_rows(t) * tensor_cols(t);
}

uint64_t tensor_cols(const struct tensor *t)
{
    return t->n_dims > 0 ? t->dims[t->n_dims - 1] : 1;
}

uint64_t tensor_rows(const struct tensor *t)
{
    uint64_t n = 1;

    for (int i = 0; i + 1 < t->n_dims; i++)
        n *= t->dims[i];
    return n;
}

enum status tensor_measure(enum dtype dtype, const uint64_t *dims, int n_dims,
                           uint64_t *n_bytes, struct error *err)
{
    uint64_t n = 1, bits;

    for (int i = 0; i < n_dims; i++)
        if (!mul_u64(n, dims[i], &n))
            return fail(err, ERR_CORRUPT, "overflow in the number of elements");
    if (!mul_u64(n, dtypes[dtype].bits, &bits))
        return fail(err, ERR_CORRUPT, "overflow in the number of bytes");
    if (bits % 8 != 0)
        return fail(err, ERR_CORRUPT, "%llu elements of %s end inside a byte",
                    (unsigned long long)n, dtypes[dtype].name);
    *n_bytes = bits / 8;
    return OK;
}
