/*
 * template_method.c - methods of texts, dicts and lists: those of Python that change nothing
 */
#include "formats/template/list_filter.h"
#include "formats/template/value.h"

#include <string.h>

/* ---- searching ---- */

/* Where `part` stands first (or last) in str, in bytes; -1 when it does not. */
static int64_t find_bytes(struct str str, struct str part, bool from_end)
{
    if (part.n > str.n)
        return -1;
    for (size_t i = 0; i <= str.n - part.n; i++) {
        const size_t at = from_end ? str.n - part.n - i : i;

        if (memcmp(str.text + at, part.text, part.n) == 0)
            return (int64_t)at;
    }
    return -1;
}

static struct value *find_in(struct run *run, struct value *self,
                             const struct arguments *args, bool from_end)
{
    const int64_t at = find_bytes(self->str, argument_str(args, 0, "sub", ""), from_end);

    if (!run_step(run, self->str.n / 16))
        return NULL;
    return value_integer(
        run, at < 0 ? -1 : (int64_t)str_length((struct str){self->str.text, (size_t)at}));
}

static struct value *find(struct run *run, struct value *self,
                          const struct arguments *args)
{
    return find_in(run, self, args, false);
}

static struct value *rfind(struct run *run, struct value *self,
                           const struct arguments *args)
{
    return find_in(run, self, args, true);
}

static struct value *count(struct run *run, struct value *self,
                           const struct arguments *args)
{
    const struct str part = argument_str(args, 0, "sub", "");
    struct str rest = self->str;
    int64_t n = 0, at;

    if (part.n == 0)
        return value_integer(run, (int64_t)str_length(rest) + 1);
    while ((at = find_bytes(rest, part, false)) >= 0) {
        n++;
        rest.text += (size_t)at + part.n;
        rest.n -= (size_t)at + part.n;
    }
    return run_step(run, self->str.n / 16) ? value_integer(run, n) : NULL;
}

static bool begins_with(struct str str, struct str part)
{
    return part.n <= str.n && memcmp(str.text, part.text, part.n) == 0;
}

static bool ends_with(struct str str, struct str part)
{
    return part.n <= str.n && memcmp(str.text + str.n - part.n, part.text, part.n) == 0;
}

/* One text or a tuple of them. */
static struct value *has_edge(struct run *run, struct value *self,
                              const struct arguments *args,
                              bool (*test)(struct str, struct str))
{
    struct value *part = argument(args, 0, "prefix");
    struct value *const *list = part && value_is_list(part) ? part->list.items : &part;
    const size_t n = part && value_is_list(part) ? part->list.n : 1;

    for (size_t i = 0; i < n; i++) {
        if (!list[i] || list[i]->kind != VALUE_STRING)
            return run_fail(run, ERR_USAGE,
                            "a text begins or ends with a text, not with %s",
                            list[i] ? value_type(list[i]) : "nothing");
        if (test(self->str, list[i]->str))
            return value_bool(run, true);
    }
    return value_bool(run, false);
}

static struct value *startswith(struct run *run, struct value *self,
                                const struct arguments *args)
{
    return has_edge(run, self, args, begins_with);
}

static struct value *endswith(struct run *run, struct value *self,
                              const struct arguments *args)
{
    return has_edge(run, self, args, ends_with);
}

/* ---- cutting ---- */

static struct value *strip_sides(struct run *run, struct value *self,
                                 const struct arguments *args, bool left, bool right)
{
    const struct str str =
        str_trim(self->str, argument_str(args, 0, "chars", NULL), left, right);

    return value_string(run, str.text, str.n);
}

static struct value *strip(struct run *run, struct value *self,
                           const struct arguments *args)
{
    return strip_sides(run, self, args, true, true);
}

static struct value *lstrip(struct run *run, struct value *self,
                            const struct arguments *args)
{
    return strip_sides(run, self, args, true, false);
}

static struct value *rstrip(struct run *run, struct value *self,
                            const struct arguments *args)
{
    return strip_sides(run, self, args, false, true);
}

static struct value *removeprefix(struct run *run, struct value *self,
                                  const struct arguments *args)
{
    const struct str part = argument_str(args, 0, "prefix", "");
    const size_t n = begins_with(self->str, part) ? part.n : 0;

    return value_string(run, self->str.text + n, self->str.n - n);
}

