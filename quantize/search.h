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

enum { SEARCH_MAX = 32 }; /* candidates at once */

struct search {
    const struct encoders *encode;
    struct codes codes;
    float floor; /* least importance of a column, so that no weight counts for nothing */
    struct tile tile; /* x and w */

    /* The best so far, by lane, and which candidate of the last search_try() it is; -1: none
     * of them. */
    struct candidate best;
    float loss[TILE_LANES];
    int which[TILE_LANES];
};

/* Ready for tiles of blocks coded as `codes`. */
struct search search_new(const struct rows_in *in, struct codes codes);

/* Put a block and its columns' importance into a lane. NULL, when nothing is known of them: ones, or,
 * where codes have 4 or 5 bits in a block of 32, sqrt(1 + x^2 / mean x^2). */
void search_put(struct search *s, int lane, const float *x, const float *importance);

/* Forget the best. */
void search_begin(struct search *s);

/* Judge up to SEARCH_MAX candidates, whose scales and offsets are as they would be stored. */
void search_try(struct search *s, const struct candidate *candidates, int n);

/* Refit the scale (and the offset) of the best to its own codes, round to halves, try. */
void search_refit(struct search *s);
void search_refit_affine(struct search *s);

/* Sums of w and of w x down each lane. */
void search_sums(const struct search *s, float w[TILE_LANES], float wx[TILE_LANES]);

/* Set tile.q to the codes of a candidate, 0 where its scale is 0. */
void search_code(struct search *s, const struct candidate *candidate);

#endif
