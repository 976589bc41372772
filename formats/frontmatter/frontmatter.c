/*
 * frontmatter.c - line by line: keys, items, and what is passed over
 */
#include "formats/frontmatter/frontmatter.h"
#include "formats/frontmatter/scalar.h"

#include <stdlib.h>

enum { MAX_KEYS = 256, MAX_FOLDED = 4096 };

/* What an indented line may go on with. */
enum open_kind {
    OPEN_NONE,  /* nothing that is kept */
    OPEN_PLAIN, /* a plain scalar, folded */
    OPEN_LIST,  /* items in lines, none yet or some */
    OPEN_FLOW,  /* items in brackets, not closed yet */
};

struct reader {
    struct arena *arena;
    struct front_entry *entries;
    size_t n, room;
    enum open_kind open;
    size_t indent;  /* of the items of an OPEN_LIST; SIZE_MAX: none yet */
    bool is_broken; /* an empty line came before this one */
    const char *unread;
    unsigned line;
    bool no_memory;
};

static void complain(struct reader *r, const char *what)
{
    if (!r->unread)
        r->unread = arena_printf(r->arena, "line %u: %s", r->line, what);
}

/* ---- growing ---- */

/* `at`, or twice its room, copied: arenas do not grow things. */
static void *grow(struct reader *r, void *at, size_t n, size_t *room, size_t size)
{
    void *bigger;

    if (n < *room)
        return at;
    bigger = arena_array(r->arena, 2 * *room + 8, size);
    if (!bigger) {
        r->no_memory = true;
        return NULL;
    }
    if (n)
        memcpy(bigger, at, n * size);
    *room = 2 * *room + 8;
    return bigger;
}

static struct front_entry *last(struct reader *r)
{
    return &r->entries[r->n - 1];
}

static void add_item(struct reader *r, const char *text)
{
    struct front_entry *e = last(r);
    const char **items = grow(r, e->items, e->n_items, &e->room, sizeof(*items));

    if (!items)
        return;
    e->items = items;
    e->items[e->n_items++] = text;
}

/* A new entry for a key; one of that name that is there is emptied and used again. */
static bool add_entry(struct reader *r, const char *key)
{
    struct front_entry *entries;

    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->entries[i].key, key) == 0) {
            const struct front_entry old = r->entries[i];

            r->entries[i] = r->entries[r->n - 1];
            r->entries[r->n - 1] = (struct front_entry){
                .key = old.key, .items = old.items, .room = old.room};
            return true;
        }
    if (r->n == MAX_KEYS) {
        complain(r, "too many keys");
        return false;
    }
    entries = grow(r, r->entries, r->n, &r->room, sizeof(*entries));
    if (!entries)
        return false;
    r->entries = entries;
    r->entries[r->n++] = (struct front_entry){.key = key};
    return true;
}

/* ---- values ---- */

/* A scalar becomes an item; what else it is says the kind. */
static enum scalar_kind take_scalar(struct reader *r, const char *text, bool is_flow,
                                    const char **end)
{
    const char *scalar = NULL;
    const enum scalar_kind kind = scalar_read(r->arena, text, is_flow, end, &scalar);

    if (kind == SCALAR_TEXT)
        add_item(r, scalar);
    else if (kind == SCALAR_BAD)
        complain(r, "a quoted text that is none");
    else if (kind == SCALAR_NO_MEMORY)
        r->no_memory = true;
    return kind;
}

/* Items up to ']' or to the end of the line, where the next one goes on. */
static void take_flow(struct reader *r, const char *s)
{
    r->open = OPEN_FLOW;
    for (;;) {
        enum scalar_kind kind;

        while (*s == ' ' || *s == ',')
            s++;
        if (*s == '\0' || *s == '#')
            return;
        if (*s == ']') {
            r->open = OPEN_NONE;
            return;
        }
        kind = take_scalar(r, s, true, &s);
        if (kind == SCALAR_OTHER || kind == SCALAR_BAD || kind == SCALAR_NO_MEMORY) {
            complain(r, "a list of something else than texts");
            last(r)->n_items = 0;
            r->open = OPEN_NONE;
            return;
        }
    }
}

static void take_value(struct reader *r, const char *s)
{
    const char *end;

    while (*s == ' ')
        s++;
    r->open = OPEN_NONE;
    if (*s == '\0' || *s == '#') {
        r->open = OPEN_LIST;
        r->indent = SIZE_MAX;
    } else if (*s == '[') {
        last(r)->is_list = true;
        take_flow(r, s + 1);
    } else if (take_scalar(r, s, false, &end) == SCALAR_TEXT && *s != '"' && *s != '\'') {
        r->open = OPEN_PLAIN;
    }
}

/* "- item" of the key above, at the indentation of the first one. */
static void take_item(struct reader *r, const char *s, size_t indent)
{
    const char *end;

    if (r->indent == SIZE_MAX)
        r->indent = indent;
    if (indent != r->indent)
        return;
    last(r)->is_list = true;
    (void)take_scalar(r, s + 1, false, &end);
}

