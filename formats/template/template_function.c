/*
 * template_function.c - functions a template may call, and what a loop knows of itself
 */
#include "formats/template/syntax.h"

#include <string.h>
#include <time.h>

enum { RANGE_MAX = 100000 };

static struct value *range(struct run *run, struct value *self,
                           const struct arguments *args)
{
    int64_t bounds[3] = {0, 0, 1}, n;
    struct value *out;

    (void)self;
    if (args->n < 1 || args->n > 3)
        return run_fail(run, ERR_USAGE, "range takes one to three integers");
    for (size_t i = 0; i < args->n; i++) {
        if (args->list[i]->kind != VALUE_INTEGER)
            return run_fail(run, ERR_USAGE, "range of %s", value_type(args->list[i]));
        bounds[args->n == 1 ? 1 : i] = args->list[i]->integer;
    }
    /* Far from the ends of 64 bits, where differences would overflow. */
    for (int i = 0; i < 3; i++)
        if (bounds[i] > INT64_MAX / 4 || bounds[i] < -INT64_MAX / 4)
            return run_fail(run, ERR_USAGE, "a range beyond 64 bits");
    if (bounds[2] == 0)
        return run_fail(run, ERR_USAGE, "a range in steps of 0");
    n = bounds[2] > 0 ? (bounds[1] - bounds[0] + bounds[2] - 1) / bounds[2]
                      : (bounds[0] - bounds[1] - bounds[2] - 1) / -bounds[2];
    n = n < 0 ? 0 : n;
    if (n > RANGE_MAX)
        return run_fail(run, ERR_UNSUPPORTED, "a range of more than %d numbers",
                        RANGE_MAX);
    out = value_list(run, VALUE_LIST, (size_t)n);
    for (size_t i = 0; out && i < (size_t)n; i++) {
        out->list.items[i] = value_integer(run, bounds[0] + (int64_t)i * bounds[2]);
        if (!out->list.items[i])
            return NULL;
    }
    return out;
}

/* namespace(a=1) and dict(a=1), both also of a dict. */
static struct value *collection(struct run *run, enum value_kind kind,
                                const struct arguments *args)
{
    struct value *out = value_dict(run, kind);

    for (size_t i = 0; out && i < args->n; i++) {
        const struct value *from = args->list[i];

        if (from->kind != VALUE_DICT)
            return run_fail(run, ERR_USAGE, "%s cannot be made a dict", value_type(from));
        for (size_t k = 0; k < from->dict->n; k++)
            if (!dict_set(run, out->dict, from->dict->pairs[k].key,
                          from->dict->pairs[k].value))
                return NULL;
    }
    for (size_t i = 0; out && i < args->n_named; i++) {
        struct value *key = value_borrow(run, args->names[i].text, args->names[i].n);

        if (!key || !dict_set(run, out->dict, key, args->values[i]))
            return NULL;
    }
    return out;
}

static struct value *namespace(struct run *run, struct value *self,
                               const struct arguments *args)
{
    (void)self;
    return collection(run, VALUE_NAMESPACE, args);
}

static struct value *dict(struct run *run, struct value *self,
                          const struct arguments *args)
{
    (void)self;
    return collection(run, VALUE_DICT, args);
}

static struct value *raise_exception(struct run *run, struct value *self,
                                     const struct arguments *args)
{
    struct value *message = argument(args, 0, "message");

    (void)self;
    message = message ? value_to_string(run, message) : NULL;
    return run_fail(run, ERR_USAGE, "%s",
                    message ? message->str.text : "it raised an exception");
}

static struct value *strftime_now(struct run *run, struct value *self,
                                  const struct arguments *args)
{
    const struct str format = argument_str(args, 0, "format", "%Y-%m-%d");
    const time_t now = time(NULL);
    char text[256];
    struct tm tm;
    size_t n;

    (void)self;
    if (!localtime_r(&now, &tm))
        return run_fail(run, ERR_USAGE, "there is no time");
    n = strftime(text, sizeof(text), format.text, &tm);
    return value_string(run, text, n);
}

static const struct function functions[] = {
    {"dict", dict, NULL},
    {"namespace", namespace, NULL},
    {"raise_exception", raise_exception, "message"},
    {"range", range, NULL},
    {"strftime_now", strftime_now, "format"},
};

const struct function *global_function(struct str name)
{
    return find_function(functions, sizeof(functions) / sizeof(functions[0]), name);
}

/* ---- loop.cycle() and loop.changed() ---- */

static struct value *cycle(struct run *run, struct value *self,
                           const struct arguments *args)
{
    if (args->n == 0)
        return run_fail(run, ERR_USAGE, "no items for cycling given");
    return args->list[self->loop->i % args->n];
}

static struct value *changed(struct run *run, struct value *self,
                             const struct arguments *args)
{
    struct value *seen = value_list(run, VALUE_TUPLE, args->n);
    bool is_new;

    if (!seen)
        return NULL;
    if (args->n)
        memcpy(seen->list.items, args->list, args->n * sizeof(struct value *));
    is_new = !self->loop->changed || !value_equal(run, self->loop->changed, seen);
    self->loop->changed = seen;
    return value_bool(run, is_new);
}

static const struct function loop_methods[] = {{"changed", changed, NULL},
                                               {"cycle", cycle, NULL}};

static struct value *neighbour(struct run *run, const struct loop *loop, bool is_next)
{
    if (is_next ? loop->i + 1 == loop->items->list.n : loop->i == 0)
        return value_undefined(
            run, is_next ? "there is no next item" : "there is no previous item",
            is_next ? 21 : 25);
    return loop->items->list.items[is_next ? loop->i + 1 : loop->i - 1];
}

struct value *loop_attribute(struct run *run, struct loop *loop, struct str name)
{
    const int64_t i = (int64_t)loop->i, n = (int64_t)loop->items->list.n;
    const struct {
        const char *name;
        int64_t v;
    } numbers[] = {{"index", i + 1},
                   {"index0", i},
                   {"length", n},
                   {"revindex", n - i},
                   {"revindex0", n - i - 1},
                   /* Only recursive loops, which are not supported, go deeper. */
                   {"depth", 1},
                   {"depth0", 0}};
    const struct function *method =
        find_function(loop_methods, sizeof(loop_methods) / sizeof(loop_methods[0]), name);
    struct value *self, *v;

    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++)
        if (str_is(name, numbers[k].name))
            return value_integer(run, numbers[k].v);
    if (str_is(name, "first") || str_is(name, "last"))
        return value_bool(run, name.text[0] == 'f' ? i == 0 : i + 1 == n);
    if (str_is(name, "previtem") || str_is(name, "nextitem"))
        return neighbour(run, loop, name.text[0] == 'n');
    if (!method)
        return value_undefined(run, "a loop has no such attribute", 28);
    self = value_new(run, VALUE_LOOP);
    v = value_new(run, VALUE_METHOD);
    if (!self || !v)
        return NULL;
    self->loop = loop;
    v->method.function = method;
    v->method.self = self;
    return v;
}
