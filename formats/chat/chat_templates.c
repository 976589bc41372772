/*
 * chat_templates.c - find the templates of a checkpoint, and write them into metadata
 */
#include "formats/chat/chat.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEMPLATE_BYTES = 1 << 20, TEMPLATES_MOST = 64 };

#define EXTRA_FOLDER "additional_chat_templates"

const struct chat_template *chat_template_named(const struct chat_templates *templates,
                                                const char *name)
{
    for (size_t i = 0; i < templates->n; i++)
        if (strcmp(templates->list[i].name, name) == 0)
            return &templates->list[i];
    return NULL;
}

void chat_templates_free(struct chat_templates *templates)
{
    arena_free(&templates->arena);
    *templates = (struct chat_templates){0};
}

static enum status no_memory(struct error *err)
{
    return fail(err, ERR_NOMEM, "no memory for the chat templates");
}

/* Add a template of the file `path`, copied; the first of a name stays. */
static enum status add(struct chat_templates *to, const char *name, const char *text,
                       size_t n, const char *path, struct error *err)
{
    struct chat_template *list;

    if (chat_template_named(to, name))
        return OK;
    if (to->n == TEMPLATES_MOST)
        return fail(err, ERR_CORRUPT, "%s: more than %d chat templates", path,
                    TEMPLATES_MOST);
    list = arena_array(&to->arena, to->n + 1, sizeof(*list));
    if (!list)
        return no_memory(err);
    if (to->n)
        memcpy(list, to->list, to->n * sizeof(*list));
    list[to->n] = (struct chat_template){.name = arena_strdup(&to->arena, name),
                                         .text = arena_strndup(&to->arena, text, n),
                                         .n = n};
    if (!list[to->n].name || !list[to->n].text)
        return no_memory(err);
    to->list = list;
    to->n++;
    return OK;
}

static enum status add_file(struct chat_templates *to, const char *name, const char *path,
                            struct error *err)
{
    char *text = NULL;
    size_t n = 0;
    enum status st = file_read_all(path, TEMPLATE_BYTES, &text, &n, err);

    if (st == OK && (memchr(text, '\0', n) || !utf8_is_valid(text, n)))
        st = fail(err, ERR_CORRUPT, "%s: not a text in UTF-8", path);
    if (st == OK)
        st = add(to, name, text, n, path, err);
    free(text);
    return st;
}

enum status chat_read_template(const char *path, struct chat_templates *out,
                               struct error *err)
{
    struct chat_templates found = {0};
    const enum status st = add_file(&found, "default", path, err);

    if (st == OK)
        *out = found;
    else
        chat_templates_free(&found);
    return st;
}

/* ---- chat_template.jinja and the folder beside it ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum { EXTRA_MAX = 64 };

/* The names X of the files X.jinja in a folder, sorted, so that nothing depends on the order the
 * system lists them in. A folder that is not there has none. */
static enum status list_names(struct arena *arena, const char *folder,
                              const char *names[EXTRA_MAX], size_t *n, struct error *err)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    enum status st = OK;

    *n = 0;
    while (dir && st == OK && (entry = readdir(dir))) {
        const size_t length = strlen(entry->d_name);

        if (length <= 6 || strcmp(entry->d_name + length - 6, ".jinja") != 0)
            continue;
        if (*n == EXTRA_MAX) {
            st = fail(err, ERR_CORRUPT, "%s: more than %d chat templates", folder,
                      EXTRA_MAX);
            break;
        }
        names[*n] = arena_strndup(arena, entry->d_name, length - 6);
        st = names[*n] ? OK : no_memory(err);
        ++*n;
    }
    if (dir)
        closedir(dir);
    if (st == OK)
        qsort(names, *n, sizeof(*names), by_name);
    return st;
}

static enum status add_extras(struct chat_templates *to, const char *folder,
                              struct error *err)
{
    const char *names[EXTRA_MAX];
    const char *extra = arena_printf(&to->arena, "%s/" EXTRA_FOLDER, folder);
    size_t n = 0;
    enum status st =
        extra ? list_names(&to->arena, extra, names, &n, err) : no_memory(err);

    for (size_t i = 0; i < n && st == OK; i++) {
        const char *path = arena_printf(&to->arena, "%s/%s.jinja", extra, names[i]);

        st = path ? add_file(to, names[i], path, err) : no_memory(err);
    }
    return st;
}

/* ---- "chat_template" of a JSON file ---- */

static enum status add_value(struct chat_templates *to, const char *name,
                             const json_t *text, const char *path, struct error *err)
{
    if (!name || !json_is_string(text))
        return fail(err, ERR_CORRUPT, "%s: a chat template without a name or a text",
                    path);
    return add(to, name, json_string_value(text), json_string_length(text), path, err);
}

static const char *name_of(const json_t *item)
{
    return json_string_value(json_object_get(item, "name"));
}

/* True when a later item has the name too: the last of a list counts, as where a list is made into a
 * mapping. */
static bool is_replaced(const json_t *list, size_t i)
{
    const char *name = name_of(json_array_get(list, i));

    for (size_t k = i + 1; name && k < json_array_size(list); k++) {
        const char *later = name_of(json_array_get(list, k));

        if (later && strcmp(later, name) == 0)
            return true;
    }
    return false;
}

/* A text, a list of {name, template}, or a mapping from names to texts. */
static enum status add_values(struct chat_templates *to, json_t *value, const char *path,
                              struct error *err)
{
    enum status st = OK;
    const char *name;
    json_t *item;
    size_t i;

