/*
 * fuzz_logits.c - whatever a reference file says of itself, its promises hold or it is refused
 *
 * Hashes would stop nearly every mutation at the door, so they are made to fit first.
 */
#include "formats/logits/logits.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* Make the header's hash and, when records follow, theirs fit what they cover. */
static void fit_hashes(uint8_t *bytes, size_t n_bytes)
{
    uint64_t n_header = 240 +
                        4 * ((uint64_t)load_u32(bytes + 20) + load_u32(bytes + 32)) +
                        ((uint64_t)load_u32(bytes + 32) + 7) / 8;
    size_t n_record = logits_record_bytes(load_u32(bytes + 24) & 0xffff);

    n_header = round_up_u64(n_header, 8) + 8;
    if (n_header > n_bytes)
        return;
    store_u64(bytes + n_header - 8, hash_bytes(bytes, (size_t)n_header - 8));
    for (size_t at = (size_t)n_header; at + n_record <= n_bytes; at += n_record)
        store_u64(bytes + at, hash_bytes(bytes + at + 8, n_record - 8));
}

static void check_record(const struct logits_record *record,
                         const struct logits_facts *facts)
{
    if (record->n_top == 0 || record->n_top + record->n_tail > facts->n_entries)
        abort();
    for (uint32_t i = 0; i < record->n_top + record->n_tail; i++)
        if (record->entries[i].id >= facts->n_vocab)
            abort();
    if (isnan(record->lse) || isnan(record->tail) ||
        (uint32_t)logits_record_argmax(record) >= facts->n_vocab)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct logits_file *file = NULL;
    struct logits_record record = {0};
    struct error err = {0};
    uint8_t *copy = malloc(n_bytes + 1);

    if (!copy)
        return 0;
    memcpy(copy, bytes, n_bytes);
    if (n_bytes >= 248)
        fit_hashes(copy, n_bytes);
    if (logits_parse(copy, n_bytes, &file, &err) != OK)
        goto out;

    const struct logits_facts *facts = logits_facts(file);
    for (uint64_t i = 0; i < facts->text.n_tokens; i++)
        if ((uint32_t)facts->text.tokens[i] >= facts->n_vocab)
            abort();
    record.entries = malloc(facts->n_entries * sizeof(*record.entries));
    for (uint64_t i = 0; i < facts->text.n_scored && record.entries; i++)
        if (logits_read(file, i, &record, &err) == OK)
            check_record(&record, facts);

out:
    free(record.entries);
    logits_close(file);
    free(copy);
    return 0;
}
