/*
 * logits_record.c - a record as bytes
 *
 *     0   u64  XXH3 of the bytes from 8 to the end of the record
 *     8   f64  lse                          16  f64  tail
 *     24  f32  target                       28  u16  n_top      30  u16  n_tail
 *     32  n_entries x { u32 id, f32 logit }; entries after n_top + n_tail are zero
 */
#include "formats/logits/logits.h"

#include <math.h>

enum { HEAD_BYTES = 32, ENTRY_BYTES = 8 };

static double load_f64(const uint8_t *p)
{
    double v;
    memcpy(&v, p, sizeof(v));
    return v;
}

size_t logits_record_bytes(uint32_t n_entries)
{
    return HEAD_BYTES + (size_t)n_entries * ENTRY_BYTES;
}

void logits_record_store(const struct logits_record *record, uint32_t n_entries,
                         uint8_t *bytes)
{
    uint32_t n_used = record->n_top + record->n_tail;
    uint8_t *p = bytes + HEAD_BYTES;

    memcpy(bytes + 8, &record->lse, sizeof(record->lse));
    memcpy(bytes + 16, &record->tail, sizeof(record->tail));
    memcpy(bytes + 24, &record->target, sizeof(record->target));
    store_u16(bytes + 28, (uint16_t)record->n_top);
    store_u16(bytes + 30, (uint16_t)record->n_tail);
    for (uint32_t i = 0; i < n_used; i++, p += ENTRY_BYTES) {
        store_u32(p, record->entries[i].id);
        memcpy(p + 4, &record->entries[i].logit, sizeof(float));
    }
    memset(p, 0, (size_t)(n_entries - n_used) * ENTRY_BYTES);
    store_u64(bytes, hash_bytes(bytes + 8, logits_record_bytes(n_entries) - 8));
}

/* Ids ascending and below n_vocab, logits that are numbers and not above the log-sum-exp. */
static bool is_part(const struct logits_entry *entries, uint32_t n, uint32_t n_vocab,
                    double lse)
{
    for (uint32_t i = 0; i < n; i++) {
        bool ascends = i == 0 || entries[i].id > entries[i - 1].id;
        /* lse is rounded: its greatest term may stand above it by as much. */
        bool is_below = (double)entries[i].logit <= lse + 1e-6 * (1.0 + fabs(lse));

        if (!ascends || entries[i].id >= n_vocab || !is_below)
            return false;
    }
    return true;
}

static bool are_disjoint(const struct logits_record *record)
{
    const struct logits_entry *top = record->entries;
    const struct logits_entry *tail = top + record->n_top;
    uint32_t a = 0, b = 0;

    while (a < record->n_top && b < record->n_tail) {
        if (top[a].id == tail[b].id)
            return false;
        if (top[a].id < tail[b].id)
            a++;
        else
            b++;
    }
    return true;
}

static enum status check(const struct logits_record *record, uint32_t n_vocab,
                         struct error *err)
{
    if (!isfinite(record->lse) || !(record->tail >= 0.0 && record->tail <= 1.0 + 1e-6))
        return fail(err, ERR_CORRUPT, "the sums are not those of a distribution");
    if (isnan(record->target) || isinf(record->target) > 0)
        return fail(err, ERR_CORRUPT, "the logit of the target is not a number");
    if (!is_part(record->entries, record->n_top, n_vocab, record->lse) ||
        !is_part(record->entries + record->n_top, record->n_tail, n_vocab, record->lse))
        return fail(err, ERR_CORRUPT,
                    "its entries are not ascending pieces of a vocabulary "
                    "of %u with logits below the log-sum-exp",
                    n_vocab);
    if (!are_disjoint(record))
        return fail(err, ERR_CORRUPT, "a piece is in both parts");
    if (record->n_tail > 0 && record->tail <= 0.0)
        return fail(err, ERR_CORRUPT, "it samples a tail that has no mass");
    return OK;
}

enum status logits_record_load(const uint8_t *bytes, uint32_t n_entries, uint32_t n_vocab,
                               struct logits_record *record, struct error *err)
{
    const uint8_t *p = bytes + HEAD_BYTES;

    if (load_u64(bytes) != hash_bytes(bytes + 8, logits_record_bytes(n_entries) - 8))
        return fail(err, ERR_CORRUPT, "its bytes do not match their hash");
    record->lse = load_f64(bytes + 8);
    record->tail = load_f64(bytes + 16);
    record->target = load_f32(bytes + 24);
    record->n_top = load_u16(bytes + 28);
    record->n_tail = load_u16(bytes + 30);
    if (record->n_top == 0 || record->n_top + record->n_tail > n_entries)
        return fail(err, ERR_CORRUPT, "%u and %u entries do not fit %u", record->n_top,
                    record->n_tail, n_entries);

    for (uint32_t i = 0; i < record->n_top + record->n_tail; i++, p += ENTRY_BYTES)
        record->entries[i] = (struct logits_entry){load_u32(p), load_f32(p + 4)};
    return check(record, n_vocab, err);
}

int32_t logits_record_argmax(const struct logits_record *record)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < record->n_top; i++)
        if (record->entries[i].logit > record->entries[best].logit)
            best = i;
    return (int32_t)record->entries[best].id;
}
