/*
 * value_ask.c - asking values: truth, equality, order, length, what is in them
 */
#include "formats/template/str_method.h"

#include <math.h>
#include <string.h>

const char *value_type(const struct value *v)
{
    static const char *const names[] = {
        "Undefined",   "NoneType", "bool",     "int",    "float",
        "str",         "list",     "tuple",    "dict",   "Namespace",
        "LoopContext", "Macro",    "function", "method",
    };

    return names[v->kind];
}

bool value_is_number(const struct value *v)
{
    return v->kind == VALUE_BOOL || v->kind == VALUE_INTEGER || v->kind == VALUE_REAL;
}

bool value_is_list(const struct value *v)
{
    return v->kind == VALUE_LIST || v->kind == VALUE_TUPLE;
}

double value_as_real(const struct value *v)
{
    return v->kind == VALUE_REAL      ? v->real
           : v->kind == VALUE_INTEGER ? (double)v->integer
                                      : (double)v->boolean;
}

bool value_true(const struct value *v)
{
    switch (v->kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        return false;
    case VALUE_BOOL:
        return v->boolean;
    case VALUE_INTEGER:
        return v->integer != 0;
    case VALUE_REAL:
        return v->real != 0;
    case VALUE_STRING:
        return v->str.n > 0;
    case VALUE_LIST:
    case VALUE_TUPLE:
        return v->list.n > 0;
    case VALUE_DICT:
        return v->dict->n > 0;
    default:
        return true;
    }
}

static int order_of(double a, double b)
{
    return (a > b) - (a < b);
}

static int str_order(struct str a, struct str b)
{
    const int order = memcmp(a.text, b.text, a.n < b.n ? a.n : b.n);

    return order ? (order > 0) - (order < 0) : (a.n > b.n) - (a.n < b.n);
}

static bool lists_equal(struct run *run, const struct value *a, const struct value *b)
{
    if (a->list.n != b->list.n || !run_step(run, 1))
        return false;
    for (size_t i = 0; i < a->list.n; i++)
        if (!run_step(run, 1) || !value_equal(run, a->list.items[i], b->list.items[i]))
            return false;
    return true;
}

static bool dicts_equal(struct run *run, const struct dict *a, const struct dict *b)
{
    if (a->n != b->n || !run_step(run, 1))
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct value *other = dict_get(run, b, a->pairs[i].key);

        if (!other || !run_step(run, 1) || !value_equal(run, a->pairs[i].value, other))
            return false;
    }
    return true;
}

/* How deep it goes is bounded: see scope_set(). */
bool value_equal(struct run *run, const struct value *a, const struct value *b)
{
    if (value_is_number(a) && value_is_number(b)) {
        if (a->kind == VALUE_INTEGER && b->kind == VALUE_INTEGER)
            return a->integer == b->integer;
        return order_of(value_as_real(a), value_as_real(b)) == 0 &&
               !isnan(value_as_real(a)) && !isnan(value_as_real(b));
    }
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        return true;
    case VALUE_STRING:
        return a->str.n == b->str.n && run_step(run, a->str.n / 64) &&
               memcmp(a->str.text, b->str.text, a->str.n) == 0;
    case VALUE_LIST:
    case VALUE_TUPLE:
        return lists_equal(run, a, b);
    case VALUE_DICT:
        return dicts_equal(run, a->dict, b->dict);
    default:
        return a == b;
    }
}

