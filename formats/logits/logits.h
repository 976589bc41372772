/*
 * logits.h - the compact reference file: what a model said about every token of a text
 *
 *     header   what was scored, by which vocabulary, on which text; the tokens themselves
 *     record   one a scored token, in order of the text, all of the same size
 *
 * A record keeps the certain part of a distribution whole and a sample of its tail drawn with
 * known probabilities, so that a sum over all pieces, such as a divergence, has an estimate
 * without bias and an error that can be computed. At the default of LOGITS_ENTRIES entries it
 * takes 2048 bytes, whatever the vocabulary; with as many entries as pieces it is exact.
 *
 * Source: docs/reference-file.md, the layout byte by byte and the derivation.
 */
#ifndef FORMATS_LOGITS_LOGITS_H
#define FORMATS_LOGITS_LOGITS_H

#include "base/base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOGITS_ENTRIES = 252,     /* entries a record: 2048 bytes */
    LOGITS_SOURCE_BYTES = 128 /* room for the model's name, NUL included */
};

/* ---- one row of logits ---- */

/* The softmax of one row: p_i = weights[i] / sum = exp(z[i] - lse). */
struct logits_row {
    const float *z;       /* borrowed */
    const float *weights; /* exp(z[i] - greatest z), borrowed from the caller's scratch */
    size_t n;
    double sum, lse;
    int32_t argmax; /* the first of equal maxima */
};

/* Compute `row` from n >= 1 logits; `weights` is scratch for n floats that must live as long as
 * the row. False, with *row unspecified, when a logit is NaN or +infinity, or all are
 * -infinity. */
bool logits_row_make(const float *z, size_t n, float *weights, struct logits_row *row);

/* ---- one record ---- */

struct logits_entry {
    uint32_t id;
    float logit;
};

/* Entries [0, n_top) are pieces kept for certain, [n_top, n_top + n_tail) the sample of the
 * others; either part by ascending id. A piece of the tail was drawn with probability
 * p_i / step, where step = tail / n_tail, and every p_i of the tail is below step. */
struct logits_record {
    double lse;   /* log-sum-exp of the row: log p_i = logit - lse */
    double tail;  /* sum of p_i over the pieces that are not kept for certain */
    float target; /* logit of the token that did follow */
    uint32_t n_top, n_tail;
    struct logits_entry *entries; /* n_entries of them, the caller's */
};

/* The piece of greatest probability, the first of equals. */
int32_t logits_record_argmax(const struct logits_record *record);

/* Make the record of scored token `index` (it seeds the draw), whose text goes on with piece
 * `target`. record->entries must have room for n_entries, 2 <= n_entries <= 65535. */
void logits_record_make(const struct logits_row *row, int32_t target, uint64_t index,
                        uint32_t n_entries, struct logits_record *record);

size_t logits_record_bytes(uint32_t n_entries);
void logits_record_store(const struct logits_record *record, uint32_t n_entries,
                         uint8_t *bytes);

/* Read and check one record: its hash, finite numbers, ascending ids below n_vocab, disjoint
 * parts. ERR_CORRUPT names the rule. record->entries must have room for n_entries. */
MUST_CHECK enum status logits_record_load(const uint8_t *bytes, uint32_t n_entries,
                                          uint32_t n_vocab, struct logits_record *record,
                                          struct error *err);

/* ---- the text that was scored ---- */

/* A text cut into chunks, each evaluated from an empty context. */
struct logits_text {
    uint32_t n_ctx; /* no chunk is longer */
    uint32_t n_chunks;
    uint64_t n_tokens, n_scored;
    uint32_t *chunk_tokens; /* n_chunks lengths */
    int32_t *tokens;        /* n_tokens ids as evaluated: BOS already put in */
    uint8_t *scored;        /* n_tokens: 1 where the token is a prediction to score */
    bool is_chat;           /* conversations of which model turns are scored */
    uint8_t sha256[32];     /* of the text's bytes */
};

void logits_text_free(struct logits_text *text); /* members only; a zeroed one is fine */

/* ---- the file ---- */

struct logits_facts {
    uint32_t n_vocab, n_entries;
    uint8_t tokenizer[32];            /* tokenizer_digest() */
    char source[LOGITS_SOURCE_BYTES]; /* name of the model that was run */
    struct logits_text text;
};

struct logits_file;

/* Open and check everything but the records. On OK the caller owns *out. ERR_USAGE when missing;
 * ERR_CORRUPT; ERR_UNSUPPORTED for another version. Memory is bounded by the file's size. */
MUST_CHECK enum status logits_open(const char *path, struct logits_file **out,
                                   struct error *err);
/* As logits_open() over bytes in memory, which must outlive *out. */
MUST_CHECK enum status logits_parse(const uint8_t *bytes, size_t n_bytes,
                                    struct logits_file **out, struct error *err);

const struct logits_facts *logits_facts(const struct logits_file *file); /* until close */

/* Read and check record `index` < n_scored; `record->entries` has room for n_entries. Safe from
 * several threads at once. */
MUST_CHECK enum status logits_read(const struct logits_file *file, uint64_t index,
                                   struct logits_record *record, struct error *err);
void logits_close(struct logits_file *file); /* NULL is fine */

struct logits_writer;

/* Begin a file for these facts (copied into the header at once). ERR_USAGE when it exists and
 * `force` is off. */
MUST_CHECK enum status logits_create(const char *path, const struct logits_facts *facts,
                                     bool force, struct logits_writer **out,
                                     struct error *err);

/* Append n stored records of logits_record_bytes() each. */
MUST_CHECK enum status logits_append(struct logits_writer *dst, const uint8_t *records,
                                     size_t n, struct error *err);

/* Finish: all n_scored records must have been appended. Frees dst on every outcome. */
MUST_CHECK enum status logits_commit(struct logits_writer *dst, struct error *err);
void logits_discard(struct logits_writer *dst); /* NULL is fine */

#endif
