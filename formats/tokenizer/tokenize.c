/*
 * tokenize.c - text to ids: added tokens cut out, the rest merged pair by pair
 *
 * Two characters that stand side by side in no piece can never end up in one, so a text falls
 * apart between them and each part is merged alone: the same ids as over the whole, from short
 * lists. A part is a linked list of symbols with a heap over its pairs; a heap entry is stale
 * when its left symbol's pair has another rank by now.
 */
#include "base/utf8.h"
#include "formats/tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#define NOBODY UINT32_MAX

enum { TEXT_MAX = 1 << 30 };

struct symbol {
    uint32_t begin, n;   /* bytes of the normalized text; n == 0: merged into another */
    uint32_t prev, next; /* NOBODY at the ends */
    int32_t id;          /* -1: not a piece */
    uint32_t rank;       /* of the pair (this, next); RANK_NONE: they do not merge */
    int32_t result;      /* the piece that pair makes */
};

struct encoder {
    const struct tokenizer *tok;
    char *text; /* the part in hand with U+2581 for spaces, owned */
    size_t text_room;
    struct symbol *symbols; /* owned */
    size_t n_symbols, symbol_room;
    uint64_t *heap; /* rank << 32 | symbol, owned */
    size_t n_heap, heap_room;
    int32_t *ids; /* the answer, handed over */
    size_t n_ids, id_room;
};

/* The list with room for more than n things of `size` bytes, perhaps moved; NULL, with the list as
 * it was, when memory is out. */
static void *roomy(void *list, size_t *room, size_t n, size_t size)
{
    size_t more = *room ? 2 * *room : 64;
    void *grown;

    if (n < *room)
        return list;
    while (more <= n)
        more *= 2;
    grown = realloc(list, more * size);
    if (grown)
        *room = more;
    return grown;
}

static bool reserve_ids(struct encoder *enc, size_t n)
{
    int32_t *ids = roomy(enc->ids, &enc->id_room, n, sizeof(*ids));

    if (ids)
        enc->ids = ids;
    return ids;
}

static bool emit(struct encoder *enc, int32_t id)
{
    if (!reserve_ids(enc, enc->n_ids))
        return false;
    enc->ids[enc->n_ids++] = id;
    return true;
}

/* ---- the heap ---- */

