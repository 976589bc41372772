/*
 * names.h - find things by their name in constant time
 *
 * Open addressing over borrowed strings; half of the slots at least stay empty. It answers
 * with the position the name was added with and keeps no order of its own.
 */
#ifndef FORMATS_NAMES_NAMES_H
#define FORMATS_NAMES_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct name_slot {
    const char *name; /* NULL: empty */
    size_t position;
};

/* Starts as `= {0}`. */
struct name_index {
    struct name_slot *slots; /* owned */
    size_t n_slots;          /* a power of two, or 0 */
    size_t n_names;
};

/* The position that `name` was added with, or -1. */
int64_t name_index_find(const struct name_index *index, const char *name);

/* Add a name that is not there yet; the string must outlive the index. False when memory is
 * out. */
bool name_index_add(struct name_index *index, const char *name, size_t position);

/* Forget every name but keep the room: adding as many again cannot fail. */
void name_index_clear(struct name_index *index);

void name_index_free(struct name_index *index);

#endif