bool value_compare(struct run *run, const struct value *a, const struct value *b,
                   int *order)
{
    if (a->kind == VALUE_INTEGER && b->kind == VALUE_INTEGER) {
        *order = (a->integer > b->integer) - (a->integer < b->integer);
        return true;
    }
    if (value_is_number(a) && value_is_number(b)) {
        *order = order_of(value_as_real(a), value_as_real(b));
        return true;
    }
    if (a->kind == VALUE_STRING && b->kind == VALUE_STRING) {
        *order = str_order(a->str, b->str);
        return run_step(run, (a->str.n < b->str.n ? a->str.n : b->str.n) / 64);
    }
    if (value_is_list(a) && a->kind == b->kind) {
        const size_t n = a->list.n < b->list.n ? a->list.n : b->list.n;

        for (size_t i = 0; i < n; i++) {
            if (!run_step(run, 1))
                return false;
            if (!value_equal(run, a->list.items[i], b->list.items[i]))
                return value_compare(run, a->list.items[i], b->list.items[i], order);
        }
        *order = (a->list.n > b->list.n) - (a->list.n < b->list.n);
        return true;
    }
    run_fail(run, ERR_USAGE, "%s and %s cannot be put in order", value_type(a),
             value_type(b));
    return false;
}

bool value_contains(struct run *run, const struct value *in, const struct value *item,
                    bool *out)
{
    *out = false;
    if (in->kind == VALUE_STRING && item->kind == VALUE_STRING) {
        if (!run_step(run, str_search_steps(in->str, item->str)))
            return false;
        *out = str_find(in->str, item->str, false) >= 0;
        return true;
    }
    if (in->kind == VALUE_DICT || in->kind == VALUE_NAMESPACE) {
        *out = dict_get(run, in->dict, item) != NULL;
        return run->st == OK;
    }
    if (value_is_list(in)) {
        for (size_t i = 0; i < in->list.n && !*out; i++)
            *out = value_equal(run, in->list.items[i], item);
        return run_step(run, in->list.n / 8);
    }
    if (in->kind == VALUE_UNDEFINED)
        return true;
    run_fail(run, ERR_USAGE, "%s cannot be looked for in %s", value_type(item),
             value_type(in));
    return false;
}

int64_t value_length(const struct value *v)
{
    switch (v->kind) {
    case VALUE_UNDEFINED:
        return 0;
    case VALUE_STRING:
        return (int64_t)str_length(v->str);
    case VALUE_LIST:
    case VALUE_TUPLE:
        return (int64_t)v->list.n;
    case VALUE_DICT:
        return (int64_t)v->dict->n;
    default:
        return -1;
    }
}

int value_depth(struct value *v)
{
    const bool is_dict = v->kind == VALUE_DICT;
    const size_t n = is_dict ? v->dict->n : value_is_list(v) ? v->list.n : 0;
    int deepest = 0;

    if (v->depth)
        return v->depth;
    for (size_t i = 0; i < n; i++) {
        const int depth =
            value_depth(is_dict ? v->dict->pairs[i].value : v->list.items[i]);

        deepest = depth > deepest ? depth : deepest;
        if (is_dict && value_depth(v->dict->pairs[i].key) > deepest)
            deepest = value_depth(v->dict->pairs[i].key);
    }
    v->depth = deepest + 1;
    return v->depth;
}

static struct value *characters(struct run *run, struct str str)
{
    struct value *list = value_list(run, VALUE_LIST, str_length(str));
    size_t at = 0;

    for (size_t i = 0; list && i < list->list.n; i++) {
        const size_t end = at + str_offset((struct str){str.text + at, str.n - at}, 1);

        list->list.items[i] = value_string(run, str.text + at, end - at);
        if (!list->list.items[i])
            return NULL;
        at = end;
    }
    return list;
}

struct value *value_items(struct run *run, struct value *v)
{
    struct value *list;

    switch (v->kind) {
    case VALUE_UNDEFINED:
        return value_list(run, VALUE_LIST, 0);
    case VALUE_LIST:
    case VALUE_TUPLE:
        return v;
    case VALUE_STRING:
        return characters(run, v->str);
    case VALUE_DICT:
        list = value_list(run, VALUE_LIST, v->dict->n);
        for (size_t i = 0; list && i < v->dict->n; i++)
            list->list.items[i] = v->dict->pairs[i].key;
        return list;
    default:
        return run_fail(run, ERR_USAGE, "%s cannot be walked", value_type(v));
    }
}

bool str_is(struct str str, const char *text)
{
    return str.n == strlen(text) && memcmp(str.text, text, str.n) == 0;
}
