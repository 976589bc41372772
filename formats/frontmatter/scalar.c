/*
 * scalar.c - plain, 'single' and "double" scalars
 */
#include "formats/frontmatter/scalar.h"

static const char *skip_spaces(const char *s)
{
    while (*s == ' ')
        s++;
    return s;
}

/* Behind a quoted scalar only a comment may stand, or what separates items. */
static bool ends_well(const char *s, bool is_flow)
{
    const char *next = skip_spaces(s);

    return *next == '\0' || (*next == '#' && next > s) ||
           (is_flow && (*next == ',' || *next == ']'));
}

static enum scalar_kind read_single(const char *s, char *to, const char **end)
{
    bool is_closed = false;

    for (s++; *s; s++) {
        if (*s == '\'' && *++s != '\'') {
            is_closed = true;
            break;
        }
        *to++ = *s;
    }
    *to = '\0';
    *end = s;
    return is_closed ? SCALAR_TEXT : SCALAR_BAD;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* \xNN, \uNNNN or \UNNNNNNNN: a code point that text may have. */
static const char *read_code(const char *s, int n_digits, char **to)
{
    uint32_t code = 0;

    for (int i = 0; i < n_digits; i++) {
        const int digit = hex(*++s);

        if (digit < 0 || code > 0x10FFFF)
            return NULL;
        code = 16 * code + (uint32_t)digit;
    }
    if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
        return NULL;
    *to += utf8_encode(code, *to);
    return s;
}

static enum scalar_kind read_double(const char *s, char *to, const char **end)
{
    static const char names[] = "\"\\/ntr ", meanings[] = "\"\\/\n\t\r ";

    for (s++; *s && *s != '"'; s++) {
        if (*s != '\\') {
            *to++ = *s;
            continue;
        }
        const char *name = *++s ? strchr(names, *s) : NULL;
        const int n_digits = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;

        if (name)
            *to++ = meanings[name - names];
        else if (n_digits == 0 || !(s = read_code(s, n_digits, &to)))
            return SCALAR_BAD;
    }
    *to = '\0';
    *end = s + (*s == '"');
    return *s == '"' ? SCALAR_TEXT : SCALAR_BAD;
}

/* Up to a comment, to what would make it a key, or to what ends an item in brackets. */
static const char *plain_end(const char *s, bool is_flow)
{
    const char *at = s;

    while (*at && !(*at == '#' && at > s && at[-1] == ' ') &&
           !(is_flow && strchr(",[]{}", *at)))
        at++;
    while (at > s && at[-1] == ' ')
        at--;
    return at;
}

static bool is_null(const char *s, size_t n)
{
    return n == 0 || (n == 1 && *s == '~') ||
           (n == 4 && (memcmp(s, "null", 4) == 0 || memcmp(s, "Null", 4) == 0 ||
                       memcmp(s, "NULL", 4) == 0));
}

/* A plain scalar has no ": " in it and does not end in a colon: that would be a map. */
static bool is_map(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] == ':' && (i + 1 == n || s[i + 1] == ' '))
            return true;
    return false;
}

static enum scalar_kind read_plain(struct arena *arena, const char *s, bool is_flow,
                                   const char **end, const char **out)
{
    const char *stop = plain_end(s, is_flow);
    const size_t n = (size_t)(stop - s);

    *end = stop;
    if (*s == '\0' || *s == '#')
        return SCALAR_NULL;
    if (strchr("[]{}&*!|>%@`,", *s) || (strchr("-?:", *s) && (n == 1 || s[1] == ' ')) ||
        is_map(s, n))
        return SCALAR_OTHER;
    if (is_null(s, n))
        return SCALAR_NULL;
    *out = arena_strndup(arena, s, n);
    return *out ? SCALAR_TEXT : SCALAR_NO_MEMORY;
}

enum scalar_kind scalar_read(struct arena *arena, const char *text, bool is_flow,
                             const char **end, const char **out)
{
    const char *s = skip_spaces(text);
    enum scalar_kind kind;

    *end = s;
    if (*s != '"' && *s != '\'')
        return read_plain(arena, s, is_flow, end, out);
    char *room =
        arena_alloc(arena, strlen(s) + 1); /* no escape is shorter than its text */
    if (!room)
        return SCALAR_NO_MEMORY;
    *out = room;
    kind = *s == '"' ? read_double(s, room, end) : read_single(s, room, end);
    if (kind == SCALAR_TEXT && !ends_well(*end, is_flow))
        return SCALAR_BAD;
    return kind == SCALAR_TEXT && !*room ? SCALAR_NULL : kind;
}
