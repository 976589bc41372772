/*
 * gguf_meta.c - an ordered set of typed values: made, changed, copied
 */
#include "formats/gguf/gguf_meta.h"

#include <stdlib.h>

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

const char *gguf_type_name(enum gguf_type type)
{
    return (unsigned)type < N_TYPES ? types[type].name : "unknown type";
}

size_t gguf_type_bytes(enum gguf_type type)
{
    return (unsigned)type < N_TYPES ? types[type].bytes : 0;
}

/* ---- entries ---- */

void gguf_entry_describe(struct gguf_entry *entry, bool is_array, enum gguf_type element,
                         uint64_t count)
{
    bool is_text = element == GGUF_STRING;

    entry->value = (struct gguf_value){
        .key = entry->key,
        .type = is_array ? GGUF_ARRAY : element,
        .element = element,
        .count = count,
        .data = is_text ? NULL : entry->bytes,
        .text = is_text ? entry->bytes : NULL,
        .ends = entry->ends,
    };
}

void gguf_entry_free(struct gguf_entry *entry)
{
    if (!entry)
        return;
    free(entry->key);
    free(entry->bytes);
    free(entry->ends);
    free(entry);
}

/* An entry with its key and room for n_bytes and n_ends; NULL when memory is out. */
static struct gguf_entry *entry_new(const char *key, size_t n_bytes, size_t n_ends)
{
    struct gguf_entry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    entry->key = strdup(key);
    entry->bytes = malloc(n_bytes ? n_bytes : 1);
    entry->ends = n_ends ? calloc(n_ends, sizeof(*entry->ends)) : NULL;
    if (!entry->key || !entry->bytes || (n_ends && !entry->ends)) {
        gguf_entry_free(entry);
        return NULL;
    }
    return entry;
}

static enum status no_memory(const char *key, struct error *err)
{
    return fail(err, ERR_NOMEM, "%s: no memory for its value", key);
}

/* ---- the set ---- */

struct gguf_meta *gguf_meta_new(void)
{
    return calloc(1, sizeof(struct gguf_meta));
}

void gguf_meta_free(struct gguf_meta *meta)
{
    if (!meta)
        return;
    for (size_t i = 0; i < meta->n_entries; i++)
        gguf_entry_free(meta->entries[i]);
    free(meta->entries);
    name_index_free(&meta->index);
    free(meta);
}

static bool reserve_one(struct gguf_meta *meta)
{
    size_t capacity = meta->capacity ? 2 * meta->capacity : 32;
    struct gguf_entry **entries;

    if (meta->n_entries < meta->capacity)
        return true;
    entries = realloc(meta->entries, capacity * sizeof(struct gguf_entry *));
    if (!entries)
        return false;
    meta->entries = entries;
    meta->capacity = capacity;
    return true;
}

/* Names in the index belong to the entries, so it is filled anew when an entry goes. */
static void reindex(struct gguf_meta *meta)
{
    name_index_clear(&meta->index);
    for (size_t i = 0; i < meta->n_entries; i++) {
        bool fits = name_index_add(&meta->index, meta->entries[i]->key, i);

        assert(fits && "the index had room for as many before");
        (void)fits;
    }
}

enum status gguf_meta_take(struct gguf_meta *meta, struct gguf_entry *entry,
                           struct error *err)
{
    int64_t at = name_index_find(&meta->index, entry->key);

    if (at >= 0) {
        gguf_entry_free(meta->entries[at]);
        meta->entries[at] = entry;
        reindex(meta);
        return OK;
    }
    if (!reserve_one(meta) ||
        !name_index_add(&meta->index, entry->key, meta->n_entries)) {
        enum status st = no_memory(entry->key, err);

        gguf_entry_free(entry);
        return st;
    }
    meta->entries[meta->n_entries++] = entry;
    return OK;
}

void gguf_unset(struct gguf_meta *meta, const char *key)
{
    int64_t at = name_index_find(&meta->index, key);
    size_t after;

    if (at < 0)
        return;
    gguf_entry_free(meta->entries[at]);
    after = meta->n_entries - (size_t)at - 1;
    memmove(meta->entries + at, meta->entries + at + 1,
            after * sizeof(struct gguf_entry *));
    meta->n_entries--;
    reindex(meta);
}

size_t gguf_meta_count(const struct gguf_meta *meta)
{
    return meta->n_entries;
}

const struct gguf_value *gguf_meta_at(const struct gguf_meta *meta, size_t i)
{
    return &meta->entries[i]->value;
}

const struct gguf_value *gguf_meta_find(const struct gguf_meta *meta, const char *key)
{
    int64_t at = name_index_find(&meta->index, key);

    return at < 0 ? NULL : &meta->entries[at]->value;
}

/* ---- setting ---- */

static enum status set_packed(struct gguf_meta *meta, const char *key, bool is_array,
                              enum gguf_type element, const void *data, uint64_t count,
                              struct error *err)
{
    struct gguf_entry *entry = NULL;
    size_t n;

