/*
 * execute.c - statements: what they print and what they change
 */
#include "formats/template/syntax.h"

#include <stdio.h>
#include <string.h>

enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAILED };

static enum flow execute(struct run *run, const struct node *node);

/* ---- scopes ---- */

/* NULL: not there, or no more steps. */
static struct variable *find(struct run *run, const struct scope *scope, struct str name)
{
    struct variable *v = scope->variables;
    size_t n = 0;

    while (v && (v->name.n != name.n || memcmp(v->name.text, name.text, name.n) != 0)) {
        v = v->next;
        n++;
    }
    return run_step(run, n / 8) ? v : NULL;
}

struct value *scope_get(struct run *run, struct str name)
{
    const struct function *function;
    struct text what = {0};

    for (const struct scope *scope = run->scope; scope; scope = scope->around) {
        const struct variable *v = find(run, scope, name);

        if (v)
            return v->value;
    }
    function = global_function(name);
    if (function) {
        struct value *v = value_new(run, VALUE_FUNCTION);

        if (v)
            v->method.function = function;
        return v;
    }
    if (!text_put_str(run, &what, "'") || !text_put(run, &what, name.text, name.n) ||
        !text_put_str(run, &what, "' is undefined"))
        return NULL;
    return value_undefined(run, what.bytes, what.n);
}

/* Values are kept shallow where they get a name, so that nothing that walks them goes deep. */
static bool check_depth(struct run *run, struct value *v)
{
    if (value_depth(v) <= TEMPLATE_MAX_DEPTH)
        return true;
    run_fail(run, ERR_UNSUPPORTED, "its values nest more than %d deep",
             TEMPLATE_MAX_DEPTH);
    return false;
}

bool scope_set(struct run *run, struct scope *scope, struct str name, struct value *value)
{
    struct variable *v = find(run, scope, name);

    if (run->st != OK || !check_depth(run, value))
        return false;
    if (!v) {
        v = run_alloc(run, sizeof(*v));
        if (!v)
            return false;
        v->name = name;
        v->next = scope->variables;
        scope->variables = v;
    }
    v->value = value;
    return true;
}

static struct scope *inner_scope(struct run *run, struct scope *around)
{
    struct scope *scope = run_alloc(run, sizeof(*scope));

    if (scope)
        scope->around = around;
    return scope;
}

/* ---- assignment ---- */

static bool assign(struct run *run, const struct node *target, struct value *value);

static bool assign_all(struct run *run, const struct node *target, struct value *value)
{
    const struct value *items = value_items(run, value);

    if (!items)
        return false;
    if (items->list.n != target->n) {
        run_fail(run, ERR_USAGE, "%zu values for %zu names", items->list.n, target->n);
        return false;
    }
    for (size_t i = 0; i < target->n; i++)
        if (!assign(run, target->list[i], items->list.items[i]))
            return false;
    return true;
}

static bool assign(struct run *run, const struct node *target, struct value *value)
{
    struct value *owner, *key;

    if (target->kind == NODE_NAME)
        return scope_set(run, run->scope, target->text, value);
    if (target->kind == NODE_TUPLE)
        return assign_all(run, target, value);
    owner = scope_get(run, target->a->text);
    if (!owner)
        return false;
    if (owner->kind != VALUE_NAMESPACE) {
        run_fail(run, ERR_USAGE, "cannot assign attribute on non-namespace object");
        return false;
    }
    key = value_borrow(run, target->text.text, target->text.n);
    return key && check_depth(run, value) && dict_set(run, owner->dict, key, value);
}

/* ---- output that is caught ---- */

/* What a body prints, in a scope of its own. */
static struct value *capture(struct run *run, const struct node *body)
{
    struct text text = {0}, *out = run->out;
    struct scope *scope = run->scope;
    enum flow flow;

    run->scope = inner_scope(run, scope);
    run->out = &text;
    flow = run->scope ? execute(run, body) : FLOW_FAILED;
    run->scope = scope;
    run->out = out;
    return flow == FLOW_FAILED ? NULL : text_value(run, &text);
}

