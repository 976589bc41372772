/*
 * records.h - make the records of a run, chunk by chunk
 */
#ifndef VERIFY_RECORDS_H
#define VERIFY_RECORDS_H

#include "verify/verify.h"

/* Where records of one chunk are gathered by several threads. */
struct records {
    uint32_t n_entries;
    uint64_t first;               /* index of the record at bytes[0] */
    uint8_t *bytes;               /* room for n_ctx records */
    struct logits_entry *entries; /* n_entries a thread */
};

/* Room for n_room records. ERR_NOMEM. */
MUST_CHECK enum status records_open(struct records *records, uint32_t n_entries,
                                    size_t n_room, struct error *err);

/* Make record `index` of this row; first <= index < first + n_room. Safe from several threads. */
void records_make(struct records *records, uint64_t index, int32_t target,
                  const struct logits_row *row);
void records_close(struct records *records); /* a zeroed one is fine */

#endif