static bool heap_push(struct encoder *enc, uint64_t entry)
{
    size_t i = enc->n_heap;
    uint64_t *heap = roomy(enc->heap, &enc->heap_room, i, sizeof(*heap));

    if (!heap)
        return false;
    enc->heap = heap;
    enc->n_heap++;
    for (; i > 0 && heap[(i - 1) / 2] > entry; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = entry;
    return true;
}

static uint64_t heap_pop(struct encoder *enc)
{
    uint64_t *heap = enc->heap;
    const uint64_t top = heap[0], last = heap[--enc->n_heap];
    size_t i = 0;

    for (size_t child; (child = 2 * i + 1) < enc->n_heap; i = child) {
        child += child + 1 < enc->n_heap && heap[child + 1] < heap[child];
        if (heap[child] >= last)
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

/* ---- merging ---- */

/* What two neighbours become: by the list of merges, or by the score of the piece they spell. */
static uint32_t pair_rank(const struct encoder *enc, const struct symbol *left,
                          const struct symbol *right, int32_t *result)
{
    if (enc->tok->kind == VOCABULARY_BPE)
        return merges_rank(&enc->tok->merges, left->id, right->id, result);
    *result = pieces_find(&enc->tok->pieces, enc->text + left->begin, left->n + right->n);
    return *result < 0 ? RANK_NONE : enc->tok->ranks[*result];
}

/* Look at the pair that begins with symbol i again. */
static bool update_pair(struct encoder *enc, uint32_t i)
{
    struct symbol *left = &enc->symbols[i];

    left->rank = RANK_NONE;
    if (left->next == NOBODY)
        return true;
    left->rank = pair_rank(enc, left, &enc->symbols[left->next], &left->result);
    return left->rank == RANK_NONE || heap_push(enc, (uint64_t)left->rank << 32 | i);
}

static bool merge_pair(struct encoder *enc, uint32_t i)
{
    struct symbol *left = &enc->symbols[i], *right = &enc->symbols[left->next];

    left->id = left->result;
    left->n += right->n;
    left->next = right->next;
    right->n = 0;
    right->rank = RANK_NONE;
    if (left->next != NOBODY)
        enc->symbols[left->next].prev = i;
    return (left->prev == NOBODY || update_pair(enc, left->prev)) && update_pair(enc, i);
}

/* A symbol that is no piece becomes its bytes; without byte pieces, one unknown token for a run. */
static bool emit_bytes(struct encoder *enc, const struct symbol *symbol)
{
    const unsigned char *text = (const unsigned char *)enc->text + symbol->begin;
    const int32_t unknown = enc->tok->ids[SPECIAL_UNK];
    bool has_all = true;

    for (uint32_t i = 0; i < symbol->n; i++)
        has_all = has_all && enc->tok->byte_ids[text[i]] >= 0;
    if (!has_all)
        return unknown < 0 || (enc->n_ids > 0 && enc->ids[enc->n_ids - 1] == unknown) ||
               emit(enc, unknown);
    for (uint32_t i = 0; i < symbol->n; i++)
        if (!emit(enc, enc->tok->byte_ids[text[i]]))
            return false;
    return true;
}

/* Merge the symbols in hand, write their ids and begin anew. */
static bool flush(struct encoder *enc)
{
    const size_t n = enc->n_symbols;

    enc->n_symbols = 0;
    enc->n_heap = 0;
    if (n == 0)
        return true;
    enc->symbols[n - 1].next = NOBODY;
    for (size_t i = 0; i + 1 < n; i++)
        if (!update_pair(enc, (uint32_t)i))
            return false;
    while (enc->n_heap > 0) {
        const uint64_t entry = heap_pop(enc);
        const uint32_t i = (uint32_t)entry;

        if (enc->symbols[i].rank == (uint32_t)(entry >> 32) && !merge_pair(enc, i))
            return false;
    }
    for (uint32_t i = 0; i != NOBODY; i = enc->symbols[i].next) {
        const struct symbol *symbol = &enc->symbols[i];

        if (symbol->id >= 0 ? !emit(enc, symbol->id) : !emit_bytes(enc, symbol))
            return false;
    }
    return true;
}

/* ---- characters ---- */

static bool add_symbol(struct encoder *enc, size_t begin, size_t n, int32_t id)
{
    const uint32_t i = (uint32_t)enc->n_symbols;
    struct symbol *symbols = roomy(enc->symbols, &enc->symbol_room, i, sizeof(*symbols));

    if (!symbols)
        return false;
    enc->symbols = symbols;
    symbols[i] = (struct symbol){.begin = (uint32_t)begin,
                                 .n = (uint32_t)n,
                                 .prev = i ? i - 1 : NOBODY,
                                 .next = i + 1,
                                 .id = id,
                                 .rank = RANK_NONE};
    enc->n_symbols++;
    return true;
}

/* Copy a part of the text with U+2581 for spaces; returns its length. */
static bool normalize(struct encoder *enc, const char *text, size_t n, size_t *length)
{
    char *out = roomy(enc->text, &enc->text_room, 3 * n, 1);

    if (!out)
        return false;
    enc->text = out;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            memcpy(out, "\xe2\x96\x81", 3);
            out += 3;
        } else {
            *out++ = text[i];
        }
    }
    *length = (size_t)(out - enc->text);
    return true;
}

/* Encode text between added tokens. */
static bool encode_plain(struct encoder *enc, const char *text, size_t n)
{
    const struct tokenizer *tok = enc->tok;
    uint32_t last = 0;
    size_t length, at = 0, end;

    if (!normalize(enc, text, n, &end))
        return false;
    for (; at < end; at += length) {
        const char *p = enc->text + at;
        uint32_t c;
        int32_t id;

        length = utf8_length(p, end - at);
        /* A byte that is not UTF-8 stands alone, beyond all characters. */
        c = length ? utf8_decode(p, length) : 0x110000u + (unsigned char)*p;
        length += length == 0;
        id = c < BMP ? tok->leaves[c] : pieces_find(&tok->pieces, p, length);
        if (enc->n_symbols > 0 && !vocabulary_joins(tok, last, c) && !flush(enc))
            return false;
        if (!add_symbol(enc, at, length, c < 0x110000u ? id : -1))
            return false;
        last = c;
    }
    return flush(enc);
}

/* SentencePiece models may want a space before the text and after each special token. */
static bool encode_part(struct encoder *enc, const char *text, size_t n)
{
    char *spaced;
    bool is_done;

    if (n == 0)
        return true;
    if (!enc->tok->adds_space)
        return encode_plain(enc, text, n);
    spaced = malloc(n + 1);
    if (!spaced)
        return false;
    spaced[0] = ' ';
    memcpy(spaced + 1, text, n);
    is_done = encode_plain(enc, spaced, n + 1);
    free(spaced);
    return is_done;
}

static bool encode(struct encoder *enc, const char *text, size_t n, unsigned flags)
{
    const int32_t bos = enc->tok->ids[SPECIAL_BOS], eos = enc->tok->ids[SPECIAL_EOS];
    const bool wants_bos = flags & TOKENIZE_BOS && tokenizer_adds_bos(enc->tok);
    struct pattern_match match;
    size_t at = 0;

    if (wants_bos && !emit(enc, bos))
        return false;
    while (patterns_next(enc->tok, text, n, at, flags & TOKENIZE_SPECIAL, &match)) {
        const bool is_second_bos =
            wants_bos && match.id == bos && enc->n_ids == 1 && match.begin == 0;

        if (!encode_part(enc, text + at, match.begin - at) ||
            (!is_second_bos && !emit(enc, match.id)))
            return false;
        at = match.begin + match.n;
    }
    if (!encode_part(enc, text + at, n - at))
        return false;
    return !(flags & TOKENIZE_EOS && tokenizer_adds_eos(enc->tok)) || emit(enc, eos);
}

enum status tokenizer_encode(const struct tokenizer *tok, const char *text, size_t n,
                             unsigned flags, int32_t **ids, size_t *n_ids,
                             struct error *err)
{
    struct encoder enc = {.tok = tok};
    bool is_done;

    if (n >= TEXT_MAX)
        return fail(err, ERR_USAGE, "a text of %zu bytes is too long to encode at once",
                    n);
    is_done = reserve_ids(&enc, n / 4) && encode(&enc, text, n, flags);
    free(enc.text);
    free(enc.symbols);
    free(enc.heap);
    if (!is_done) {
        free(enc.ids);
        return fail(err, ERR_NOMEM, "no memory to encode %zu bytes of text", n);
    }
    *ids = enc.ids;
    *n_ids = enc.n_ids;
    return OK;
}
