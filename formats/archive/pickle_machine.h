/*
 * pickle_machine.h - the stack, marks and memo of a pickle being read
 *
 * Private to this folder. Every loop is over bytes that are there, every list is bounded by them,
 * and marks nest a hundred deep at most; there is no recursion.
 */
#ifndef FORMATS_ARCHIVE_PICKLE_MACHINE_H
#define FORMATS_ARCHIVE_PICKLE_MACHINE_H

#include "formats/archive/pickle.h"

enum { MARKS_MOST = 100 };

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

/* The next n bytes of the pickle. */
MUST_CHECK enum status machine_take(struct machine *m, size_t n, const uint8_t **out,
                                    struct error *err);
/* A little-endian number of `width` bytes. */
MUST_CHECK enum status machine_take_number(struct machine *m, size_t width, uint64_t *out,
                                           struct error *err);

MUST_CHECK enum status machine_push(struct machine *m, struct value *value,
                                    struct error *err);
/* A new value, in the arena / on the stack too. */
MUST_CHECK enum status machine_new_value(struct machine *m, enum value_kind kind,
                                         struct value **out, struct error *err);
MUST_CHECK enum status machine_push_new(struct machine *m, enum value_kind kind,
                                        struct value **out, struct error *err);

/* Values that may be taken without taking a mark. */
size_t machine_height(const struct machine *m);
MUST_CHECK enum status machine_pop(struct machine *m, struct value **out,
                                   struct error *err);
/* The value that `depth` values lie upon. */
MUST_CHECK enum status machine_peek(const struct machine *m, size_t depth,
                                    struct value **out, struct error *err);
/* End the values since the last mark: *items points to them until the next push. */
MUST_CHECK enum status machine_pop_mark(struct machine *m, struct value ***items,
                                        size_t *n, struct error *err);

/* Append n items to a tuple, list or dictionary. */
MUST_CHECK enum status machine_extend(struct machine *m, struct value *list,
                                      struct value **items, size_t n, struct error *err);

/* ---- pickle_values.c: opcodes that make values; pickle.c has the others ---- */

enum status op_none(struct machine *m, struct error *err);
enum status op_true(struct machine *m, struct error *err);
enum status op_false(struct machine *m, struct error *err);
enum status op_binint(struct machine *m, struct error *err);
enum status op_binint1(struct machine *m, struct error *err);
enum status op_binint2(struct machine *m, struct error *err);
enum status op_long1(struct machine *m, struct error *err);
enum status op_binfloat(struct machine *m, struct error *err);
enum status op_binunicode(struct machine *m, struct error *err);
enum status op_short_binunicode(struct machine *m, struct error *err);
enum status op_binbytes(struct machine *m, struct error *err);
enum status op_short_binbytes(struct machine *m, struct error *err);
enum status op_string(struct machine *m, struct error *err);
enum status op_empty_tuple(struct machine *m, struct error *err);
enum status op_tuple(struct machine *m, struct error *err);
enum status op_tuple1(struct machine *m, struct error *err);
enum status op_tuple2(struct machine *m, struct error *err);
enum status op_tuple3(struct machine *m, struct error *err);
enum status op_empty_list(struct machine *m, struct error *err);
enum status op_empty_dict(struct machine *m, struct error *err);
enum status op_append(struct machine *m, struct error *err);
enum status op_appends(struct machine *m, struct error *err);
enum status op_setitem(struct machine *m, struct error *err);
enum status op_setitems(struct machine *m, struct error *err);

#endif
