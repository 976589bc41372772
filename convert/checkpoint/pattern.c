/*
 * pattern.c - check expressions, match them
 */
#include "convert/checkpoint/pattern.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>

enum { SIGNS_MOST = 24, ENTRIES_MOST = 1024 };

/* Letters, digits, "_", "-" and dots, bare or escaped: nothing that needs the matcher. */
static bool is_name(const char *expression)
{
    for (const char *p = expression; *p; p++) {
        const bool is_word = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                             (*p >= '0' && *p <= '9') || *p == '_' || *p == '-';

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

/* The expression as POSIX writes it. False when it does not fit. */
static bool translate(const char *expression, bool whole, char out[2 * PATTERN_BYTES])
{
    const char *head = whole ? "^(.*\\.)?(" : "", *tail = whole ? ")$" : "";
    size_t n = strlen(head);

    memcpy(out, head, n);
    for (const char *p = expression; *p; p++) {
        const bool is_digit = p[0] == '\\' && p[1] == 'd';
        const char *put = is_digit ? "[0-9]" : p;
        const size_t length = is_digit ? 5 : 1;

        if (n + length + 4 > (size_t)2 * PATTERN_BYTES)
            return false;
        memcpy(out + n, put, length);
        n += length;
        p += is_digit;
    }
    memcpy(out + n, tail, strlen(tail) + 1);
    return true;
}

static bool compile(const char *expression, bool whole, regex_t *regex)
{
    char posix[2 * PATTERN_BYTES];

    return translate(expression, whole, posix) &&
           regcomp(regex, posix, REG_EXTENDED | REG_NOSUB) == 0;
}

/* No counts, no back-references, few signs. */
static bool is_tame(const char *expression)
{
    int n_signs = 0;

    for (const char *p = expression; *p; p++) {
        if (*p == '{' || (p[0] == '\\' && p[1] >= '0' && p[1] <= '9'))
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
