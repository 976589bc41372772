/*
 * card.c - a model card's keys, under the names that GGUF has for them
 */
#include "convert/gemma/card.h"
#include "convert/gemma/idname.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_PLACES = 4, KEY_TEXT = 64, MAX_ID = 256 };

/* Where a property may stand in a card; the first that is there counts. */
static const struct {
    const char *property;
    const char *places[MAX_PLACES];
} properties[] = {
    {"name", {"name", "model_name"}},
    {"author", {"author", "model_author", "model_creator"}},
    {"version", {"version", "model_version"}},
    {"organization", {"organization", "model_organization"}},
    {"description", {"description", "model_description"}},
    {"finetune", {"finetune", "model_finetune"}},
    {"basename", {"basename", "model_basename", "model_type"}},
    {"size_label", {"size_label", "model_size_label"}},
    {"license.name", {"license_name"}},
    {"license.link", {"license_link"}},
    {"source.url", {"url", "model_url"}},
    {"source.doi", {"doi", "model_doi"}},
    {"source.uuid", {"uuid", "model_uuid"}},
    {"source.repo_url", {"repo_url", "model_repo_url"}},
};

enum { N_PROPERTIES = sizeof(properties) / sizeof(properties[0]), FIRST_WRITTEN = 8 };

enum status card_read(struct arena *arena, const char *folder, struct frontmatter *out,
                      struct error *err)
{
    const char *path = arena_printf(arena, "%s/README.md", folder);
    char *text = malloc(FRONTMATTER_BYTES);
    struct file *file = NULL;
    struct error why = {0};
    enum status st;

    *out = (struct frontmatter){0};
    if (!path || !text) {
        free(text);
        return fail(err, ERR_NOMEM, "no memory for a model card");
    }
    st = file_exists(path) ? file_open(path, &file, &why) : OK;
    const uint64_t size = file ? file_size(file) : 0;
    const size_t n = size < FRONTMATTER_BYTES ? (size_t)size : FRONTMATTER_BYTES;
    if (st == OK && n > 0)
        st = file_read(file, 0, text, n, &why);
    if (st != OK)
        log_warn("%s", why.text);
    else
        st = frontmatter_parse(arena, text, n, out, err);
    if (out->unread)
        log_warn("%s: %s; read without it", path, out->unread);
    file_close(file);
    free(text);
    return st == ERR_NOMEM ? st : OK;
}

static const char *find_text(const struct frontmatter *card, size_t property)
{
    for (int i = 0; i < MAX_PLACES && properties[property].places[i]; i++) {
        const struct front_entry *e =
            frontmatter_find(card, properties[property].places[i]);

        if (e && !e->is_list)
            return e->items[0];
    }
    return NULL;
}

const char *card_text(const struct frontmatter *card, const char *property)
{
    for (size_t i = 0; i < N_PROPERTIES; i++)
        if (strcmp(properties[i].property, property) == 0)
            return find_text(card, i);
    return NULL;
}

/* ---- writing ---- */

static enum status set_text(struct gguf_meta *meta, const char *key, const char *text,
                            struct error *err)
{
    return text ? gguf_set_str(meta, key, text, strlen(text), err) : OK;
}

/* Several licences stand in one text. */
static enum status set_license(struct arena *arena, const struct frontmatter *card,
                               struct gguf_meta *meta, struct error *err)
{
    const struct front_entry *e = frontmatter_find(card, "license");
    const char *text = e ? e->items[0] : NULL;

    for (size_t i = 1; e && text && i < e->n_items; i++)
        text = arena_printf(arena, "%s,%s", text, e->items[i]);
    if (e && !text)
        return fail(err, ERR_NOMEM, "no memory for a licence");
    return set_text(meta, "general.license", text, err);
}

/* The items of two keys, one behind the other. */
static enum status set_list(struct arena *arena, const struct frontmatter *card,
                            const char *first, const char *second, const char *key,
                            struct gguf_meta *meta, struct error *err)
{
    const struct front_entry *from[2] = {frontmatter_find(card, first),
                                         frontmatter_find(card, second)};
    const size_t n = (from[0] ? from[0]->n_items : 0) + (from[1] ? from[1]->n_items : 0);
    struct gguf_str *texts = arena_array(arena, n + 1, sizeof(*texts));
    size_t at = 0;

