/*
 * ple_rows.h - rows of the per-layer-embedding table, read from disk when they are wanted
 *
 *     ple_rows_request(rows, ids, n);          a thread reads while the caller computes
 *     ...
 *     ple_rows_wait(rows, err);
 *     ple_rows_get(rows, i, 0, n_cols, x);     the row of ids[i], decoded
 *
 * The table is half of E2B and never mapped: a request is sorted, stripped of repeats and of rows
 * the cache holds, and the rest is read in runs of neighbours. Resident are one request's rows,
 * the cache and one u32 an id: at most PLE_RESIDENT_BYTES together.
 */
#ifndef RUNTIME_PLE_ROWS_H
#define RUNTIME_PLE_ROWS_H

#include "base/base.h"
#include "formats/model/model.h"

enum { PLE_RESIDENT_BYTES = 64 << 20, PLE_CACHE_BYTES = 16 << 20 };

struct ple_rows;

struct ple_rows_options {
    bool in_memory;      /* read or map the whole table at once */
    size_t cache_bytes;  /* 0: PLE_CACHE_BYTES */
    size_t max_requests; /* ids a request may hold */
};

/* The table is tensor `index` of `model`, which must outlive *out. ERR_UNSUPPORTED when its type
 * has no decoder; ERR_NOMEM; with in_memory also what reading gives. */
MUST_CHECK enum status ple_rows_open(const struct model *model, size_t index,
                                     const struct ple_rows_options *options,
                                     struct ple_rows **out, struct error *err);

/* Begin to fetch the rows of n ids, each below the table's rows; returns at once. The request
 * before must have been waited for. ids may change after the call. */
void ple_rows_request(struct ple_rows *rows, const int32_t *ids, size_t n);

/* Wait for the request. ERR_IO, ERR_CORRUPT: what reading said. Without a request: OK. */
MUST_CHECK enum status ple_rows_wait(struct ple_rows *rows, struct error *err);

/* Wait for whatever is under way and forget it. */
void ple_rows_settle(struct ple_rows *rows);

/* Decode columns [first, first + n) of the row of the request's i-th id to x; both are whole
 * blocks of any type when they are multiples of 256 or end with the row. Safe from several
 * threads. */
void ple_rows_get(const struct ple_rows *rows, size_t i, size_t first, size_t n,
                  float *x);

void ple_rows_close(struct ple_rows *rows); /* NULL is fine */

#endif
