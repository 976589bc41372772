/*
 * vocabulary.c - from pieces, types, merges and scores to what encoding and printing need
 */
#include "formats/tokenizer/vocabulary.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* ---- special ids ---- */

const char *special_name(enum special special)
{
    static const char *const names[SPECIAL_COUNT] = {"bos", "eos",  "unk", "sep", "pad",
                                                     "cls", "mask", "eot", "eom"};
    return names[special];
}

void vocabulary_set_special(struct tokenizer *tok, enum special special, int32_t id)
{
    if (tok->ids[special] >= 0)
        return;
    tok->ids[special] = id;
    tok->order[tok->n_order++] = special;
}

void vocabulary_set_adds(struct tokenizer *tok, enum special special, bool value)
{
    for (int i = 0; i < tok->n_adds; i++)
        if (tok->adds[i].special == special) {
            tok->adds[i].value = value;
            return;
        }
    if (tok->n_adds < SPECIAL_FLAGS) {
        tok->adds[tok->n_adds].special = special;
        tok->adds[tok->n_adds++].value = value;
    }
}

bool vocabulary_adds(const struct tokenizer *tok, enum special special, bool unless_said)
{
    for (int i = 0; i < tok->n_adds; i++)
        if (tok->adds[i].special == special)
            return tok->adds[i].value;
    return unless_said;
}

/* ---- byte pieces ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int byte_of_piece(const char *text, size_t n)
{
    int high, low;

    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    high = hex_value(text[3]);
    low = hex_value(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static void find_bytes(struct tokenizer *tok)
{
    for (int i = 0; i < 256; i++)
        tok->byte_ids[i] = -1;
    for (size_t id = 0; id < tok->pieces.n; id++) {
        size_t n;
        const char *text = pieces_text(&tok->pieces, id, &n);
        const int byte = byte_of_piece(text, n);

        if (byte >= 0)
            tok->byte_ids[byte] = (int32_t)id;
    }
}

/* ---- characters ---- */

static void set_join(struct tokenizer *tok, uint32_t left, uint32_t right)
{
    const uint64_t key = (uint64_t)left << 32 | right;
    const uint64_t bit = key * 0x9e3779b97f4a7c15u >> (64 - JOIN_BITS);

    tok->joins[bit / 64] |= (uint64_t)1 << (bit % 64);
}

/* Note the neighbours in one piece, and the piece itself if it is one character. Pieces that no
 * merge makes add neighbours that never meet; that costs a little time and is never wrong. */
static void note_characters(struct tokenizer *tok, size_t id)
{
    uint32_t last = 0;
    size_t n, at = 0, length;
    const char *text = pieces_text(&tok->pieces, id, &n);

    while (at < n && (length = utf8_length(text + at, n - at)) > 0) {
        const uint32_t c = utf8_decode(text + at, length);

        if (at > 0)
            set_join(tok, last, c);
        else if (length == n && c < BMP)
            tok->leaves[c] = (int32_t)id;
        last = c;
        at += length;
    }
}

static bool find_characters(struct tokenizer *tok)
{
    tok->leaves = malloc(BMP * sizeof(*tok->leaves));
    tok->joins = calloc(((size_t)1 << JOIN_BITS) / 64, sizeof(*tok->joins));
    if (!tok->leaves || !tok->joins)
        return false;
    for (size_t c = 0; c < BMP; c++)
        tok->leaves[c] = -1;
    for (size_t id = 0; id < tok->pieces.n; id++)
        note_characters(tok, id);
    return true;
}

/* ---- scores as ranks ---- */

struct scored {
    float score;
    uint32_t id;
};

/* Best score first. */
static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    return (x->score < y->score) - (x->score > y->score);
}

