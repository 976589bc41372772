/*
 * list_filter.c - filters over lists and dicts
 *
 * Source: jinja2/filters.py.
 */
#include "formats/template/list_filter.h"

#include <string.h>

struct value *filter_list(struct run *run, struct value *v, const struct arguments *args)
{
    const struct value *items = value_items(run, v);
    struct value *out = items ? value_list(run, VALUE_LIST, items->list.n) : NULL;

    (void)args;
    if (out && items->list.n)
        memcpy(out->list.items, items->list.items,
               items->list.n * sizeof(struct value *));
    return out;
}

struct value *filter_items(struct run *run, struct value *v, const struct arguments *args)
{
    struct value *out;

    (void)args;
    if (v->kind == VALUE_UNDEFINED)
        return value_list(run, VALUE_LIST, 0);
    if (v->kind != VALUE_DICT)
        return run_fail(run, ERR_USAGE, "Can only get item pairs from a mapping.");
    out = value_list(run, VALUE_LIST, v->dict->n);
    for (size_t i = 0; out && i < v->dict->n; i++) {
        out->list.items[i] =
            value_pair(run, v->dict->pairs[i].key, v->dict->pairs[i].value);
        if (!out->list.items[i])
            return NULL;
    }
    return out;
}

static struct value *end_of(struct run *run, struct value *v, bool is_last)
{
    const struct value *items = value_items(run, v);

    if (!items)
        return NULL;
    if (items->list.n == 0)
        return value_undefined(run, "the list is empty", 17);
    return items->list.items[is_last ? items->list.n - 1 : 0];
}

struct value *filter_first(struct run *run, struct value *v, const struct arguments *args)
{
    (void)args;
    return end_of(run, v, false);
}

struct value *filter_last(struct run *run, struct value *v, const struct arguments *args)
{
    (void)args;
    return end_of(run, v, true);
}

/* What a filter looks at in an item: the item, or the attribute it was asked for. */
static struct value *aspect(struct run *run, struct value *item, const struct value *path)
{
    if (!path || path->kind == VALUE_NONE)
        return item;
    if (path->kind == VALUE_STRING)
        return get_path(run, item, path->str);
    return get_item(run, item, path);
}

struct value *filter_join(struct run *run, struct value *v, const struct arguments *args)
{
    struct value *items = value_items(run, v), *separator = argument(args, 0, "d");
    const struct value *path = argument(args, 1, "attribute");
    struct text out = {0};

    for (size_t i = 0; items && i < items->list.n; i++) {
        const struct value *item =
            run_step(run, 1) ? aspect(run, items->list.items[i], path) : NULL;

        if (!item || (i > 0 && separator && !value_print(run, &out, separator)) ||
            !value_print(run, &out, item))
            return NULL;
    }
    return items ? text_value(run, &out) : NULL;
}

struct value *filter_reverse(struct run *run, struct value *v,
                             const struct arguments *args)
{
    struct value *items = value_items(run, v);
    struct value *out = items ? value_list(run, VALUE_LIST, items->list.n) : NULL;

    (void)args;
    for (size_t i = 0; out && i < items->list.n; i++)
        out->list.items[i] = items->list.items[items->list.n - 1 - i];
    if (out && v->kind == VALUE_STRING)
        return filter_join(run, out, &(struct arguments){0});
    return out;
}

struct value *filter_batch(struct run *run, struct value *v, const struct arguments *args)
{
    const int64_t count = argument_integer(args, 0, "linecount", 0);
    struct value *fill = argument(args, 1, "fill_with"), *items = value_items(run, v),
                 *out;
    size_t size, n;

    if (!items)
        return NULL;
    if (count < 1)
        return run_fail(run, ERR_USAGE, "batches of %lld", (long long)count);
    size = (uint64_t)count < items->list.n ? (size_t)count : items->list.n;
    n = size ? (items->list.n + size - 1) / size : 0;
    out = value_list(run, VALUE_LIST, n);
    for (size_t i = 0; out && i < n; i++) {
        const size_t left = items->list.n - i * size, taken = left < size ? left : size;
        struct value *row = value_list(run, VALUE_LIST, fill ? size : taken);

        for (size_t k = 0; row && k < row->list.n; k++)
            row->list.items[k] = k < taken ? items->list.items[i * size + k] : fill;
        if (!row)
            return NULL;
        out->list.items[i] = row;
    }
    return out;
}

