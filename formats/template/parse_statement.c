/*
 * parse_statement.c - the blocks of a template
 *
 * Source: jinja2/parser.py; the loop controls and transformers' generation block, which are
 * extensions there.
 */
#include "formats/template/syntax.h"

#include <string.h>

static struct node *body_until(struct parser *p, const char *const *ends);

/* ---- shared with expressions ---- */

struct node *parser_node(struct parser *p, enum node_kind kind)
{
    struct node *node = run_alloc(p->run, sizeof(*node));

    if (!node)
        return NULL;
    node->kind = kind;
    node->line = p->at->line;
    return node;
}

/* Lists grow when their length is a power of two, so their room needs no member. */
bool parser_append(struct parser *p, struct node *to, struct node *item)
{
    if ((to->n & (to->n - 1)) == 0) {
        struct node **list =
            run_array(p->run, to->n ? 2 * to->n : 1, sizeof(struct node *));

        if (!list)
            return false;
        if (to->n)
            memcpy(list, to->list, to->n * sizeof(struct node *));
        to->list = list;
    }
    to->list[to->n++] = item;
    return true;
}

void *parser_wrong(struct parser *p, const char *what)
{
    const struct str near = p->at->text;

    p->run->line = p->at->line;
    if (p->at->kind < TOKEN_NAME)
        return run_fail(p->run, ERR_CORRUPT, "%s", what);
    return run_fail(p->run, ERR_CORRUPT, "%s, near \"%.*s\"", what,
                    near.n < 40 ? (int)near.n : 40, near.text);
}

bool parser_enter(struct parser *p)
{
    if (p->depth >= TEMPLATE_MAX_DEPTH) {
        p->run->line = p->at->line;
        run_fail(p->run, ERR_UNSUPPORTED, "it nests more than %d deep",
                 TEMPLATE_MAX_DEPTH);
        return false;
    }
    p->depth++;
    return true;
}

bool token_is(const struct token *token, enum token_kind kind, const char *text)
{
    return token->kind == kind && str_is(token->text, text);
}

bool parser_take(struct parser *p, enum token_kind kind, const char *text)
{
    if (!token_is(p->at, kind, text))
        return false;
    p->at++;
    return true;
}

bool parser_expect(struct parser *p, enum token_kind kind, const char *text)
{
    char what[40] = "\"";

    if (parser_take(p, kind, text))
        return true;
    if (kind == TOKEN_BLOCK_END)
        return parser_wrong(p, "the end of the block is missing");
    strncat(what, text, 16);
    strcat(what, "\" is missing");
    return parser_wrong(p, what);
}

static bool block_end(struct parser *p)
{
    return parser_expect(p, TOKEN_BLOCK_END, "");
}

struct node *parse_target(struct parser *p, bool with_attribute)
{
    const bool in_brackets = parser_take(p, TOKEN_OPERATOR, "(");
    struct node *tuple = NULL, *node;

    do {
        if (p->at->kind != TOKEN_NAME)
            return parser_wrong(p, "a name to assign to is missing");
        node = parser_node(p, NODE_NAME);
        if (!node)
            return NULL;
        node->text = p->at->text;
        p->at++;
        if (with_attribute && !tuple && parser_take(p, TOKEN_OPERATOR, ".")) {
            struct node *owner = node;

            node = parser_node(p, NODE_ATTRIBUTE);
            if (!node || p->at->kind != TOKEN_NAME)
                return parser_wrong(p, "a name is missing after a point");
            node->a = owner;
            node->text = p->at->text;
            p->at++;
        }
        if (!tuple && token_is(p->at, TOKEN_OPERATOR, ",") &&
            !(tuple = parser_node(p, NODE_TUPLE)))
            return NULL;
        if (tuple && !parser_append(p, tuple, node))
            return NULL;
    } while (parser_take(p, TOKEN_OPERATOR, ",") && p->at->kind == TOKEN_NAME);
    if (in_brackets && !parser_expect(p, TOKEN_OPERATOR, ")"))
        return NULL;
    return tuple ? tuple : node;
}

/* ---- blocks ---- */

/* After "if" or "elif". */
static struct node *parse_if(struct parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct node *first = NULL, **link = &first;

    for (;;) {
        struct node *node = parser_node(p, NODE_IF);

        if (!node || !(node->a = parse_tuple(p, true)) || !block_end(p) ||
            !(node->b = body_until(p, ends)))
            return NULL;
        *link = node;
        link = &node->c;
        if (!parser_take(p, TOKEN_NAME, "elif"))
            break;
    }
    if (parser_take(p, TOKEN_NAME, "else") &&
        (!block_end(p) || !(*link = body_until(p, ends + 2))))
        return NULL;
    return parser_expect(p, TOKEN_NAME, "endif") ? first : NULL;
}

