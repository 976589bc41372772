/*
 * recipe.c - read recipes, match names, write the recipe of a plan
 */
#include "convert/recipe.h"
#include "convert/convert.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>

enum { RECIPE_MAX_BYTES = 1 << 20, PATTERN_MOST = 128 }; /* names have 63 bytes */

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    for (size_t n = strlen(text); n > 0 && strchr(" \t\r", text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

/* What follows an '@'. */
static enum status read_origin(struct recipe *recipe, unsigned line, const char *key,
                               const char *value, struct error *err)
{
    char *end = NULL;

    if (strcmp(key, "@target-size") == 0 && *value >= '0' && *value <= '9') {
        recipe->origin.target_size = strtoull(value, &end, 10);
        if (*end == '\0')
            return OK;
    }
    if (strcmp(key, "@sensitivity") == 0 && strlen(value) == 64 &&
        strspn(value, "0123456789abcdef") == 64) {
        memcpy(recipe->origin.sensitivity, value, 65);
        return OK;
    }
    return fail(err, ERR_USAGE,
                "%s:%u: \"%s = %s\" (@target-size = BYTES or @sensitivity = SHA-256 "
                "expected)",
                recipe->path, line, key, value);
}

/* One line without its end; false in *is_rule for blanks and comments. */
static enum status read_line(struct recipe *recipe, char *text, struct recipe_line *out,
                             bool *is_rule, struct error *err)
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
    if (strlen(out->pattern) > PATTERN_MOST)
        return fail(err, ERR_USAGE, "%s:%u: a pattern of more than %d bytes",
                    recipe->path, out->line, PATTERN_MOST);
    if (*out->pattern == '@') {
        *is_rule = false;
        return read_origin(recipe, out->line, out->pattern, type, err);
    }
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
    if (memchr(bytes, '\0', n_bytes)) {
        free(bytes);
        return fail(err, ERR_USAGE, "%s: not a text: it holds a NUL", path);
    }
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

char *recipe_text(struct arena *arena, const struct recipe_origin *origin,
                  const struct recipe_entry *entries, size_t n)
{
    size_t room = 256, at = 0;

    for (size_t i = 0; i < n; i++)
        room += strlen(entries[i].name) + strlen(block_type_name(entries[i].type)) +
                sizeof(" = \n");
    char *text = arena_alloc(arena, room);
    if (!text)
        return NULL;
    if (origin->target_size)
        at += (size_t)snprintf(text, room,
                               "# types chosen for a size, by measured sensitivity\n"
                               "@target-size = %" PRIu64 "\n@sensitivity = %s\n",
                               origin->target_size, origin->sensitivity);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, room - at, "%s = %s\n", entries[i].name,
                               block_type_name(entries[i].type));
    return text;
}

/* What the metadata of the plan's first file say. */
static struct recipe_origin origin_of(const struct plan *plan)
{
    struct recipe_origin origin = {0};
    const struct gguf_value *size = gguf_meta_find(plan->meta, "carat.target_size");
    struct gguf_str text;

    if (size && size->type == GGUF_U64)
        origin.target_size = load_u64(size->data);
    if (origin.target_size &&
        gguf_get_str(plan->meta, "carat.sensitivity_sha256", &text) && text.n == 64)
        memcpy(origin.sensitivity, text.text, 64);
    return origin;
}

enum status convert_write_recipe(const struct plan *plan, const char *path, bool force,
                                 struct error *err)
{
    const struct recipe_origin origin = origin_of(plan);
    struct arena arena = {0};
    struct recipe_entry *entries =
        arena_array(&arena, plan->n_entries + 1, sizeof(*entries));
    char *text = NULL;
    enum status st;

    for (size_t i = 0; entries && i < plan->n_entries; i++)
        entries[i] = (struct recipe_entry){plan->entries[i].name, plan->entries[i].type};
    if (entries)
        text = recipe_text(&arena, &origin, entries, plan->n_entries);
    st = text ? file_write_all(path, text, strlen(text), force, err)
              : fail(err, ERR_NOMEM, "%s: no memory to write it", path);
    arena_free(&arena);
    return st;
}