/* The same through the filters of a block. */
static struct value *capture_filtered(struct run *run, const struct node *block)
{
    struct value *text = capture(run, block->b);

    if (!text || !block->a)
        return text;
    block->list[0]->literal = text;
    return evaluate(run, block->a);
}

/* ---- macros ---- */

static bool bind(struct run *run, const struct node *macro, const struct arguments *args)
{
    char name[64];

    if (args->n > macro->n) {
        run_fail(run, ERR_USAGE, "macro '%.*s' takes not more than %zu argument(s)",
                 (int)macro->text.n, macro->text.text, macro->n);
        return false;
    }
    for (size_t i = 0; i < macro->n; i++) {
        const struct node *parameter = macro->list[i];
        struct value *v;

        snprintf(name, sizeof(name), "%.*s", (int)parameter->text.n,
                 parameter->text.text);
        v = run_step(run, 1 + args->n_named / 8) ? argument(args, i, name) : NULL;
        if (!v)
            v = parameter->a ? evaluate(run, parameter->a)
                             : value_undefined(run, "a parameter was not given", 25);
        if (!v || !scope_set(run, run->scope, parameter->text, v))
            return false;
    }
    return true;
}

/* caller() inside the macro is the body of the call block around it. */
static bool bind_caller(struct run *run, const struct arguments *args)
{
    static const struct str name = {"caller", 6};
    const struct arguments named = {
        .names = args->names, .values = args->values, .n_named = args->n_named};
    struct value *caller = argument(&named, 0, "caller");

    return !caller || scope_set(run, run->scope, name, caller);
}

struct value *call_macro(struct run *run, struct value *macro,
                         const struct arguments *args)
{
    struct scope *scope = run->scope;
    struct value *v = NULL;

    run->scope = inner_scope(run, macro->macro.scope);
    if (run->scope && bind(run, macro->macro.node, args) && bind_caller(run, args))
        v = capture(run, macro->macro.node->b);
    run->scope = scope;
    return v;
}

static struct value *macro_value(struct run *run, const struct node *node)
{
    struct value *v = value_new(run, VALUE_MACRO);

    if (!v)
        return NULL;
    v->macro.node = node;
    v->macro.scope = run->scope;
    return v;
}

/* call macro(...): the call with one more argument, the caller. */
static enum flow execute_call(struct run *run, const struct node *node)
{
    struct node call = *node->a;
    struct node keyword = {
        .kind = NODE_KEYWORD, .line = node->line, .text = {"caller", 6}};
    struct node caller = {.kind = NODE_LITERAL, .line = node->line};
    struct node **list = run_array(run, call.n + 1, sizeof(*list));
    const struct value *v;

    caller.literal = macro_value(run, node->b);
    if (!list || !caller.literal)
        return FLOW_FAILED;
    if (call.n)
        memcpy(list, call.list, call.n * sizeof(struct node *));
    keyword.a = &caller;
    list[call.n++] = &keyword;
    call.list = list;
    v = evaluate(run, &call);
    return v && value_print(run, run->out, v) ? FLOW_NEXT : FLOW_FAILED;
}

/* ---- loops ---- */

/* The items of a loop that its condition lets through. */
static struct value *loop_items(struct run *run, const struct node *node)
{
    struct value *v = evaluate(run, node->a), *items = v ? value_items(run, v) : NULL,
                 *kept;
    struct scope *scope = run->scope;
    size_t n = 0;

    if (!items || !node->b)
        return items;
    kept = value_list(run, VALUE_LIST, items->list.n);
    for (size_t i = 0; kept && i < items->list.n; i++) {
        const struct value *holds;

        run->scope = inner_scope(run, scope);
        holds = run->scope && assign(run, node->c, items->list.items[i])
                    ? evaluate(run, node->b)
                    : NULL;
        run->scope = scope;
        if (!holds)
            return NULL;
        if (value_true(holds))
            kept->list.items[n++] = items->list.items[i];
    }
    if (kept)
        kept->list.n = n;
    return kept;
}

