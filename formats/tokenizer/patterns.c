/*
 * patterns.c - added tokens in a text: leftmost first, then longest
 *
 * Sorted by text, all patterns that share a prefix are one range: walking down a text narrows the
 * range byte by byte, without a tree.
 */
#include "base/utf8.h"
#include "formats/tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
    const struct pattern *x = a, *y = b;
    const int order = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static bool is_pattern(const struct tokenizer *tok, size_t id)
{
    const uint8_t type = tok->types[id];

    return (type == PIECE_CONTROL || type == PIECE_USER || type == PIECE_UNKNOWN) &&
           pieces_has(&tok->pieces, id) && tok->pieces.at[id].n > 0;
}

enum status patterns_collect(struct tokenizer *tok, struct error *err)
{
    size_t n = 0;

    for (size_t id = 0; id < tok->pieces.n; id++)
        n += is_pattern(tok, id);
    tok->patterns = malloc((n + 1) * sizeof(*tok->patterns));
    if (!tok->patterns)
        return fail(err, ERR_NOMEM, "no memory for %zu added tokens", n);
    for (size_t id = 0; id < tok->pieces.n; id++) {
        struct pattern *p = &tok->patterns[tok->n_patterns];
        size_t length;

        if (!is_pattern(tok, id))
            continue;
        p->text = pieces_text(&tok->pieces, id, &length);
        p->n = (uint32_t)length;
        p->id = (int32_t)id;
        tok->n_patterns++;
    }
    qsort(tok->patterns, n, sizeof(*tok->patterns), by_text);
    for (size_t i = 0, c = 0; c <= 256; c++) {
        while (i < n && (unsigned char)tok->patterns[i].text[0] < c)
            i++;
        tok->first_byte[c] = (uint32_t)i;
    }
    return OK;
}

/* ---- blanks and words around a match ---- */

static bool is_blank(uint32_t c)
{
    return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* Characters beyond ASCII count as letters unless they are blanks or general punctuation. */
static bool is_word(uint32_t c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
               (c >= 'a' && c <= 'z') || c == '_';
    return !is_blank(c) && c >= 0xaa && !(c >= 0x2000 && c <= 0x206f) &&
           !(c >= 0x3000 && c <= 0x3004);
}

/* The character that begins at (or, `before`, ends at) `at`, and its bytes; 0 at an end. */
static uint32_t character(const char *text, size_t n, size_t at, bool before,
                          size_t *length)
{
    size_t begin = at;

    *length = 0;
    if (before) {
        while (begin > 0 && at - begin < 4 &&
               ((unsigned char)text[begin - 1] & 0xc0) == 0x80)
            begin--;
        begin -= begin > 0;
        n = at;
    }
    if (begin == n)
        return 0;
    *length = utf8_length(text + begin, n - begin);
    if (*length == 0 || (before && begin + *length != at)) {
        *length = 0;
        return 0;
    }
    return utf8_decode(text + begin, *length);
}

static void widen(struct pattern_match *match, uint8_t flags, const char *text, size_t n,
                  size_t from)
{
    size_t length;

    while (flags & ADDED_LSTRIP && match->begin > from &&
           is_blank(character(text, n, match->begin, true, &length)) && length > 0) {
        match->begin -= length;
        match->n += length;
    }
    while (flags & ADDED_RSTRIP &&
           is_blank(character(text, n, match->begin + match->n, false, &length)) &&
           length > 0)
        match->n += length;
}

static bool stands_alone(const struct pattern_match *match, const char *text, size_t n)
{
    size_t length;

    return !is_word(character(text, n, match->begin, true, &length)) &&
           !is_word(character(text, n, match->begin + match->n, false, &length));
}

/* ---- the search ---- */

/* The first pattern in [lo, hi) whose byte at `depth` is not below c. All share `depth` bytes;
 * one that ends there comes first and has no such byte. */
static size_t lower_bound(const struct pattern *patterns, size_t lo, size_t hi,
                          size_t depth, unsigned c)
{
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;

        if (patterns[mid].n <= depth || (unsigned char)patterns[mid].text[depth] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool is_wanted(const struct tokenizer *tok, int32_t id, bool with_special)
{
    return with_special || tok->types[id] == PIECE_USER;
}

/* The longest wanted pattern at the start of text, or NULL. */
static const struct pattern *longest(const struct tokenizer *tok, const char *text,
                                     size_t n, bool with_special)
{
    const struct pattern *patterns = tok->patterns, *best = NULL;
    const unsigned first = (unsigned char)text[0];
    size_t lo = tok->first_byte[first], hi = tok->first_byte[first + 1];

    for (size_t depth = 1; lo < hi; depth++) {
        if (patterns[lo].n == depth && is_wanted(tok, patterns[lo].id, with_special))
            best = &patterns[lo];
        if (depth == n)
            break;
        lo = lower_bound(patterns, lo, hi, depth, (unsigned char)text[depth]);
        hi = lower_bound(patterns, lo, hi, depth,
                         (unsigned)(unsigned char)text[depth] + 1);
    }
    return best;
}

bool patterns_next(const struct tokenizer *tok, const char *text, size_t n, size_t at,
                   bool with_special, struct pattern_match *match)
{
    for (size_t i = at; i < n; i++) {
        const unsigned c = (unsigned char)text[i];
        const struct pattern *found;

        if (tok->first_byte[c] == tok->first_byte[c + 1])
            continue;
        found = longest(tok, text + i, n - i, with_special);
        if (!found)
            continue;
        *match = (struct pattern_match){.begin = i, .n = found->n, .id = found->id};
        if (tok->flags[found->id] & ADDED_SINGLE_WORD && !stands_alone(match, text, n))
            continue;
        widen(match, tok->flags[found->id], text, n, at);
        return true;
    }
    return false;
}
