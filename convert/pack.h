/*
 * pack.h - carry out a plan: one pass over the source, bounded memory, resumable
 */
#ifndef CONVERT_PACK_H
#define CONVERT_PACK_H

#include "convert/rows.h"

struct pack_result {
    uint8_t digest[MAX_FILES][32]; /* SHA-256 of each file */
    struct item_tally *tallies;    /* owned; by position in work.items; NULL on failure */
    /* A tensor whose type cannot hold its numbers: nothing was written; plan again with it wider. */
    bool is_too_wide;
    size_t wide_item;
};

/* Write every file of the work under its name, whole. On failure no file has its final name, unless
 * the system refused the second rename when the first had replaced an old file already. What --resume
 * can use is kept after ERR_IO, ERR_NOMEM and ERR_INTERRUPTED, and the sentence says so. A --resume
 * that is refused leaves what it was to go on with as it is. */
MUST_CHECK enum status pack_run(const struct work *work,
                                const struct convert_options *options,
                                const struct progress *progress,
                                struct pack_result *result, struct error *err);

#endif
