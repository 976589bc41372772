/*
 * pack_blocks.h - codes and scales into the bytes of a block, as formats/blocks/blocks.h has it
 *
 * The only place of this room that knows how bits lie. Nothing is rounded here but the
 * halves of the small types, whose codes are chosen before the scale is stored.
 */
#ifndef QUANTIZE_PACK_BLOCKS_H
#define QUANTIZE_PACK_BLOCKS_H

#include "formats/blocks/blocks.h"
#include "quantize/encoders.h"

/* A Q4_K or Q5_K super-block: value = d * sc[g] * q - dmin * mn[g], g = i / 32. */
struct coded_k {
    uint16_t d, dmin;     /* halves */
    uint8_t sc[8], mn[8]; /* 0 ... 63 */
    uint8_t q[256];
};

/* A Q6_K super-block: value = d * sc[g] * (q - 32), g = i / 16. */
struct coded_6k {
    uint16_t d; /* half */
    int8_t sc[16];
    uint8_t q[256];
};

/* Pack n blocks of 32 of a type that pack_is_small() names; returns the end of what was written. */
void *pack_small(enum block_type type, const struct coded *in, void *out, size_t n);
bool pack_is_small(enum block_type type);

void pack_q4_k(const struct coded_k *in, struct q4_k *out);
void pack_q5_k(const struct coded_k *in, struct q5_k *out);
void pack_q6_k(const struct coded_6k *in, struct q6_k *out);

#endif
