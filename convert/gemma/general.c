/*
 * general.c - the general.* keys, from the model card, the names of things and
 * generation_config.json
 */
#define _XOPEN_SOURCE 700 /* realpath() */
#include "convert/gemma/card.h"
#include "convert/gemma/gemma.h"
#include "convert/gemma/idname.h"

#include <stdlib.h>

struct keys {
    const char *name, *author, *version, *organization, *finetune, *basename;
    const char *description, *size_label;
};

/* generation_config.json's names, and the keys they become, in order of writing. */
static const struct {
    const char *found, *key;
    bool is_whole;
} sampling[] = {
    {"top_k", "general.sampling.top_k", true},
    {"top_p", "general.sampling.top_p", false},
    {"min_p", "general.sampling.min_p", false},
    {"xtc_probability", "general.sampling.xtc_probability", false},
    {"xtc_threshold", "general.sampling.xtc_threshold", false},
    {"temperature", "general.sampling.temp", false},
    {"penalty_last_n", "general.sampling.penalty_last_n", true},
    {"repetition_penalty", "general.sampling.penalty_repeat", false},
    {"mirostat", "general.sampling.mirostat", true},
    {"mirostat_tau", "general.sampling.mirostat_tau", false},
    {"mirostat_eta", "general.sampling.mirostat_eta", false},
};

static enum status set_text(struct gguf_meta *meta, const char *key, const char *text,
                            struct error *err)
{
    return text ? gguf_set_str(meta, key, text, strlen(text), err) : OK;
}

/* A whole number that does not fit is left out like one that is none. */
static enum status describe_sampling(const json_t *generation, struct gguf_meta *meta,
                                     struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; st == OK && i < sizeof(sampling) / sizeof(sampling[0]); i++) {
        const json_t *value = json_object_get(generation, sampling[i].found);
        const json_int_t n = json_integer_value(value);

        if (json_is_number(value) && !sampling[i].is_whole)
            st =
                gguf_set_f32(meta, sampling[i].key, (float)json_number_value(value), err);
        else if (json_is_integer(value) && n >= INT32_MIN && n <= INT32_MAX)
            st = gguf_set_i32(meta, sampling[i].key, (int32_t)n, err);
    }
    return st;
}

/* Fill what is still unknown. */
static void keep_first(const char **to, const char *value)
{
    if (!*to)
        *to = value;
}

static bool read_name(struct arena *arena, const char *id, uint64_t n_params,
                      struct keys *keys)
{
    struct idname name;

    if (!idname_parse(arena, id, n_params, &name))
        return false;
    if (!keys->name)
        keys->name = idname_title(arena, name.full);
    if (!keys->organization && name.organization)
        keys->organization = idname_title(arena, name.organization);
    keep_first(&keys->basename, name.basename);
    keep_first(&keys->finetune, name.finetune);
    keep_first(&keys->version, name.version);
    keep_first(&keys->size_label, name.size_label);
    return keys->name != NULL;
}

static size_t count_slashes(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == '/';
    return n;
}

/* The last element of a path without trailing slashes, copied. */
static char *last_element(struct arena *arena, const char *path)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t begin = n;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    return arena_strndup(arena, path + begin, n - begin);
}

/* Metadata are UTF-8; the bytes of a name need not be, and then stand as \xNN. */
static const char *in_utf8(struct arena *arena, const char *name)
{
    const size_t n = strlen(name), room = 4 * n + 1;
    char *escaped;

    if (utf8_is_valid(name, n))
        return name;
    escaped = arena_alloc(arena, room);
    if (escaped)
        text_escape(escaped, room, name, n);
    return escaped;
}

/* The folder's name as the user wrote it; "." and ".." are looked up. */
static const char *folder_name(struct arena *arena, const char *folder)
{
    const char *name = last_element(arena, folder);

    if (name && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)) {
        char *real = realpath(folder, NULL);
        if (real)
            name = last_element(arena, real);
        free(real);
    }
    return name ? in_utf8(arena, name) : NULL;
}

/* The card comes first; names fill what it leaves open. */
static bool gather(struct arena *arena, const struct gemma_identity *id,
                   const struct frontmatter *card, struct keys *keys)
{
    const char *folder = folder_name(arena, id->folder);

    *keys = (struct keys){.name = card_text(card, "name"),
                          .author = card_text(card, "author"),
                          .version = card_text(card, "version"),
                          .organization = card_text(card, "organization"),
                          .finetune = card_text(card, "finetune"),
                          .basename = card_text(card, "basename"),
                          .description = card_text(card, "description"),
                          .size_label = card_text(card, "size_label")};

    /* a computer's path in _name_or_path says nothing; "organization/name" does */
    if (!folder)
        return false;
    if (id->name_or_path && *id->name_or_path && count_slashes(id->name_or_path) <= 1 &&
        !read_name(arena, id->name_or_path, id->n_params, keys))
        return false;
    if (!read_name(arena, folder, id->n_params, keys))
        return false;
    if (!keys->size_label)
        keys->size_label = idname_size_label(
            arena, id->n_experts ? id->n_shared + id->n_expert : id->n_params,
            id->n_experts);
    return keys->size_label != NULL;
}

enum status gemma_describe_general(const char *architecture,
                                   const struct gemma_identity *identity,
                                   struct gguf_meta *meta, struct error *err)
{
    struct arena arena = {0};
    struct keys keys = {0};
    struct frontmatter card;
    enum status st = card_read(&arena, identity->folder, &card, err);

    if (st == OK)
        st = set_text(meta, "general.architecture", architecture, err);
    if (st == OK)
        st = set_text(meta, "general.type", "model", err);
    if (st == OK)
        st = describe_sampling(identity->generation, meta, err);
    if (st == OK && !gather(&arena, identity, &card, &keys))
        st = fail(err, ERR_NOMEM, "no memory for the model's names");

    const struct {
        const char *key, *text;
    } texts[] = {
        {"general.name", keys.name},
        {"general.author", keys.author},
        {"general.version", keys.version},
        {"general.organization", keys.organization},
        {"general.finetune", keys.finetune},
        {"general.basename", keys.basename},
        {"general.description", keys.description},
        {"general.size_label", keys.size_label},
    };
    for (size_t i = 0; st == OK && i < sizeof(texts) / sizeof(texts[0]); i++)
        st = set_text(meta, texts[i].key, texts[i].text, err);
    if (st == OK)
        st = card_describe(&card, identity->n_params, meta, err);
    arena_free(&arena);
    return st;
}
