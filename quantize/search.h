/*
 * search.h - weighted least squares for the scale, and the offset, of sixteen blocks at once
 *
 * Every type searches alike: start from plain rounding's scale, try others, refit the best
 * to its codes, each rounded to what the file can store before it is judged. A candidate
 * replaces the best only by a strictly smaller loss, so a block is never worse than plain's.
 */
#ifndef QUANTIZE_SEARCH_H
#define QUANTIZE_SEARCH_H

#include "quantize/codec.h"
#include "quantize/half.h"

struct search {
    const struct encoders *encode;
    int n, lo, hi;    /* weights a lane; range of the codes */
    float floor;      /* least importance of a column, so that no weight counts for nothing */
    struct tile tile; /* x and w; candidates go through scale and offset */

    /* The best so far, by lane. */
    float loss[TILE_LANES], scale[TILE_LANES], offset[TILE_LANES];
};

/* Ready for tiles of blocks of n weights with codes lo ... hi. */
struct search search_new(const struct rows_in *in, int n, int lo, int hi);

/* Put a block and its columns' importance (NULL: ones) into a lane. */
void search_put(struct search *s, int lane, const float *x, const float *importance);

/* Forget the best. */
void search_begin(struct search *s);

/* Judge tile.scale and tile.offset; keep them where they are better. */
void search_try(struct search *s);

/* Refit the scale (and the offset) of the best to its own codes, round to halves, try. */
void search_refit(struct search *s);
void search_refit_affine(struct search *s);

/* Set tile.q to the codes of the best, 0 where its scale is 0. */
void search_codes(struct search *s);

#endif
