/*
 * names.c - a hash table of borrowed names: linear probing, doubled when half full
 */
#include "formats/names/names.h"
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 64 };

/* The slot that holds `name`, or the empty one where it belongs. */
static struct name_slot *locate(const struct name_index *index, const char *name)
{
    size_t mask = index->n_slots - 1;
    size_t i = (size_t)hash_bytes(name, strlen(name)) & mask;

    while (index->slots[i].name && strcmp(index->slots[i].name, name) != 0)
        i = (i + 1) & mask;
    return &index->slots[i];
}

int64_t name_index_find(const struct name_index *index, const char *name)
{
    const struct name_slot *slot;

    if (index->n_slots == 0)
        return -1;
    slot = locate(index, name);
    return slot->name ? (int64_t)slot->position : -1;
}

static bool grow(struct name_index *index)
{
    struct name_index bigger = {.n_slots =
                                    index->n_slots ? 2 * index->n_slots : FIRST_SLOTS};

    bigger.slots = calloc(bigger.n_slots, sizeof(*bigger.slots));
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < index->n_slots; i++)
        if (index->slots[i].name)
            *locate(&bigger, index->slots[i].name) = index->slots[i];
    bigger.n_names = index->n_names;
    free(index->slots);
    *index = bigger;
    return true;
}

bool name_index_add(struct name_index *index, const char *name, size_t position)
{
    if (2 * (index->n_names + 1) > index->n_slots && !grow(index))
        return false;
    *locate(index, name) = (struct name_slot){.name = name, .position = position};
    index->n_names++;
    return true;
}

void name_index_clear(struct name_index *index)
{
    if (index->n_slots)
        memset(index->slots, 0, index->n_slots * sizeof(*index->slots));
    index->n_names = 0;
}

void name_index_free(struct name_index *index)
{
    free(index->slots);
    *index = (struct name_index){0};
}
