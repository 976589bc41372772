/*
 * pickle.c - the stack machine
 *
 * Every loop is over bytes that are there, every list is bounded by them, and marks nest a
 * hundred deep at most; there is no recursion.
 */
#include "formats/archive/pickle.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    STACK_MOST = 1 << 20,
    MARKS_MOST = 100,
    VALUES_MOST = 1 << 22,
    LINE_MOST = 256, /* a module or a name of GLOBAL */
};

struct machine {
    const uint8_t *bytes;
    size_t n, at;
    struct arena *arena;
    struct value **stack; /* owned */
    size_t n_stack, stack_size;
    size_t marks[MARKS_MOST]; /* heights of the stack */
    int n_marks;
    struct value **memo; /* owned; NULL where nothing was put */
    size_t memo_size, n_memo;
    size_t n_values;
    bool is_over;
};

/* ---- the machine's parts ---- */

static enum status take(struct machine *m, size_t n, const uint8_t **out,
                        struct error *err)
{
    if (n > m->n - m->at)
        return fail(err, ERR_CORRUPT, "the pickle ends too early, at byte %zu", m->n);
    *out = m->bytes + m->at;
    m->at += n;
    return OK;
}

/* A little-endian number of `width` bytes. */
static enum status take_number(struct machine *m, size_t width, uint64_t *out,
                               struct error *err)
{
    const uint8_t *p = NULL;
    uint64_t v = 0;
    enum status st = take(m, width, &p, err);

    for (size_t i = 0; st == OK && i < width; i++)
        v |= (uint64_t)p[i] << (8 * i);
    *out = v;
    return st;
}

static enum status push(struct machine *m, struct value *value, struct error *err)
{
    if (m->n_stack >= STACK_MOST)
        return fail(err, ERR_UNSUPPORTED, "pickle: more than %d values on its stack",
                    STACK_MOST);
    if (m->n_stack == m->stack_size) {
        size_t size = m->stack_size ? 2 * m->stack_size : 256;
        struct value **bigger = realloc(m->stack, size * sizeof(*bigger));

        if (!bigger)
            return fail(err, ERR_NOMEM, "no memory for the stack of a pickle");
        m->stack = bigger;
        m->stack_size = size;
    }
    m->stack[m->n_stack++] = value;
    return OK;
}

