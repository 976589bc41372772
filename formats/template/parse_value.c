/*
 * parse_value.c - values with their signs, and what stands behind one: .name, [item], (arguments),
 * | filter, is test
 *
 * Source: jinja2/parser.py.
 */
#include "formats/template/syntax.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct node *unary(struct parser *p, bool with_filters);

/* After "[" or "{" or "(": items up to the closing bracket. */
static struct node *items(struct parser *p, enum node_kind kind, const char *end)
{
    struct node *node = parser_node(p, kind);

    while (node && !parser_take(p, TOKEN_OPERATOR, end)) {
        struct node *item;

        if (node->n > 0 && !parser_expect(p, TOKEN_OPERATOR, ","))
            return NULL;
        if (parser_take(p, TOKEN_OPERATOR, end))
            break;
        item = parse_expression(p);
        if (!item || !parser_append(p, node, item))
            return NULL;
        if (kind != NODE_DICT)
            continue;
        if (!parser_expect(p, TOKEN_OPERATOR, ":") || !(item = parse_expression(p)) ||
            !parser_append(p, node, item))
            return NULL;
    }
    return node;
}

/* After "(". */
static struct node *parenthesis(struct parser *p)
{
    struct node *node;

    if (parser_take(p, TOKEN_OPERATOR, ")"))
        return parser_node(p, NODE_TUPLE);
    node = parse_tuple(p, true);
    return node && parser_expect(p, TOKEN_OPERATOR, ")") ? node : NULL;
}

static struct node *literal(struct parser *p, struct value *value)
{
    struct node *node = value ? parser_node(p, NODE_LITERAL) : NULL;

    if (node)
        node->literal = value;
    return node;
}

/* "a" "b" is one string. */
static struct node *strings(struct parser *p)
{
    struct text text = {0};

    do {
        if (!text_put(p->run, &text, p->at->text.text, p->at->text.n))
            return NULL;
        p->at++;
    } while (p->at->kind == TOKEN_STRING);
    return literal(p, text_value(p->run, &text));
}

static struct node *number(struct parser *p)
{
    const bool is_real = p->at->kind == TOKEN_REAL;
    char digits[64];
    size_t n = 0;

    if (p->at->text.n >= sizeof(digits))
        return parser_wrong(p, "a number with too many digits");
    for (size_t i = 0; i < p->at->text.n; i++)
        if (p->at->text.text[i] != '_')
            digits[n++] = p->at->text.text[i];
    digits[n] = '\0';
    p->at++;
    if (is_real)
        return literal(p, value_real(p->run, strtod(digits, NULL)));
    errno = 0;
    const long long v = strtoll(digits, NULL, 10);
    if (errno)
        return parser_wrong(p, "a number with too many digits");
    return literal(p, value_integer(p->run, v));
}

static struct node *name(struct parser *p)
{
    const struct str text = p->at->text;
    struct node *node;

    p->at++;
    if (str_is(text, "true") || str_is(text, "True"))
        return literal(p, value_bool(p->run, true));
    if (str_is(text, "false") || str_is(text, "False"))
        return literal(p, value_bool(p->run, false));
    if (str_is(text, "none") || str_is(text, "None"))
        return literal(p, value_none(p->run));
    node = parser_node(p, NODE_NAME);
    if (node)
        node->text = text;
    return node;
}

static struct node *primary(struct parser *p)
{
    switch (p->at->kind) {
    case TOKEN_NAME:
        return name(p);
    case TOKEN_STRING:
        return strings(p);
    case TOKEN_INTEGER:
    case TOKEN_REAL:
        return number(p);
    default:
        if (parser_take(p, TOKEN_OPERATOR, "("))
            return parenthesis(p);
        if (parser_take(p, TOKEN_OPERATOR, "["))
            return items(p, NODE_LIST, "]");
        if (parser_take(p, TOKEN_OPERATOR, "{"))
            return items(p, NODE_DICT, "}");
        return parser_wrong(p, "an expression is missing");
    }
}

/* ---- what stands behind a value ---- */

/* After "a[": an item or a slice. */
static struct node *subscript(struct parser *p, struct node *a)
{
    struct node *node = parser_node(p, NODE_SLICE);
    bool is_slice = false;

    if (!node)
        return NULL;
    node->a = a;
    for (int i = 0; i < 3; i++) {
        struct node *bound = NULL;

        if (!token_is(p->at, TOKEN_OPERATOR, ":") &&
            !token_is(p->at, TOKEN_OPERATOR, "]") && !(bound = parse_tuple(p, true)))
            return NULL;
        if (!parser_append(p, node, bound))
            return NULL;
        if (!parser_take(p, TOKEN_OPERATOR, ":"))
            break;
        is_slice = true;
    }
    if (!parser_expect(p, TOKEN_OPERATOR, "]"))
        return NULL;
    while (node->n < 3)
        if (!parser_append(p, node, NULL))
            return NULL;
    if (is_slice)
        return node;
    node->kind = NODE_ITEM;
    node->b = node->list[0];
    return node->b ? node : parser_wrong(p, "an index is missing");
}

/* After "a.": a name, or a number as an index. */
static struct node *attribute(struct parser *p, struct node *a)
{
    struct node *node = parser_node(p, NODE_ATTRIBUTE);

