/*
 * stats_file.h - the two forms of a file; private to this folder
 */
#ifndef FORMATS_STATS_STATS_FILE_H
#define FORMATS_STATS_STATS_FILE_H

#include "formats/stats/stats.h"

/* Fill *stats from an open file. Sentences without the path; entries in any order. */
MUST_CHECK enum status stats_read_gguf(const char *path, struct stats *stats,
                                       struct error *err);
MUST_CHECK enum status stats_read_legacy(const struct file *file, struct stats *stats,
                                         struct error *err);

MUST_CHECK enum status stats_write_gguf(const struct stats *stats, struct output *dst,
                                        uint64_t *n_bytes, struct error *err);
MUST_CHECK enum status stats_write_legacy(const struct stats *stats, struct output *dst,
                                          uint64_t *n_bytes, struct error *err);

/* ERR_CORRUPT when one of n numbers is negative or not finite. */
MUST_CHECK enum status stats_check_numbers(const float *x, uint64_t n, const char *name,
                                           struct error *err);

#endif
