/*
 * pieces.c - texts by id, and a hash table back
 */
#include "formats/tokenizer/pieces.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024, FIRST_IDS = 512, FIRST_TEXT = 4096 };

bool pieces_has(const struct pieces *pieces, size_t id)
{
    return id < pieces->n && pieces->at[id].begin != PIECE_HOLE;
}

const char *pieces_text(const struct pieces *pieces, size_t id, size_t *n)
{
    if (!pieces_has(pieces, id)) {
        *n = 0;
        return "";
    }
    *n = pieces->at[id].n;
    return pieces->text + pieces->at[id].begin;
}

/* The slot of a text, or the empty one where it belongs. */
static struct piece_slot *locate(const struct pieces *pieces, const char *text, size_t n,
                                 uint64_t hash)
{
    const size_t mask = pieces->n_slots - 1;
    const uint32_t tag = (uint32_t)(hash >> 32);
    size_t i = (size_t)hash & mask;

    for (; pieces->slots[i].id1; i = (i + 1) & mask) {
        const struct piece_place *at = &pieces->at[pieces->slots[i].id1 - 1];

        if (pieces->slots[i].hash == tag && at->n == n &&
            memcmp(pieces->text + at->begin, text, n) == 0)
            break;
    }
    return &pieces->slots[i];
}

int32_t pieces_find(const struct pieces *pieces, const char *text, size_t n)
{
    if (pieces->n_slots == 0)
        return -1;
    return (int32_t)locate(pieces, text, n, hash_bytes(text, n))->id1 - 1;
}

static bool grow_slots(struct pieces *pieces)
{
    const size_t n_slots = pieces->n_slots ? 2 * pieces->n_slots : FIRST_SLOTS;
    struct piece_slot *slots = calloc(n_slots, sizeof(*slots));

    if (!slots)
        return false;
    free(pieces->slots);
    pieces->slots = slots;
    pieces->n_slots = n_slots;
    for (size_t id = 0; id < pieces->n; id++) {
        const char *text = pieces->text + pieces->at[id].begin;
        uint64_t hash;

        if (!pieces_has(pieces, id))
            continue;
        hash = hash_bytes(text, pieces->at[id].n);
        *locate(pieces, text, pieces->at[id].n, hash) =
            (struct piece_slot){(uint32_t)(hash >> 32), (uint32_t)id + 1};
    }
    return true;
}

static bool grow_ids(struct pieces *pieces, size_t n)
{
    size_t room = pieces->room ? pieces->room : FIRST_IDS;
    struct piece_place *at;

    while (room < n)
        room *= 2;
    at = room > pieces->room ? realloc(pieces->at, room * sizeof(*at)) : pieces->at;
    if (!at)
        return false;
    pieces->at = at;
    pieces->room = room;
    for (; pieces->n < n; pieces->n++)
        at[pieces->n] = (struct piece_place){PIECE_HOLE, 0};
    return true;
}

static bool grow_text(struct pieces *pieces, size_t n)
{
    size_t room = pieces->text_room ? pieces->text_room : FIRST_TEXT;
    char *text;

    while (room < pieces->n_text + n)
        room *= 2;
    text = room > pieces->text_room ? realloc(pieces->text, room) : pieces->text;
    if (!text)
        return false;
    pieces->text = text;
    pieces->text_room = room;
    return true;
}

/* What stands in the way of a new piece. */
static enum status check(const struct pieces *pieces, uint64_t id, const char *text,
                         size_t n, struct error *err)
{
    int32_t twin;
    size_t n_old;

    if (id >= PIECES_MAX)
        return fail(err, ERR_UNSUPPORTED, "piece \"%.*s\" has id %llu, the limit is %d",
                    piece_shown(n), text, (unsigned long long)id, PIECES_MAX - 1);
    if (n >= PIECE_MAX_BYTES || pieces->n_text + n + 1 >= PIECE_HOLE)
        return fail(err, ERR_UNSUPPORTED, "piece %llu is %zu bytes long",
                    (unsigned long long)id, n);
    if (pieces_has(pieces, (size_t)id))
        return fail(err, ERR_CORRUPT, "two pieces have id %llu: \"%.40s\" and \"%.*s\"",
                    (unsigned long long)id, pieces_text(pieces, (size_t)id, &n_old),
                    piece_shown(n), text);
    twin = pieces_find(pieces, text, n);
    if (twin >= 0)
        return fail(err, ERR_CORRUPT, "piece \"%.*s\" is there twice, as %d and as %llu",
                    piece_shown(n), text, (int)twin, (unsigned long long)id);
    return OK;
}

enum status pieces_set(struct pieces *pieces, uint64_t id, const char *text, size_t n,
                       struct error *err)
{
    enum status st = check(pieces, id, text, n, err);
    uint64_t hash;

    if (st != OK)
        return st;
    if (!grow_text(pieces, n + 1) ||
        (id >= pieces->n && !grow_ids(pieces, (size_t)id + 1)) ||
        (2 * (pieces->n_set + 1) > pieces->n_slots && !grow_slots(pieces)))
        return fail(err, ERR_NOMEM, "no memory for a vocabulary of %zu pieces",
                    pieces->n);

    hash = hash_bytes(text, n);
    *locate(pieces, text, n, hash) =
        (struct piece_slot){(uint32_t)(hash >> 32), (uint32_t)id + 1};
    pieces->at[id] = (struct piece_place){(uint32_t)pieces->n_text, (uint32_t)n};
    memcpy(pieces->text + pieces->n_text, text, n);
    pieces->text[pieces->n_text + n] = '\0';
    pieces->n_text += n + 1;
    pieces->n_set++;
    return OK;
}

void pieces_free(struct pieces *pieces)
{
    free(pieces->text);
    free(pieces->at);
    free(pieces->slots);
    *pieces = (struct pieces){0};
}
