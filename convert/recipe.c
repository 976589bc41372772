/*
 * recipe.c - read recipes, match names, write the recipe of a plan
 */
#include "convert/recipe.h"
#include "convert/convert.h"

#include <fnmatch.h>
#include <stdlib.h>

enum { RECIPE_MAX_BYTES = 16 << 20 };

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    for (size_t n = strlen(text); n > 0 && strchr(" \t\r", text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

/* One line without its end; false in *is_rule for blanks and comments. */
static enum status read_line(const struct recipe *recipe, char *text,
                             struct recipe_line *out, bool *is_rule, struct error *err)
{
    text[strcspn(text, "#")] = '\0';
    text = trim(text);
    *is_rule = *text != '\0';
    if (!*is_rule)
        return OK;

    char *equals = strchr(text, '=');
    if (!equals)
        return fail(err, ERR_USAGE, "%s:%u: \"%s\" (pattern = TYPE expected)",
                    recipe->path, out->line, text);
    *equals = '\0';
    out->pattern = trim(text);
    const char *type = trim(equals + 1);
    if (!*out->pattern || !block_type_from_name(type, &out->type))
        return fail(err, ERR_USAGE, "%s:%u: \"%s\" is not a type", recipe->path,
                    out->line, type);
    return OK;
}

static size_t count_lines(const char *text)
{
    size_t n = 1;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

enum status recipe_read(const char *path, struct recipe *out, struct error *err)
{
    char *bytes = NULL, *text, *next;
    size_t n_bytes = 0;
    enum status st = file_read_all(path, RECIPE_MAX_BYTES, &bytes, &n_bytes, err);

    *out = (struct recipe){0};
    if (st != OK)
        return st;
    text = arena_strndup(&out->arena, bytes, n_bytes);
    free(bytes);
    out->path = arena_strdup(&out->arena, path);
    out->lines =
        text ? arena_array(&out->arena, count_lines(text), sizeof(*out->lines)) : NULL;
    if (!out->path || !out->lines) {
        recipe_free(out);
        return fail(err, ERR_NOMEM, "%s: no memory to read it", path);
    }

    for (unsigned line = 1; st == OK && text; line++, text = next) {
        next = strchr(text, '\n');
        if (next)
            *next++ = '\0';
        bool is_rule;
        struct recipe_line rule = {.line = line};
        st = read_line(out, text, &rule, &is_rule, err);
        if (st == OK && is_rule)
            out->lines[out->n_lines++] = rule;
    }
    if (st != OK)
        recipe_free(out);
    return st;
}

const struct recipe_line *recipe_match(struct recipe *recipe, const char *name)
{
    for (size_t i = 0; i < recipe->n_lines; i++)
        if (fnmatch(recipe->lines[i].pattern, name, 0) == 0) {
            recipe->lines[i].was_matched = true;
            return &recipe->lines[i];
        }
    return NULL;
}

void recipe_free(struct recipe *recipe)
{
    arena_free(&recipe->arena);
    *recipe = (struct recipe){0};
}

enum status convert_write_recipe(const struct plan *plan, const char *path, bool force,
                                 struct error *err)
{
    struct arena arena = {0};
    size_t n_bytes = 0, at = 0;

    for (size_t i = 0; i < plan->n_entries; i++)
        n_bytes += strlen(plan->entries[i].name) +
                   strlen(block_type_name(plan->entries[i].type)) + sizeof(" = \n");
    char *text = arena_alloc(&arena, n_bytes + 1);
    if (!text)
        return fail(err, ERR_NOMEM, "%s: no memory to write it", path);
    for (size_t i = 0; i < plan->n_entries; i++)
        at += (size_t)snprintf(text + at, n_bytes + 1 - at, "%s = %s\n",
                               plan->entries[i].name,
                               block_type_name(plan->entries[i].type));
    const enum status st = file_write_all(path, text, at, force, err);
    arena_free(&arena);
    return st;
}
