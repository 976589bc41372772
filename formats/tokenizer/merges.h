/*
 * merges.h - which pairs of pieces become one piece, and in which order
 *
 * The rank of a merge is its place in the list: the lowest merges first.
 */
#ifndef FORMATS_TOKENIZER_MERGES_H
#define FORMATS_TOKENIZER_MERGES_H

#include "formats/tokenizer/pieces.h"

#define RANK_NONE UINT32_MAX

struct merge {
    int32_t left, right;
};

struct pair_slot {
    int32_t left, right;
    uint32_t rank; /* RANK_NONE: empty */
    int32_t result;
};

/* Starts as `= {0}`. */
struct merges {
    struct merge *list; /* by rank, owned */
    size_t n, room;
    struct pair_slot *slots; /* owned; a power of two, at most half of them used */
    size_t n_slots;
};

/* Add the next merge, left and right given as texts. ERR_CORRUPT when either of them or what they
 * make is not a piece, or the pair is there already; ERR_UNSUPPORTED for byte pieces, which could
 * merge across characters; ERR_NOMEM. Sentences begin with "merge N". */
MUST_CHECK enum status merges_add(struct merges *merges, const struct pieces *pieces,
                                  const char *left, size_t n_left, const char *right,
                                  size_t n_right, struct error *err);

/* The rank of a pair and the piece it makes; RANK_NONE when it does not merge. */
static inline uint32_t merges_rank(const struct merges *merges, int32_t left,
                                   int32_t right, int32_t *result)
{
    const size_t mask = merges->n_slots - 1;
    const uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i;

    if (merges->n_slots == 0)
        return RANK_NONE;
    i = (size_t)(key * 0x9e3779b97f4a7c15u >> 32) & mask;
    for (; merges->slots[i].rank != RANK_NONE; i = (i + 1) & mask)
        if (merges->slots[i].left == left && merges->slots[i].right == right) {
            *result = merges->slots[i].result;
            return merges->slots[i].rank;
        }
    return RANK_NONE;
}

void merges_free(struct merges *merges);

#endif
