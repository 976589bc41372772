/*
 * template_test.c - value is test(...)
 *
 * Source: jinja2/tests.py.
 */
#include "formats/template/value.h"

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
    return v->kind == VALUE_MACRO || v->kind == VALUE_FUNCTION || v->kind == VALUE_METHOD;
}

/* Letters of one case only, at least one of them. */
static bool has_case(const struct value *v, uint32_t (*other)(uint32_t),
                     uint32_t (*own)(uint32_t))
{
    bool has_letter = false;

    if (v->kind != VALUE_STRING)
        return false;
    for (size_t i = 0; i < v->str.n; i++) {
        const uint32_t c = (unsigned char)v->str.text[i];

        if (c >= 0x80 || other(c) == own(c))
            continue;
        if (own(c) != c)
            return false;
        has_letter = true;
    }
    return has_letter;
}

static bool is_lower(const struct value *v)
{
    return has_case(v, to_upper, to_lower);
}

static bool is_upper(const struct value *v)
{
    return has_case(v, to_lower, to_upper);
}

static bool is_odd(const struct value *v)
{
    return v->kind == VALUE_INTEGER && v->integer % 2 != 0;
}

static bool is_even(const struct value *v)
{
    return v->kind == VALUE_INTEGER && v->integer % 2 == 0;
}

static const struct {
    const char *name;
    test_body *body;
} plain_tests[] = {
    {"boolean", is_boolean}, {"callable", is_callable},   {"defined", is_defined},
    {"even", is_even},       {"false", is_false},         {"float", is_float},
    {"integer", is_integer}, {"iterable", is_sequence},   {"lower", is_lower},
    {"mapping", is_mapping}, {"none", is_none},           {"number", value_is_number},
    {"odd", is_odd},         {"sequence", is_sequence},   {"string", is_string},
    {"true", is_true},       {"undefined", is_undefined}, {"upper", is_upper},
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
    if (v->kind != VALUE_INTEGER || by->kind != VALUE_INTEGER || by->integer == 0) {
        run_fail(run, ERR_USAGE, "divisibleby needs two integers");
        return false;
    }
    *out = by->integer == -1 || v->integer % by->integer == 0;
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
