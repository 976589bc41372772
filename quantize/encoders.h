/*
 * encoders.h - the hot loops of rounding and searching, one table an instruction set
 *
 * The scalar table is complete and is the definition; every other table computes the same
 * bits. Nothing here knows how a block is packed.
 */
#ifndef QUANTIZE_ENCODERS_H
#define QUANTIZE_ENCODERS_H

#include "base/cpu.h"
#include "quantize/tile.h"

#include <stddef.h>
#include <stdint.h>

/* A block of 32 before packing. */
struct coded {
    float scale, offset; /* as computed; a value is about scale * q - offset */
    uint8_t q[32];       /* Q8_0: two's complement */
};

/* The candidates of the asymmetric search: inverse scales (first + step * i + top) / range. */
struct ladder {
    int top; /* codes are 0 ... top */
    float first, step;
    int n_steps; /* i = 0 ... n_steps */
};

/* What is being coded: n weights a lane into codes lo ... hi. Codes of both signs (lo < 0) have no
 * offset: every candidate's is 0. */
struct codes {
    int n, lo, hi;
};

/* A scale and an offset to be judged, by lane. */
struct candidate {
    _Alignas(64) float scale[TILE_LANES], offset[TILE_LANES];
};

/* Steps to try for values coded as lo ... hi: the largest value over first + step * k. */
struct divisors {
    float first; /* negative: the largest value goes to the negative end */
    float step;
    int n;
    int lo, hi;
};

/* The best candidate so far by lane, its loss, and which of the last list it is; -1: none of them. */
struct best {
    struct candidate at;
    _Alignas(64) float loss[TILE_LANES];
    _Alignas(64) int32_t which[TILE_LANES];
};

/* By lane: the value of largest magnitude, the first of equals, and its weight; the same value, the
 * positive one of equals. Zeros for a lane of zeros. */
struct peaks {
    _Alignas(64) float x[TILE_LANES], w[TILE_LANES], positive[TILE_LANES];
};

/* What a least-squares fit of scale and offset needs, by lane. */
struct moments {
    float wc[TILE_LANES], wcc[TILE_LANES], wxc[TILE_LANES];
};

struct encoders {
    const char *name;

    /* n values to halves (nearest even) and to bfloat16 (nearest even, NaN kept quiet). */
    void (*f16)(const float *x, uint16_t *out, size_t n);
    void (*bf16)(const float *x, uint16_t *out, size_t n);

    /* n blocks of 32: the scale is the signed extremum over -half, codes 0 ... 2 half - 1
     * stand for q - half (Q4_0: half 8, Q5_0: 16). */
    void (*extremum)(const float *x, struct coded *out, size_t n, int half);
    /* n blocks of 32: codes 0 ... top spread over minimum to maximum (Q4_1, Q5_1). */
    void (*range)(const float *x, struct coded *out, size_t n, int top);
    /* n blocks of 32: codes -127 ... 127, halves away from zero (Q8_0). */
    void (*symmetric8)(const float *x, struct coded *out, size_t n);

    /* rows[i][b] = lanes[b][i] for n (16 or 32) weights of sixteen blocks. */
    void (*gather)(const float *const lanes[TILE_LANES], int n,
                   float (*rows)[TILE_LANES]);
    /* out[stride * b + i] = the low byte of q[i][b] + bias, i < n; n is a multiple of 4. */
    void (*take)(const struct tile *tile, int n, int bias, uint8_t *out, size_t stride);
    /* w = sqrt(1 + x^2 / mean x^2) over 32 weights a lane; ones for a lane of zeros. */
    void (*weigh)(struct tile *tile);
    /* w *= sqrt(variance + x^2) over 32 weights a lane. */
    void (*weigh_more)(struct tile *tile, const float variance[TILE_LANES]);
    void (*peaks)(const struct tile *tile, int n, struct peaks *out);

    /* Weighted search over 19 scales around the extremum over -half; n weights a lane.
     * Sets q (0 ... 2 half - 1, for q - half) and scale; a lane of zeros gets q = 0, scale 0. An
     * even number of tiles is searched faster than they are one by one. */
    void (*symmetric)(struct tile *const *tiles, int n_tiles, int n, int half);
    /* Weighted search for scale and offset over 32 weights a lane. Sets q, scale, offset. */
    void (*asymmetric)(struct tile *const *tiles, int n_tiles,
                       const struct ladder *ladder);
    /* q = nearest((x + offset) / scale) within lo ... hi; lanes of scale 0 keep their q. */
    void (*requantize)(struct tile *tile, const struct codes *codes);

    /* Candidate k: scale value[b] * ratios[k] rounded to a half, offset 0. */
    void (*scales)(const float value[TILE_LANES], const float *ratios, int n,
                   struct candidate *out);
    /* Judge candidates in their order: the loss is the sum of w * (x + offset - scale * c)^2 down
     * a lane, c the nearest code within lo ... hi; a smaller loss than the best's replaces it.
     * With `peaks`, candidates that cost every lane too much by its largest weight alone are left
     * out, which changes nothing. */
    void (*judge)(const struct tile *tile, const struct codes *codes,
                  const struct peaks *peaks, const struct candidate *candidates,
                  int n_candidates, struct best *best);
    /* Of the steps top / (first + step * k), rounded to halves, the one that codes n values (at
     * most 16) with the least sum of w * (value - step * code)^2, the first of equals; 0: none. */
    float (*spread)(const float *values, const float *weights, int n, float top,
                    const struct divisors *divisors);
    /* The moments of the codes of one candidate. */
    void (*fit)(const struct tile *tile, const struct codes *codes,
                const struct candidate *candidate, struct moments *out);
};

/* The best table this machine can run under CARAT_CPU, chosen once. */
const struct encoders *encoders_best(void);

/* The table for exactly `level`, or NULL where the build or the machine lacks it. */
const struct encoders *encoders_at(enum cpu_level level);

#endif
