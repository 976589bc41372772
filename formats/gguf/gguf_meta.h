/*
 * gguf_meta.h - the inside of a metadata set; private to this folder
 */
#ifndef FORMATS_GGUF_GGUF_META_H
#define FORMATS_GGUF_GGUF_META_H

#include "formats/gguf/gguf.h"
#include "formats/names/names.h"

/* One key and its value. Either `bytes` holds packed elements, or it holds the texts of
 * strings, each with a NUL behind it, and `ends` the place of each NUL. */
struct gguf_entry {
    struct gguf_value value; /* what callers see; points into the members below */
    char *key;               /* owned, as are the others */
    void *bytes;
    uint64_t *ends;
};

struct gguf_meta {
    struct gguf_entry **entries; /* owned, in order */
    size_t n_entries, capacity;
    struct name_index index;
};

/* Bytes of one element; 0 for strings, arrays and what is not a type. */
size_t gguf_type_bytes(enum gguf_type type);

/* Point entry->value at the entry's own members, for a scalar (is_array false) or an array of
 * `count` elements of `element`. */
void gguf_entry_describe(struct gguf_entry *entry, bool is_array, enum gguf_type element,
                         uint64_t count);

/* Put an entry, whose ownership passes to the set on every outcome, at the place of its key or
 * at the end. */
MUST_CHECK enum status gguf_meta_take(struct gguf_meta *meta, struct gguf_entry *entry,
                                      struct error *err);

void gguf_entry_free(struct gguf_entry *entry); /* NULL is fine */

#endif
