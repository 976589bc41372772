/*
 * str_split.c - cutting texts: strip, split, lines, replacing
 *
 * Source: Python's str methods of the same names.
 */
#include "base/utf8.h"
#include "formats/template/list_filter.h"
#include "formats/template/str_method.h"

#include <string.h>

/* ---- cutting ---- */

static struct value *strip_sides(struct run *run, struct value *self,
                                 const struct arguments *args, bool left, bool right)
{
    const struct str chars = argument_str(args, 0, "chars", NULL);
    struct str str;

    if (!run_step(run, str_search_steps(self->str, chars)))
        return NULL;
    str = str_trim(self->str, chars, left, right);
    return value_string(run, str.text, str.n);
}

struct value *str_strip(struct run *run, struct value *self, const struct arguments *args)
{
    return strip_sides(run, self, args, true, true);
}

struct value *str_lstrip(struct run *run, struct value *self,
                         const struct arguments *args)
{
    return strip_sides(run, self, args, true, false);
}

struct value *str_rstrip(struct run *run, struct value *self,
                         const struct arguments *args)
{
    return strip_sides(run, self, args, false, true);
}

struct value *str_removeprefix(struct run *run, struct value *self,
                               const struct arguments *args)
{
    const struct str part = argument_str(args, 0, "prefix", "");
    const size_t n = str_begins(self->str, part) ? part.n : 0;

    return value_string(run, self->str.text + n, self->str.n - n);
}

struct value *str_removesuffix(struct run *run, struct value *self,
                               const struct arguments *args)
{
    const struct str part = argument_str(args, 0, "suffix", "");

    return value_string(run, self->str.text,
                        self->str.n - (str_ends(self->str, part) ? part.n : 0));
}

/* A list that grows. */
struct pieces_list {
    struct value *list;
    size_t n;
};

static bool push(struct run *run, struct pieces_list *to, struct str str)
{
    struct value *item = value_string(run, str.text, str.n);

    if (!item)
        return false;
    if (!to->list || to->n == to->list->list.n) {
        struct value *grown = value_list(run, VALUE_LIST, to->n ? 2 * to->n : 8);

        if (!grown)
            return false;
        if (to->n)
            memcpy(grown->list.items, to->list->list.items,
                   to->n * sizeof(struct value *));
        to->list = grown;
    }
    to->list->list.items[to->n++] = item;
    return true;
}

static struct value *close_list(struct run *run, struct pieces_list *from)
{
    if (!from->list)
        return value_list(run, VALUE_LIST, 0);
    from->list->list.n = from->n;
    return from->list;
}

/* Bytes up to the next white space, or of the white space itself. */
static size_t run_of(struct str str, bool of_space)
{
    size_t at = 0;

    while (at < str.n) {
        const struct str rest = {str.text + at, str.n - at};
        const size_t n = str_offset(rest, 1);

        if ((str_trim((struct str){rest.text, n}, (struct str){0}, true, false).n == 0) !=
            of_space)
            break;
        at += n;
    }
    return at;
}

/* Words between white space; after `most` cuts the rest stays whole. */
static struct value *split_words(struct run *run, struct str str, int64_t most)
{
    struct pieces_list out = {0};

    str = str_trim(str, (struct str){0}, true, most < 0);
    while (str.n > 0) {
        const size_t n = most == 0 ? str.n : run_of(str, false);
        size_t blank;

        if (!push(run, &out, (struct str){str.text, n}))
            return NULL;
        str.text += n;
        str.n -= n;
        blank = run_of(str, true);
        str.text += blank;
        str.n -= blank;
        most -= most > 0;
    }
    return close_list(run, &out);
}

/* Bytes of white space and of the word behind it. */
static size_t blank_and_word(struct str str)
{
    const size_t blank = run_of(str, true);

    return blank + run_of((struct str){str.text + blank, str.n - blank}, false);
}

/* At most `most` cuts from the right: the words before them stay whole, with the blanks before. */
static struct value *rsplit_words(struct run *run, struct str str, int64_t most)
{
    struct pieces_list out = {0};
    int64_t n_words = 0;
    size_t end = 0, n;

