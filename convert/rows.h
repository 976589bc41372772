/*
 * rows.h - one fetched slab becomes packed bytes: decode, check, quantize, in parallel
 */
#ifndef CONVERT_ROWS_H
#define CONVERT_ROWS_H

#include "convert/feedback.h"
#include "convert/slabs.h"

/* Memory of the threads and of the importance in hand. */
struct row_packer {
    const struct work *work;
    float *scratch;    /* parallel_threads() pieces */
    size_t piece;      /* floats of one */
    float *importance; /* of the item below: n_mats * n_cols floats, or NULL */
    const struct work_item *importance_of;
    struct feedback *feedback; /* made when an item first wants it */
    float *decoded;            /* a slab as floats, for feedback */
    size_t n_decoded;
    struct item_tally *tallies; /* by position in work->items */
};

/* What became of an item's rows, as far as this run made them. */
struct item_tally {
    uint64_t n_blocks, n_exact; /* METHOD_GRID */
    struct feedback_report feedback;
};

MUST_CHECK enum status row_packer_open(struct row_packer *packer, const struct work *work,
                                       size_t longest_row, struct error *err);

/* Write the slab's rows, packed, to `packed`. ERR_CORRUPT names tensor, row and column of a value
 * that is not finite. *too_wide becomes true when a block needs a scale that F16 cannot hold: the
 * packed bytes are then of no use. */
MUST_CHECK enum status row_packer_run(struct row_packer *packer, const struct slab *slab,
                                      const void *raw, void *packed, bool *too_wide,
                                      struct error *err);

void row_packer_close(struct row_packer *packer);

#endif