static struct node *parse_for(struct parser *p)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct node *node = parser_node(p, NODE_FOR), *body, *other = NULL;

    if (!node || !(node->c = parse_target(p, false)) ||
        !parser_expect(p, TOKEN_NAME, "in") || !(node->a = parse_tuple(p, false)))
        return NULL;
    if (parser_take(p, TOKEN_NAME, "if") && !(node->b = parse_expression(p)))
        return NULL;
    if (token_is(p->at, TOKEN_NAME, "recursive"))
        return run_fail(p->run, ERR_UNSUPPORTED, "recursive loops are not supported");
    p->loops++;
    body = block_end(p) ? body_until(p, ends) : NULL;
    p->loops--;
    if (!body)
        return NULL;
    if (parser_take(p, TOKEN_NAME, "else") &&
        (!block_end(p) || !(other = body_until(p, ends + 1))))
        return NULL;
    if (!parser_expect(p, TOKEN_NAME, "endfor") || !parser_append(p, node, body) ||
        !parser_append(p, node, other))
        return NULL;
    return node;
}

/* "| filter" behind the name of a block: its input, the text of the block, is list[0]. */
static bool block_filters(struct parser *p, struct node *block)
{
    struct node *input = parser_node(p, NODE_LITERAL);

    if (!input || !parser_append(p, block, input))
        return false;
    block->a = parse_filters(p, input, false);
    return block->a;
}

static struct node *parse_set(struct parser *p)
{
    static const char *const ends[] = {"endset", NULL};
    struct node *node = parser_node(p, NODE_SET);

    if (!node || !(node->c = parse_target(p, true)))
        return NULL;
    if (parser_take(p, TOKEN_OPERATOR, "=")) {
        node->a = parse_tuple(p, true);
        return node->a ? node : NULL;
    }
    node->kind = NODE_SET_BLOCK;
    if (token_is(p->at, TOKEN_OPERATOR, "|") && !block_filters(p, node))
        return NULL;
    if (!block_end(p) || !(node->b = body_until(p, ends)) ||
        !parser_expect(p, TOKEN_NAME, "endset"))
        return NULL;
    return node;
}

/* After "(": the parameters of a macro, with defaults. */
static bool parse_parameters(struct parser *p, struct node *macro)
{
    while (!parser_take(p, TOKEN_OPERATOR, ")")) {
        struct node *parameter;

        if (macro->n > 0 && !parser_expect(p, TOKEN_OPERATOR, ","))
            return false;
        if (p->at->kind != TOKEN_NAME)
            return parser_wrong(p, "the name of a parameter is missing");
        parameter = parser_node(p, NODE_KEYWORD);
        if (!parameter)
            return false;
        parameter->text = p->at->text;
        p->at++;
        if (parser_take(p, TOKEN_OPERATOR, "=") && !(parameter->a = parse_expression(p)))
            return false;
        if (!parser_append(p, macro, parameter))
            return false;
    }
    return true;
}

/* The body of a macro or call block: loops around it are not its own. */
static bool parse_macro_body(struct parser *p, struct node *macro,
                             const char *const *ends)
{
    const int loops = p->loops;

    p->loops = 0;
    macro->b = block_end(p) ? body_until(p, ends) : NULL;
    p->loops = loops;
    return macro->b && parser_expect(p, TOKEN_NAME, ends[0]);
}

static struct node *parse_macro(struct parser *p)
{
    static const char *const ends[] = {"endmacro", NULL};
    struct node *node = parser_node(p, NODE_MACRO);

    if (!node || p->at->kind != TOKEN_NAME)
        return parser_wrong(p, "the name of the macro is missing");
    node->text = p->at->text;
    p->at++;
    if (!parser_expect(p, TOKEN_OPERATOR, "(") || !parse_parameters(p, node))
        return NULL;
    return parse_macro_body(p, node, ends) ? node : NULL;
}

/* call(parameters) macro(...): the body becomes caller(). */
static struct node *parse_call(struct parser *p)
{
    static const char *const ends[] = {"endcall", NULL};
    struct node *node = parser_node(p, NODE_CALL_BLOCK),
                *caller = parser_node(p, NODE_MACRO);

    if (!node || !caller)
        return NULL;
    caller->text = (struct str){"caller", 6};
    if (parser_take(p, TOKEN_OPERATOR, "(") && !parse_parameters(p, caller))
        return NULL;
    node->a = parse_expression(p);
    if (!node->a)
        return NULL;
    if (node->a->kind != NODE_CALL)
        return parser_wrong(p, "a call block without a call");
    node->b = caller;
    return parse_macro_body(p, caller, ends) ? node : NULL;
}

