/*
 * syntax.h - a template as tokens and as a tree; private to this folder
 *
 * Everything lives in the arena of the interpreter and dies with it.
 */
#ifndef FORMATS_TEMPLATE_SYNTAX_H
#define FORMATS_TEMPLATE_SYNTAX_H

#include "formats/template/value.h"

/* What a loop knows of itself. */
struct loop {
    struct value *items; /* a list */
    size_t i;
    struct value *changed; /* what loop.changed() saw last */
};

enum token_kind {
    TOKEN_END,
    TOKEN_TEXT,        /* outside of tags, blanks already trimmed */
    TOKEN_BLOCK_BEGIN, /* {% */
    TOKEN_BLOCK_END,
    TOKEN_PRINT_BEGIN, /* {{ */
    TOKEN_PRINT_END,
    TOKEN_NAME,
    TOKEN_STRING, /* escapes resolved */
    TOKEN_INTEGER,
    TOKEN_REAL,
    TOKEN_OPERATOR,
};

struct token {
    enum token_kind kind;
    int line;
    struct str text; /* of texts, names, strings; the spelling of numbers and operators */
};

/* Cut a source into tokens, the last one TOKEN_END. NULL after run_fail(). */
struct token *lex(struct run *run, const char *source, size_t n);

enum node_kind {
    /* expressions */
    NODE_LITERAL, /* literal */
    NODE_NAME,    /* text */
    NODE_LIST,    /* list */
    NODE_TUPLE,   /* list */
    NODE_DICT,    /* list: key, value, key, value, ... */
    NODE_NOT,     /* a */
    NODE_NEGATE,
    NODE_PLUS,
    NODE_AND, /* a, b */
    NODE_OR,
    NODE_BINARY,    /* a text b, text an operator of arithmetic or ~ */
    NODE_COMPARE,   /* a, then list of NODE_BINARY whose b is the right side */
    NODE_CHOICE,    /* b if a else c; c may be NULL */
    NODE_ATTRIBUTE, /* a.text */
    NODE_ITEM,      /* a[b] */
    NODE_SLICE,     /* a[list[0]:list[1]:list[2]], any of them NULL */
    NODE_CALL,      /* a(list) */
    NODE_FILTER,    /* a | text(list) */
    NODE_TEST,      /* a is text(list) */
    NODE_KEYWORD,   /* text=a, among the arguments of the three above */

    /* statements */
    NODE_BODY,  /* list */
    NODE_TEXT,  /* text */
    NODE_PRINT, /* a */
    NODE_IF,    /* if a: b, else c (a body, another NODE_IF, or NULL) */
    NODE_FOR,   /* for target c in a: list[0]; if b; else list[1] (may be NULL) */
    NODE_SET,   /* c = a */
    NODE_SET_BLOCK, /* c = the output of b, put into list[0] and through a, unless a is NULL */
    NODE_MACRO,        /* text(list of NODE_KEYWORD, a: the default or NULL): b */
    NODE_CALL_BLOCK,   /* call a with caller(): the NODE_MACRO b */
    NODE_FILTER_BLOCK, /* the output of b, put into list[0], through a */
    NODE_BREAK,
    NODE_CONTINUE,
};

struct node {
    enum node_kind kind;
    int line;
    struct str text;
    struct value *literal;
    struct node *a, *b, *c;
    struct node **list;
    size_t n;
};

struct parser {
    struct run *run;
    const struct token *at;
    int depth;
    int loops; /* how many for-loops are open: break and continue need one */
};

/* The tree of a template, a NODE_BODY. NULL after run_fail(). */
struct node *parse(struct run *run, const char *source, size_t n);

/* ---- running ---- */

struct value *evaluate(struct run *run, const struct node *node);
struct value *call_macro(struct run *run, struct value *macro,
                         const struct arguments *args);
/* Run a body; false after run_fail(). break and continue end it, too. */
bool run_body(struct run *run, const struct node *body);

/* The value of a name, in the scopes from the inside out, then among the functions. */
struct value *scope_get(struct run *run, struct str name);
bool scope_set(struct run *run, struct scope *scope, struct str name,
               struct value *value);

/* ---- between the two halves of the parser ---- */

struct node *parser_node(struct parser *p, enum node_kind kind); /* on the line in hand */
bool parser_append(struct parser *p, struct node *to, struct node *item); /* to list */
bool parser_enter(struct parser *p);                    /* depth, checked */
void *parser_wrong(struct parser *p, const char *what); /* NULL, with a sentence */
bool token_is(const struct token *token, enum token_kind kind, const char *text);
bool parser_take(struct parser *p, enum token_kind kind,
                 const char *text); /* if it is next */
bool parser_expect(struct parser *p, enum token_kind kind, const char *text);

struct node *parse_expression(struct parser *p); /* with the conditional form */
struct node *
parse_value(struct parser *p); /* one value, its sign and what is behind it */
/* One or more expressions with commas between: itself, or a tuple. */
struct node *parse_tuple(struct parser *p, bool with_condition);
/* Names to assign to: a name, a name.attribute, or a tuple of names. */
struct node *parse_target(struct parser *p, bool with_attribute);
/* "| filter" and "is test" behind `a`. */
struct node *parse_filters(struct parser *p, struct node *a, bool with_tests);
/* After "(": arguments up to and with ")", appended to `to`. */
bool parse_arguments(struct parser *p, struct node *to);

#endif
