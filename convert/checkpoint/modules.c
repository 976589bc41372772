/*
 * modules.c - the rest of a sentence-transformers folder: dense heads behind the pooling
 *
 * modules.json lists the parts a text goes through. The first dense one becomes
 * dense_2.linear.weight, the next dense_3.linear.weight, as their folders are usually called;
 * they stand before all other tensors. Pooling must be the mean; whatever else would change the
 * answer is refused.
 */
#include "convert/checkpoint/catalogue.h"
#include "formats/safetensors/safetensors.h"

#include <stdlib.h>

enum { FIRST_DENSE = 2, MAX_MODULES = 16 };

struct dense_module {
    struct safetensors *file; /* owned */
    struct raw_tensor raw;
};

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* FOLDER/MODULE/NAME, where MODULE must be a plain name: nothing outside is opened. */
static enum status module_path(struct checkpoint *cp, const json_t *module,
                               const char *name, const char **out, struct error *err)
{
    const char *path = json_string_value(json_object_get(module, "path"));

    if (!path || !*path || path[0] == '.' || strchr(path, '/'))
        return fail(err, ERR_CORRUPT,
                    "%s/modules.json: path \"%s\" is not the name of a folder in it",
                    cp->folder, path ? path : "");
    *out = arena_printf(&cp->arena, "%s/%s/%s", cp->folder, path, name);
    return *out ? OK : fail(err, ERR_NOMEM, "no memory for a path");
}

/* Modes are keys of their own, or, in the newer form, the value of one. What is not said is the mean. */
static bool is_other_pooling(const char *key, const json_t *value)
{
    static const char mode[] = "pooling_mode";

    if (strcmp(key, mode) == 0)
        return json_is_string(value) && strcmp(json_string_value(value), "mean") != 0;
    return strncmp(key, mode, strlen(mode)) == 0 && key[strlen(mode)] == '_' &&
           json_is_true(value) != (strcmp(key, "pooling_mode_mean_tokens") == 0);
}

static enum status check_pooling(struct checkpoint *cp, const json_t *module,
                                 struct error *err)
{
    const char *path, *key;
    json_t *config = NULL, *value;
    enum status st = module_path(cp, module, "config.json", &path, err);

    if (st == OK)
        st = json_read_file(path, &config, err);
    if (st != OK)
        return st;
    json_object_foreach(config, key, value)
    {
        if (st != OK || !is_other_pooling(key, value))
            continue;
        char *text = json_dumps(value, JSON_ENCODE_ANY);

        st = fail(err, ERR_UNSUPPORTED,
                  "%s: %s is %.40s (the mean of all tokens expected)", path, key,
                  text ? text : "something else");
        free(text);
    }
    json_decref(config);
    return st;
}

/* A dense part may bend and shift its output; those of the family do neither. */
static enum status check_dense(struct checkpoint *cp, const json_t *module,
                               struct error *err)
{
    const char *path;
    json_t *config = NULL;
    enum status st = module_path(cp, module, "config.json", &path, err);

    if (st == OK)
        st = json_read_file(path, &config, err);
    if (st != OK)
        return st;
    const char *bend = json_string_value(json_object_get(config, "activation_function"));
    if (json_is_true(json_object_get(config, "bias")))
        st = fail(err, ERR_UNSUPPORTED, "%s: a head with a bias is not supported", path);
    else if (!bend || !ends_with(bend, "Identity"))
        st = fail(err, ERR_UNSUPPORTED,
                  "%s: activation_function \"%s\" is not supported (Identity expected)",
                  path, bend ? bend : "");
    json_decref(config);
    return st;
}

static enum status add_dense(struct checkpoint *cp, const json_t *module,
                             struct error *err)
{
    struct dense_module *m = &cp->modules[cp->n_modules];
    const char *path, *name = arena_printf(&cp->arena, "dense_%zu.linear.weight",
                                           FIRST_DENSE + cp->n_modules);
    enum status st = module_path(cp, module, "model.safetensors", &path, err);

    if (st == OK)
        st = check_dense(cp, module, err);
    if (st == OK)
        st = safetensors_open(path, &m->file, err);
    if (st != OK)
        return st;
    cp->n_modules++;
    const struct tensor *t = safetensors_find(m->file, "linear.weight");
    if (!t || safetensors_count(m->file) != 1)
        return fail(err, ERR_SHAPE, "%s: one tensor linear.weight expected", path);
    m->raw = (struct raw_tensor){.name = name,
                                 .t = t,
                                 .file = safetensors_file(m->file),
                                 .order = cp->n_modules - 1,
                                 .taken = true};
    struct source_tensor *added = name ? catalogue_add(cp, name) : NULL;
    if (!added)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    st = plain_source(cp, added, &m->raw, err);
    added->found = name;
    return st;
}

static enum status add_module(struct checkpoint *cp, const json_t *module,
                              struct error *err)
{
    const char *type = json_string_value(json_object_get(module, "type"));

    if (type && ends_with(type, ".Dense"))
        return add_dense(cp, module, err);
    if (type && ends_with(type, ".Pooling"))
        return check_pooling(cp, module, err);
    if (type && (ends_with(type, ".Transformer") || ends_with(type, ".Normalize")))
        return OK;
    return fail(
        err, ERR_UNSUPPORTED,
        "%s/modules.json: type \"%s\" is not supported (Transformer, Pooling, Dense "
        "and Normalize are)",
        cp->folder, type ? type : "");
}

enum status modules_claim(struct checkpoint *cp, struct error *err)
{
    const char *path = arena_printf(&cp->arena, "%s/modules.json", cp->folder);
    const size_t n_before = cp->n_tensors;
    json_t *list = NULL;
    enum status st;

    if (!path)
        return fail(err, ERR_NOMEM, "no memory for a path");
    if (!file_exists(path))
        return OK;
    st = json_read_list(path, &list, err);
    const size_t n = json_array_size(list);
    if (st == OK && n > MAX_MODULES)
        st = fail(err, ERR_CORRUPT, "%s: %zu modules (%d at most)", path, n, MAX_MODULES);
    if (st == OK) {
        cp->modules = arena_array(&cp->arena, n + 1, sizeof(*cp->modules));
        if (!cp->modules)
            st = fail(err, ERR_NOMEM, "no memory for modules");
    }
    for (size_t i = 0; st == OK && i < n; i++)
        st = add_module(cp, json_array_get(list, i), err);
    for (size_t i = 0; i < n_before; i++)
        cp->tensors[i]->order += cp->n_modules;
    json_decref(list);
    return st;
}

const struct file *modules_file(const struct checkpoint *cp, size_t i)
{
    return safetensors_file(cp->modules[i].file);
}

void modules_close(struct checkpoint *cp)
{
    for (size_t i = 0; i < cp->n_modules; i++)
        safetensors_close(cp->modules[i].file);
}