/* filter NAME | NAME ...: */
static struct node *parse_filter_block(struct parser *p)
{
    static const char *const ends[] = {"endfilter", NULL};
    struct node *node = parser_node(p, NODE_FILTER_BLOCK), *input, *first;

    input = parser_node(p, NODE_LITERAL);
    first = parser_node(p, NODE_FILTER);
    if (!node || !input || !first || !parser_append(p, node, input))
        return NULL;
    if (p->at->kind != TOKEN_NAME)
        return parser_wrong(p, "the name of the filter is missing");
    first->text = p->at->text;
    first->a = input;
    p->at++;
    if (parser_take(p, TOKEN_OPERATOR, "(") && !parse_arguments(p, first))
        return NULL;
    node->a = parse_filters(p, first, false);
    if (!node->a || !block_end(p) || !(node->b = body_until(p, ends)) ||
        !parser_expect(p, TOKEN_NAME, "endfilter"))
        return NULL;
    return node;
}

static struct node *parse_break(struct parser *p)
{
    if (p->loops == 0)
        return parser_wrong(p, "break outside of a loop");
    return parser_node(p, NODE_BREAK);
}

static struct node *parse_continue(struct parser *p)
{
    if (p->loops == 0)
        return parser_wrong(p, "continue outside of a loop");
    return parser_node(p, NODE_CONTINUE);
}

/* transformers marks what the assistant said with this block; its text is just text. */
static struct node *parse_generation(struct parser *p)
{
    static const char *const ends[] = {"endgeneration", NULL};
    struct node *body = block_end(p) ? body_until(p, ends) : NULL;

    return body && parser_expect(p, TOKEN_NAME, "endgeneration") ? body : NULL;
}

static struct node *statement(struct parser *p)
{
    static const struct {
        const char *name;
        struct node *(*parse)(struct parser *);
    } statements[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"call", parse_call},
        {"filter", parse_filter_block},
        {"break", parse_break},
        {"continue", parse_continue},
        {"generation", parse_generation},
    };
    static const char *const others[] = {"include",    "import", "from",
                                         "extends",    "block",  "with",
                                         "autoescape", "do",     "trans"};
    struct node *node = NULL;

    p->run->line = p->at->line;
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
        if (parser_take(p, TOKEN_NAME, statements[i].name)) {
            node = statements[i].parse(p);
            return node && block_end(p) ? node : NULL;
        }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (token_is(p->at, TOKEN_NAME, others[i]))
            return run_fail(p->run, ERR_UNSUPPORTED, "the statement %s is not supported",
                            others[i]);
    return parser_wrong(p, "no such statement");
}

/* ---- bodies ---- */

static bool is_end(const struct token *token, const char *const *ends)
{
    for (; *ends; ends++)
        if (token_is(token, TOKEN_NAME, *ends))
            return true;
    return false;
}

/* The next piece of a body: a text, a print, or a statement after "{%". */
static struct node *piece(struct parser *p)
{
    struct node *node;

    if (p->at->kind == TOKEN_TEXT) {
        node = parser_node(p, NODE_TEXT);
        if (node)
            node->text = p->at->text;
        p->at++;
        return node;
    }
    if (p->at->kind == TOKEN_BLOCK_BEGIN) {
        p->at++;
        return statement(p);
    }
    p->at++;
    node = parser_node(p, NODE_PRINT);
    if (!node || !(node->a = parse_tuple(p, true)))
        return NULL;
    return parser_expect(p, TOKEN_PRINT_END, "") ? node : NULL;
}

/* Up to a block that begins with one of `ends`, whose name comes next then; up to the end of the
 * template when ends is empty. */
static struct node *body_until(struct parser *p, const char *const *ends)
{
    struct node *body = parser_node(p, NODE_BODY);

    if (!body || !parser_enter(p))
        return NULL;
    while (p->at->kind != TOKEN_END) {
        struct node *node;

        if (p->at->kind == TOKEN_BLOCK_BEGIN && is_end(p->at + 1, ends)) {
            p->at++;
            p->depth--;
            return body;
        }
        node = piece(p);
        if (!node || !parser_append(p, body, node))
            return NULL;
    }
    p->depth--;
    if (*ends) {
        char what[48] = "the template ends without ";

        while (ends[1])
            ends++;
        strncat(what, *ends, 16);
        return parser_wrong(p, what);
    }
    return body;
}

struct node *parse(struct run *run, const char *source, size_t n)
{
    static const char *const no_ends[] = {NULL};
    struct parser p = {.run = run, .at = lex(run, source, n)};

    return p.at ? body_until(&p, no_ends) : NULL;
}
