/*
 * super.h - the super-blocks of Q4_K and Q5_K, two to a tile
 *
 *     struct super_walk walk = super_begin(in);
 *
 *     for (int n; (n = super_next(&walk, &tile)) > 0;)
 *         ... n super-blocks: lanes 0 ... 7 are the first, 8 ... 15 the second
 *
 * At the end of the rows the second half may be absent: its lanes then repeat the first.
 */
#ifndef QUANTIZE_SUPER_H
#define QUANTIZE_SUPER_H

#include "quantize/codec.h"
#include "quantize/pack_blocks.h"

struct super_walk {
    const struct rows_in *in;
    size_t next, n;    /* super-blocks */
    const float *x[2]; /* the 256 weights of those put last */
};

struct super_walk super_begin(const struct rows_in *in);

/* Fill x and, where there is importance, w with it; how many super-blocks are real: 2, 1 or 0. */
int super_next(struct super_walk *walk, struct tile *tile);

/* Eight non-negative values as scale * codes (0 ... 63) under weights; the scale.
 * Source: ggml 0.25.1, make_qp_quants. */
float super_fit(const float *values, const float *weights, uint8_t codes[8]);

/* The lanes' scales and offsets as two super-blocks store them. */
void super_scales(const struct coded_k supers[2], float scale[TILE_LANES],
                  float offset[TILE_LANES]);

/* Copy the codes of the tile's two super-blocks. */
void super_take(const struct encoders *encode, const struct tile *tile,
                struct coded_k supers[2]);

/* Pack n super-blocks; returns the end. */
void *super_pack(enum block_type type, const struct coded_k *supers, int n, void *out);

#endif