/* ---- order ---- */

struct value *filter_sort(struct run *run, struct value *v, const struct arguments *args)
{
    const bool reverse = argument_true(args, 0, "reverse", false);
    const bool with_case = argument_true(args, 1, "case_sensitive", false);
    const struct value *path = argument(args, 2, "attribute");
    struct value *items = value_items(run, v);
    struct value *keys = items ? value_list(run, VALUE_LIST, items->list.n) : NULL;

    for (size_t i = 0; keys && i < items->list.n; i++) {
        struct value *key = aspect(run, items->list.items[i], path);

        keys->list.items[i] = key ? sort_key(run, key, with_case) : NULL;
        if (!keys->list.items[i])
            return NULL;
    }
    return keys ? sort_values(run, items, keys, reverse) : NULL;
}

struct value *filter_dictsort(struct run *run, struct value *v,
                              const struct arguments *args)
{
    const bool with_case = argument_true(args, 0, "case_sensitive", false);
    const struct str by = argument_str(args, 1, "by", "key");
    const bool reverse = argument_true(args, 2, "reverse", false);
    struct value *items, *keys;

    if (v->kind == VALUE_UNDEFINED)
        return run_fail(run, ERR_USAGE, "%s", v->str.text);
    items = filter_items(run, v, args);
    keys = items ? value_list(run, VALUE_LIST, items->list.n) : NULL;
    for (size_t i = 0; keys && i < items->list.n; i++) {
        keys->list.items[i] = sort_key(
            run, items->list.items[i]->list.items[str_is(by, "value")], with_case);
        if (!keys->list.items[i])
            return NULL;
    }
    return keys ? sort_values(run, items, keys, reverse) : NULL;
}

static struct value *extreme(struct run *run, struct value *v,
                             const struct arguments *args, int sign)
{
    const bool with_case = argument_true(args, 0, "case_sensitive", false);
    const struct value *path = argument(args, 1, "attribute");
    struct value *items = value_items(run, v), *best = NULL, *best_key = NULL;

    for (size_t i = 0; items && i < items->list.n; i++) {
        struct value *item = items->list.items[i], *key = aspect(run, item, path);
        int order = sign;

        key = key ? sort_key(run, key, with_case) : NULL;
        if (!key || !run_step(run, 1) ||
            (best && !value_compare(run, key, best_key, &order)))
            return NULL;
        if (order == sign) {
            best = item;
            best_key = key;
        }
    }
    if (!items)
        return NULL;
    return best ? best
                : value_undefined(run, "No aggregated item, sequence was empty.", 39);
}

struct value *filter_max(struct run *run, struct value *v, const struct arguments *args)
{
    return extreme(run, v, args, 1);
}

struct value *filter_min(struct run *run, struct value *v, const struct arguments *args)
{
    return extreme(run, v, args, -1);
}

struct value *filter_unique(struct run *run, struct value *v,
                            const struct arguments *args)
{
    const bool with_case = argument_true(args, 0, "case_sensitive", false);
    const struct value *path = argument(args, 1, "attribute");
    struct value *items = value_items(run, v);
    struct value *out = items ? value_list(run, VALUE_LIST, items->list.n) : NULL;
    struct value *seen = value_dict(run, VALUE_DICT);
    size_t n = 0;

    for (size_t i = 0; out && seen && i < items->list.n; i++) {
        struct value *key = aspect(run, items->list.items[i], path);

        key = key ? sort_key(run, key, with_case) : NULL;
        if (!key)
            return NULL;
        if (dict_get(run, seen->dict, key))
            continue;
        if (!dict_set(run, seen->dict, key, key))
            return NULL;
        out->list.items[n++] = items->list.items[i];
    }
    if (!out || !seen)
        return NULL;
    out->list.n = n;
    return out;
}