    if (!texts)
        return fail(err, ERR_NOMEM, "no memory for %s", key);
    for (int f = 0; f < 2; f++)
        for (size_t i = 0; from[f] && i < from[f]->n_items; i++)
            texts[at++] = (struct gguf_str){from[f]->items[i], strlen(from[f]->items[i])};
    return n ? gguf_set_strings(meta, key, texts, n, err) : OK;
}

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* "organization/name" behind the hub's address, or NULL. */
static const char *hub_id(const char *url)
{
    static const char host[] = "://huggingface.co/";
    const char *at = begins_with(url, "http") ? strstr(url, host) : NULL;

    if (!at || (at != url + 4 && !(at == url + 5 && url[4] == 's')))
        return NULL;
    at += strlen(host);
    const char *slash = strchr(at, '/');
    return slash && slash > at && slash[1] && !strchr(slash + 1, '/') ? at : NULL;
}

/* A base model or a data set, by its address or its name on the hub. */
static enum status set_origin(struct arena *arena, const char *kind, size_t i,
                              const char *id, uint64_t n_params, struct gguf_meta *meta,
                              struct error *err)
{
    const bool is_url = begins_with(id, "http://") || begins_with(id, "https://") ||
                        begins_with(id, "ssh://");
    const char *name_id = is_url ? hub_id(id) : id, *url = is_url ? id : NULL;
    const char *organization = NULL, *title = NULL;
    struct idname name = {0};
    enum status st = OK;

    if (strlen(id) > MAX_ID)
        return OK;
    if (name_id && !idname_parse(arena, name_id, n_params, &name))
        return fail(err, ERR_NOMEM, "no memory for %s", id);
    if (name.full)
        title = idname_title(arena, name.full);
    if (name.organization)
        organization = idname_title(arena, name.organization);
    if (!url && name.organization && name.full)
        url = arena_printf(arena, "https://huggingface.co/%s/%s", name.organization,
                           name.full);
    const struct {
        const char *what, *text;
    } keys[] = {{"name", title},
                {"version", name.version},
                {"organization", organization},
                {"repo_url", url}};
    for (size_t k = 0; st == OK && k < sizeof(keys) / sizeof(keys[0]); k++) {
        const char *key = arena_printf(arena, "general.%s.%zu.%s", kind, i, keys[k].what);

        st = key ? set_text(meta, key, keys[k].text, err)
                 : fail(err, ERR_NOMEM, "no memory for %s", id);
    }
    return st;
}

static enum status set_origins(struct arena *arena, const struct frontmatter *card,
                               const char *const places[3], const char *kind,
                               uint64_t n_params, struct gguf_meta *meta,
                               struct error *err)
{
    const struct front_entry *e = NULL;
    char key[KEY_TEXT];
    enum status st = OK;

    for (int i = 0; i < 3 && !e; i++)
        e = frontmatter_find(card, places[i]);
    if (!e)
        return OK;
    snprintf(key, sizeof(key), "general.%s.count", kind);
    st = gguf_set_u32(meta, key, (uint32_t)e->n_items, err);
    for (size_t i = 0; st == OK && i < e->n_items; i++)
        st = set_origin(arena, kind, i, e->items[i], n_params, meta, err);
    return st;
}

enum status card_describe(const struct frontmatter *card, uint64_t n_params,
                          struct gguf_meta *meta, struct error *err)
{
    static const char *const bases[] = {"base_model", "base_models",
                                        "base_model_sources"};
    static const char *const sets[] = {"datasets", "dataset", "dataset_sources"};
    struct arena arena = {0};
    char key[KEY_TEXT];
    enum status st = set_license(&arena, card, meta, err);

    for (size_t i = FIRST_WRITTEN; st == OK && i < N_PROPERTIES; i++) {
        snprintf(key, sizeof(key), "general.%s", properties[i].property);
        st = set_text(meta, key, find_text(card, i), err);
    }
    if (st == OK)
        st = set_origins(&arena, card, bases, "base_model", n_params, meta, err);
    if (st == OK)
        st = set_origins(&arena, card, sets, "dataset", n_params, meta, err);
    if (st == OK)
        st = set_list(&arena, card, "tags", "pipeline_tag", "general.tags", meta, err);
    if (st == OK)
        st = set_list(&arena, card, "languages", "language", "general.languages", meta,
                      err);
    arena_free(&arena);
    return st;
}
