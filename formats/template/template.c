/*
 * template.c - the door: a source and a context to a text
 */
#include "base/utf8.h"
#include "formats/template/syntax.h"

#include <stdlib.h>
#include <string.h>

static bool set_context(struct run *run, json_t *context)
{
    const char *key;
    json_t *item;

    json_object_foreach(context, key, item)
    {
        struct value *v = value_from_json(run, item);

        if (!v || !scope_set(run, run->scope, (struct str){key, strlen(key)}, v))
            return false;
    }
    return true;
}

/* Variables a template sets at its top lie over those of the context. */
static bool render(struct run *run, const char *source, json_t *context)
{
    struct scope *outer = run_alloc(run, sizeof(*outer));
    struct scope *inner = run_alloc(run, sizeof(*inner));
    const struct node *body;

    if (!outer || !inner)
        return false;
    run->scope = outer;
    if (!set_context(run, context))
        return false;
    body = parse(run, source, strlen(source));
    inner->around = outer;
    run->scope = inner;
    return body && run_body(run, body);
}

enum status template_render(const char *source, json_t *context, char **out,
                            struct error *err)
{
    const size_t n = strlen(source);
    struct text text = {0};
    struct run run = {.out = &text, .line = 1, .err = err};
    char *copy = NULL;

    if (n > TEMPLATE_MAX_SOURCE)
        return fail(err, ERR_UNSUPPORTED, "a template of %zu bytes is too long", n);
    if (!utf8_is_valid(source, n))
        return fail(err, ERR_CORRUPT, "a template that is not UTF-8");
    if (render(&run, source, context) && run.st == OK) {
        copy = malloc(text.n + 1);
        if (copy && text.n)
            memcpy(copy, text.bytes, text.n);
        if (copy)
            copy[text.n] = '\0';
        else
            run.st = fail(err, ERR_NOMEM, "no memory for %zu bytes of text", text.n);
    }
    arena_free(&run.arena);
    if (run.st == OK)
        *out = copy;
    return run.st;
}
