/*
 * pattern.c - check expressions, match them
 */
#include "convert/checkpoint/pattern.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>

enum { SIGNS_MOST = 24, ENTRIES_MOST = 1024 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Letters, digits, "_", "-" and dots, bare or escaped: nothing that needs the matcher. */
static bool is_name(const char *expression)
{
    for (const char *p = expression; *p; p++) {
        const bool is_word = is_letter(*p) || is_digit(*p) || *p == '_' || *p == '-';

        if (!is_word && *p != '.' && !(p[0] == '\\' && p[1] == '.'))
            return false;
    }
    return true;
}

/* Bytes of the text that a name fits at its beginning, or -1. */
static int64_t name_fits(const char *name, const char *text)
{
    const char *at = text;

    for (; *name; name++, at++) {
        const bool is_any = *name == '.';

        name += *name == '\\';
        if (*at == '\0' || (!is_any && *at != *name))
            return -1;
    }
    return at - text;
}

static bool name_matches(const char *name, const char *text, bool whole)
{
    for (const char *at = text; *at; at++) {
        const bool may_begin = !whole || at == text || at[-1] == '.';
        const int64_t n = may_begin ? name_fits(name, at) : -1;

        if (n >= 0 && (!whole || at[n] == '\0'))
            return true;
    }
    return false;
}

/* ---- as POSIX writes it ---- */

enum { POSIX_BYTES = 4 * PATTERN_BYTES, ASCII = 128 };

struct posix {
    char text[POSIX_BYTES];
    size_t n;
    bool is_full;
};

static void put(struct posix *out, const char *bytes, size_t n)
{
    out->is_full = out->is_full || n >= POSIX_BYTES - out->n;
    if (out->is_full)
        return;
    memcpy(out->text + out->n, bytes, n);
    out->n += n;
    out->text[out->n] = '\0';
}

/* Whether c is in the class that "\d", "\w" or "\s" stands for. */
static bool in_class(char letter, char c)
{
    if (letter == 's')
        return c == ' ' || (c >= '\t' && c <= '\r');
    return is_digit(c) || (letter == 'w' && (is_letter(c) || c == '_'));
}

/* Add a class to a set; of an upper-case letter, what is not in it. False: the letter has none. */
static bool add_class(char letter, bool in[ASCII])
{
    const bool is_other = letter == 'D' || letter == 'W' || letter == 'S';
    const char lower = (char)(is_other ? letter - 'A' + 'a' : letter);

    if (lower != 'd' && lower != 'w' && lower != 's')
        return false;
    for (int c = 1; c < ASCII; c++)
        in[c] = in[c] || in_class(lower, (char)c) != is_other;
    return true;
}

/* The byte at *at, bare or escaped, and behind it; 0 when it is none that can be told. */
static int set_byte(const char **at)
{
    const bool is_escaped = **at == '\\';
    const char c = (*at)[is_escaped];

    if (c == '\0' || (unsigned char)c >= ASCII ||
        (is_escaped && (is_letter(c) || is_digit(c))))
        return 0;
    *at += 1 + is_escaped;
    return c;
}

/* What stands between brackets: *at is behind "[" or "[^", and left behind "]". In Python a backslash
 * escapes here too, in POSIX it is a byte like any other. */
static bool read_set(const char **at, bool in[ASCII])
{
    const char *first = *at;

    while (*at == first || **at != ']') {
        if (**at == '\\' && add_class((*at)[1], in)) {
            *at += 2;
            continue;
        }
        const int from = set_byte(at);
        int to = from;

        if (**at == '-' && (*at)[1] != ']') {
            ++*at;
            to = set_byte(at);
        }
        if (from == 0 || to < from)
            return false;
        for (int c = from; c <= to; c++)
            in[c] = true;
    }
    ++*at;
    return true;
}

/* "]" can stand first only, "-" last, and "^" anywhere else. False when "^" has to be first. */
static bool put_set(struct posix *out, const bool in[ASCII], bool is_negated)
{
    put(out, "[^", is_negated ? 2 : 1);
    const size_t begin = out->n;

    put(out, "]", in[']']);
    for (int c = 1; c < ASCII; c++)
        if (in[c] && !strchr("[]^-", c))
            put(out, &(char){(char)c}, 1);
    put(out, "[", in['[']); /* behind all that would make it "[:" or "[." */
    if (in['^'] && out->n == begin && !is_negated)
        return false;
    put(out, "^", in['^']);
    put(out, "-", in['-']);
    put(out, "]", 1);
    return true;
}

/* "[...]"; *at is left behind it. */
static bool translate_set(const char **at, struct posix *out)
{
    const bool is_negated = (*at)[1] == '^';
    bool in[ASCII] = {false};

    *at += 1 + is_negated;
    return read_set(at, in) && put_set(out, in, is_negated);
}

/* A backslash and a byte; *at is left behind them. */
static bool translate_escape(const char **at, struct posix *out)
{
    const char c = (*at)[1];
    bool in[ASCII] = {false};

    if (add_class(c, in)) {
        *at += 2;
        return put_set(out, in, false);
    }
    if (c == '\0' || is_digit(c) || (is_letter(c) && c != 'b' && c != 'B'))
        return false;
    /* an escaped byte that needs no escape may mean something else to POSIX */
    const bool needs = is_letter(c) || strchr(".[]()*+?{}|^$\\", c);
    put(out, *at + !needs, 1 + needs);
    *at += 2;
    return true;
}

/* A sign or a byte for itself; *at is left behind it. Lazy repeats match the same texts as greedy
 * ones, and in POSIX would be repeats of repeats, as possessive ones would. */
static bool translate_sign(const char **at, struct posix *out)
{
    const char *p = *at;
    const bool is_repeat = strchr("*+?", *p) != NULL;
    const bool is_group = strncmp(p, "(?:", 3) == 0;

    put(out, p, 1);
    *at += is_group ? 3 : is_repeat && p[1] == '?' ? 2 : 1;
    if (is_repeat)
        return **at == '\0' || !strchr("*+?", **at);
    return is_group || p[0] != '(' || p[1] != '?';
}

/* The expression as POSIX writes it. False when it cannot be, or does not fit. */
static bool translate(const char *expression, bool whole, struct posix *out)
{
    const char *head = whole ? "^(.*\\.)?(" : "", *tail = whole ? ")$" : "";
    bool is_known = true;

    put(out, head, strlen(head));
    for (const char *p = expression; *p && is_known;)
        is_known = *p == '\\'  ? translate_escape(&p, out)
                   : *p == '[' ? translate_set(&p, out)
                               : translate_sign(&p, out);
    put(out, tail, strlen(tail));
    return is_known && !out->is_full;
}

static bool compile(const char *expression, bool whole, regex_t *regex)
{
    struct posix posix = {.n = 0};

    return translate(expression, whole, &posix) &&
           regcomp(regex, posix.text, REG_EXTENDED | REG_NOSUB) == 0;
}

/* No counts, no back-references, few signs. */
static bool is_tame(const char *expression)
{
    int n_signs = 0;

    for (const char *p = expression; *p; p++) {
        if (*p == '{' || (p[0] == '\\' && is_digit(p[1])))
            return false;
        n_signs += strchr("()[]|*+?", *p) != NULL;
    }
    return n_signs <= SIGNS_MOST && strlen(expression) < PATTERN_BYTES;
}

enum status patterns_check(json_t *entries, const char *where, struct error *err)
{
    const char *key;
    json_t *value;
    size_t n = 0;

    json_object_foreach(entries, key, value)
    {
        regex_t regex;

        if (is_name(key))
            continue;
        if (n++ == ENTRIES_MOST)
            return fail(err, ERR_UNSUPPORTED, "%s: more than %d expressions", where,
                        ENTRIES_MOST);
        if (!is_tame(key) || !compile(key, true, &regex))
            return fail(err, ERR_UNSUPPORTED,
                        "%s: \"%.100s\" is not an expression known here", where, key);
        regfree(&regex);
    }
    return OK;
}

bool pattern_matches(const char *expression, const char *text, bool whole)
{
    regex_t regex;
    bool matches;

    if (is_name(expression))
        return name_matches(expression, text, whole);
    if (!compile(expression, whole, &regex))
        return false;
    matches = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return matches;
}
