/*
 * tile.h - sixteen blocks side by side, so that a vector lane is a block
 *
 *              lane 0    lane 1        lane 15
 *     x[0]    [ b0 w0 ][ b1 w0 ] ... [ b15 w0 ]     weight 0 of every block
 *     x[1]    [ b0 w1 ][ b1 w1 ] ... [ b15 w1 ]
 *
 * Every sum over a block runs down a lane, in the order plain C would take, so the width of
 * a vector never changes a bit. A block is 32 or 16 weights: a whole block of the small
 * types, a sub-block of the K types.
 */
#ifndef QUANTIZE_TILE_H
#define QUANTIZE_TILE_H

#include <stdint.h>

enum { TILE_LANES = 16, TILE_WEIGHTS = 32 };

struct tile {
    _Alignas(64) float x[TILE_WEIGHTS][TILE_LANES];
    _Alignas(64) float w[TILE_WEIGHTS][TILE_LANES];   /* importance, >= 0 */
    _Alignas(64) int32_t q[TILE_WEIGHTS][TILE_LANES]; /* codes */
    _Alignas(64) float scale[TILE_LANES];
    _Alignas(64) float offset[TILE_LANES]; /* x is about scale * q - offset */
};

#endif
