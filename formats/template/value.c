/*
 * value.c - making values, and the limits of a run
 */
#include "formats/template/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the run ---- */

void *run_fail(struct run *run, enum status st, const char *fmt, ...)
{
    char text[400];
    va_list args;

    if (run->st != OK)
        return NULL;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    run->st = fail(run->err, st, "line %d of the template: %s", run->line, text);
    return NULL;
}

void *run_alloc(struct run *run, size_t n_bytes)
{
    void *p;

    if (n_bytes > TEMPLATE_MAX_MEMORY - run->memory)
        return run_fail(run, ERR_UNSUPPORTED, "it takes more than %d MB",
                        TEMPLATE_MAX_MEMORY >> 20);
    run->memory += n_bytes;
    p = arena_alloc(&run->arena, n_bytes);
    return p ? p : run_fail(run, ERR_NOMEM, "no memory");
}

void *run_array(struct run *run, size_t count, size_t size)
{
    size_t n_bytes;

    if (!mul_size(count, size, &n_bytes))
        return run_fail(run, ERR_NOMEM, "no memory");
    return run_alloc(run, n_bytes ? n_bytes : 1);
}

bool run_step(struct run *run, size_t n)
{
    if (run->st == OK && n <= TEMPLATE_MAX_STEPS - run->steps) {
        run->steps += n;
        return true;
    }
    run_fail(run, ERR_UNSUPPORTED, "it takes more than %d steps", TEMPLATE_MAX_STEPS);
    return false;
}

bool run_enter(struct run *run)
{
    if (run->depth >= 2 * TEMPLATE_MAX_DEPTH) {
        run_fail(run, ERR_UNSUPPORTED, "it nests more than %d deep",
                 2 * TEMPLATE_MAX_DEPTH);
        return false;
    }
    run->depth++;
    return true;
}

/* ---- making values ---- */

struct value *value_new(struct run *run, enum value_kind kind)
{
    struct value *v = run_alloc(run, sizeof(*v));

    if (v)
        v->kind = kind;
    return v;
}

struct value *value_borrow(struct run *run, const char *text, size_t n)
{
    struct value *v = value_new(run, VALUE_STRING);

    if (v)
        v->str = (struct str){text, n};
    return v;
}

struct value *value_string(struct run *run, const char *text, size_t n)
{
    char *copy = run_step(run, n / 16) ? run_alloc(run, n + 1) : NULL;

    if (!copy)
        return NULL;
    memcpy(copy, text, n);
    return value_borrow(run, copy, n);
}

struct value *value_undefined(struct run *run, const char *what, size_t n)
{
    struct value *v = value_string(run, what, n);

    if (v)
        v->kind = VALUE_UNDEFINED;
    return v;
}

struct value *value_none(struct run *run)
{
    return value_new(run, VALUE_NONE);
}

struct value *value_bool(struct run *run, bool boolean)
{
    struct value *v = value_new(run, VALUE_BOOL);

    if (v)
        v->boolean = boolean;
    return v;
}

struct value *value_integer(struct run *run, int64_t integer)
{
    struct value *v = value_new(run, VALUE_INTEGER);

    if (v)
        v->integer = integer;
    return v;
}

struct value *value_real(struct run *run, double real)
{
    struct value *v = value_new(run, VALUE_REAL);

    if (v)
        v->real = real;
    return v;
}

struct value *value_list(struct run *run, enum value_kind kind, size_t n)
{
    struct value *v = run_step(run, n) ? value_new(run, kind) : NULL;

    if (!v)
        return NULL;
    v->list.items = run_array(run, n, sizeof(*v->list.items));
    v->list.n = n;
    return v->list.items ? v : NULL;
}

struct value *value_dict(struct run *run, enum value_kind kind)
{
    struct value *v = value_new(run, kind);

    if (!v)
        return NULL;
    v->dict = run_alloc(run, sizeof(*v->dict));
    return v->dict ? v : NULL;
}

struct value *value_pair(struct run *run, struct value *a, struct value *b)
{
    struct value *v = value_list(run, VALUE_TUPLE, 2);

    if (!v)
        return NULL;
    v->list.items[0] = a;
    v->list.items[1] = b;
    return v;
}

static struct value *dict_from_json(struct run *run, json_t *json)
{
    struct value *v = value_dict(run, VALUE_DICT);
    const char *key;
    json_t *item;

    json_object_foreach(json, key, item)
    {
        struct value *name = v ? value_string(run, key, strlen(key)) : NULL;
        struct value *value = name ? value_from_json(run, item) : NULL;

        if (!value || !dict_set(run, v->dict, name, value))
            return NULL;
    }
    return v;
}

static struct value *list_from_json(struct run *run, json_t *json)
{
    struct value *v = value_list(run, VALUE_LIST, json_array_size(json));

    for (size_t i = 0; v && i < v->list.n; i++) {
        v->list.items[i] = value_from_json(run, json_array_get(json, i));
        if (!v->list.items[i])
            return NULL;
    }
    return v;
}

static struct value *nested_from_json(struct run *run, json_t *json)
{
    struct value *v;

    if (run->depth >= TEMPLATE_MAX_DEPTH)
        return run_fail(run, ERR_UNSUPPORTED, "its variables nest more than %d deep",
                        TEMPLATE_MAX_DEPTH);
    run->depth++;
    v = json_is_array(json) ? list_from_json(run, json) : dict_from_json(run, json);
    run->depth--;
    return v;
}

struct value *value_from_json(struct run *run, json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_STRING:
        return value_string(run, json_string_value(json), json_string_length(json));
    case JSON_INTEGER:
        return value_integer(run, json_integer_value(json));
    case JSON_REAL:
        return value_real(run, json_real_value(json));
    case JSON_TRUE:
    case JSON_FALSE:
        return value_bool(run, json_is_true(json));
    case JSON_NULL:
        return value_none(run);
    default:
        return nested_from_json(run, json);
    }
}

/* ---- dicts ---- */

struct value *dict_get(struct run *run, const struct dict *dict, const struct value *key)
{
    if (!run_step(run, dict->n / 8))
        return NULL;
    for (size_t i = 0; i < dict->n; i++)
        if (value_equal(run, dict->pairs[i].key, key))
            return dict->pairs[i].value;
    return NULL;
}

struct value *dict_get_str(struct run *run, const struct dict *dict, const char *name,
                           size_t n)
{
    const struct value key = {.kind = VALUE_STRING, .str = {name, n}};

    return dict_get(run, dict, &key);
}

bool dict_set(struct run *run, struct dict *dict, struct value *key, struct value *value)
{
    if (!run_step(run, 1 + dict->n / 8))
        return false;
    for (size_t i = 0; i < dict->n; i++)
        if (value_equal(run, dict->pairs[i].key, key)) {
            dict->pairs[i].value = value;
            return true;
        }
    if (dict->n == dict->room) {
        const size_t room = dict->room ? 2 * dict->room : 8;
        struct dict_pair *pairs = run_array(run, room, sizeof(*pairs));

        if (!pairs)
            return false;
        if (dict->n)
            memcpy(pairs, dict->pairs, dict->n * sizeof(*pairs));
        dict->pairs = pairs;
        dict->room = room;
    }
    dict->pairs[dict->n++] = (struct dict_pair){key, value};
    return true;
}