static struct value *removesuffix(struct run *run, struct value *self,
                                  const struct arguments *args)
{
    const struct str part = argument_str(args, 0, "suffix", "");

    return value_string(run, self->str.text,
                        self->str.n - (ends_with(self->str, part) ? part.n : 0));
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

static struct value *split_at(struct run *run, struct str str, struct str by,
                              int64_t most)
{
    struct pieces_list out = {0};
    int64_t at;

    while (most != 0 && (at = find_bytes(str, by, false)) >= 0) {
        if (!push(run, &out, (struct str){str.text, (size_t)at}))
            return NULL;
        str.text += (size_t)at + by.n;
        str.n -= (size_t)at + by.n;
        most -= most > 0;
    }
    return push(run, &out, str) ? close_list(run, &out) : NULL;
}

static struct value *split(struct run *run, struct value *self,
                           const struct arguments *args)
{
    const struct str by = argument_str(args, 0, "sep", NULL);
    const int64_t most = argument_integer(args, 1, "maxsplit", -1);

    if (!by.text)
        return split_words(run, self->str, most);
    if (by.n == 0)
        return run_fail(run, ERR_USAGE, "empty separator");
    return split_at(run, self->str, by, most);
}

/* From the right: the pieces come out last first, and are turned around. */
static struct value *rsplit(struct run *run, struct value *self,
                            const struct arguments *args)
{
    const struct str by = argument_str(args, 0, "sep", NULL);
    int64_t most = argument_integer(args, 1, "maxsplit", -1), at;
    struct pieces_list out = {0};
    struct str str = self->str;

    if (!by.text || most < 0)
        return split(run, self, args);
    if (by.n == 0)
        return run_fail(run, ERR_USAGE, "empty separator");
    while (most-- > 0 && (at = find_bytes(str, by, true)) >= 0) {
        const size_t begin = (size_t)at + by.n;

        if (!push(run, &out, (struct str){str.text + begin, str.n - begin}))
            return NULL;
        str.n = (size_t)at;
    }
    if (!push(run, &out, str))
        return NULL;
    return filter_reverse(run, close_list(run, &out), &(struct arguments){0});
}

static struct value *splitlines(struct run *run, struct value *self,
                                const struct arguments *args)
{
    const bool keep = argument_true(args, 0, "keepends", false);
    struct pieces_list out = {0};
    struct str str = self->str;

    while (str.n > 0) {
        const char *end = memchr(str.text, '\n', str.n);
        const size_t n = end ? (size_t)(end - str.text) : str.n,
                     taken = n + (end != NULL);
        const size_t shown = keep ? taken : n - (n > 0 && end && str.text[n - 1] == '\r');

        if (!push(run, &out, (struct str){str.text, shown}))
            return NULL;
        str.text += taken;
        str.n -= taken;
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
    while (most != 0 && (at = find_bytes(str, from, false)) >= 0) {
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

/* ---- methods that are filters too ---- */

static struct value *as_filter(struct run *run, const char *name, struct value *self,
                               const struct arguments *args)
{
    return apply_filter(run, (struct str){name, strlen(name)}, self, args);
}

static struct value *upper(struct run *run, struct value *self,
                           const struct arguments *args)
{
    return as_filter(run, "upper", self, args);
}

static struct value *lower(struct run *run, struct value *self,
                           const struct arguments *args)
{
    return as_filter(run, "lower", self, args);
}

static struct value *title(struct run *run, struct value *self,
                           const struct arguments *args)
{
    return as_filter(run, "title", self, args);
}

static struct value *capitalize(struct run *run, struct value *self,
                                const struct arguments *args)
{
    return as_filter(run, "capitalize", self, args);
}

static struct value *replace(struct run *run, struct value *self,
                             const struct arguments *args)
{
    return as_filter(run, "replace", self, args);
}

/* "sep".join(list) is list | join("sep"). */
static struct value *join(struct run *run, struct value *self,
                          const struct arguments *args)
{
    struct value *list = argument(args, 0, "iterable");
    const struct arguments by = {.list = &self, .n = 1};

    return list ? filter_join(run, list, &by)
                : run_fail(run, ERR_USAGE, "join of nothing");
}

/* ---- what kind of characters ---- */

static struct value *all_of(struct run *run, struct value *self, bool (*test)(uint32_t))
{
    bool holds = self->str.n > 0;

    for (size_t i = 0; i < self->str.n; i++)
        holds = holds && test((unsigned char)self->str.text[i]);
    return value_bool(run, holds);
}

static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

/* Beyond ASCII every character counts as a letter. */
static bool is_letter(uint32_t c)
{
    return c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_letter_or_digit(uint32_t c)
{
    return is_letter(c) || is_digit(c);
}

static struct value *isdigit_method(struct run *run, struct value *self,
                                    const struct arguments *args)
{
    (void)args;
    return all_of(run, self, is_digit);
}

static struct value *isalpha_method(struct run *run, struct value *self,
                                    const struct arguments *args)
{
    (void)args;
    return all_of(run, self, is_letter);
}

static struct value *isalnum_method(struct run *run, struct value *self,
                                    const struct arguments *args)
{
    (void)args;
    return all_of(run, self, is_letter_or_digit);
}

static struct value *isspace_method(struct run *run, struct value *self,
                                    const struct arguments *args)
{
    (void)args;
    return all_of(run, self, is_space);
}

/* ---- dicts and lists ---- */

static struct value *get(struct run *run, struct value *self,
                         const struct arguments *args)
{
    struct value *key = argument(args, 0, "key"), *instead = argument(args, 1, "default");
    struct value *v = key ? dict_get(self->dict, key) : NULL;

    if (!key || !run_step(run, self->dict->n / 8))
        return run_fail(run, ERR_USAGE, "get of nothing");
    return v ? v : instead ? instead : value_none(run);
}

static struct value *keys(struct run *run, struct value *self,
                          const struct arguments *args)
{
    (void)args;
    return value_items(run, self);
}

static struct value *values(struct run *run, struct value *self,
                            const struct arguments *args)
{
    struct value *out = value_list(run, VALUE_LIST, self->dict->n);

    (void)args;
    for (size_t i = 0; out && i < self->dict->n; i++)
        out->list.items[i] = self->dict->pairs[i].value;
    return out;
}

static struct value *copy(struct run *run, struct value *self,
                          const struct arguments *args)
{
    (void)run;
    (void)args;
    return self; /* values never change */
}

static struct value *refuse_change(struct run *run, struct value *self,
                                   const struct arguments *args)
{
    (void)args;
    return run_fail(run, ERR_USAGE, "access to a method that changes a %s is unsafe",
                    value_type(self));
}

static struct value *count_items(struct run *run, struct value *self,
                                 const struct arguments *args)
{
    const struct value *what = argument(args, 0, "value");
    int64_t n = 0;

    for (size_t i = 0; what && i < self->list.n; i++)
        n += value_equal(self->list.items[i], what);
    return value_integer(run, n);
}

static struct value *index_of(struct run *run, struct value *self,
                              const struct arguments *args)
{
    const struct value *what = argument(args, 0, "value");

    for (size_t i = 0; what && i < self->list.n; i++)
        if (value_equal(self->list.items[i], what))
            return value_integer(run, (int64_t)i);
    return run_fail(run, ERR_USAGE, "the value is not in the list");
}

static const struct function str_methods[] = {
    {"capitalize", capitalize},
    {"count", count},
    {"endswith", endswith},
    {"find", find},
    {"isalnum", isalnum_method},
    {"isalpha", isalpha_method},
    {"isdigit", isdigit_method},
    {"isspace", isspace_method},
    {"join", join},
    {"lower", lower},
    {"lstrip", lstrip},
    {"removeprefix", removeprefix},
    {"removesuffix", removesuffix},
    {"replace", replace},
    {"rfind", rfind},
    {"rsplit", rsplit},
    {"rstrip", rstrip},
    {"split", split},
    {"splitlines", splitlines},
    {"startswith", startswith},
    {"strip", strip},
    {"title", title},
    {"upper", upper},
};

static const struct function dict_methods[] = {
    {"clear", refuse_change},
    {"copy", copy},
    {"get", get},
    {"items", filter_items},
    {"keys", keys},
    {"pop", refuse_change},
    {"popitem", refuse_change},
    {"setdefault", refuse_change},
    {"update", refuse_change},
    {"values", values},
};

static const struct function list_methods[] = {
    {"append", refuse_change},  {"clear", refuse_change},  {"copy", copy},
    {"count", count_items},     {"extend", refuse_change}, {"index", index_of},
    {"insert", refuse_change},  {"pop", refuse_change},    {"remove", refuse_change},
    {"reverse", refuse_change}, {"sort", refuse_change},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct value *get_method(struct run *run, struct value *a, struct str name)
{
    const struct function *f = NULL;
    struct value *v;

    if (a->kind == VALUE_STRING)
        f = find_function(str_methods, COUNT(str_methods), name);
    else if (a->kind == VALUE_DICT)
        f = find_function(dict_methods, COUNT(dict_methods), name);
    else if (value_is_list(a))
        f = find_function(list_methods, COUNT(list_methods), name);
    v = f ? value_new(run, VALUE_METHOD) : NULL;
    if (!v)
        return NULL;
    v->method.function = f;
    v->method.self = a;
    return v;
}
