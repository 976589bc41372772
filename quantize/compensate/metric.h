/*
 * metric.h - the prepared metric: visiting order, factor, and H' itself (private)
 */
#ifndef QUANTIZE_COMPENSATE_METRIC_H
#define QUANTIZE_COMPENSATE_METRIC_H

#include "quantize/compensate/compensate.h"

/* How a type's columns are grouped: `super` share the stored base scale, `sub` one scale. */
struct geometry {
    enum block_type type;
    size_t super, sub;
    int code_min, code_max;
    bool has_offset; /* value = scale * code - offset */
    bool is_k;       /* sub-block scales are small integers times a super-block's f16 */
};

struct metric {
    size_t n;
    struct geometry geometry;
    unsigned sweeps;
    uint32_t *order; /* [n]: order[k] is the column visited k-th */
    float *l;        /* [n][n]: row k holds U_jk for j <= k, contiguous in j */
    float *inv_diag; /* [n]: 1 / U_kk */
    float *h;        /* [n][n]: H' in visiting order */
};

/* The geometry of a type, or NULL. */
const struct geometry *geometry_find(enum block_type type);

#endif
