/*
 * lookup.c - what a.b, a[b] and a[b:c] mean, and the arguments of calls
 */
#include "base/utf8.h"
#include "formats/template/value.h"

#include <string.h>

/* ---- arguments ---- */

struct value *argument(const struct arguments *args, size_t i, const char *name)
{
    if (i < args->n)
        return args->list[i];
    for (size_t k = 0; k < args->n_named; k++)
        if (str_is(args->names[k], name))
            return args->values[k];
    return NULL;
}

int64_t argument_integer(const struct arguments *args, size_t i, const char *name,
                         int64_t otherwise)
{
    const struct value *v = argument(args, i, name);

    if (!v)
        return otherwise;
    return v->kind == VALUE_INTEGER ? v->integer
           : v->kind == VALUE_BOOL  ? v->boolean
                                    : otherwise;
}

bool argument_true(const struct arguments *args, size_t i, const char *name,
                   bool otherwise)
{
    const struct value *v = argument(args, i, name);

    return v ? value_true(v) : otherwise;
}

struct str argument_str(const struct arguments *args, size_t i, const char *name,
                        const char *otherwise)
{
    const struct value *v = argument(args, i, name);

    if (v && v->kind == VALUE_STRING)
        return v->str;
    return (struct str){otherwise, otherwise ? strlen(otherwise) : 0};
}

const struct function *find_function(const struct function *table, size_t n,
                                     struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(name, table[i].name))
            return &table[i];
    return NULL;
}

/* How many names `takes` has, and whether `name` is among them. */
static size_t names_in(const char *takes, struct str name, bool *has_name)
{
    size_t count = 0;

    *has_name = false;
    while (*takes) {
        const size_t n = strcspn(takes, " ");

        count++;
        *has_name = *has_name || (n == name.n && memcmp(takes, name.text, n) == 0);
        takes += n + (takes[n] == ' ');
    }
    return count;
}

struct value *call_function(struct run *run, const struct function *f, struct value *self,
                            const struct arguments *args)
{
    bool takes_it;
    size_t most;

    if (!f->takes)
        return f->body(run, self, args);
    most = names_in(f->takes, (struct str){0}, &takes_it);
    if (args->n > most)
        return run_fail(run, ERR_UNSUPPORTED,
                        "%s is supported with up to %zu argument(s), not with %zu",
                        f->name, most, args->n);
    for (size_t i = 0; i < args->n_named; i++) {
        names_in(f->takes, args->names[i], &takes_it);
        if (!takes_it)
            return run_fail(run, ERR_UNSUPPORTED,
                            "%s with an argument '%.*s' is not supported", f->name,
                            args->names[i].n < 40 ? (int)args->names[i].n : 40,
                            args->names[i].text);
    }
    return f->body(run, self, args);
}

/* ---- attributes and items ---- */

static struct value *missing(struct run *run, const struct value *a, struct str name)
{
    struct text what = {0};

    if (!text_put_str(run, &what, "'") || !text_put_str(run, &what, value_type(a)) ||
        !text_put_str(run, &what, " object' has no attribute '") ||
        !text_put(run, &what, name.text, name.n) || !text_put_str(run, &what, "'"))
        return NULL;
    return value_undefined(run, what.bytes, what.n);
}

static struct value *refuse_undefined(struct run *run, const struct value *a)
{
    return run_fail(run, ERR_USAGE, "%s", a->str.text);
}

struct value *get_attribute(struct run *run, struct value *a, struct str name)
{
    struct value *v = NULL;

    if (a->kind == VALUE_UNDEFINED)
        return refuse_undefined(run, a);
    if (a->kind == VALUE_LOOP)
        return loop_attribute(run, a->loop, name);
    v = get_method(run, a, name);
    if (!v && run->st == OK && (a->kind == VALUE_DICT || a->kind == VALUE_NAMESPACE))
        v = dict_get_str(run, a->dict, name.text, name.n);
    if (v || run->st != OK)
        return v;
    return missing(run, a, name);
}