struct value *filter_sum(struct run *run, struct value *v, const struct arguments *args)
{
    const struct value *path = argument(args, 0, "attribute");
    struct value *items = value_items(run, v), *total = argument(args, 1, "start");

    if (!total)
        total = value_integer(run, 0);
    for (size_t i = 0; items && total && i < items->list.n; i++) {
        struct value *item = aspect(run, items->list.items[i], path);

        total = item ? apply_binary(run, (struct str){"+", 1}, total, item) : NULL;
    }
    return items ? total : NULL;
}

/* ---- each item ---- */

/* The arguments from the i-th on. */
static struct arguments rest_of(const struct arguments *args, size_t i)
{
    struct arguments rest = *args;
    const size_t n = i < args->n ? i : args->n;

    if (n > 0)
        rest.list += n;
    rest.n -= n;
    return rest;
}

/* map("filter", ...) or map(attribute="a.b", default=x). */
static struct value *map_item(struct run *run, struct value *item,
                              const struct arguments *args)
{
    const struct arguments named = {
        .names = args->names, .values = args->values, .n_named = args->n_named};
    const struct value *path = argument(&named, 0, "attribute");
    struct value *instead = argument(&named, 0, "default"), *v;
    const struct arguments rest = rest_of(args, 1);

    if (path) {
        v = aspect(run, item, path);
        return v && v->kind == VALUE_UNDEFINED && instead ? instead : v;
    }
    if (args->n == 0 || args->list[0]->kind != VALUE_STRING)
        return run_fail(run, ERR_USAGE, "map requires a filter argument");
    return apply_filter(run, args->list[0]->str, item, &rest);
}

struct value *filter_map(struct run *run, struct value *v, const struct arguments *args)
{
    struct value *items = value_items(run, v);
    struct value *out = items ? value_list(run, VALUE_LIST, items->list.n) : NULL;

    for (size_t i = 0; out && i < items->list.n; i++) {
        out->list.items[i] =
            run_step(run, 1) ? map_item(run, items->list.items[i], args) : NULL;
        if (!out->list.items[i])
            return NULL;
    }
    return out;
}

/* Keep the items whose aspect passes a test ("is it true" without one), or those that do not. */
static struct value *sift(struct run *run, struct value *v, const struct arguments *args,
                          bool by_attribute, bool keep)
{
    const size_t first = by_attribute;
    struct value *items = value_items(run, v);
    struct value *out = items ? value_list(run, VALUE_LIST, items->list.n) : NULL;
    const struct arguments rest = rest_of(args, first + 1);
    size_t n = 0;

    if (by_attribute && args->n == 0)
        return run_fail(run, ERR_USAGE, "Missing parameter for attribute name");
    for (size_t i = 0; out && i < items->list.n; i++) {
        struct value *item = items->list.items[i];
        struct value *seen = by_attribute ? aspect(run, item, args->list[0]) : item;
        bool passes;

        if (!seen || !run_step(run, 1))
            return NULL;
        passes = value_true(seen);
        if (args->n > first &&
            !(args->list[first]->kind == VALUE_STRING &&
              apply_test(run, args->list[first]->str, seen, &rest, &passes)))
            return run_fail(run, ERR_USAGE, "the name of a test is a text");
        if (passes == keep)
            out->list.items[n++] = item;
    }
    if (out)
        out->list.n = n;
    return out;
}

struct value *filter_select(struct run *run, struct value *v,
                            const struct arguments *args)
{
    return sift(run, v, args, false, true);
}

struct value *filter_reject(struct run *run, struct value *v,
                            const struct arguments *args)
{
    return sift(run, v, args, false, false);
}

struct value *filter_selectattr(struct run *run, struct value *v,
                                const struct arguments *args)
{
    return sift(run, v, args, true, true);
}

struct value *filter_rejectattr(struct run *run, struct value *v,
                                const struct arguments *args)
{
    return sift(run, v, args, true, false);
}
