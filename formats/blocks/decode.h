/*
 * decode.h - the decoders behind block_type_info(); private to this folder
 *
 * Each decodes n blocks at `in` (any alignment) to floats at x.
 */
#ifndef FORMATS_BLOCKS_DECODE_H
#define FORMATS_BLOCKS_DECODE_H

#include "formats/blocks/blocks.h"

/* decode_small.c: blocks of 32 and 64 */
void decode_q4_0(const void *in, float *x, size_t n);
void decode_q4_1(const void *in, float *x, size_t n);
void decode_q5_0(const void *in, float *x, size_t n);
void decode_q5_1(const void *in, float *x, size_t n);
void decode_q8_0(const void *in, float *x, size_t n);
void decode_iq4_nl(const void *in, float *x, size_t n);
void decode_mxfp4(const void *in, float *x, size_t n);
void decode_nvfp4(const void *in, float *x, size_t n);

/* decode_super.c: super-blocks of 256 */
void decode_q2_k(const void *in, float *x, size_t n);
void decode_q3_k(const void *in, float *x, size_t n);
void decode_q4_k(const void *in, float *x, size_t n);
void decode_q5_k(const void *in, float *x, size_t n);
void decode_q6_k(const void *in, float *x, size_t n);
void decode_iq4_xs(const void *in, float *x, size_t n);

#endif