    if (!value || json_is_null(value))
        return OK;
    if (json_is_string(value))
        return add_value(to, "default", value, path, err);
    if (!json_is_array(value) && !json_is_object(value))
        return fail(err, ERR_CORRUPT, "%s: chat_template is neither a text nor a list",
                    path);
    json_array_foreach(value, i, item)
    {
        if (st == OK && !is_replaced(value, i))
            st = add_value(to, name_of(item), json_object_get(item, "template"), path,
                           err);
    }
    json_object_foreach(value, name, item)
    {
        if (st == OK)
            st = add_value(to, name, item, path, err);
    }
    return st;
}

static enum status add_json(struct chat_templates *to, const char *path,
                            struct error *err)
{
    json_t *tree = NULL;
    enum status st = file_exists(path) ? json_read_file(path, &tree, err) : OK;

    if (st == OK && tree)
        st = add_values(to, json_object_get(tree, "chat_template"), path, err);
    json_decref(tree);
    return st;
}

/* ---- the folder ---- */

enum { PLACES = 3 };

static const char *const place_names[PLACES] = {
    "chat_template.jinja", "tokenizer_config.json", "chat_template.json"};

static enum status read_place(int place, const char *folder, struct chat_templates *to,
                              struct error *err)
{
    const char *path = arena_printf(&to->arena, "%s/%s", folder, place_names[place]);
    enum status st;

    if (!path)
        return no_memory(err);
    if (place > 0)
        return add_json(to, path, err);
    if (!file_exists(path))
        return OK;
    st = add_file(to, "default", path, err);
    return st == OK ? add_extras(to, folder, err) : st;
}

static bool differ(const struct chat_templates *a, const struct chat_templates *b)
{
    const struct chat_template *x = chat_template_named(a, "default");
    const struct chat_template *y = chat_template_named(b, "default");

    return x && y && (x->n != y->n || memcmp(x->text, y->text, x->n) != 0);
}

/* The first place that has templates, and a warning for each later one that disagrees. */
static void choose(struct chat_templates found[PLACES], const char *folder,
                   struct chat_templates *out)
{
    int first = 0;

    while (first < PLACES && found[first].n == 0)
        first++;
    if (first == PLACES) {
        log_warn("%s: no chat template; chat will use the turn format of its family",
                 folder);
        return;
    }
    for (int i = first + 1; i < PLACES; i++)
        if (differ(&found[first], &found[i]))
            log_warn("%s: two different chat templates, in %s and %s; the first is used",
                     folder, place_names[first], place_names[i]);
    *out = found[first];
    found[first] = (struct chat_templates){0};
}

enum status chat_find_templates(const char *folder, struct chat_templates *out,
                                struct error *err)
{
    struct chat_templates found[PLACES] = {{0}};
    enum status st = OK;

    *out = (struct chat_templates){0};
    for (int i = 0; i < PLACES && st == OK; i++)
        st = read_place(i, folder, &found[i], err);
    if (st == OK)
        choose(found, folder, out);
    for (int i = 0; i < PLACES; i++)
        chat_templates_free(&found[i]);
    return st;
}

/* ---- metadata ---- */

#define KEY "tokenizer.chat_template"

/* "tool use" -> "tool_use" */
static char *plain_name(struct arena *arena, const char *name)
{
    char *plain = arena_strdup(arena, name);

    for (char *p = plain; p && *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
              (*p >= '0' && *p <= '9')))
            *p = '_';
    return plain;
}

static enum status write_named(const struct chat_template *template, struct arena *arena,
                               struct gguf_str *name, struct gguf_meta *meta,
                               struct error *err)
{
    const char *plain = plain_name(arena, template->name);
    const char *key = plain ? arena_printf(arena, KEY ".%s", plain) : NULL;

    if (!key)
        return no_memory(err);
    *name = (struct gguf_str){plain, strlen(plain)};
    return gguf_set_str(meta, key, template->text, template->n, err);
}

enum status chat_templates_to_meta(const struct chat_templates *templates,
                                   struct gguf_meta *meta, struct error *err)
{
    const struct chat_template *plain = chat_template_named(templates, "default");
    struct arena arena = {0};
    struct gguf_str *names = arena_array(&arena, templates->n + 1, sizeof(*names));
    size_t n_names = 0;
    enum status st = names ? OK : no_memory(err);

    for (size_t i = 0; i < templates->n && st == OK; i++)
        if (&templates->list[i] != plain)
            st = write_named(&templates->list[i], &arena, &names[n_names++], meta, err);
    if (st == OK && n_names > 0)
        st = gguf_set_strings(meta, KEY "s", names, n_names, err);
    if (st == OK && plain)
        st = gguf_set_str(meta, KEY, plain->text, plain->n, err);
    arena_free(&arena);
    return st;
}

enum status chat_replace_template(struct gguf_meta *meta, const char *path,
                                  struct error *err)
{
    struct chat_templates templates = {0};
    enum status st = chat_read_template(path, &templates, err);

    for (size_t i = gguf_meta_count(meta); st == OK && i-- > 0;) {
        const char *old = gguf_meta_at(meta, i)->key;

        if (strncmp(old, KEY, strlen(KEY)) == 0 && strcmp(old, KEY) != 0)
            gguf_unset(meta, old);
    }
    if (st == OK)
        st = chat_templates_to_meta(&templates, meta, err);
    chat_templates_free(&templates);
    return st;
}
