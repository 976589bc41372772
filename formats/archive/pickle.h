/*
 * pickle.h - read a pickle as data
 *
 * Private to this folder. A stack machine over the opcodes of protocols 2 to 5 that torch's
 * writers use. It knows values and a fixed list of names (torch_names.c); an opcode or a name
 * beyond them is refused by its name. Nothing is imported, called or executed.
 *
 * Source: the opcode descriptions in Python's Lib/pickletools.py (3.13).
 */
#ifndef FORMATS_ARCHIVE_PICKLE_H
#define FORMATS_ARCHIVE_PICKLE_H

#include "formats/formats.h"

enum value_kind {
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_FLOAT, /* its number is of no use here and not kept */
    VALUE_TEXT,
    VALUE_BYTES, /* likewise */
    VALUE_TUPLE,
    VALUE_LIST,
    VALUE_DICT, /* items: key, value, key, value, ... */
    VALUE_NAME,
    VALUE_STORAGE,
    VALUE_TENSOR,
};

enum name_meaning {
    NAME_ORDERED_DICT,
    NAME_TENSOR,       /* storage, offset, size, stride, ... */
    NAME_TYPED_TENSOR, /* the same, and a dtype behind six arguments */
    NAME_PARAMETER,    /* a tensor, ... */
    NAME_STORAGE,      /* a storage of `dtype` */
    NAME_BYTE_STORAGE, /* a storage counted in bytes, of no type */
    NAME_DTYPE,
    NAME_SIZE,
    NAME_DEVICE,
};

/* A name a pickle may say. */
struct torch_name {
    const char *module, *name;
    enum name_meaning meaning;
    enum dtype dtype;
};

/* NULL when it is not one of ours. */
const struct torch_name *torch_name_find(const char *module, const char *name);

struct value {
    enum value_kind kind;
    int64_t number;   /* VALUE_BOOL, VALUE_INT */
    const char *text; /* VALUE_TEXT: NUL-terminated, n bytes; VALUE_STORAGE: its key */
    struct value *
        *items; /* tuples, lists, dicts: n of them. VALUE_TENSOR: 4, the arguments
                             storage, offset, size, stride */
    size_t n, capacity;
    const struct torch_name *name; /* VALUE_NAME; the type of a VALUE_STORAGE or, for
                                      NAME_TYPED_TENSOR, of a VALUE_TENSOR (else NULL) */
};

/* Run the n bytes; *out is what is on the stack at STOP. Everything is in the arena. */
MUST_CHECK enum status pickle_read(const uint8_t *bytes, size_t n, struct arena *arena,
                                   struct value **out, struct error *err);

/* torch_names.c: what REDUCE and BINPERSID make of their operands. */
MUST_CHECK enum status torch_call(struct arena *arena, const struct value *callee,
                                  struct value *args, struct value **out,
                                  struct error *err);
MUST_CHECK enum status torch_storage(struct arena *arena, const struct value *id,
                                     struct value **out, struct error *err);

#endif
