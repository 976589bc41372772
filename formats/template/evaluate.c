/*
 * evaluate.c - the value of an expression
 */
#include "formats/template/syntax.h"

#include <math.h>
#include <string.h>

/* ---- arithmetic ---- */

static struct value *wrong_types(struct run *run, struct str op, const struct value *a,
                                 const struct value *b)
{
    const struct value *missing = a->kind == VALUE_UNDEFINED   ? a
                                  : b->kind == VALUE_UNDEFINED ? b
                                                               : NULL;

    if (missing)
        return run_fail(run, ERR_USAGE, "%s", missing->str.text);
    return run_fail(run, ERR_USAGE, "%s and %s have no %.*s", value_type(a),
                    value_type(b), (int)op.n, op.text);
}

static int64_t as_integer(const struct value *v)
{
    return v->kind == VALUE_BOOL ? v->boolean : v->integer;
}

/* What Python has no real number for is refused. */
static struct value *real_power(struct run *run, double a, double b)
{
    const double v = pow(a, b);

    if ((isnan(v) && !isnan(a) && !isnan(b)) || (a == 0 && b < 0))
        return run_fail(run, ERR_USAGE, "%g to the power of %g", a, b);
    return value_real(run, v);
}

static struct value *integer_power(struct run *run, int64_t a, int64_t b)
{
    int64_t v = 1;

    if (b < 0)
        return real_power(run, (double)a, (double)b);
    for (; b > 0; b >>= 1) {
        if (b & 1 && __builtin_mul_overflow(v, a, &v))
            return run_fail(run, ERR_USAGE, "a number beyond 64 bits");
        if (b > 1 && __builtin_mul_overflow(a, a, &a))
            return run_fail(run, ERR_USAGE, "a number beyond 64 bits");
    }
    return value_integer(run, v);
}

/* Division rounds down, and the remainder has the divisor's sign, as in Python. */
static struct value *integer_division(struct run *run, struct str op, int64_t a,
                                      int64_t b)
{
    int64_t quotient, rest;

    if (b == 0)
        return run_fail(run, ERR_USAGE, "division by zero");
    if (str_is(op, "/"))
        return value_real(run, (double)a / (double)b);
    if (b == -1)
        return str_is(op, "%")  ? value_integer(run, 0)
               : a == INT64_MIN ? run_fail(run, ERR_USAGE, "a number beyond 64 bits")
                                : value_integer(run, -a);
    quotient = a / b;
    rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    return value_integer(run, str_is(op, "%") ? rest : quotient);
}

static struct value *integer_binary(struct run *run, struct str op, int64_t a, int64_t b)
{
    int64_t v;
    bool overflows;

    if (op.text[0] == '/' || op.text[0] == '%')
        return integer_division(run, op, a, b);
    if (str_is(op, "**"))
        return integer_power(run, a, b);
    overflows = op.text[0] == '+'   ? __builtin_add_overflow(a, b, &v)
                : op.text[0] == '-' ? __builtin_sub_overflow(a, b, &v)
                                    : __builtin_mul_overflow(a, b, &v);
    return overflows ? run_fail(run, ERR_USAGE, "a number beyond 64 bits")
                     : value_integer(run, v);
}

/* The rest of a division with the divisor's sign, and the whole quotient: CPython's float_divmod(),
 * where 1.0 // 0.1 is 9. */
