/*
 * pickle.c - the opcodes of the stack, the memo and names; running them
 */
#include "formats/archive/pickle_machine.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    LINE_MOST = 256, /* a module or a name of GLOBAL */
    STACK_FIRST = 256,
};

/* ---- frame, stack ---- */

static enum status op_proto(struct machine *m, struct error *err)
{
    uint64_t v = 0;
    enum status st = machine_take_number(m, 1, &v, err);

    if (st == OK && (v < 2 || v > 5))
        return fail(err, ERR_UNSUPPORTED, "pickle: protocol %" PRIu64 ", not 2 to 5", v);
    return st;
}

static enum status op_frame(struct machine *m, struct error *err)
{
    uint64_t n = 0;
    enum status st = machine_take_number(m, 8, &n, err);

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

    if (machine_height(m) == 0 && m->n_marks > 0) {
        m->n_marks--;
        return OK;
    }
    return machine_pop(m, &value, err);
}

static enum status op_pop_mark(struct machine *m, struct error *err)
{
    struct value **items;
    size_t n;

    return machine_pop_mark(m, &items, &n, err);
}

static enum status op_dup(struct machine *m, struct error *err)
{
    struct value *value = NULL;
    enum status st = machine_peek(m, 0, &value, err);

    return st == OK ? machine_push(m, value, err) : st;
}

/* ---- the memo ---- */

/* Writers number their memo from 0 up, and each number costs a byte: one beyond the pickle's
 * length is no honest one. */
static enum status put(struct machine *m, uint64_t i, struct error *err)
{
    struct value *value = NULL;
    enum status st = machine_peek(m, 0, &value, err);

    if (st != OK)
        return st;
    if (i >= m->n)
        return fail(err, ERR_CORRUPT, "pickle: memo number %" PRIu64, i);
    if (i >= m->memo_size) {
        size_t size = 2 * ((size_t)i + 128);
        struct value **bigger = realloc(m->memo, size * sizeof(struct value *));

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
    return machine_push(m, m->memo[i], err);
}

static enum status op_binput(struct machine *m, struct error *err)
{
    uint64_t i = 0;
    enum status st = machine_take_number(m, 1, &i, err);

    return st == OK ? put(m, i, err) : st;
}

static enum status op_long_binput(struct machine *m, struct error *err)
{
    uint64_t i = 0;
    enum status st = machine_take_number(m, 4, &i, err);

    return st == OK ? put(m, i, err) : st;
}

static enum status op_memoize(struct machine *m, struct error *err)
{
    return put(m, m->n_memo, err);
}

static enum status op_binget(struct machine *m, struct error *err)
{
    uint64_t i = 0;
    enum status st = machine_take_number(m, 1, &i, err);

    return st == OK ? get(m, i, err) : st;
}

static enum status op_long_binget(struct machine *m, struct error *err)
{
    uint64_t i = 0;
    enum status st = machine_take_number(m, 4, &i, err);

    return st == OK ? get(m, i, err) : st;
}

/* ---- names and what is made of them ---- */

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
    st = machine_push_new(m, VALUE_NAME, &value, err);
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
    enum status st = machine_pop(m, &name, err);

    if (st == OK)
        st = machine_pop(m, &module, err);
    if (st != OK)
        return st;
    if (name->kind != VALUE_TEXT || module->kind != VALUE_TEXT)
        return fail(err, ERR_CORRUPT, "pickle: a name that is not text");
    return push_name(m, module->text, name->text, err);
}

static enum status op_call(struct machine *m, struct error *err)
{
    struct value *args = NULL, *callee = NULL, *result = NULL;
    enum status st = machine_pop(m, &args, err);

    if (st == OK)
        st = machine_pop(m, &callee, err);
    if (st == OK)
        st = torch_call(m->arena, callee, args, &result, err);
    return st == OK ? machine_push(m, result, err) : st;
}

/* State for an object: torch hangs `_metadata` on its dictionaries, which is of no use here. */
static enum status op_build(struct machine *m, struct error *err)
{
    struct value *state = NULL, *object = NULL;
    enum status st = machine_pop(m, &state, err);

    if (st == OK)
        st = machine_peek(m, 0, &object, err);
    if (st == OK && object->kind != VALUE_DICT)
        return fail(err, ERR_UNSUPPORTED,
                    "pickle: BUILD of something other than a dictionary");
    return st;
}

static enum status op_binpersid(struct machine *m, struct error *err)
{
    struct value *id = NULL, *storage = NULL;
    enum status st = machine_pop(m, &id, err);

    if (st == OK)
        st = torch_storage(m->arena, id, &storage, err);
    return st == OK ? machine_push(m, storage, err) : st;
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
    struct machine m = {
        .bytes = bytes, .n = n, .arena = arena, .stack_size = STACK_FIRST};
    enum status st = OK;

    m.stack = malloc(STACK_FIRST * sizeof(struct value *));
    if (!m.stack)
        return fail(err, ERR_NOMEM, "no memory for the stack of a pickle");
    while (st == OK && !m.is_over)
        st = step(&m, err);
    if (st == OK)
        st = machine_pop(&m, out, err);
    free(m.stack);
    free(m.memo);
    return st;
}