    assert(gguf_type_bytes(element) > 0);
    if (mul_size((size_t)count, gguf_type_bytes(element), &n))
        entry = entry_new(key, n, 0);
    if (!entry)
        return no_memory(key, err);
    if (n > 0)
        memcpy(entry->bytes, data, n);
    gguf_entry_describe(entry, is_array, element, count);
    return gguf_meta_take(meta, entry, err);
}

static enum status set_texts(struct gguf_meta *meta, const char *key, bool is_array,
                             const struct gguf_str *strings, uint64_t count,
                             struct error *err)
{
    struct gguf_entry *entry;
    size_t n_bytes = 0;
    char *text;

    for (uint64_t i = 0; i < count; i++)
        n_bytes += strings[i].n + 1;
    entry = entry_new(key, n_bytes, (size_t)count);
    if (!entry)
        return no_memory(key, err);
    text = entry->bytes;
    for (uint64_t i = 0, at = 0; i < count; i++, at++) {
        if (strings[i].n > 0)
            memcpy(text + at, strings[i].text, strings[i].n);
        at += strings[i].n;
        text[at] = '\0';
        entry->ends[i] = at;
    }
    gguf_entry_describe(entry, is_array, GGUF_STRING, count);
    return gguf_meta_take(meta, entry, err);
}

enum status gguf_set_str(struct gguf_meta *meta, const char *key, const char *text,
                         size_t n, struct error *err)
{
    struct gguf_str one = {text, n};

    return set_texts(meta, key, false, &one, 1, err);
}

enum status gguf_set_u16(struct gguf_meta *meta, const char *key, uint16_t v,
                         struct error *err)
{
    return set_packed(meta, key, false, GGUF_U16, &v, 1, err);
}

enum status gguf_set_u32(struct gguf_meta *meta, const char *key, uint32_t v,
                         struct error *err)
{
    return set_packed(meta, key, false, GGUF_U32, &v, 1, err);
}

enum status gguf_set_i32(struct gguf_meta *meta, const char *key, int32_t v,
                         struct error *err)
{
    return set_packed(meta, key, false, GGUF_I32, &v, 1, err);
}

enum status gguf_set_u64(struct gguf_meta *meta, const char *key, uint64_t v,
                         struct error *err)
{
    return set_packed(meta, key, false, GGUF_U64, &v, 1, err);
}

enum status gguf_set_f32(struct gguf_meta *meta, const char *key, float v,
                         struct error *err)
{
    return set_packed(meta, key, false, GGUF_F32, &v, 1, err);
}

enum status gguf_set_bool(struct gguf_meta *meta, const char *key, bool v,
                          struct error *err)
{
    uint8_t byte = v;

    return set_packed(meta, key, false, GGUF_BOOL, &byte, 1, err);
}

enum status gguf_set_array(struct gguf_meta *meta, const char *key,
                           enum gguf_type element, const void *data, uint64_t count,
                           struct error *err)
{
    return set_packed(meta, key, true, element, data, count, err);
}

enum status gguf_set_strings(struct gguf_meta *meta, const char *key,
                             const struct gguf_str *strings, uint64_t count,
                             struct error *err)
{
    return set_texts(meta, key, true, strings, count, err);
}

enum status gguf_set_texts(struct gguf_meta *meta, const char *key,
                           const char *const *texts, size_t count, struct error *err)
{
    struct gguf_str *strings = calloc(count + 1, sizeof(*strings));
    enum status st;

    if (!strings)
        return no_memory(key, err);
    for (size_t i = 0; i < count; i++)
        strings[i] = (struct gguf_str){texts[i], strlen(texts[i])};
    st = gguf_set_strings(meta, key, strings, count, err);
    free(strings);
    return st;
}

/* ---- copying ---- */

static enum status copy_texts(struct gguf_meta *meta, const struct gguf_value *value,
                              struct error *err)
{
    size_t n = value->count ? (size_t)value->ends[value->count - 1] + 1 : 0;
    struct gguf_entry *entry = entry_new(value->key, n, (size_t)value->count);

    if (!entry)
        return no_memory(value->key, err);
    if (value->count > 0) {
        memcpy(entry->bytes, value->text, n);
        memcpy(entry->ends, value->ends, (size_t)value->count * sizeof(*value->ends));
    }
    gguf_entry_describe(entry, value->type == GGUF_ARRAY, GGUF_STRING, value->count);
    return gguf_meta_take(meta, entry, err);
}

enum status gguf_set_value(struct gguf_meta *meta, const struct gguf_value *value,
                           struct error *err)
{
    if (value->element == GGUF_STRING)
        return copy_texts(meta, value, err);
    return set_packed(meta, value->key, value->type == GGUF_ARRAY, value->element,
                      value->data, value->count, err);
}

struct gguf_meta *gguf_meta_copy(const struct gguf_meta *meta)
{
    struct gguf_meta *copy = gguf_meta_new();
    struct error err;

    for (size_t i = 0; copy && i < meta->n_entries; i++) {
        if (gguf_set_value(copy, &meta->entries[i]->value, &err) != OK) {
            gguf_meta_free(copy);
            return NULL;
        }
    }
    return copy;
}
