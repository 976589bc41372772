/*
 * stats.h - importance matrices: llama.cpp's GGUF and legacy .dat forms, read and written
 *
 * An entry is the sum over tokens of the squared inputs of one weight, per input column (and per
 * expert), with the number of tokens. Importance = sum / count; an expert never seen counts as
 * all ones, as in llama.cpp.
 */
#ifndef FORMATS_STATS_STATS_H
#define FORMATS_STATS_STATS_H

#include "base/base.h"

struct stats_entry {
    const char *name; /* GGUF name of the weight; borrowed */
    uint64_t n_cols;  /* input columns */
    uint64_t n_mats;  /* experts, or 1 */
    float *sum2;      /* [n_mats][n_cols], sums of squares */
    float *counts;    /* [n_mats], tokens */
};

struct stats {
    struct stats_entry *entries; /* sorted by name */
    size_t n_entries;
    char **datasets; /* names of the texts */
    size_t n_datasets;
    uint32_t n_chunks, chunk_size;
    struct arena arena; /* owns everything above */
};

/* Either form, told apart by its first bytes. ERR_USAGE, ERR_CORRUPT. */
MUST_CHECK enum status stats_read(const char *path, struct stats **out, struct error *err);
const struct stats_entry *stats_find(const struct stats *stats, const char *name);
/* Fill n_cols importances of matrix `mat`: sum2 / count, or ones where count is 0. */
void stats_importance(const struct stats_entry *entry, uint64_t mat, float *out);
/* GGUF form (legacy when `legacy`), whole or not at all. */
MUST_CHECK enum status stats_write(const struct stats *stats, const char *path, bool legacy,
                                   bool force, struct error *err);
void stats_free(struct stats *stats);

#endif
