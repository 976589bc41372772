/*
 * pieces.h - the texts of a vocabulary, by id and by text
 *
 * Texts stand back to back in one block, each with a NUL after it. An id nobody set is a hole.
 */
#ifndef FORMATS_TOKENIZER_PIECES_H
#define FORMATS_TOKENIZER_PIECES_H

#include "base/base.h"

struct piece_place {
    uint32_t begin, n; /* bytes; begin is PIECE_HOLE where the id is a hole */
};

struct piece_slot {
    uint32_t hash; /* the upper half of the text's hash: most misses end here */
    uint32_t id1;  /* id + 1; 0: empty */
};

enum {
    PIECES_MAX = 1 << 24,      /* ids */
    PIECE_MAX_BYTES = 1 << 12, /* of one text; the longest of Gemma's has 93 */
};

#define PIECE_HOLE UINT32_MAX

/* Starts as `= {0}`. */
struct pieces {
    char *text; /* owned */
    size_t n_text, text_room;
    struct piece_place *at;   /* by id, owned */
    size_t n, room;           /* one more than the highest id */
    size_t n_set;             /* ids that are no holes */
    struct piece_slot *slots; /* owned; a power of two, at most half of them used */
    size_t n_slots;
};

/* How many of a text's n bytes a sentence shows, for "%.*s": texts come from within files, where
 * nothing ends them. */
static inline int piece_shown(size_t n)
{
    return n < 40 ? (int)n : 40;
}

/* Give `id` its text. ERR_CORRUPT when the id or the text is there already (the sentence names
 * both), ERR_UNSUPPORTED beyond the limits above, ERR_NOMEM. */
MUST_CHECK enum status pieces_set(struct pieces *pieces, uint64_t id, const char *text,
                                  size_t n, struct error *err);

/* The id of a text, or -1. */
int32_t pieces_find(const struct pieces *pieces, const char *text, size_t n);

/* The text of id < n, NUL-terminated; "" for a hole. */
const char *pieces_text(const struct pieces *pieces, size_t id, size_t *n);

bool pieces_has(const struct pieces *pieces, size_t id);

void pieces_free(struct pieces *pieces);

#endif
