/*
 * value.h - the values a template works on, and the run they belong to; private to this folder
 *
 * Values never change once made, but for namespaces. Everything lives in the arena of the run. A
 * function that can fail returns NULL (or false) after run_fail().
 */
#ifndef FORMATS_TEMPLATE_VALUE_H
#define FORMATS_TEMPLATE_VALUE_H

#include "base/base.h"
#include "formats/template/template.h"

struct str {
    const char *text; /* UTF-8; ends with a NUL that is not counted */
    size_t n;
};

enum value_kind {
    VALUE_UNDEFINED, /* str: what was missing, for sentences */
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INTEGER,
    VALUE_REAL,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_DICT,
    VALUE_NAMESPACE,
    VALUE_LOOP,
    VALUE_MACRO,
    VALUE_FUNCTION,
    VALUE_METHOD,
};

struct value;
struct node;
struct scope;
struct loop;

struct dict {
    struct dict_pair {
        struct value *key, *value;
    } * pairs; /* in the order of insertion */
    size_t n, room;
};

struct arguments {
    struct value **list; /* by position */
    size_t n;
    struct str *names; /* keywords */
    struct value **values;
    size_t n_named;
};

struct run;

typedef struct value *function_body(struct run *run, struct value *self,
                                    const struct arguments *args);

/* A filter, method or function: `self` is what it is applied to. */
struct function {
    const char *name;
    function_body *body;
    const char *takes; /* "a b": its arguments; NULL: any */
};

struct value {
    enum value_kind kind;
    int depth; /* value_depth() once it was asked, else 0 */
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct str str;
        struct {
            struct value **items;
            size_t n;
        } list;            /* lists and tuples */
        struct dict *dict; /* dicts and namespaces */
        struct loop *loop;
        struct {
            const struct node *node;
            struct scope *scope; /* where it was defined */
        } macro;
        struct {
            const struct function *function;
            struct value *self; /* NULL for functions */
        } method;
    };
};

/* One name after another; a scope sees those around it. */
struct scope {
    struct variable {
        struct str name;
        struct value *value;
        struct variable *next;
    } * variables;
    struct scope *around;
};

/* A text that grows in the arena. */
struct text {
    char *bytes;
    size_t n, room;
};

struct run {
    struct arena arena;
    size_t memory; /* bytes taken from it */
    uint64_t steps;
    int depth, line;
    struct scope *scope;
    struct text *out;
    enum status st;
    struct error *err;
};

/* ---- the run ---- */

/* Record the first trouble, with the line; NULL. */
__attribute__((format(printf, 3, 4))) void *run_fail(struct run *run, enum status st,
                                                     const char *fmt, ...);
void *run_alloc(struct run *run, size_t n_bytes); /* zeroed */
void *run_array(struct run *run, size_t count, size_t size);
bool run_step(struct run *run, size_t n); /* work done; false beyond the limit */
bool run_enter(struct run *run); /* one deeper, if that is allowed; run->depth-- leaves */

bool text_put(struct run *run, struct text *text, const char *bytes, size_t n);
bool text_put_str(struct run *run, struct text *text, const char *str);
struct value *text_value(struct run *run, const struct text *text);

/* ---- making values ---- */

struct value *value_new(struct run *run, enum value_kind kind);
struct value *value_undefined(struct run *run, const char *what, size_t n);
struct value *value_none(struct run *run);
struct value *value_bool(struct run *run, bool v);
struct value *value_integer(struct run *run, int64_t v);
struct value *value_real(struct run *run, double v);
struct value *value_string(struct run *run, const char *text, size_t n); /* copied */
struct value *value_borrow(struct run *run, const char *text,
                           size_t n); /* NUL or not: only
                                                                            for texts in the arena */
struct value *value_list(struct run *run, enum value_kind kind,
                         size_t n); /* n empty places */
struct value *value_dict(struct run *run, enum value_kind kind);
struct value *value_pair(struct run *run, struct value *a, struct value *b); /* a tuple */
/* JSON as values; false when it nests too deep. */
struct value *value_from_json(struct run *run, json_t *json);

bool dict_set(struct run *run, struct dict *dict, struct value *key, struct value *value);
/* NULL: not there, or no more steps. */
struct value *dict_get(struct run *run, const struct dict *dict, const struct value *key);
struct value *dict_get_str(struct run *run, const struct dict *dict, const char *name,
                           size_t n);