    str = str_trim(str, (struct str){0}, false, true);
    for (size_t at = 0; at < str.n; n_words++)
        at += blank_and_word((struct str){str.text + at, str.n - at});
    if (n_words <= most)
        return split_words(run, str, -1);
    for (; n_words > most; n_words--)
        end += blank_and_word((struct str){str.text + end, str.n - end});
    if (!push(run, &out, (struct str){str.text, end}))
        return NULL;
    for (; end < str.n; end += n) {
        const struct str rest = {str.text + end, str.n - end};
        const size_t blank = run_of(rest, true);

        n = blank_and_word(rest);
        if (!push(run, &out, (struct str){rest.text + blank, n - blank}))
            return NULL;
    }
    return close_list(run, &out);
}

static struct value *split_at(struct run *run, struct str str, struct str by,
                              int64_t most)
{
    struct pieces_list out = {0};
    int64_t at;

    while (most != 0 && (at = str_find(str, by, false)) >= 0) {
        if (!push(run, &out, (struct str){str.text, (size_t)at}))
            return NULL;
        str.text += (size_t)at + by.n;
        str.n -= (size_t)at + by.n;
        most -= most > 0;
    }
    return push(run, &out, str) ? close_list(run, &out) : NULL;
}

struct value *str_split(struct run *run, struct value *self, const struct arguments *args)
{
    const struct str by = argument_str(args, 0, "sep", NULL);
    const int64_t most = argument_integer(args, 1, "maxsplit", -1);

    if (!run_step(run, str_search_steps(self->str, by)))
        return NULL;
    if (!by.text)
        return split_words(run, self->str, most);
    if (by.n == 0)
        return run_fail(run, ERR_USAGE, "empty separator");
    return split_at(run, self->str, by, most);
}

/* From the right: the pieces come out last first, and are turned around. */
struct value *str_rsplit(struct run *run, struct value *self,
                         const struct arguments *args)
{
    const struct str by = argument_str(args, 0, "sep", NULL);
    int64_t most = argument_integer(args, 1, "maxsplit", -1), at;
    struct pieces_list out = {0};
    struct str str = self->str;

    if (most < 0)
        return str_split(run, self, args);
    if (!run_step(run, str_search_steps(str, by)))
        return NULL;
    if (!by.text)
        return rsplit_words(run, str, most);
    if (by.n == 0)
        return run_fail(run, ERR_USAGE, "empty separator");
    while (most-- > 0 && (at = str_find(str, by, true)) >= 0) {
        const size_t begin = (size_t)at + by.n;

        if (!push(run, &out, (struct str){str.text + begin, str.n - begin}))
            return NULL;
        str.n = (size_t)at;
    }
    if (!push(run, &out, str))
        return NULL;
    return filter_reverse(run, close_list(run, &out), &(struct arguments){0});
}

/* Whether a line ends with the character. */
static bool ends_line(uint32_t c)
{
    return (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 ||
           c == 0x2028 || c == 0x2029;
}

/* The bytes of the first line with its end; those of the end alone in *n_end. */
static size_t line_of(struct str str, size_t *n_end)
{
    size_t at = 0, n;

    for (; at < str.n; at += n) {
        n = str_offset((struct str){str.text + at, str.n - at}, 1);
        if (!ends_line(utf8_decode(str.text + at, n)))
            continue;
        n += str.text[at] == '\r' && at + 1 < str.n && str.text[at + 1] == '\n';
        *n_end = n;
        return at + n;
    }
    *n_end = 0;
    return at;
}

struct value *str_splitlines(struct run *run, struct value *self,
                             const struct arguments *args)
{
    const bool keep = argument_true(args, 0, "keepends", false);
    struct pieces_list out = {0};
    struct str str = self->str;

    while (str.n > 0) {
        size_t n_end;
        const size_t n = line_of(str, &n_end);

        if (!push(run, &out, (struct str){str.text, keep ? n : n - n_end}))
            return NULL;
        str.text += n;
        str.n -= n;
    }
    return close_list(run, &out);
}

struct value *str_replace(struct run *run, struct str str, struct str from, struct str to,
                          int64_t most)
{
    struct text out = {0};
    int64_t at;

    if (from.n == 0)
        return run_fail(run, ERR_UNSUPPORTED,
                        "replacing nothing by something is not supported");
    if (!run_step(run, str_search_steps(str, from)))
        return NULL;
    while (most != 0 && (at = str_find(str, from, false)) >= 0) {
        if (!text_put(run, &out, str.text, (size_t)at) ||
            !text_put(run, &out, to.text, to.n))
            return NULL;
        str.text += (size_t)at + from.n;
        str.n -= (size_t)at + from.n;
        most -= most > 0;
        if (!run_step(run, 1))
            return NULL;
    }
    return text_put(run, &out, str.text, str.n) ? text_value(run, &out) : NULL;
}
