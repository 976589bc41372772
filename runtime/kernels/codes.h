/*
 * codes.h - 32 weights of any quantized type as small signed integers, a scale and a minimum
 *
 *     weight[i] = s * halves[i / 16] * q[i] + m
 *
 * exactly, for the layouts stated in formats/blocks. halves are 1 but for Q6_K, whose 8-bit scales
 * of 16 weights they are. s and m are products of an f16 and at most 8 bits: exact in f32.
 */
#ifndef RUNTIME_KERNELS_CODES_H
#define RUNTIME_KERNELS_CODES_H

#include "formats/blocks/blocks.h"

struct codes {
    int8_t q[32];
    int16_t halves[2];
    float s, m;
};

/* Unpack block `i` of 32 weights of a row. */
typedef void codes_function(const uint8_t *row, size_t i, struct codes *out);

/* By type; NULL where the runtime has no integer product. */
extern codes_function *const codes_by_type[TYPE_COUNT];

/* True for the types whose blocks have an m; it is 0 for the others. */
static inline bool codes_has_minimum(enum block_type type)
{
    return type == TYPE_Q4_1 || type == TYPE_Q5_1 || type == TYPE_Q4_K ||
           type == TYPE_Q5_K;
}

#endif