static double real_division(double a, double b, double *rest)
{
    double quotient, whole;

    *rest = fmod(a, b);
    quotient = (a - *rest) / b;
    if (*rest == 0) {
        *rest = copysign(0, b);
    } else if ((b < 0) != (*rest < 0)) {
        *rest += b;
        quotient--;
    }
    if (quotient == 0)
        return copysign(0, a / b);
    whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

static struct value *real_binary(struct run *run, struct str op, double a, double b)
{
    double v, rest;

    if ((op.text[0] == '/' || op.text[0] == '%') && b == 0)
        return run_fail(run, ERR_USAGE, "division by zero");
    if (str_is(op, "**"))
        return real_power(run, a, b);
    if (str_is(op, "//")) {
        v = real_division(a, b, &rest);
    } else if (op.text[0] == '%') {
        real_division(a, b, &rest);
        v = rest;
    } else {
        v = op.text[0] == '+'   ? a + b
            : op.text[0] == '-' ? a - b
            : op.text[0] == '*' ? a * b
                                : a / b;
    }
    return value_real(run, v);
}

static struct value *join_lists(struct run *run, const struct value *a,
                                const struct value *b)
{
    struct value *v = value_list(run, a->kind, a->list.n + b->list.n);

    if (!v)
        return NULL;
    if (a->list.n)
        memcpy(v->list.items, a->list.items, a->list.n * sizeof(*v->list.items));
    if (b->list.n)
        memcpy(v->list.items + a->list.n, b->list.items,
               b->list.n * sizeof(*v->list.items));
    return v;
}

static struct value *join_texts(struct run *run, const struct value *a,
                                const struct value *b)
{
    struct text text = {0};

    return value_print(run, &text, a) && value_print(run, &text, b)
               ? text_value(run, &text)
               : NULL;
}

static struct value *repeat_list(struct run *run, const struct value *what, size_t times)
{
    const size_t n = what->list.n;
    struct value *out;
    size_t n_all;

    if (!mul_size(n, times, &n_all))
        n_all = SIZE_MAX; /* refused as too many steps */
    out = value_list(run, what->kind, n_all);
    for (size_t i = 0; out && n > 0 && i < times; i++)
        memcpy(out->list.items + i * n, what->list.items, n * sizeof(*out->list.items));
    return out;
}

/* A text or a list n times. */
static struct value *repeat(struct run *run, const struct value *what, int64_t n)
{
    struct text text = {0};

    if (what->kind != VALUE_STRING)
        return repeat_list(run, what, n > 0 ? (size_t)n : 0);
    for (int64_t i = 0; i < n; i++)
        if (!run_step(run, 1) || !text_put(run, &text, what->str.text, what->str.n))
            return NULL;
    return text_value(run, &text);
}

struct value *apply_binary(struct run *run, struct str op, struct value *a,
                           struct value *b)
{
    const bool a_repeats = a->kind == VALUE_STRING || value_is_list(a);
    const bool b_repeats = b->kind == VALUE_STRING || value_is_list(b);

    if (op.text[0] == '~')
        return join_texts(run, a, b);
    if (value_is_number(a) && value_is_number(b))
        return a->kind == VALUE_REAL || b->kind == VALUE_REAL
                   ? real_binary(run, op, value_as_real(a), value_as_real(b))
                   : integer_binary(run, op, as_integer(a), as_integer(b));
    if (op.text[0] == '+' && a->kind == VALUE_STRING && b->kind == VALUE_STRING)
        return join_texts(run, a, b);
    if (op.text[0] == '+' && value_is_list(a) && a->kind == b->kind)
        return join_lists(run, a, b);
    if (str_is(op, "*") && a_repeats &&
        (b->kind == VALUE_INTEGER || b->kind == VALUE_BOOL))
        return repeat(run, a, as_integer(b));
    if (str_is(op, "*") && b_repeats &&
        (a->kind == VALUE_INTEGER || a->kind == VALUE_BOOL))
        return repeat(run, b, as_integer(a));
    if (str_is(op, "%") && a->kind == VALUE_STRING) {
        struct arguments args = {.list = b->kind == VALUE_TUPLE ? b->list.items : &b,
                                 .n = b->kind == VALUE_TUPLE ? b->list.n : 1};

        return apply_filter(run, (struct str){"format", 6}, a, &args);
    }
    return wrong_types(run, op, a, b);
}

/* ---- comparison ---- */

static bool compare_step(struct run *run, struct str op, struct value *a, struct value *b,
                         bool *out)
{
    int order;

    if (str_is(op, "==") || str_is(op, "!=")) {
        *out = value_equal(run, a, b) == (op.text[0] == '=');
        return true;
    }
    if (str_is(op, "in") || str_is(op, "not in")) {
        if (!value_contains(run, b, a, out))
            return false;
        *out = *out == (op.text[0] == 'i');
        return true;
    }
    if (!value_compare(run, a, b, &order))
        return false;
    *out = op.text[0] == '<' ? order < 0 : order > 0;
    *out = *out || (op.n == 2 && order == 0);
    return true;
}

/* a < b < c: each pair in turn, as long as they hold. */
static struct value *compare(struct run *run, const struct node *node)
{
    struct value *left = evaluate(run, node->a);
    bool holds = true;

    for (size_t i = 0; i < node->n && left && holds; i++) {
        struct value *right = evaluate(run, node->list[i]->b);

        if (!right || !compare_step(run, node->list[i]->text, left, right, &holds))
            return NULL;
        left = right;
    }
    return left ? value_bool(run, holds) : NULL;
}

/* ---- collections ---- */

static struct value *list_of(struct run *run, const struct node *node)
{
    struct value *v =
        value_list(run, node->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, node->n);

    for (size_t i = 0; v && i < node->n; i++) {
        v->list.items[i] = evaluate(run, node->list[i]);
        if (!v->list.items[i])
            return NULL;
    }
    return v;
}

static struct value *dict_of(struct run *run, const struct node *node)
{
    struct value *v = value_dict(run, VALUE_DICT);

    for (size_t i = 0; v && i + 1 < node->n; i += 2) {
        struct value *key = evaluate(run, node->list[i]);
        struct value *value = key ? evaluate(run, node->list[i + 1]) : NULL;

        if (!value || !dict_set(run, v->dict, key, value))
            return NULL;
    }
    return v;
}

static struct value *slice_of(struct run *run, const struct node *node)
{
    struct value *a = evaluate(run, node->a);
    const struct value *bounds[3] = {NULL, NULL, NULL};

    for (int i = 0; a && i < 3; i++)
        if (node->list[i] && !(bounds[i] = evaluate(run, node->list[i])))
            return NULL;
    return a ? get_slice(run, a, bounds) : NULL;
}

/* ---- calls, filters, tests ---- */

/* The values of a node's arguments. */
static bool arguments_of(struct run *run, const struct node *node, struct arguments *args)
{
    *args = (struct arguments){0};
    if (node->n == 0)
        return true;
    args->list = run_array(run, node->n, sizeof(struct value *));
    args->values = run_array(run, node->n, sizeof(struct value *));
    args->names = run_array(run, node->n, sizeof(struct str));
    if (!args->list || !args->values || !args->names)
        return false;
    for (size_t i = 0; i < node->n; i++) {
        const struct node *item = node->list[i];
        const bool is_named = item->kind == NODE_KEYWORD;
        struct value *v = evaluate(run, is_named ? item->a : item);

        if (!v)
            return false;
        if (is_named) {
            args->names[args->n_named] = item->text;
            args->values[args->n_named++] = v;
        } else {
            args->list[args->n++] = v;
        }
    }
    return true;
}

struct value *call(struct run *run, struct value *f, const struct arguments *args)
{
    switch (f->kind) {
    case VALUE_FUNCTION:
    case VALUE_METHOD:
        return call_function(run, f->method.function, f->method.self, args);
    case VALUE_MACRO:
        return call_macro(run, f, args);
    case VALUE_UNDEFINED:
        return run_fail(run, ERR_USAGE, "%s", f->str.text);
    default:
        return run_fail(run, ERR_USAGE, "%s cannot be called", value_type(f));
    }
}

static struct value *call_of(struct run *run, const struct node *node)
{
    struct value *f = evaluate(run, node->a);
    struct arguments args;

    if (!f || !arguments_of(run, node, &args))
        return NULL;
    run->line = node->line;
    return call(run, f, &args);
}

static struct value *filter_of(struct run *run, const struct node *node)
{
    struct value *v = evaluate(run, node->a);
    struct arguments args;

    if (!v || !arguments_of(run, node, &args))
        return NULL;
    run->line = node->line;
    return apply_filter(run, node->text, v, &args);
}

static struct value *test_of(struct run *run, const struct node *node)
{
    struct value *v = evaluate(run, node->a);
    struct arguments args;
    bool holds;

    if (!v || !arguments_of(run, node, &args))
        return NULL;
    run->line = node->line;
    return apply_test(run, node->text, v, &args, &holds) ? value_bool(run, holds) : NULL;
}

/* ---- all of them ---- */

static struct value *sign_of(struct run *run, const struct node *node)
{
    struct value *a = evaluate(run, node->a);

    if (!a)
        return NULL;
    if (a->kind == VALUE_REAL)
        return node->kind == NODE_PLUS ? a : value_real(run, -a->real);
    if (!value_is_number(a))
        return run_fail(run, ERR_USAGE, "%s has no sign", value_type(a));
    return integer_binary(run, (struct str){node->kind == NODE_PLUS ? "+" : "-", 1}, 0,
                          as_integer(a));
}

static struct value *logic_of(struct run *run, const struct node *node)
{
    struct value *a = evaluate(run, node->a);

    if (!a || value_true(a) == (node->kind == NODE_OR))
        return a;
    return evaluate(run, node->b);
}

static struct value *choice_of(struct run *run, const struct node *node)
{
    const struct value *a = evaluate(run, node->a);

    if (!a)
        return NULL;
    if (value_true(a))
        return evaluate(run, node->b);
    return node->c ? evaluate(run, node->c)
                   : value_undefined(run, "an inline if without else was false", 35);
}

static struct value *two_of(struct run *run, const struct node *node)
{
    struct value *a = evaluate(run, node->a), *b = a ? evaluate(run, node->b) : NULL;

    if (!b)
        return NULL;
    run->line = node->line;
    return node->kind == NODE_ITEM ? get_item(run, a, b)
                                   : apply_binary(run, node->text, a, b);
}

static struct value *one_of(struct run *run, const struct node *node)
{
    struct value *a = evaluate(run, node->a);

    if (!a)
        return NULL;
    run->line = node->line;
    return node->kind == NODE_NOT ? value_bool(run, !value_true(a))
                                  : get_attribute(run, a, node->text);
}

static struct value *dispatch(struct run *run, const struct node *node)
{
    switch (node->kind) {
    case NODE_LITERAL:
        return node->literal;
    case NODE_NAME:
        return scope_get(run, node->text);
    case NODE_LIST:
    case NODE_TUPLE:
        return list_of(run, node);
    case NODE_DICT:
        return dict_of(run, node);
    case NODE_NOT:
    case NODE_ATTRIBUTE:
        return one_of(run, node);
    case NODE_NEGATE:
    case NODE_PLUS:
        return sign_of(run, node);
    case NODE_AND:
    case NODE_OR:
        return logic_of(run, node);
    case NODE_BINARY:
    case NODE_ITEM:
        return two_of(run, node);
    case NODE_COMPARE:
        return compare(run, node);
    case NODE_CHOICE:
        return choice_of(run, node);
    case NODE_SLICE:
        return slice_of(run, node);
    case NODE_CALL:
        return call_of(run, node);
    case NODE_FILTER:
        return filter_of(run, node);
    case NODE_TEST:
        return test_of(run, node);
    default:
        return run_fail(run, ERR_CORRUPT, "a statement where an expression should be");
    }
}

struct value *evaluate(struct run *run, const struct node *node)
{
    struct value *v;

    if (!run_step(run, 1) || !run_enter(run))
        return NULL;
    v = dispatch(run, node);
    run->depth--;
    return v;
}
