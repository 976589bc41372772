/*
 * stats.h - importance matrices: llama.cpp's GGUF and legacy .dat forms, read and written
 *
 * An entry is the sum over tokens of the squared inputs of one weight, per input column (and per
 * expert), with the number of tokens. Importance = sum / count; an expert never seen counts as
 * all ones, as in llama.cpp.
 *
 * GGUF form: general.type "imatrix", imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size;
 * for each weight the F32 tensors NAME.in_sum2 {n_cols, n_mats} and NAME.counts {1, n_mats}. Ours
 * also say what the texts were: carat.calibration.sha256 (a string a text) and
 * carat.calibration.tokens (u64).
 *
 * Legacy form, little-endian:
 *     i32 n_entries; n_entries x { i32 length; name; i32 n_calls; i32 n; f32 values[n] }
 *     i32 n_chunks; i32 length; name of the text          (these two may be missing)
 *     with values = importance * n_calls
 *
 * Source: llama.cpp 0.5.0, tools/imatrix.
 */
#ifndef FORMATS_STATS_STATS_H
#define FORMATS_STATS_STATS_H

#include "base/base.h"

struct stats_entry {
    const char *name; /* GGUF name of the weight; borrowed */
    uint64_t n_cols;  /* input columns */
    uint64_t n_mats;  /* experts, or 1 */
    float *sum2;      /* [n_mats][n_cols], sums of squares */
    float *counts;    /* [n_mats], tokens; [1] when is_flat */
    /* From a legacy file, which tells how many values there are but not of how many matrices:
     * n_mats is 1 until stats_shape() is asked, and one count goes for all. */
    bool is_flat;
};

struct stats {
    struct stats_entry *entries; /* sorted by name */
    size_t n_entries;
    char **datasets; /* names of the texts */
    size_t n_datasets;
    char **digests;    /* SHA-256 of each text in hex; NULL: the file does not say */
    uint64_t n_tokens; /* of all; 0: the file does not say */
    uint32_t n_chunks, chunk_size;
    struct arena arena; /* owns everything above */
};

/* Either form, told apart by its first bytes; the caller owns *out (stats_free). Every sum and
 * count is finite and not negative. ERR_USAGE when missing; ERR_CORRUPT; ERR_UNSUPPORTED for a
 * GGUF of another kind. Sentences begin with the path. */
MUST_CHECK enum status stats_read(const char *path, struct stats **out,
                                  struct error *err);

/* The entry of that weight, or NULL. O(log n). */
const struct stats_entry *stats_find(const struct stats *stats, const char *name);

/* True when the entry is of that shape. A flat one of as many values takes the shape on. */
bool stats_shape(struct stats *stats, const char *name, uint64_t n_cols, uint64_t n_mats);

/* Fill n_cols importances of matrix `mat`: sum2 / count, or ones where count is 0. */
void stats_importance(const struct stats_entry *entry, uint64_t mat, float *out);

/* Read from here on as if column j of the weight's input had been s[j] times as large: for a weight
 * whose columns were divided by s. n_cols is that of the entry, which has its shape; without an entry
 * nothing happens. */
void stats_rescale(struct stats *stats, const char *name, uint64_t mat, const float *s,
                   size_t n_cols);

/* GGUF form (legacy when `legacy`), whole or not at all. Entries must be sorted by name. The
 * legacy form keeps the mean times the number of calls, and the last data set's name. */
MUST_CHECK enum status stats_write(const struct stats *stats, const char *path,
                                   bool legacy, bool force, struct error *err);

void stats_free(struct stats *stats); /* frees stats itself; NULL is fine */

#endif
