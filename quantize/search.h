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

enum { SEARCH_MAX = 40 }; /* candidates at once */

struct search {
    const struct encoders *encode;
    struct codes codes;
    float floor; /* least importance of a column, so that no weight counts for nothing */
    struct tile tile; /* x and w */
    float w[TILE_LANES],
        wx[TILE_LANES]; /* sums of w and of w x, where search_sums() was called */
    struct best best;
};

/* Ready for tiles of blocks coded as `codes`. */
struct search search_new(const struct rows_in *in, struct codes codes);

/* Fill the tile with sixteen blocks and their columns' importance. NULL, when nothing is known of
 * them: ones, or, where codes have 4 or 5 bits in a block of 32, sqrt(1 + x^2 / mean x^2). */
void search_fill(struct search *s, const float *const x[TILE_LANES],
                 const float *const importance[TILE_LANES]);

/* Forget the best. */
void search_begin(struct search *s);

/* Judge candidates whose scales and offsets are as they would be stored. */
void search_try(struct search *s, const struct candidate *candidates, int n);

/* Between scales tried: the best's 2 and 4 % smaller and larger, by encoders' judge(). */
void search_around(struct search *s, const struct peaks *peaks);

/* Refit the scale (and the offset) of the best to its own codes, round to halves, try. The latter
 * needs search_sums(). */
void search_refit(struct search *s);
void search_refit_affine(struct search *s);

/* Set the sums of w and of w x down each lane. */
void search_sums(struct search *s);

/* Set tile.q to the codes of a candidate, 0 where its scale is 0. */
void search_code(struct search *s, const struct candidate *candidate);

#endif
