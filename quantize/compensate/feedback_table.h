/*
 * feedback_table.h - the rounding core, one table an instruction set (private)
 *
 * A core rounds a tile of LANES rows at once; the vector lane is the row, every sum runs over
 * columns in visiting order with one accumulator an element, and nothing is contracted: all tables
 * give the same bits. They are one body (feedback_body.h) compiled with different flags.
 */
#ifndef QUANTIZE_COMPENSATE_FEEDBACK_TABLE_H
#define QUANTIZE_COMPENSATE_FEEDBACK_TABLE_H

#include "quantize/compensate/metric.h"

enum { LANES = 16 };

/* One float a row of the tile. */
struct lane {
    float v[LANES];
};

/* The state of one tile; arrays are in visiting order. A sub-block is `sub` consecutive positions,
 * a super-block `super`. */
struct tile {
    struct lane *w;    /* [n] weights, untouched */
    struct lane *e;    /* [n] errors of the feedback; then g = H'(w - q) of the descent */
    struct lane *code; /* [n] integers */
    struct lane *scale, *offset; /* [n / sub], as they will be decoded */
    struct lane *sc, *mn;        /* [n / sub], K types: the small integers */
    struct lane *d, *dmin;       /* [n / super], K types */
    struct lane *u;              /* [n] scratch */
};

struct feedback_core {
    const char *name;
    /* Round the tile; then metric->sweeps sweeps of coordinate descent. loss[r] is the final
     * (w - q) H' (w - q)^T of row r. */
    void (*round)(const struct metric *metric, struct tile *tile, double loss[LANES]);
};

/* The best core this machine runs; the core for exactly `level`, or NULL. */
const struct feedback_core *feedback_best(void);
const struct feedback_core *feedback_at(enum cpu_level level);

extern const struct feedback_core feedback_scalar;
#ifdef CARAT_X86
extern const struct feedback_core feedback_avx2;
extern const struct feedback_core feedback_avx512;
#endif

#endif
