/*
 * pickle_machine.c - taking, pushing, popping, within limits
 */
#include "formats/archive/pickle_machine.h"

#include <inttypes.h>
#include <stdlib.h>

enum { STACK_MOST = 1 << 20, VALUES_MOST = 1 << 22 };

enum status machine_take(struct machine *m, size_t n, const uint8_t **out,
                         struct error *err)
{
    if (n > m->n - m->at)
        return fail(err, ERR_CORRUPT, "the pickle ends too early, at byte %zu", m->n);
    *out = m->bytes + m->at;
    m->at += n;
    return OK;
}

enum status machine_take_number(struct machine *m, size_t width, uint64_t *out,
                                struct error *err)
{
    const uint8_t *p = NULL;
    uint64_t v = 0;
    enum status st = machine_take(m, width, &p, err);

    for (size_t i = 0; st == OK && i < width; i++)
        v |= (uint64_t)p[i] << (8 * i);
    *out = v;
    return st;
}

enum status machine_push(struct machine *m, struct value *value, struct error *err)
{
    if (m->n_stack >= STACK_MOST)
        return fail(err, ERR_UNSUPPORTED, "pickle: more than %d values on its stack",
                    STACK_MOST);
    if (m->n_stack == m->stack_size) {
        size_t size = 2 * m->stack_size;
        struct value **bigger = realloc(m->stack, size * sizeof(struct value *));

        if (!bigger)
            return fail(err, ERR_NOMEM, "no memory for the stack of a pickle");
        m->stack = bigger;
        m->stack_size = size;
    }
    m->stack[m->n_stack++] = value;
    return OK;
}

enum status machine_new_value(struct machine *m, enum value_kind kind, struct value **out,
                              struct error *err)
{
    struct value *value = NULL;

    if (++m->n_values > VALUES_MOST)
        return fail(err, ERR_UNSUPPORTED, "pickle: more than %d values", VALUES_MOST);
    value = arena_alloc(m->arena, sizeof(*value));
    if (!value)
        return fail(err, ERR_NOMEM, "no memory for the values of a pickle");
    value->kind = kind;
    *out = value;
    return OK;
}

enum status machine_push_new(struct machine *m, enum value_kind kind, struct value **out,
                             struct error *err)
{
    enum status st = machine_new_value(m, kind, out, err);

    return st == OK ? machine_push(m, *out, err) : st;
}

size_t machine_height(const struct machine *m)
{
    return m->n_stack - (m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0);
}

enum status machine_pop(struct machine *m, struct value **out, struct error *err)
{
    if (machine_height(m) == 0)
        return fail(err, ERR_CORRUPT, "pickle: it takes from an empty stack");
    *out = m->stack[--m->n_stack];
    return OK;
}

enum status machine_peek(const struct machine *m, size_t depth, struct value **out,
                         struct error *err)
{
    if (m->n_stack <= depth)
        return fail(err, ERR_CORRUPT, "pickle: it looks into an empty stack");
    *out = m->stack[m->n_stack - 1 - depth];
    return OK;
}

enum status machine_pop_mark(struct machine *m, struct value ***items, size_t *n,
                             struct error *err)
{
    if (m->n_marks == 0)
        return fail(err, ERR_CORRUPT, "pickle: it ends a group that nothing began");
    *n = machine_height(m);
    m->n_stack = m->marks[--m->n_marks];
    *items = m->stack + m->n_stack;
    return OK;
}

enum status machine_extend(struct machine *m, struct value *list, struct value **items,
                           size_t n, struct error *err)
{
    if (list->n + n > list->capacity) {
        size_t capacity = 2 * (list->n + n);
        struct value **bigger = arena_array(m->arena, capacity, sizeof(struct value *));

        if (!bigger)
            return fail(err, ERR_NOMEM, "no memory for a list of a pickle");
        if (list->n > 0)
            memcpy(bigger, list->items, list->n * sizeof(struct value *));
        list->items = bigger;
        list->capacity = capacity;
    }
    if (n > 0)
        memcpy(list->items + list->n, items, n * sizeof(struct value *));
    list->n += n;
    return OK;
}