static enum flow loop_pass(struct run *run, const struct node *node, struct value *loop)
{
    static const struct str name = {"loop", 4};
    struct scope *scope = run->scope;
    enum flow flow = FLOW_FAILED;

    run->scope = inner_scope(run, scope);
    if (run->scope && scope_set(run, run->scope, name, loop) &&
        assign(run, node->c, loop->loop->items->list.items[loop->loop->i]))
        flow = execute(run, node->list[0]);
    run->scope = scope;
    return flow;
}

static enum flow execute_for(struct run *run, const struct node *node)
{
    struct value *items = loop_items(run, node), *loop = value_new(run, VALUE_LOOP);
    enum flow flow = FLOW_NEXT;

    if (!items || !loop || !(loop->loop = run_alloc(run, sizeof(*loop->loop))))
        return FLOW_FAILED;
    loop->loop->items = items;
    if (items->list.n == 0 && node->list[1])
        return execute(run, node->list[1]);
    for (size_t i = 0; i < items->list.n && flow != FLOW_BREAK && flow != FLOW_FAILED;
         i++) {
        loop->loop->i = i;
        flow = run_step(run, 1) ? loop_pass(run, node, loop) : FLOW_FAILED;
    }
    return flow == FLOW_FAILED ? FLOW_FAILED : FLOW_NEXT;
}

/* ---- the rest ---- */

static enum flow execute_if(struct run *run, const struct node *node)
{
    for (; node && node->kind == NODE_IF; node = node->c) {
        const struct value *holds = evaluate(run, node->a);

        if (!holds)
            return FLOW_FAILED;
        if (value_true(holds))
            return execute(run, node->b);
    }
    return node ? execute(run, node) : FLOW_NEXT;
}

static enum flow execute_body(struct run *run, const struct node *body)
{
    enum flow flow = FLOW_NEXT;

    for (size_t i = 0; i < body->n && flow == FLOW_NEXT; i++)
        flow = execute(run, body->list[i]);
    return flow;
}

static bool execute_simple(struct run *run, const struct node *node)
{
    struct value *v;

    switch (node->kind) {
    case NODE_TEXT:
        return text_put(run, run->out, node->text.text, node->text.n);
    case NODE_PRINT:
        v = evaluate(run, node->a);
        return v && value_print(run, run->out, v);
    case NODE_SET:
        v = evaluate(run, node->a);
        return v && assign(run, node->c, v);
    case NODE_SET_BLOCK:
        v = capture_filtered(run, node);
        return v && assign(run, node->c, v);
    case NODE_FILTER_BLOCK:
        v = capture_filtered(run, node);
        return v && value_print(run, run->out, v);
    case NODE_MACRO:
        v = macro_value(run, node);
        return v && scope_set(run, run->scope, node->text, v);
    default:
        return run_fail(run, ERR_CORRUPT, "an expression where a statement should be");
    }
}

static enum flow dispatch(struct run *run, const struct node *node)
{
    switch (node->kind) {
    case NODE_BODY:
        return execute_body(run, node);
    case NODE_IF:
        return execute_if(run, node);
    case NODE_FOR:
        return execute_for(run, node);
    case NODE_CALL_BLOCK:
        return execute_call(run, node);
    case NODE_BREAK:
        return FLOW_BREAK;
    case NODE_CONTINUE:
        return FLOW_CONTINUE;
    default:
        return execute_simple(run, node) ? FLOW_NEXT : FLOW_FAILED;
    }
}

static enum flow execute(struct run *run, const struct node *node)
{
    enum flow flow;

    if (!run_step(run, 1) || !run_enter(run))
        return FLOW_FAILED;
    run->line = node->line;
    flow = dispatch(run, node);
    run->depth--;
    return flow;
}

bool run_body(struct run *run, const struct node *body)
{
    return execute(run, body) != FLOW_FAILED;
}
