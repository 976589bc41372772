/*
 * journal.h - what has been written so far, so that an interrupted conversion can go on
 *
 * A text file beside the first output, `.NAME.journal`:
 *
 *     carat journal 1 <identity: 64 hex digits>
 *     wide <position> <...>                            where tensors had to stay wider, struct wider
 *     <XXH3 of the packed bytes of slab 0: 16 hex digits>
 *     <... of slab 1>
 *
 * The identity is a hash over everything that decides the bytes: headers of the outputs (which hold
 * the hashes of statistics, and the types), the version, the method, adapters' scales; and of the
 * source's files, adapters' and configurations among them, names, sizes, times and inodes. A resumed run
 * reads every slab of the journal back and compares its hash, so what a crash lost is written again.
 */
#ifndef CONVERT_JOURNAL_H
#define CONVERT_JOURNAL_H

#include "convert/slabs.h"

struct journal;

/* Start anew, or (resume) read what is there: ERR_USAGE when there is none, or it belongs to
 * another conversion. It lies beside the first output. */
MUST_CHECK enum status journal_open(const struct work *work, const uint8_t identity[32],
                                    bool resume, struct journal **out, struct error *err);

/* True when there is one to resume from. `path` is the first output's, here and below. */
bool journal_exists(const char *path);

/* What it says of tensors that had to stay wider, before a plan can be made that it belongs to: sets
 * their bits of the n_items at `at`, and *n is how many. None where there is no journal, or one that
 * is no journal of n_items: opening it tells. ERR_IO, ERR_NOMEM, ERR_CORRUPT when it is too long. */
MUST_CHECK enum status journal_wide(const char *path, bool *at, size_t n_items, size_t *n,
                                    struct error *err);

/* How many slabs it lists, and the hash of one. */
uint64_t journal_count(const struct journal *journal);
uint64_t journal_hash(const struct journal *journal, uint64_t number);

/* Keep the first n entries only. */
MUST_CHECK enum status journal_cut(struct journal *journal, uint64_t n,
                                   struct error *err);

/* The next slab is written. */
MUST_CHECK enum status journal_add(struct journal *journal, uint64_t hash,
                                   struct error *err);

/* Close; the file stays for a later resume, or goes. NULL is fine. */
void journal_close(struct journal *journal, bool keep);

/* Everything that decides the bytes, hashed. ERR_NOMEM. */
MUST_CHECK enum status journal_identity(const struct work *work,
                                        const struct convert_options *options,
                                        uint8_t identity[32], struct error *err);

#endif
