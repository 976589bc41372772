/*
 * template_test.c - value is test(...)
 *
 * Source: jinja2/tests.py.
 */
#include "base/utf8.h"
#include "formats/template/value.h"

#include <math.h>
#include <string.h>

typedef bool test_body(const struct value *v);

static bool is_defined(const struct value *v)
{
    return v->kind != VALUE_UNDEFINED;
}

static bool is_undefined(const struct value *v)
{
    return v->kind == VALUE_UNDEFINED;
}

static bool is_none(const struct value *v)
{
    return v->kind == VALUE_NONE;
}

static bool is_string(const struct value *v)
{
    return v->kind == VALUE_STRING;
}

static bool is_boolean(const struct value *v)
{
    return v->kind == VALUE_BOOL;
}

static bool is_true(const struct value *v)
{
    return v->kind == VALUE_BOOL && v->boolean;
}

static bool is_false(const struct value *v)
{
    return v->kind == VALUE_BOOL && !v->boolean;
}

static bool is_integer(const struct value *v)
{
    return v->kind == VALUE_INTEGER;
}

static bool is_float(const struct value *v)
{
    return v->kind == VALUE_REAL;
}

static bool is_mapping(const struct value *v)
{
    return v->kind == VALUE_DICT;
}

/* Whatever has a length and items: dicts and texts too, and what is undefined. */
static bool is_sequence(const struct value *v)
{
    return v->kind == VALUE_UNDEFINED || v->kind == VALUE_STRING || value_is_list(v) ||
           v->kind == VALUE_DICT;
}

static bool is_callable(const struct value *v)
{
    return v->kind == VALUE_MACRO || v->kind == VALUE_FUNCTION ||
           v->kind == VALUE_METHOD || v->kind == VALUE_UNDEFINED;
}

/* The rest of a division by two; -1 for what has none. */
static double rest_of_two(const struct value *v)
{
    return v->kind == VALUE_INTEGER ? (double)(v->integer & 1)
           : value_is_number(v)     ? fabs(fmod(value_as_real(v), 2))
                                    : -1;
}

static bool is_odd(const struct value *v)
{
    return rest_of_two(v) == 1;
}

static bool is_even(const struct value *v)
{
    return rest_of_two(v) == 0;
}

static const struct {
    const char *name;
    test_body *body;
} plain_tests[] = {
    {"boolean", is_boolean},     {"callable", is_callable},   {"defined", is_defined},
    {"even", is_even},           {"false", is_false},         {"float", is_float},
    {"integer", is_integer},     {"iterable", is_sequence},   {"mapping", is_mapping},
    {"none", is_none},           {"number", value_is_number}, {"odd", is_odd},
    {"sequence", is_sequence},   {"string", is_string},       {"true", is_true},
    {"undefined", is_undefined},
};

/* The spellings of comparison, and the operator each stands for. */
static const struct {
    const char *name, *operator;
} comparisons[] = {
    {"==", "=="},         {"eq", "=="}, {"equalto", "=="}, {"!=", "!="},
    {"ne", "!="},         {"<", "<"},   {"lt", "<"},       {"lessthan", "<"},
    {"<=", "<="},         {"le", "<="}, {">", ">"},        {"gt", ">"},
    {"greaterthan", ">"}, {">=", ">="}, {"ge", ">="},      {"in", "in"},
};

static bool compares(struct run *run, const char *op, struct value *v, struct value *with,
                     bool *out)
{
    int order;

    if (strcmp(op, "in") == 0)
        return value_contains(run, with, v, out);
    if (op[1] == '=' && (op[0] == '=' || op[0] == '!')) {
        *out = value_equal(run, v, with) == (op[0] == '=');
        return true;
    }
    if (!value_compare(run, v, with, &order))
        return false;
    *out = (op[0] == '<' ? order < 0 : order > 0) || (op[1] == '=' && order == 0);
    return true;
}

static bool divides(struct run *run, const struct value *v, const struct value *by,
                    bool *out)
{
    const bool whole = v->kind == VALUE_INTEGER && by->kind == VALUE_INTEGER;

    if (!value_is_number(v) || !value_is_number(by) || value_as_real(by) == 0) {
        run_fail(run, ERR_USAGE, "divisibleby needs two numbers, the second not 0");
        return false;
    }
    *out = whole ? by->integer == -1 || v->integer % by->integer == 0
                 : fmod(value_as_real(v), value_as_real(by)) == 0;
    return true;
}

/* Whether the letters in the text of a value are of one case, and there are any. */
static bool has_case(struct run *run, struct value *v, bool upper, bool *out)
{
    bool is_pure = true, has_letter = false;
    struct str str;

    v = value_to_string(run, v);
    if (!v)
        return false;
    str = v->str;
    for (size_t at = 0, n; at < str.n; at += n) {
        uint32_t c;
        bool is_lower, is_upper;

        n = str_offset((struct str){str.text + at, str.n - at}, 1);
        c = utf8_decode(str.text + at, n);
        is_lower = to_upper(c) != c || c == 0xdf; /* sharp s has no capital to itself */
        is_upper = to_lower(c) != c;
        has_letter = has_letter || is_lower || is_upper;
        is_pure = is_pure && !(upper ? is_lower : is_upper);
    }
    *out = is_pure && has_letter;
    return true;
}

bool apply_test(struct run *run, struct str name, struct value *v,
                const struct arguments *args, bool *out)
{
    struct value *with = argument(args, 0, "other");

    if (!run_step(run, v->kind == VALUE_STRING ? v->str.n / 16 : 0))
        return false;
    for (size_t i = 0; i < sizeof(plain_tests) / sizeof(plain_tests[0]); i++)
        if (str_is(name, plain_tests[i].name)) {
            *out = plain_tests[i].body(v);
            return true;
        }
    for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]) && with; i++)
        if (str_is(name, comparisons[i].name))
            return compares(run, comparisons[i].operator, v, with, out);
    if (str_is(name, "lower") || str_is(name, "upper"))
        return has_case(run, v, name.text[0] == 'u', out);
    if (str_is(name, "divisibleby") && with)
        return divides(run, v, with, out);
    if (str_is(name, "sameas") && with) {
        *out = v->kind == with->kind && value_equal(run, v, with);
        return true;
    }
    run_fail(run, ERR_UNSUPPORTED, "no test named '%.*s'%s",
             name.n < 40 ? (int)name.n : 40, name.text,
             with ? "" : ", or it lacks its argument");
    return false;
}