/* A plain scalar goes on: YAML folds the break to a space, and keeps one behind an empty line. */
static void fold(struct reader *r, const char *s)
{
    struct front_entry *e = last(r);
    const char *more = NULL, *end;
    const enum scalar_kind kind = scalar_read(r->arena, s, false, &end, &more);

    const bool fits = kind == SCALAR_TEXT && strlen(e->items[0]) < MAX_FOLDED;
    if (fits)
        more = arena_printf(r->arena, "%s%c%s", e->items[0], r->is_broken ? '\n' : ' ',
                            more);
    if (!fits) {
        complain(r, "a text that goes on as something else");
        e->n_items = 0;
        r->open = OPEN_NONE;
    } else if (more) {
        e->items[0] = more;
    } else {
        r->no_memory = true;
    }
}

/* ---- lines ---- */

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '-';
}

static void take_key(struct reader *r, const char *s)
{
    const char *colon = s;

    while (is_key_char(*colon))
        colon++;
    r->open = OPEN_NONE;
    if (colon == s || *colon != ':' || (colon[1] != ' ' && colon[1] != '\0')) {
        complain(r, "KEY: VALUE expected");
        return;
    }
    const char *key = arena_strndup(r->arena, s, (size_t)(colon - s));
    if (!key)
        r->no_memory = true;
    else if (add_entry(r, key))
        take_value(r, colon + 1);
}

static void take_line(struct reader *r, const char *line)
{
    const char *s = line;

    while (*s == ' ')
        s++;
    if (*s == '\0' || *s == '#') {
        r->is_broken |= *s == '\0';
        return;
    }
    const bool is_item = s[0] == '-' && (s[1] == ' ' || s[1] == '\0');
    const size_t indent = (size_t)(s - line);

    if (r->open == OPEN_FLOW)
        take_flow(r, s);
    else if (is_item && r->open == OPEN_LIST)
        take_item(r, s, indent);
    else if (indent == 0)
        take_key(r, s);
    else if (r->open == OPEN_PLAIN)
        fold(r, s);
    /* else: deeper than this subset goes */
    r->is_broken = false;
}

/* A line without its end, tabs as two spaces; *next behind it. NULL when memory is out. */
static const char *copy_line(struct arena *arena, const char *text, size_t n,
                             size_t *next)
{
    const char *newline = memchr(text, '\n', n);
    size_t length = newline ? (size_t)(newline - text) : n;
    char *line = arena_alloc(arena, 2 * length + 1), *to = line;

    *next = newline ? length + 1 : n;
    if (length > 0 && text[length - 1] == '\r')
        length--;
    for (size_t i = 0; line && i < length; i++) {
        *to++ = text[i] == '\t' ? ' ' : text[i] ? text[i] : '\1'; /* refused as text */
        if (text[i] == '\t')
            *to++ = ' ';
    }
    return line;
}

/* Text that may stand in a file for people: UTF-8 without control characters. */
static bool is_text(const char *line)
{
    const size_t n = strlen(line);

    for (size_t i = 0; i < n;) {
        const size_t length = utf8_length(line + i, n - i);

        if (length == 0 || (unsigned char)line[i] < ' ' || line[i] == 0x7F)
            return false;
        i += length;
    }
    return true;
}

/* Bytes of the head, from behind the first "---" line; 0: there is no head. */
static size_t head_begin(const char *text, size_t n)
{
    if (n >= 4 && memcmp(text, "---\n", 4) == 0)
        return 4;
    return n >= 5 && memcmp(text, "---\r\n", 5) == 0 ? 5 : 0;
}

enum status frontmatter_parse(struct arena *arena, const char *text, size_t n,
                              struct frontmatter *out, struct error *err)
{
    struct reader r = {.arena = arena, .line = 1};
    const size_t n_read = n < FRONTMATTER_BYTES ? n : FRONTMATTER_BYTES;
    size_t at = head_begin(text, n_read), step;
    bool is_closed = false;

    *out = (struct frontmatter){0};
    if (at == 0)
        return OK;
    for (; at < n_read && !is_closed && !r.no_memory; at += step) {
        const char *line = copy_line(arena, text + at, n_read - at, &step);

        r.line++;
        if (!line)
            r.no_memory = true;
        else if (strcmp(line, "---") == 0)
            is_closed = true;
        else if (!is_text(line))
            complain(&r, "control characters, or no UTF-8");
        else
            take_line(&r, line);
    }
    if (r.no_memory)
        return fail(err, ERR_NOMEM, "no memory for a model card");
    if (!is_closed)
        r.n = 0; /* a rule at the top of a text, not a head */
    *out = (struct frontmatter){
        .entries = r.entries, .n_entries = r.n, .unread = is_closed ? r.unread : NULL};
    return OK;
}

const struct front_entry *frontmatter_find(const struct frontmatter *front,
                                           const char *key)
{
    for (size_t i = 0; i < front->n_entries; i++)
        if (strcmp(front->entries[i].key, key) == 0)
            return front->entries[i].n_items ? &front->entries[i] : NULL;
    return NULL;
}