static enum status new_value(struct machine *m, enum value_kind kind, struct value **out,
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

static enum status push_new(struct machine *m, enum value_kind kind, struct value **out,
                            struct error *err)
{
    enum status st = new_value(m, kind, out, err);

    return st == OK ? push(m, *out, err) : st;
}

/* Values that may be taken without taking a mark. */
static size_t height(const struct machine *m)
{
    return m->n_stack - (m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0);
}

static enum status pop(struct machine *m, struct value **out, struct error *err)
{
    if (height(m) == 0)
        return fail(err, ERR_CORRUPT, "pickle: it takes from an empty stack");
    *out = m->stack[--m->n_stack];
    return OK;
}

/* The value that `depth` values lie upon. */
static enum status peek(const struct machine *m, size_t depth, struct value **out,
                        struct error *err)
{
    if (m->n_stack <= depth)
        return fail(err, ERR_CORRUPT, "pickle: it looks into an empty stack");
    *out = m->stack[m->n_stack - 1 - depth];
    return OK;
}

/* End the values since the last mark: *items points to them until the next push. */
static enum status pop_mark(struct machine *m, struct value ***items, size_t *n,
                            struct error *err)
{
    if (m->n_marks == 0)
        return fail(err, ERR_CORRUPT, "pickle: it ends a group that nothing began");
    *n = height(m);
    m->n_stack = m->marks[--m->n_marks];
    *items = m->stack + m->n_stack;
    return OK;
}

static enum status extend(struct machine *m, struct value *list, struct value **items,
                          size_t n, struct error *err)
{
    if (list->n + n > list->capacity) {
        size_t capacity = 2 * (list->n + n);
        struct value **bigger = arena_array(m->arena, capacity, sizeof(*bigger));

        if (!bigger)
            return fail(err, ERR_NOMEM, "no memory for a list of a pickle");
        if (list->n > 0)
            memcpy(bigger, list->items, list->n * sizeof(*bigger));
        list->items = bigger;
        list->capacity = capacity;
    }
    if (n > 0)
        memcpy(list->items + list->n, items, n * sizeof(*items));
    list->n += n;
    return OK;
}

/* ---- opcodes: frame, stack ---- */

static enum status op_proto(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = take_number(m, 1, &v, err);

    if (st == OK && (v < 2 || v > 5))
        return fail(err, ERR_UNSUPPORTED, "pickle: protocol %" PRIu64 ", not 2 to 5", v);
    return st;
}

static enum status op_frame(struct machine *m, struct error *err)
{
    uint64_t n = 0;
    enum status st = take_number(m, 8, &n, err);

    if (st == OK && n > m->n - m->at)
        return fail(err, ERR_CORRUPT,
                    "the pickle ends inside a frame of %" PRIu64 " bytes", n);
    return st;
}

static enum status op_stop(struct machine *m, struct error *err)
{
    (void)err;
    m->is_over = true;
    return OK;
}

static enum status op_mark(struct machine *m, struct error *err)
{
    if (m->n_marks == MARKS_MOST)
        return fail(err, ERR_UNSUPPORTED, "pickle: nesting beyond %d groups", MARKS_MOST);
    m->marks[m->n_marks++] = m->n_stack;
    return OK;
}

static enum status op_pop(struct machine *m, struct error *err)
{
    struct value *value = NULL;

    if (height(m) == 0 && m->n_marks > 0) {
        m->n_marks--;
        return OK;
    }
    return pop(m, &value, err);
}

static enum status op_pop_mark(struct machine *m, struct error *err)
{
    struct value **items;
    size_t n;

    return pop_mark(m, &items, &n, err);
}

static enum status op_dup(struct machine *m, struct error *err)
{
    struct value *value = NULL;
    enum status st = peek(m, 0, &value, err);

    return st == OK ? push(m, value, err) : st;
}

/* ---- opcodes: simple values ---- */

static enum status op_none(struct machine *m, struct error *err)
{
    struct value *value = NULL;

    return push_new(m, VALUE_NONE, &value, err);
}

static enum status push_number(struct machine *m, enum value_kind kind, int64_t number,
                               struct error *err)
{
    struct value *value = NULL;
    enum status st = push_new(m, kind, &value, err);

    if (st == OK)
        value->number = number;
    return st;
}

static enum status op_true(struct machine *m, struct error *err)
{
    return push_number(m, VALUE_BOOL, 1, err);
}

static enum status op_false(struct machine *m, struct error *err)
{
    return push_number(m, VALUE_BOOL, 0, err);
}

static enum status op_binint(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = take_number(m, 4, &v, err);

    return st == OK ? push_number(m, VALUE_INT, (int32_t)(uint32_t)v, err) : st;
}

static enum status op_binint1(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = take_number(m, 1, &v, err);

    return st == OK ? push_number(m, VALUE_INT, (int64_t)v, err) : st;
}

static enum status op_binint2(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = take_number(m, 2, &v, err);

    return st == OK ? push_number(m, VALUE_INT, (int64_t)v, err) : st;
}

/* A two's complement number of 0 to 8 bytes; longer ones are no size of anything. */
static enum status op_long1(struct machine *m, struct error *err)
{
    uint64_t width = 0, v = 0;
    enum status st = take_number(m, 1, &width, err);

    if (st == OK && width > 8)
        return fail(err, ERR_UNSUPPORTED, "pickle: a number of %" PRIu64 " bytes", width);
    if (st == OK)
        st = take_number(m, (size_t)width, &v, err);
    if (st != OK)
        return st;
    if (width > 0 && width < 8 && (v >> (8 * width - 1)) & 1)
        v |= UINT64_MAX << (8 * width);
    return push_number(m, VALUE_INT, (int64_t)v, err);
}

static enum status op_binfloat(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = take_number(m, 8, &v, err);

    return st == OK ? push_number(m, VALUE_FLOAT, 0, err) : st;
}

/* Text or bytes whose length has `width` bytes. */
static enum status push_string(struct machine *m, enum value_kind kind, size_t width,
                               struct error *err)
{
    const uint8_t *p = NULL;
    struct value *value = NULL;
    uint64_t n = 0;
    enum status st = take_number(m, width, &n, err);

    if (st == OK)
        st = take(m, (size_t)n, &p, err);
    if (st == OK)
        st = push_new(m, kind, &value, err);
    if (st != OK || kind == VALUE_BYTES)
        return st;
    value->text = arena_strndup(m->arena, (const char *)p, (size_t)n);
    value->n = (size_t)n;
    return value->text ? OK
                       : fail(err, ERR_NOMEM, "no memory for the strings of a pickle");
}

static enum status op_binunicode(struct machine *m, struct error *err)
{
    return push_string(m, VALUE_TEXT, 4, err);
}

static enum status op_short_binunicode(struct machine *m, struct error *err)
{
    return push_string(m, VALUE_TEXT, 1, err);
}

static enum status op_binbytes(struct machine *m, struct error *err)
{
    return push_string(m, VALUE_BYTES, 4, err);
}

static enum status op_short_binbytes(struct machine *m, struct error *err)
{
    return push_string(m, VALUE_BYTES, 1, err);
}

/* Text of protocol 0 in quotes: stepped over, for what comes after it to be named. */
static enum status op_string(struct machine *m, struct error *err)
{
    const uint8_t *end = memchr(m->bytes + m->at, '\n', m->n - m->at);
    struct value *value = NULL;

    if (!end)
        return fail(err, ERR_CORRUPT, "the pickle ends inside a string");
    m->at = (size_t)(end - m->bytes) + 1;
    return push_new(m, VALUE_BYTES, &value, err);
}

/* ---- opcodes: tuples, lists, dictionaries ---- */

/* A tuple of n items that lie in the stack's memory, just freed. */
static enum status push_tuple(struct machine *m, struct value **items, size_t n,
                              struct error *err)
{
    struct value *tuple = NULL;
    enum status st = new_value(m, VALUE_TUPLE, &tuple, err);

    if (st != OK)
        return st;
    st = extend(m, tuple, items, n, err);
    return st == OK ? push(m, tuple, err) : st;
}

static enum status op_empty_tuple(struct machine *m, struct error *err)
{
    return push_tuple(m, NULL, 0, err);
}

static enum status op_tuple(struct machine *m, struct error *err)
{
    struct value **items = NULL;
    size_t n = 0;
    enum status st = pop_mark(m, &items, &n, err);

    return st == OK ? push_tuple(m, items, n, err) : st;
}

static enum status tuple_of(struct machine *m, size_t n, struct error *err)
{
    if (height(m) < n)
        return fail(err, ERR_CORRUPT, "pickle: it takes from an empty stack");
    m->n_stack -= n;
    return push_tuple(m, m->stack + m->n_stack, n, err);
}

static enum status op_tuple1(struct machine *m, struct error *err)
{
    return tuple_of(m, 1, err);
}

static enum status op_tuple2(struct machine *m, struct error *err)
{
    return tuple_of(m, 2, err);
}

static enum status op_tuple3(struct machine *m, struct error *err)
{
    return tuple_of(m, 3, err);
}

static enum status op_empty_list(struct machine *m, struct error *err)
{
    struct value *value = NULL;

    return push_new(m, VALUE_LIST, &value, err);
}

static enum status op_empty_dict(struct machine *m, struct error *err)
{
    struct value *value = NULL;

    return push_new(m, VALUE_DICT, &value, err);
}

/* Add n items to the list or dictionary on top of the stack. */
static enum status add_items(struct machine *m, enum value_kind kind,
                             struct value **items, size_t n, struct error *err)
{
    struct value *target = NULL;
    enum status st = peek(m, 0, &target, err);

    if (st != OK)
        return st;
    if (target->kind != kind || (kind == VALUE_DICT && n % 2 != 0))
        return fail(err, ERR_CORRUPT, "pickle: it adds items to something else");
    return extend(m, target, items, n, err);
}

static enum status add_top(struct machine *m, enum value_kind kind, size_t n,
                           struct error *err)
{
    if (height(m) < n)
        return fail(err, ERR_CORRUPT, "pickle: it takes from an empty stack");
    m->n_stack -= n;
    return add_items(m, kind, m->stack + m->n_stack, n, err);
}

static enum status add_group(struct machine *m, enum value_kind kind, struct error *err)
{
    struct value **items = NULL;
    size_t n = 0;
    enum status st = pop_mark(m, &items, &n, err);

    return st == OK ? add_items(m, kind, items, n, err) : st;
}

static enum status op_append(struct machine *m, struct error *err)
{
    return add_top(m, VALUE_LIST, 1, err);
}

static enum status op_appends(struct machine *m, struct error *err)
{
    return add_group(m, VALUE_LIST, err);
}

static enum status op_setitem(struct machine *m, struct error *err)
{
    return add_top(m, VALUE_DICT, 2, err);
}

static enum status op_setitems(struct machine *m, struct error *err)
{
    return add_group(m, VALUE_DICT, err);
}

/* ---- opcodes: the memo ---- */

/* Writers number their memo from 0 up, and each number costs a byte: one beyond the pickle's
 * length is no honest one. */
static enum status put(struct machine *m, uint64_t i, struct error *err)
{
    struct value *value = NULL;
    enum status st = peek(m, 0, &value, err);

    if (st != OK)
        return st;
    if (i >= m->n)
        return fail(err, ERR_CORRUPT, "pickle: memo number %" PRIu64, i);
    if (i >= m->memo_size) {
        size_t size = 2 * ((size_t)i + 128);
        struct value **bigger = realloc(m->memo, size * sizeof(*bigger));

        if (!bigger)
            return fail(err, ERR_NOMEM, "no memory for the memo of a pickle");
        for (size_t k = m->memo_size; k < size; k++)
            bigger[k] = NULL;
        m->memo = bigger;
        m->memo_size = size;
    }
    m->n_memo += m->memo[i] == NULL;
    m->memo[i] = value;
    return OK;
}

static enum status get(struct machine *m, uint64_t i, struct error *err)
{
    if (i >= m->memo_size || !m->memo[i])
        return fail(err, ERR_CORRUPT, "pickle: memo number %" PRIu64 " was never put", i);
    return push(m, m->memo[i], err);
}

static enum status op_binput(struct machine *m, struct error *err)
{
    uint64_t i = 0;
    enum status st = take_number(m, 1, &i, err);

    return st == OK ? put(m, i, err) : st;
}

static enum status op_long_binput(struct machine *m, struct error *err)
{
    uint64_t i = 0;
    enum status st = take_number(m, 4, &i, err);

    return st == OK ? put(m, i, err) : st;
}

static enum status op_memoize(struct machine *m, struct error *err)
{
    return put(m, m->n_memo, err);
}

static enum status op_binget(struct machine *m, struct error *err)
{
    uint64_t i = 0;
    enum status st = take_number(m, 1, &i, err);

    return st == OK ? get(m, i, err) : st;
}

static enum status op_long_binget(struct machine *m, struct error *err)
{
    uint64_t i = 0;
    enum status st = take_number(m, 4, &i, err);

    return st == OK ? get(m, i, err) : st;
}

/* ---- opcodes: names and what is made of them ---- */

static enum status push_name(struct machine *m, const char *module, const char *name,
                             struct error *err)
{
    const struct torch_name *known = torch_name_find(module, name);
    struct value *value = NULL;
    enum status st;

    if (!known)
        return fail(err, ERR_UNSUPPORTED,
                    "pickle: it wants to use %s.%s, which no file of tensors needs",
                    module, name);
    st = push_new(m, VALUE_NAME, &value, err);
    if (st == OK)
        value->name = known;
    return st;
}

/* Text up to the next newline. */
static enum status take_line(struct machine *m, char line[LINE_MOST + 1],
                             struct error *err)
{
    const uint8_t *begin = m->bytes + m->at;
    const uint8_t *end = memchr(begin, '\n', m->n - m->at);

    if (!end || end - begin > LINE_MOST)
        return fail(err, ERR_CORRUPT,
                    "the pickle ends inside a name, or the name is too long");
    memcpy(line, begin, (size_t)(end - begin));
    line[end - begin] = '\0';
    m->at += (size_t)(end - begin) + 1;
    return OK;
}

static enum status op_global(struct machine *m, struct error *err)
{
    char module[LINE_MOST + 1], name[LINE_MOST + 1];
    enum status st = take_line(m, module, err);

    if (st == OK)
        st = take_line(m, name, err);
    return st == OK ? push_name(m, module, name, err) : st;
}

static enum status op_stack_global(struct machine *m, struct error *err)
{
    struct value *name = NULL, *module = NULL;
    enum status st = pop(m, &name, err);

    if (st == OK)
        st = pop(m, &module, err);
    if (st != OK)
        return st;
    if (name->kind != VALUE_TEXT || module->kind != VALUE_TEXT)
        return fail(err, ERR_CORRUPT, "pickle: a name that is not text");
    return push_name(m, module->text, name->text, err);
}

static enum status op_call(struct machine *m, struct error *err)
{
    struct value *args = NULL, *callee = NULL, *result = NULL;
    enum status st = pop(m, &args, err);

    if (st == OK)
        st = pop(m, &callee, err);
    if (st == OK)
        st = torch_call(m->arena, callee, args, &result, err);
    return st == OK ? push(m, result, err) : st;
}

/* State for an object: torch hangs `_metadata` on its dictionaries, which is of no use here. */
static enum status op_build(struct machine *m, struct error *err)
{
    struct value *state = NULL, *object = NULL;
    enum status st = pop(m, &state, err);

    if (st == OK)
        st = peek(m, 0, &object, err);
    if (st == OK && object->kind != VALUE_DICT)
        return fail(err, ERR_UNSUPPORTED,
                    "pickle: BUILD of something other than a dictionary");
    return st;
}

static enum status op_binpersid(struct machine *m, struct error *err)
{
    struct value *id = NULL, *storage = NULL;
    enum status st = pop(m, &id, err);

    if (st == OK)
        st = torch_storage(m->arena, id, &storage, err);
    return st == OK ? push(m, storage, err) : st;
}

/* ---- running ---- */

/* NULL in `run`: an opcode that is refused, by its name. */
static const struct {
    const char *name;
    enum status (*run)(struct machine *m, struct error *err);
} opcodes[256] = {
    ['('] = {"MARK", op_mark},
    [')'] = {"EMPTY_TUPLE", op_empty_tuple},
    ['.'] = {"STOP", op_stop},
    ['0'] = {"POP", op_pop},
    ['1'] = {"POP_MARK", op_pop_mark},
    ['2'] = {"DUP", op_dup},
    ['B'] = {"BINBYTES", op_binbytes},
    ['C'] = {"SHORT_BINBYTES", op_short_binbytes},
    ['F'] = {"FLOAT", NULL},
    ['G'] = {"BINFLOAT", op_binfloat},
    ['I'] = {"INT", NULL},
    ['J'] = {"BININT", op_binint},
    ['K'] = {"BININT1", op_binint1},
    ['L'] = {"LONG", NULL},
    ['M'] = {"BININT2", op_binint2},
    ['N'] = {"NONE", op_none},
    ['P'] = {"PERSID", NULL},
    ['Q'] = {"BINPERSID", op_binpersid},
    ['R'] = {"REDUCE", op_call},
    ['S'] = {"STRING", op_string},
    ['T'] = {"BINSTRING", NULL},
    ['U'] = {"SHORT_BINSTRING", NULL},
    ['V'] = {"UNICODE", NULL},
    ['X'] = {"BINUNICODE", op_binunicode},
    [']'] = {"EMPTY_LIST", op_empty_list},
    ['a'] = {"APPEND", op_append},
    ['b'] = {"BUILD", op_build},
    ['c'] = {"GLOBAL", op_global},
    ['d'] = {"DICT", NULL},
    ['e'] = {"APPENDS", op_appends},
    ['g'] = {"GET", NULL},
    ['h'] = {"BINGET", op_binget},
    ['i'] = {"INST", NULL},
    ['j'] = {"LONG_BINGET", op_long_binget},
    ['l'] = {"LIST", NULL},
    ['o'] = {"OBJ", NULL},
    ['p'] = {"PUT", NULL},
    ['q'] = {"BINPUT", op_binput},
    ['r'] = {"LONG_BINPUT", op_long_binput},
    ['s'] = {"SETITEM", op_setitem},
    ['t'] = {"TUPLE", op_tuple},
    ['u'] = {"SETITEMS", op_setitems},
    ['}'] = {"EMPTY_DICT", op_empty_dict},
    [0x80] = {"PROTO", op_proto},
    [0x81] = {"NEWOBJ", op_call},
    [0x82] = {"EXT1", NULL},
    [0x83] = {"EXT2", NULL},
    [0x84] = {"EXT4", NULL},
    [0x85] = {"TUPLE1", op_tuple1},
    [0x86] = {"TUPLE2", op_tuple2},
    [0x87] = {"TUPLE3", op_tuple3},
    [0x88] = {"NEWTRUE", op_true},
    [0x89] = {"NEWFALSE", op_false},
    [0x8a] = {"LONG1", op_long1},
    [0x8b] = {"LONG4", NULL},
    [0x8c] = {"SHORT_BINUNICODE", op_short_binunicode},
    [0x8d] = {"BINUNICODE8", NULL},
    [0x8e] = {"BINBYTES8", NULL},
    [0x8f] = {"EMPTY_SET", NULL},
    [0x90] = {"ADDITEMS", NULL},
    [0x91] = {"FROZENSET", NULL},
    [0x92] = {"NEWOBJ_EX", NULL},
    [0x93] = {"STACK_GLOBAL", op_stack_global},
    [0x94] = {"MEMOIZE", op_memoize},
    [0x95] = {"FRAME", op_frame},
    [0x96] = {"BYTEARRAY8", NULL},
    [0x97] = {"NEXT_BUFFER", NULL},
    [0x98] = {"READONLY_BUFFER", NULL},
};

static enum status step(struct machine *m, struct error *err)
{
    uint8_t opcode;

    if (m->at == m->n)
        return fail(err, ERR_CORRUPT, "the pickle ends without STOP, at byte %zu", m->n);
    opcode = m->bytes[m->at++];
    if (opcodes[opcode].run)
        return opcodes[opcode].run(m, err);
    if (opcodes[opcode].name)
        return fail(err, ERR_UNSUPPORTED, "pickle: opcode %s at byte %zu is not read",
                    opcodes[opcode].name, m->at - 1);
    return fail(err, ERR_CORRUPT, "pickle: byte 0x%02x at %zu is no opcode", opcode,
                m->at - 1);
}

enum status pickle_read(const uint8_t *bytes, size_t n, struct arena *arena,
                        struct value **out, struct error *err)
{
    struct machine m = {.bytes = bytes, .n = n, .arena = arena};
    enum status st = OK;

    while (st == OK && !m.is_over)
        st = step(&m, err);
    if (st == OK)
        st = pop(&m, out, err);
    free(m.stack);
    free(m.memo);
    return st;
}