/* The place of an index that may count from the end; -1 outside. */
static int64_t place_of(int64_t index, int64_t n)
{
    if (index < 0)
        index += n;
    return index < 0 || index >= n ? -1 : index;
}

static struct value *character_at(struct run *run, struct str str, int64_t index)
{
    int64_t place;
    size_t begin, end;

    if (!run_step(run, str.n / 16))
        return NULL;
    place = place_of(index, (int64_t)str_length(str));
    if (place < 0)
        return value_undefined(run, "the index is beyond the text", 28);
    begin = str_offset(str, (size_t)place);
    end = begin + str_offset((struct str){str.text + begin, str.n - begin}, 1);
    return value_string(run, str.text + begin, end - begin);
}

struct value *get_item(struct run *run, struct value *a, const struct value *key)
{
    const bool is_index = key->kind == VALUE_INTEGER || key->kind == VALUE_BOOL;
    const int64_t index = key->kind == VALUE_BOOL ? key->boolean : key->integer;
    struct value *v;

    if (a->kind == VALUE_UNDEFINED)
        return refuse_undefined(run, a);
    if (a->kind == VALUE_DICT || a->kind == VALUE_NAMESPACE) {
        v = dict_get(run, a->dict, key);
        if (v || run->st != OK)
            return v;
    } else if (is_index && value_is_list(a)) {
        const int64_t place = place_of(index, (int64_t)a->list.n);

        return place < 0 ? value_undefined(run, "the index is beyond the list", 28)
                         : a->list.items[place];
    } else if (is_index && a->kind == VALUE_STRING) {
        return character_at(run, a->str, index);
    }
    if (key->kind == VALUE_STRING)
        return get_attribute(run, a, key->str);
    return value_undefined(run, "no such item", 12);
}

struct value *get_path(struct run *run, struct value *a, struct str path)
{
    while (a && path.n > 0) {
        const char *dot = memchr(path.text, '.', path.n);
        const struct str name = {path.text, dot ? (size_t)(dot - path.text) : path.n};
        struct value key = {.kind = VALUE_STRING, .str = name};
        int64_t index = 0;
        bool is_index = name.n > 0 && name.n < 10;

        for (size_t i = 0; i < name.n && is_index; i++) {
            is_index = name.text[i] >= '0' && name.text[i] <= '9';
            index = index * 10 + (name.text[i] - '0');
        }
        if (is_index)
            key = (struct value){.kind = VALUE_INTEGER, .integer = index};
        if (a->kind == VALUE_UNDEFINED)
            return a;
        a = get_item(run, a, &key);
        path.text += name.n + (dot != NULL);
        path.n -= name.n + (dot != NULL);
    }
    return a;
}

/* ---- slices ---- */

/* Where a slice begins, ends and in which steps it walks, as Python computes it. */
static bool slice_bounds(struct run *run, const struct value *bounds[3], int64_t n,
                         int64_t out[3])
{
    int64_t given[3] = {0, 0, 1};

    for (int i = 0; i < 3; i++) {
        if (bounds[i] && bounds[i]->kind == VALUE_NONE)
            bounds[i] = NULL;
        if (bounds[i] && bounds[i]->kind != VALUE_INTEGER) {
            run_fail(run, ERR_USAGE, "a slice is cut by integers, not by %s",
                     value_type(bounds[i]));
            return false;
        }
        if (bounds[i])
            given[i] = bounds[i]->integer;
    }
    if (given[2] == 0) {
        run_fail(run, ERR_USAGE, "the step of a slice is 0");
        return false;
    }
    for (int i = 0; i < 2; i++) {
        const int64_t low = given[2] > 0 ? 0 : -1, high = given[2] > 0 ? n : n - 1;

        if (!bounds[i]) {
            out[i] = (given[2] > 0) == (i == 0) ? low : high;
            continue;
        }
        out[i] = given[i] < 0 ? (given[i] < -n ? -1 : given[i] + n) : given[i];
        out[i] = out[i] < low ? low : out[i] > high ? high : out[i];
    }
    out[2] = given[2] > n + 1 ? n + 1 : given[2] < -n - 1 ? -n - 1 : given[2];
    return true;
}

