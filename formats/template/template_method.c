/*
 * template_method.c - methods of texts, dicts and lists: those of Python that change nothing
 */
#include "base/utf8.h"
#include "formats/template/list_filter.h"
#include "formats/template/str_method.h"

#include <string.h>

/* ---- searching ---- */

int64_t str_find(struct str str, struct str part, bool from_end)
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

size_t str_search_steps(struct str str, struct str part)
{
    size_t n;

    return mul_size(str.n / 16, 1 + part.n / 16, &n) ? n : SIZE_MAX;
}

static struct value *find_in(struct run *run, struct value *self,
                             const struct arguments *args, bool from_end)
{
    const struct str part = argument_str(args, 0, "sub", "");
    int64_t at;

    if (!run_step(run, str_search_steps(self->str, part)))
        return NULL;
    at = str_find(self->str, part, from_end);
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

    if (!run_step(run, str_search_steps(rest, part)))
        return NULL;
    if (part.n == 0)
        return value_integer(run, (int64_t)str_length(rest) + 1);
    while ((at = str_find(rest, part, false)) >= 0) {
        n++;
        rest.text += (size_t)at + part.n;
        rest.n -= (size_t)at + part.n;
    }
    return value_integer(run, n);
}

bool str_begins(struct str str, struct str part)
{
    return part.n <= str.n && memcmp(str.text, part.text, part.n) == 0;
}

bool str_ends(struct str str, struct str part)
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
        if (!run_step(run, 1 + list[i]->str.n / 64))
            return NULL;
        if (test(self->str, list[i]->str))
            return value_bool(run, true);
    }
    return value_bool(run, false);
}

static struct value *startswith(struct run *run, struct value *self,
                                const struct arguments *args)
{
    return has_edge(run, self, args, str_begins);
}

static struct value *endswith(struct run *run, struct value *self,
                              const struct arguments *args)
{
    return has_edge(run, self, args, str_ends);
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
    const struct str str = self->str;
    bool holds = str.n > 0;

    if (!run_step(run, str.n / 16))
        return NULL;
    for (size_t at = 0, n; at < str.n && holds; at += n) {
        n = str_offset((struct str){str.text + at, str.n - at}, 1);
        holds = test(utf8_decode(str.text + at, n));
    }
    return value_bool(run, holds);
}

static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

/* Beyond ASCII every character but white space counts as a letter. */
static bool is_letter(uint32_t c)
{
    return (c >= 0x80 && !is_space(c)) || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
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

/* A letter that follows none is a capital, the others are small: not as the filter of the name. */
static struct value *title(struct run *run, struct value *self,
                           const struct arguments *args)
{
    const struct str str = self->str;
    struct text out = {0};
    bool in_word = false;

    (void)args;
    for (size_t at = 0, n; at < str.n; at += n) {
        const struct value *c;

        n = str_offset((struct str){str.text + at, str.n - at}, 1);
        c = str_map(run, (struct str){str.text + at, n}, in_word ? to_lower : to_upper);
        if (!c || !text_put(run, &out, c->str.text, c->str.n))
            return NULL;
        in_word = is_letter(utf8_decode(str.text + at, n));
    }
    return text_value(run, &out);
}

/* ---- dicts and lists ---- */

static struct value *get(struct run *run, struct value *self,
                         const struct arguments *args)
{
    struct value *key = argument(args, 0, "key"), *instead = argument(args, 1, "default");
    struct value *v = key ? dict_get(run, self->dict, key) : NULL;

    if (!key || run->st != OK)
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
        n += value_equal(run, self->list.items[i], what);
    return run_step(run, self->list.n / 8) ? value_integer(run, n) : NULL;
}

static struct value *index_of(struct run *run, struct value *self,
                              const struct arguments *args)
{
    const struct value *what = argument(args, 0, "value");

    for (size_t i = 0; what && i < self->list.n; i++)
        if (value_equal(run, self->list.items[i], what))
            return run_step(run, i / 8) ? value_integer(run, (int64_t)i) : NULL;
    return run_fail(run, ERR_USAGE, "the value is not in the list");
}

static const struct function str_methods[] = {
    {"capitalize", capitalize, ""},
    {"count", count, "sub"},
    {"endswith", endswith, "prefix"},
    {"find", find, "sub"},
    {"isalnum", isalnum_method, ""},
    {"isalpha", isalpha_method, ""},
    {"isdigit", isdigit_method, ""},
    {"isspace", isspace_method, ""},
    {"join", join, "iterable"},
    {"lower", lower, ""},
    {"lstrip", str_lstrip, "chars"},
    {"removeprefix", str_removeprefix, "prefix"},
    {"removesuffix", str_removesuffix, "suffix"},
    {"replace", replace, "old new count"},
    {"rfind", rfind, "sub"},
    {"rsplit", str_rsplit, "sep maxsplit"},
    {"rstrip", str_rstrip, "chars"},
    {"split", str_split, "sep maxsplit"},
    {"splitlines", str_splitlines, "keepends"},
    {"startswith", startswith, "prefix"},
    {"strip", str_strip, "chars"},
    {"title", title, ""},
    {"upper", upper, ""},
};

static const struct function dict_methods[] = {
    {"clear", refuse_change, NULL},
    {"copy", copy, ""},
    {"get", get, "key default"},
    {"items", filter_items, ""},
    {"keys", keys, ""},
    {"pop", refuse_change, NULL},
    {"popitem", refuse_change, NULL},
    {"setdefault", refuse_change, NULL},
    {"update", refuse_change, NULL},
    {"values", values, ""},
};

static const struct function list_methods[] = {
    {"append", refuse_change, NULL},
    {"clear", refuse_change, NULL},
    {"copy", copy, ""},
    {"count", count_items, "value"},
    {"extend", refuse_change, NULL},
    {"index", index_of, "value"},
    {"insert", refuse_change, NULL},
    {"pop", refuse_change, NULL},
    {"remove", refuse_change, NULL},
    {"reverse", refuse_change, NULL},
    {"sort", refuse_change, NULL},
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