    if (!node)
        return NULL;
    node->a = a;
    if (p->at->kind == TOKEN_INTEGER) {
        node->kind = NODE_ITEM;
        node->b = number(p);
        return node->b ? node : NULL;
    }
    if (p->at->kind != TOKEN_NAME)
        return parser_wrong(p, "a name is missing after a point");
    node->text = p->at->text;
    p->at++;
    return node;
}

bool parse_arguments(struct parser *p, struct node *to)
{
    bool is_first = true;

    while (!parser_take(p, TOKEN_OPERATOR, ")")) {
        struct node *value, *keyword = NULL;

        if (!is_first && !parser_expect(p, TOKEN_OPERATOR, ","))
            return false;
        if (parser_take(p, TOKEN_OPERATOR, ")"))
            break;
        is_first = false;
        if (token_is(p->at, TOKEN_OPERATOR, "*") ||
            token_is(p->at, TOKEN_OPERATOR, "**")) {
            run_fail(p->run, ERR_UNSUPPORTED, "arguments with * are not supported");
            return false;
        }
        if (p->at->kind == TOKEN_NAME && token_is(p->at + 1, TOKEN_OPERATOR, "=")) {
            keyword = parser_node(p, NODE_KEYWORD);
            if (!keyword)
                return false;
            keyword->text = p->at->text;
            p->at += 2;
        }
        value = parse_expression(p);
        if (keyword)
            keyword->a = value;
        if (!value || !parser_append(p, to, keyword ? keyword : value))
            return false;
    }
    return true;
}

static struct node *call_of(struct parser *p, struct node *a)
{
    struct node *node = parser_node(p, NODE_CALL);

    if (!node)
        return NULL;
    node->a = a;
    return parse_arguments(p, node) ? node : NULL;
}

static struct node *postfix(struct parser *p, struct node *a)
{
    while (a) {
        if (parser_take(p, TOKEN_OPERATOR, "."))
            a = attribute(p, a);
        else if (parser_take(p, TOKEN_OPERATOR, "["))
            a = subscript(p, a);
        else if (parser_take(p, TOKEN_OPERATOR, "("))
            a = call_of(p, a);
        else
            break;
    }
    return a;
}

static bool name_of(struct parser *p, struct str *out)
{
    if (p->at->kind != TOKEN_NAME)
        return parser_wrong(p, "the name of a filter or test is missing");
    *out = p->at->text;
    p->at++;
    return true;
}

static struct node *filter(struct parser *p, struct node *a)
{
    struct node *node = parser_node(p, NODE_FILTER);

    if (!node || !name_of(p, &node->text))
        return NULL;
    node->a = a;
    if (parser_take(p, TOKEN_OPERATOR, "(") && !parse_arguments(p, node))
        return NULL;
    return node;
}

/* Whether an argument without parentheses follows a test. */
static bool begins_argument(const struct token *token)
{
    if (token->kind == TOKEN_NAME)
        return !token_is(token, TOKEN_NAME, "else") &&
               !token_is(token, TOKEN_NAME, "or") &&
               !token_is(token, TOKEN_NAME, "and") &&
               !token_is(token, TOKEN_NAME, "is") && !token_is(token, TOKEN_NAME, "if") &&
               !token_is(token, TOKEN_NAME, "in") && !token_is(token, TOKEN_NAME, "not");
    return token->kind == TOKEN_STRING || token->kind == TOKEN_INTEGER ||
           token->kind == TOKEN_REAL || token_is(token, TOKEN_OPERATOR, "[") ||
           token_is(token, TOKEN_OPERATOR, "{");
}

/* After "is". */
static struct node *test(struct parser *p, struct node *a)
{
    const bool is_negated = parser_take(p, TOKEN_NAME, "not");
    struct node *node = parser_node(p, NODE_TEST), *outer;

    if (!node || !name_of(p, &node->text))
        return NULL;
    node->a = a;
    if (parser_take(p, TOKEN_OPERATOR, "(")) {
        if (!parse_arguments(p, node))
            return NULL;
    } else if (begins_argument(p->at)) {
        struct node *argument = postfix(p, primary(p));

        if (!argument || !parser_append(p, node, argument))
            return NULL;
    }
    if (!is_negated)
        return node;
    outer = parser_node(p, NODE_NOT);
    if (outer)
        outer->a = node;
    return outer;
}

struct node *parse_filters(struct parser *p, struct node *a, bool with_tests)
{
    while (a) {
        if (parser_take(p, TOKEN_OPERATOR, "|"))
            a = filter(p, a);
        else if (with_tests && parser_take(p, TOKEN_NAME, "is"))
            a = test(p, a);
        else if (with_tests && parser_take(p, TOKEN_OPERATOR, "("))
            a = call_of(p, a);
        else
            break;
    }
    return a;
}

static struct node *unary(struct parser *p, bool with_filters)
{
    enum node_kind kind = NODE_LITERAL;
    struct node *node;

    if (!parser_enter(p))
        return NULL;
    if (parser_take(p, TOKEN_OPERATOR, "-"))
        kind = NODE_NEGATE;
    else if (parser_take(p, TOKEN_OPERATOR, "+"))
        kind = NODE_PLUS;
    if (kind == NODE_LITERAL) {
        node = primary(p);
    } else {
        struct node *of = unary(p, false);

        node = of ? parser_node(p, kind) : NULL;
        if (node)
            node->a = of;
    }
    p->depth--;
    node = postfix(p, node);
    return with_filters ? parse_filters(p, node, true) : node;
}

struct node *parse_value(struct parser *p)
{
    return unary(p, true);
}
