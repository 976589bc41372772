/*
 * slabs.h - a conversion cut into runs of rows, in the order of writing
 *
 * The cut depends on the plan alone, never on memory, threads or time: a journal can name slabs by
 * their number.
 */
#ifndef CONVERT_SLABS_H
#define CONVERT_SLABS_H

#include "convert/plan.h"

/* Weights a slab holds at most, unless one row is longer. Large enough that threads and disks are
 * busy, small enough that a ring of slabs stays below 100 MB. */
enum { SLAB_WEIGHTS = 2 << 20 };

/* A run of rows of one item; or, with n_rows == 0, only the zeros behind its last row. */
struct slab {
    size_t item;
    uint64_t number; /* from 0, over the whole conversion */
    uint64_t first, n_rows;
    int file;
    uint64_t offset;  /* where its bytes go in the file */
    size_t n_bytes;   /* of rows */
    size_t n_padding; /* zeros after them: behind a tensor's last row */
};

struct slab_cursor {
    const struct work *work;
    struct slab next;
};

struct slab_cursor slabs_begin(const struct work *work);
/* The next slab; false after the last. */
bool slabs_next(struct slab_cursor *cursor, struct slab *out);

/* The largest buffers any slab of the work needs: fetched bytes, packed bytes, and floats of one
 * row. */
struct slab_sizes {
    size_t raw, packed, row;
};
struct slab_sizes slabs_sizes(const struct work *work);

#endif
