/*
 * super_6k.h - the super-blocks of Q6_K, one to a tile: sixteen sub-blocks of 16
 */
#ifndef QUANTIZE_SUPER_6K_H
#define QUANTIZE_SUPER_6K_H

#include "quantize/codec.h"
#include "quantize/pack_blocks.h"

/* Fill x with a super-block and w with what plain rounding weighs it by: the importance, else x^2. */
void super_6k_put(const struct rows_in *in, size_t super, struct tile *tile);

/* The signed scale of largest magnitude, the first of equals. */
float super_6k_largest(const float scales[TILE_LANES]);

/* Plain rounding's step and codes for the scales a symmetric search found; all zero where every
 * scale is next to nothing. Sets d and sc; returns false for zeros. */
bool super_6k_scales(const float found[TILE_LANES], struct coded_6k *out);

#endif
