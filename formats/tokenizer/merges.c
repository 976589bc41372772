/*
 * merges.c - the list of merges and a hash table over its pairs
 */
#include "formats/tokenizer/merges.h"
#include "formats/tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 2048, MERGES_MAX = 1 << 26 };

static struct pair_slot *locate(const struct merges *merges, int32_t left, int32_t right)
{
    const size_t mask = merges->n_slots - 1;
    const uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)(key * 0x9e3779b97f4a7c15u >> 32) & mask;

    while (merges->slots[i].rank != RANK_NONE &&
           (merges->slots[i].left != left || merges->slots[i].right != right))
        i = (i + 1) & mask;
    return &merges->slots[i];
}

static bool grow(struct merges *merges)
{
    const size_t n_slots = merges->n_slots ? 2 * merges->n_slots : FIRST_SLOTS;
    const size_t n_old = merges->n_slots;
    struct pair_slot *old = merges->slots, *slots = malloc(n_slots * sizeof(*slots));
    struct merge *list = realloc(merges->list, n_slots / 2 * sizeof(*list));

    if (list)
        merges->list = list;
    if (!slots || !list) {
        free(slots);
        return false;
    }
    for (size_t i = 0; i < n_slots; i++)
        slots[i] = (struct pair_slot){.rank = RANK_NONE};
    merges->slots = slots;
    merges->n_slots = n_slots;
    merges->room = n_slots / 2;
    for (size_t i = 0; i < n_old; i++)
        if (old[i].rank != RANK_NONE)
            *locate(merges, old[i].left, old[i].right) = old[i];
    free(old);
    return true;
}

/* The piece a pair makes, or -1. */
static int32_t joined(const struct pieces *pieces, const char *left, size_t n_left,
                      const char *right, size_t n_right)
{
    char both[2 * PIECE_MAX_BYTES];

    memcpy(both, left, n_left);
    memcpy(both + n_left, right, n_right);
    return pieces_find(pieces, both, n_left + n_right);
}

/* Both parts must be pieces, and no byte pieces. */
static enum status find_part(const struct merges *merges, const struct pieces *pieces,
                             const char *text, size_t n, int32_t *id, struct error *err)
{
    *id = pieces_find(pieces, text, n);
    if (*id < 0)
        return fail(err, ERR_CORRUPT, "merge %zu: \"%.*s\" is not in the vocabulary",
                    merges->n, piece_shown(n), text);
    return OK;
}

enum status merges_add(struct merges *merges, const struct pieces *pieces,
                       const char *left, size_t n_left, const char *right, size_t n_right,
                       struct error *err)
{
    struct pair_slot made = {.rank = (uint32_t)merges->n}, *slot;
    enum status st = find_part(merges, pieces, left, n_left, &made.left, err);

    if (st == OK)
        st = find_part(merges, pieces, right, n_right, &made.right, err);
    if (st != OK)
        return st;
    made.result = joined(pieces, left, n_left, right, n_right);
    if (made.result < 0)
        return fail(err, ERR_CORRUPT,
                    "merge %zu: \"%.*s\" and \"%.*s\" make a text that is not in the "
                    "vocabulary",
                    merges->n, piece_shown(n_left), left, piece_shown(n_right), right);
    if (byte_of_piece(left, n_left) >= 0 || byte_of_piece(right, n_right) >= 0)
        return fail(err, ERR_UNSUPPORTED,
                    "merge %zu: merges of byte pieces are not supported", merges->n);
    if (merges->n >= MERGES_MAX)
        return fail(err, ERR_UNSUPPORTED, "more than %d merges", MERGES_MAX);
    if (merges->n == merges->room && !grow(merges))
        return fail(err, ERR_NOMEM, "no memory for %zu merges", merges->n);

    slot = locate(merges, made.left, made.right);
    if (slot->rank != RANK_NONE)
        return fail(err, ERR_CORRUPT,
                    "merge %zu: \"%.*s\" and \"%.*s\" are merge %u already", merges->n,
                    piece_shown(n_left), left, piece_shown(n_right), right,
                    (unsigned)slot->rank);
    *slot = made;
    merges->list[merges->n++] = (struct merge){made.left, made.right};
    return OK;
}

void merges_free(struct merges *merges)
{
    free(merges->list);
    free(merges->slots);
    *merges = (struct merges){0};
}
