/*
 * target.h - types chosen so that the files fit a size, from measured sensitivity
 *
 * Two budgets: the per-layer table, which lies on disk and is read row by row, and the rest, which
 * must be resident. With options->ple_size each has its own, and neither borrows from the other:
 * the table's file (or the table, in one file) takes at most ple_size, everything else at most
 * target_size - ple_size. Without it both compete for target_size, byte for byte.
 */
#ifndef CONVERT_TARGET_H
#define CONVERT_TARGET_H

#include "convert/plan.h"

/* The work is laid out with the types decided so far; set those that are free (not decided by
 * recipe, --ple-type, the source's own blocks, or being wider) so that file sizes stay within the
 * options' bounds and the sum of divergences is the least. The work must be laid out again.
 * ERR_USAGE with the smallest size when there is no way; what reading the file of sensitivity
 * gives. */
MUST_CHECK enum status target_choose(struct work *work,
                                     const struct convert_options *options,
                                     const struct wider *wider, struct types *types,
                                     struct error *err);

/* Note on the work what its types are chosen for: size, and the hash of the file of sensitivity.
 * ERR_USAGE without one. */
MUST_CHECK enum status target_origin(struct work *work,
                                     const struct convert_options *options,
                                     struct error *err);

#endif