/* Equal scores share a rank, so that the leftmost pair wins. */
static bool rank_scores(struct tokenizer *tok)
{
    const size_t n = tok->pieces.n;
    struct scored *sorted = malloc((n + 1) * sizeof(*sorted));

    tok->ranks = malloc((n + 1) * sizeof(*tok->ranks));
    if (!sorted || !tok->ranks) {
        free(sorted);
        return false;
    }
    for (size_t id = 0; id < n; id++)
        sorted[id] = (struct scored){tok->scores[id], (uint32_t)id};
    qsort(sorted, n, sizeof(*sorted), by_score);
    for (size_t i = 0; i < n; i++) {
        const bool is_tie = i > 0 && by_score(&sorted[i - 1], &sorted[i]) == 0;

        tok->ranks[sorted[i].id] = is_tie ? tok->ranks[sorted[i - 1].id] : (uint32_t)i;
    }
    free(sorted);
    return true;
}

/* ---- printing ---- */

static const char SPACE_MARK[] = "\xe2\x96\x81"; /* U+2581 */

/* Copy a text with spaces for U+2581; returns its new length. */
static size_t spaced(char *out, const char *text, size_t n)
{
    size_t length = 0;

    for (size_t i = 0; i < n; length++) {
        const bool is_mark = n - i >= 3 && memcmp(text + i, SPACE_MARK, 3) == 0;

        out[length] = is_mark ? ' ' : text[i];
        i += is_mark ? 3 : 1;
    }
    return length;
}

static bool print_pieces(struct tokenizer *tok)
{
    const struct pieces *pieces = &tok->pieces;
    size_t used = 0;

    tok->printed = calloc(pieces->n + 1, sizeof(*tok->printed));
    tok->print_text = malloc(pieces->n_text + 1);
    if (!tok->printed || !tok->print_text)
        return false;
    for (size_t id = 0; id < pieces->n; id++) {
        char *out = tok->print_text + used;
        size_t n;
        const char *text = pieces_text(pieces, id, &n);
        const int byte = tok->types[id] == PIECE_BYTE ? byte_of_piece(text, n) : -1;

        tok->printed[id].begin = (uint32_t)used;
        if (byte >= 0) {
            out[0] = (char)byte;
            n = 1;
        } else {
            n = spaced(out, text, n);
        }
        tok->printed[id].n = (uint32_t)n;
        used += n;
    }
    return true;
}

/* ---- all of it ---- */

struct tokenizer *vocabulary_new(void)
{
    struct tokenizer *tok = calloc(1, sizeof(*tok));

    for (int i = 0; tok && i < SPECIAL_COUNT; i++)
        tok->ids[i] = tok->fallback[i] = -1;
    return tok;
}

enum status vocabulary_make_room(struct tokenizer *tok, bool with_scores,
                                 struct error *err)
{
    const size_t n = tok->pieces.n + 1; /* never 0, so NULL means trouble */

    tok->types = malloc(n);
    tok->flags = calloc(n, 1);
    tok->scores = with_scores ? calloc(n, sizeof(*tok->scores)) : NULL;
    if (!tok->types || !tok->flags || (with_scores && !tok->scores))
        return fail(err, ERR_NOMEM, "no memory for a vocabulary of %zu pieces", n - 1);
    memset(tok->types, PIECE_NORMAL, n);
    return OK;
}

enum status vocabulary_finish(struct tokenizer *tok, struct error *err)
{
    for (int i = 0; i < SPECIAL_COUNT; i++)
        if (tok->ids[i] >= 0 && (size_t)tok->ids[i] >= tok->pieces.n)
            return fail(err, ERR_CORRUPT,
                        "the %s token has id %d, but there are %zu pieces",
                        special_name((enum special)i), (int)tok->ids[i], tok->pieces.n);
    find_bytes(tok);
    vocabulary_find_ends(tok);
    if (!find_characters(tok) || !print_pieces(tok) ||
        (tok->kind == VOCABULARY_SPM && !rank_scores(tok)))
        return fail(err, ERR_NOMEM, "no memory for a vocabulary of %zu pieces",
                    tok->pieces.n);
    return patterns_collect(tok, err);
}

void tokenizer_free(struct tokenizer *tok)
{
    if (!tok)
        return;
    pieces_free(&tok->pieces);
    merges_free(&tok->merges);
    free(tok->types);
    free(tok->flags);
    free(tok->scores);
    free(tok->leaves);
    free(tok->ranks);
    free(tok->joins);
    free(tok->patterns);
    free(tok->printed);
    free(tok->print_text);
    free(tok);
}
