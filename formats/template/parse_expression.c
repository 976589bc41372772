/*
 * parse_expression.c - operators, by precedence: if-else, or, and, not, comparison, + -, ~,
 * * / // %, **; the values between them are parse_value.c's
 *
 * Source: jinja2/parser.py.
 */
#include "formats/template/syntax.h"

#include <string.h>

static struct node *two(struct parser *p, enum node_kind kind, struct node *a,
                        struct node *b)
{
    struct node *node = a && b ? parser_node(p, kind) : NULL;

    if (!node)
        return NULL;
    node->a = a;
    node->b = b;
    return node;
}

/* Operators of one level, left to right. */
static struct node *level(struct parser *p, struct node *(*below)(struct parser *),
                          const char *const *operators)
{
    struct node *left = below(p);

    while (left) {
        const struct str text = p->at->text;
        size_t i = 0;

        while (operators[i] && !token_is(p->at, TOKEN_OPERATOR, operators[i]))
            i++;
        if (!operators[i])
            break;
        p->at++;
        left = two(p, NODE_BINARY, left, below(p));
        if (left)
            left->text = text;
    }
    return left;
}

static struct node *power(struct parser *p)
{
    struct node *left = parse_value(p);

    while (left && token_is(p->at, TOKEN_OPERATOR, "**")) {
        p->at++;
        left = two(p, NODE_BINARY, left, parse_value(p));
        if (left)
            left->text = (struct str){"**", 2};
    }
    return left;
}

static struct node *product(struct parser *p)
{
    static const char *const operators[] = {"*", "/", "//", "%", NULL};

    return level(p, power, operators);
}

static struct node *concatenation(struct parser *p)
{
    static const char *const operators[] = {"~", NULL};

    return level(p, product, operators);
}

static struct node *sum(struct parser *p)
{
    static const char *const operators[] = {"+", "-", NULL};

    return level(p, concatenation, operators);
}

/* The comparison that comes next: its text in *text; false when there is none. */
static bool take_comparison(struct parser *p, struct str *text)
{
    static const char *const operators[] = {"==", "!=", "<", "<=", ">", ">="};

    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
        if (parser_take(p, TOKEN_OPERATOR, operators[i])) {
            *text = (struct str){operators[i], strlen(operators[i])};
            return true;
        }
    if (parser_take(p, TOKEN_NAME, "in")) {
        *text = (struct str){"in", 2};
        return true;
    }
    if (token_is(p->at, TOKEN_NAME, "not") && token_is(p->at + 1, TOKEN_NAME, "in")) {
        p->at += 2;
        *text = (struct str){"not in", 6};
        return true;
    }
    return false;
}

static struct node *comparison(struct parser *p)
{
    struct node *left = sum(p), *all = NULL;
    struct str text;

    while (left && take_comparison(p, &text)) {
        struct node *step = parser_node(p, NODE_BINARY);

        if (!all)
            all = parser_node(p, NODE_COMPARE);
        if (!step || !all || !(step->b = sum(p)) || !parser_append(p, all, step))
            return NULL;
        step->text = text;
        all->a = left;
    }
    return all ? all : left;
}

static struct node *negation(struct parser *p)
{
    struct node *node;

    if (!parser_take(p, TOKEN_NAME, "not"))
        return comparison(p);
    node = parser_node(p, NODE_NOT);
    if (!node || !parser_enter(p))
        return NULL;
    node->a = negation(p);
    p->depth--;
    return node->a ? node : NULL;
}

static struct node *conjunction(struct parser *p)
{
    struct node *left = negation(p);

    while (left && parser_take(p, TOKEN_NAME, "and"))
        left = two(p, NODE_AND, left, negation(p));
    return left;
}

static struct node *disjunction(struct parser *p)
{
    struct node *left = conjunction(p);

    while (left && parser_take(p, TOKEN_NAME, "or"))
        left = two(p, NODE_OR, left, conjunction(p));
    return left;
}

static struct node *choice(struct parser *p)
{
    struct node *value = disjunction(p);

    while (value && parser_take(p, TOKEN_NAME, "if")) {
        struct node *node = two(p, NODE_CHOICE, disjunction(p), value);

        if (!node)
            return NULL;
        if (parser_take(p, TOKEN_NAME, "else")) {
            node->c = parse_expression(p);
            if (!node->c)
                return NULL;
        }
        value = node;
    }
    return value;
}

struct node *parse_expression(struct parser *p)
{
    struct node *node;

    if (!parser_enter(p))
        return NULL;
    node = choice(p);
    p->depth--;
    return node;
}

/* ---- tuples ---- */

static bool ends_tuple(const struct token *token)
{
    return token->kind == TOKEN_PRINT_END || token->kind == TOKEN_BLOCK_END ||
           token_is(token, TOKEN_OPERATOR, ")") || token_is(token, TOKEN_OPERATOR, "=") ||
           token_is(token, TOKEN_NAME, "if") || token_is(token, TOKEN_NAME, "recursive");
}

struct node *parse_tuple(struct parser *p, bool with_condition)
{
    struct node *first = with_condition ? parse_expression(p) : disjunction(p), *tuple;

    if (!first || !token_is(p->at, TOKEN_OPERATOR, ","))
        return first;
    tuple = parser_node(p, NODE_TUPLE);
    if (!tuple || !parser_append(p, tuple, first))
        return NULL;
    while (parser_take(p, TOKEN_OPERATOR, ",") && !ends_tuple(p->at)) {
        struct node *next = with_condition ? parse_expression(p) : disjunction(p);

        if (!next || !parser_append(p, tuple, next))
            return NULL;
    }
    return tuple;
}