/* ---- asking values ---- */

const char *
value_type(const struct value *v); /* "str", "dict", ... as Python names them */
bool value_true(const struct value *v);
bool value_is_number(const struct value *v); /* bool, integer, real */
bool value_is_list(const struct value *v);   /* list or tuple */
double value_as_real(const struct value *v);
/* False, too, when there are no more steps: lists that share their items look like trees. */
bool value_equal(struct run *run, const struct value *a, const struct value *b);
/* -1, 0, 1 in *order; run_fail() when they cannot be compared. */
bool value_compare(struct run *run, const struct value *a, const struct value *b,
                   int *order);
bool value_contains(struct run *run, const struct value *in, const struct value *item,
                    bool *out);
int64_t value_length(const struct value *v); /* -1: it has none */
/* How deep lists and dicts nest in it: 1 for anything else. Remembered, so O(1) the next time. */
int value_depth(struct value *v);
/* What a loop over it sees, as a list; run_fail() when it cannot be walked. */
struct value *value_items(struct run *run, struct value *v);
bool str_is(struct str str, const char *text);

/* ---- values as text ---- */

bool value_print(struct run *run, struct text *out, const struct value *v); /* str() */
bool value_repr(struct run *run, struct text *out, const struct value *v);  /* repr() */
struct value *value_to_string(struct run *run, struct value *v);
bool real_print(struct run *run, struct text *out, double v);

struct json_style {
    bool ascii, sorted;
    int indent; /* -1: on one line */
    struct str comma, colon;
};

bool value_to_json(struct run *run, struct text *out, const struct value *v,
                   const struct json_style *style);

/* ---- characters ---- */

size_t str_length(struct str str);                   /* code points */
size_t str_offset(struct str str, size_t character); /* bytes before it */
bool is_space(uint32_t c);                           /* as str.isspace() */
uint32_t to_upper(uint32_t c);
uint32_t to_lower(uint32_t c);
/* All characters through `map`. */
struct value *str_map(struct run *run, struct str str, uint32_t (*map)(uint32_t));
/* `from` replaced by `to`, at most `most` times; all for -1. */
struct value *str_replace(struct run *run, struct str str, struct str from, struct str to,
                          int64_t most);
struct str str_trim(struct str str, struct str chars, bool left,
                    bool right); /* chars.text NULL:
                                                                                  white space */

/* ---- looking things up ---- */

struct value *argument(const struct arguments *args, size_t i,
                       const char *name); /* or NULL */
int64_t argument_integer(const struct arguments *args, size_t i, const char *name,
                         int64_t otherwise);
bool argument_true(const struct arguments *args, size_t i, const char *name,
                   bool otherwise);
struct str argument_str(const struct arguments *args, size_t i, const char *name,
                        const char *otherwise);

const struct function *find_function(const struct function *table, size_t n,
                                     struct str name);
/* Its value; arguments it does not take are refused. */
struct value *call_function(struct run *run, const struct function *f, struct value *self,
                            const struct arguments *args);

/* a.name and a[key]; undefined when there is nothing. */
struct value *get_attribute(struct run *run, struct value *a, struct str name);
struct value *get_item(struct run *run, struct value *a, const struct value *key);
/* "a.b.0" of a value, as map(attribute=...) and its like take it. */
struct value *get_path(struct run *run, struct value *a, struct str path);
struct value *get_slice(struct run *run, struct value *a, const struct value *bounds[3]);
struct value *get_method(struct run *run, struct value *a,
                         struct str name); /* NULL: none */

struct value *call(struct run *run, struct value *f, const struct arguments *args);
struct value *apply_filter(struct run *run, struct str name, struct value *v,
                           const struct arguments *args);
bool apply_test(struct run *run, struct str name, struct value *v,
                const struct arguments *args, bool *out);
struct value *apply_binary(struct run *run, struct str op, struct value *a,
                           struct value *b);
const struct function *global_function(struct str name); /* NULL: none */

struct value *loop_attribute(struct run *run, struct loop *loop, struct str name);

/* A new list in the order of its keys; equal ones keep their places. */
struct value *sort_values(struct run *run, struct value *list, struct value *keys,
                          bool reverse);
/* The key a value sorts by: lower case unless `with_case`. */
struct value *sort_key(struct run *run, struct value *v, bool with_case);

#endif