/* From one character to another, without a value for each. */
static struct value *part_of(struct run *run, struct str str, const int64_t at[2])
{
    const size_t begin = str_offset(str, (size_t)at[0]);
    const struct str rest = {str.text + begin, str.n - begin};

    return value_string(run, rest.text,
                        at[1] > at[0] ? str_offset(rest, (size_t)(at[1] - at[0])) : 0);
}

struct value *get_slice(struct run *run, struct value *a, const struct value *bounds[3])
{
    struct value *items, *out;
    int64_t at[3];
    size_t n = 0;

    if (a->kind == VALUE_UNDEFINED)
        return refuse_undefined(run, a);
    if (a->kind != VALUE_STRING && !value_is_list(a))
        return run_fail(run, ERR_USAGE, "%s cannot be sliced", value_type(a));
    if (a->kind == VALUE_STRING) {
        if (!run_step(run, a->str.n / 16) ||
            !slice_bounds(run, bounds, value_length(a), at))
            return NULL;
        if (at[2] == 1)
            return part_of(run, a->str, at);
    }
    items = value_items(run, a);
    if (!items || !slice_bounds(run, bounds, (int64_t)items->list.n, at))
        return NULL;
    out = value_list(run, items->kind, items->list.n);
    for (int64_t i = at[0]; out && (at[2] > 0 ? i < at[1] : i > at[1]); i += at[2])
        out->list.items[n++] = items->list.items[i];
    if (!out)
        return NULL;
    out->list.n = n;
    if (a->kind != VALUE_STRING)
        return out;
    struct text text = {0};
    for (size_t i = 0; i < n; i++)
        if (!text_put(run, &text, out->list.items[i]->str.text,
                      out->list.items[i]->str.n))
            return NULL;
    return text_value(run, &text);
}

/* ---- sorting ---- */

struct value *sort_key(struct run *run, struct value *v, bool with_case)
{
    return v->kind == VALUE_STRING && !with_case ? str_map(run, v->str, to_lower) : v;
}

/* Merge two sorted halves; equal keys keep their order. */
static bool merge(struct run *run, const struct value *keys, size_t *to,
                  const size_t *from, const size_t cut[3], bool reverse)
{
    size_t i = cut[0], k = cut[1];

    for (size_t at = cut[0]; at < cut[2]; at++) {
        int order = 0;

        if (i < cut[1] && k < cut[2] &&
            (!run_step(run, 1) || !value_compare(run, keys->list.items[from[i]],
                                                 keys->list.items[from[k]], &order)))
            return false;
        order = reverse ? -order : order;
        to[at] = k >= cut[2] || (i < cut[1] && order <= 0) ? from[i++] : from[k++];
    }
    return true;
}

struct value *sort_values(struct run *run, struct value *list, struct value *keys,
                          bool reverse)
{
    const size_t n = list->list.n;
    size_t *from = run_array(run, n, sizeof(*from)), *to = run_array(run, n, sizeof(*to));
    struct value *out = value_list(run, VALUE_LIST, n);

    if (!from || !to || !out)
        return NULL;
    for (size_t i = 0; i < n; i++)
        from[i] = i;
    for (size_t width = 1; width < n; width *= 2) {
        size_t *swap = from;

        for (size_t i = 0; i < n; i += 2 * width) {
            const size_t middle = i + width < n ? i + width : n;
            const size_t cut[3] = {i, middle, i + 2 * width < n ? i + 2 * width : n};

            if (!merge(run, keys, to, from, cut, reverse))
                return NULL;
        }
        from = to;
        to = swap;
    }
    for (size_t i = 0; i < n; i++)
        out->list.items[i] = list->list.items[from[i]];
    return out;
}
