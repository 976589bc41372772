/*
 * pickle_values.c - opcodes that make numbers, texts, tuples, lists and dictionaries
 */
#include "formats/archive/pickle_machine.h"

#include <inttypes.h>

/* ---- simple values ---- */

enum status op_none(struct machine *m, struct error *err)
{
    struct value *value = NULL;

    return machine_push_new(m, VALUE_NONE, &value, err);
}

static enum status push_number(struct machine *m, enum value_kind kind, int64_t number,
                               struct error *err)
{
    struct value *value = NULL;
    enum status st = machine_push_new(m, kind, &value, err);

    if (st == OK)
        value->number = number;
    return st;
}

enum status op_true(struct machine *m, struct error *err)
{
    return push_number(m, VALUE_BOOL, 1, err);
}

enum status op_false(struct machine *m, struct error *err)
{
    return push_number(m, VALUE_BOOL, 0, err);
}

enum status op_binint(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = machine_take_number(m, 4, &v, err);

    return st == OK ? push_number(m, VALUE_INT, (int32_t)(uint32_t)v, err) : st;
}

enum status op_binint1(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = machine_take_number(m, 1, &v, err);

    return st == OK ? push_number(m, VALUE_INT, (int64_t)v, err) : st;
}

enum status op_binint2(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = machine_take_number(m, 2, &v, err);

    return st == OK ? push_number(m, VALUE_INT, (int64_t)v, err) : st;
}

/* A two's complement number of 0 to 8 bytes; longer ones are no size of anything. */
enum status op_long1(struct machine *m, struct error *err)
{
    uint64_t width = 0, v = 0;
    enum status st = machine_take_number(m, 1, &width, err);

    if (st == OK && width > 8)
        return fail(err, ERR_UNSUPPORTED, "pickle: a number of %" PRIu64 " bytes", width);
    if (st == OK)
        st = machine_take_number(m, (size_t)width, &v, err);
    if (st != OK)
        return st;
    if (width > 0 && width < 8 && (v >> (8 * width - 1)) & 1)
        v |= UINT64_MAX << (8 * width);
    return push_number(m, VALUE_INT, (int64_t)v, err);
}

enum status op_binfloat(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = machine_take_number(m, 8, &v, err);

    return st == OK ? push_number(m, VALUE_FLOAT, 0, err) : st;
}

/* Text or bytes whose length has `width` bytes. */
static enum status push_string(struct machine *m, enum value_kind kind, size_t width,
                               struct error *err)
{
    const uint8_t *p = NULL;
    struct value *value = NULL;
    uint64_t n = 0;
    enum status st = machine_take_number(m, width, &n, err);

    if (st == OK)
        st = machine_take(m, (size_t)n, &p, err);
    if (st == OK)
        st = machine_push_new(m, kind, &value, err);
    if (st != OK || kind == VALUE_BYTES)
        return st;
    value->text = arena_strndup(m->arena, (const char *)p, (size_t)n);
    value->n = (size_t)n;
    return value->text ? OK
                       : fail(err, ERR_NOMEM, "no memory for the strings of a pickle");
}

enum status op_binunicode(struct machine *m, struct error *err)
{
    return push_string(m, VALUE_TEXT, 4, err);
}

enum status op_short_binunicode(struct machine *m, struct error *err)
{
    return push_string(m, VALUE_TEXT, 1, err);
}

enum status op_binbytes(struct machine *m, struct error *err)
{
    return push_string(m, VALUE_BYTES, 4, err);
}

enum status op_short_binbytes(struct machine *m, struct error *err)
{
    return push_string(m, VALUE_BYTES, 1, err);
}

/* Text of protocol 0 in quotes: stepped over, for what comes after it to be named. */
enum status op_string(struct machine *m, struct error *err)
{
    const uint8_t *end = memchr(m->bytes + m->at, '\n', m->n - m->at);
    struct value *value = NULL;

    if (!end)
        return fail(err, ERR_CORRUPT, "the pickle ends inside a string");
    m->at = (size_t)(end - m->bytes) + 1;
    return machine_push_new(m, VALUE_BYTES, &value, err);
}

/* ---- tuples, lists, dictionaries ---- */

/* A tuple of n items that lie in the stack's memory, just freed. */
static enum status push_tuple(struct machine *m, struct value **items, size_t n,
                              struct error *err)
{
    struct value *tuple = NULL;
    enum status st = machine_new_value(m, VALUE_TUPLE, &tuple, err);

    if (st != OK)
        return st;
    st = machine_extend(m, tuple, items, n, err);
    return st == OK ? machine_push(m, tuple, err) : st;
}

enum status op_empty_tuple(struct machine *m, struct error *err)
{
    return push_tuple(m, NULL, 0, err);
}

enum status op_tuple(struct machine *m, struct error *err)
{
    struct value **items = NULL;
    size_t n = 0;
    enum status st = machine_pop_mark(m, &items, &n, err);

    return st == OK ? push_tuple(m, items, n, err) : st;
}

static enum status tuple_of(struct machine *m, size_t n, struct error *err)
{
    if (machine_height(m) < n)
        return fail(err, ERR_CORRUPT, "pickle: it takes from an empty stack");
    m->n_stack -= n;
    return push_tuple(m, m->stack + m->n_stack, n, err);
}

enum status op_tuple1(struct machine *m, struct error *err)
{
    return tuple_of(m, 1, err);
}

enum status op_tuple2(struct machine *m, struct error *err)
{
    return tuple_of(m, 2, err);
}

enum status op_tuple3(struct machine *m, struct error *err)
{
    return tuple_of(m, 3, err);
}

enum status op_empty_list(struct machine *m, struct error *err)
{
    struct value *value = NULL;

    return machine_push_new(m, VALUE_LIST, &value, err);
}

enum status op_empty_dict(struct machine *m, struct error *err)
{
    struct value *value = NULL;

    return machine_push_new(m, VALUE_DICT, &value, err);
}

/* Add n items to the list or dictionary on top of the stack. */
static enum status add_items(struct machine *m, enum value_kind kind,
                             struct value **items, size_t n, struct error *err)
{
    struct value *target = NULL;
    enum status st = machine_peek(m, 0, &target, err);

    if (st != OK)
        return st;
    if (target->kind != kind || (kind == VALUE_DICT && n % 2 != 0))
        return fail(err, ERR_CORRUPT, "pickle: it adds items to something else");
    return machine_extend(m, target, items, n, err);
}

static enum status add_top(struct machine *m, enum value_kind kind, size_t n,
                           struct error *err)
{
    if (machine_height(m) < n)
        return fail(err, ERR_CORRUPT, "pickle: it takes from an empty stack");
    m->n_stack -= n;
    return add_items(m, kind, m->stack + m->n_stack, n, err);
}

static enum status add_group(struct machine *m, enum value_kind kind, struct error *err)
{
    struct value **items = NULL;
    size_t n = 0;
    enum status st = machine_pop_mark(m, &items, &n, err);

    return st == OK ? add_items(m, kind, items, n, err) : st;
}

enum status op_append(struct machine *m, struct error *err)
{
    return add_top(m, VALUE_LIST, 1, err);
}

enum status op_appends(struct machine *m, struct error *err)
{
    return add_group(m, VALUE_LIST, err);
}

enum status op_setitem(struct machine *m, struct error *err)
{
    return add_top(m, VALUE_DICT, 2, err);
}

enum status op_setitems(struct machine *m, struct error *err)
{
    return add_group(m, VALUE_DICT, err);
}
