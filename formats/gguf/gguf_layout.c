/*
 * gguf_layout.c - write a header, which says where every byte of the file goes
 */
#include "formats/gguf/gguf_file.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_MOST = 63, KEY_MOST = 65535, FIXED_BYTES = 24, VERSION = 3 };

/* ---- measuring ---- */

static uint64_t value_bytes(const struct gguf_value *value)
{
    uint64_t n = 4; /* the type */

    if (value->type == GGUF_ARRAY)
        n += 4 + 8; /* the elements' type and how many */
    if (value->element != GGUF_STRING)
        return n + value->count * gguf_type_bytes(value->element);
    /* A length before each text instead of the NUL behind it. */
    return n + (value->count ? value->ends[value->count - 1] + 1 + value->count * 7 : 0);
}

static uint64_t header_bytes(const struct gguf_meta *meta,
                             const struct gguf_tensor *tensors, size_t n_tensors)
{
    uint64_t n = FIXED_BYTES;

    for (size_t i = 0; i < meta->n_entries; i++)
        n += 8 + strlen(meta->entries[i]->key) + value_bytes(&meta->entries[i]->value);
    for (size_t i = 0; i < n_tensors; i++)
        n += 8 + strlen(tensors[i].name) + 4 + 8 * (uint64_t)tensors[i].n_dims + 4 + 8;
    return n;
}

/* Set the tensor's n_bytes from its type and shape. */
static enum status measure(struct gguf_tensor *t, struct error *err)
{
    const struct block_info *info = block_type_info(t->type);
    uint64_t n = 1;

    if (strlen(t->name) > NAME_MOST || t->name[0] == '\0')
        return fail(err, ERR_SHAPE, "%s: a name of %zu bytes; GGUF takes 1 to %d",
                    t->name, strlen(t->name), NAME_MOST);
    assert(info && t->n_dims >= 0 && t->n_dims <= 4);
    for (int i = 0; i < 4; i++) {
        if (i >= t->n_dims)
            t->ne[i] = 1;
        if (t->ne[i] == 0 || !mul_u64(n, t->ne[i], &n) || n > INT64_MAX)
            return fail(err, ERR_SHAPE, "%s: dimension %d is %" PRIu64, t->name, i,
                        t->ne[i]);
    }
    if (t->ne[0] % info->weights != 0)
        return fail(err, ERR_SHAPE,
                    "%s: rows of %" PRIu64 " are not whole %s blocks of %u", t->name,
                    t->ne[0], info->name, info->weights);
    if (!mul_u64(n / info->weights, info->bytes, &t->n_bytes) || t->n_bytes > INT64_MAX)
        return fail(err, ERR_SHAPE, "%s: overflow in the number of bytes", t->name);
    return OK;
}

static enum status check_unique(const struct gguf_tensor *tensors, size_t n_tensors,
                                struct error *err)
{
    struct name_index index = {0};
    enum status st = OK;

    for (size_t i = 0; i < n_tensors && st == OK; i++) {
        if (name_index_find(&index, tensors[i].name) >= 0)
            st = fail(err, ERR_SHAPE, "%s: the tensor stands twice", tensors[i].name);
        else if (!name_index_add(&index, tensors[i].name, i))
            st = fail(err, ERR_NOMEM, "no memory for %zu tensors", n_tensors);
    }
    name_index_free(&index);
    return st;
}

/* What gguf_open() would say of keys and single strings. */
static enum status check_texts(const struct gguf_meta *meta, struct error *err)
{
    for (size_t i = 0; i < meta->n_entries; i++) {
        const struct gguf_value *value = &meta->entries[i]->value;
        const size_t n_key = strlen(value->key);
        const char *trouble = gguf_text_trouble(value->key, n_key);

        if (trouble || n_key == 0 || n_key > KEY_MOST)
            return fail(err, ERR_USAGE, "the key \"%.100s\" %s", value->key,
                        trouble ? trouble : "is empty or too long");
        if (value->type != GGUF_STRING)
            continue;
        const struct gguf_str text = gguf_value_str(value, 0);

        trouble = gguf_text_trouble(text.text, text.n);
        if (trouble)
            return fail(err, ERR_USAGE, "%.100s: the string %s", value->key, trouble);
    }
    return OK;
}

/* ---- writing: each returns where the next byte goes ---- */

static uint8_t *put_u32(uint8_t *p, uint32_t v)
{
    store_u32(p, v);
    return p + 4;
}

static uint8_t *put_u64(uint8_t *p, uint64_t v)
{
    store_u64(p, v);
    return p + 8;
}

static uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t n)
{
    if (n > 0)
        memcpy(p, bytes, n);
    return p + n;
}

static uint8_t *put_string(uint8_t *p, const char *text, size_t n)
{
    return put_bytes(put_u64(p, n), text, n);
}

static uint8_t *put_value(uint8_t *p, const struct gguf_value *value)
{
    p = put_u32(p, value->type);
    if (value->type == GGUF_ARRAY)
        p = put_u64(put_u32(p, value->element), value->count);
    if (value->element != GGUF_STRING)
        return put_bytes(p, value->data,
                         (size_t)value->count * gguf_type_bytes(value->element));
    for (uint64_t i = 0; i < value->count; i++) {
        struct gguf_str s = gguf_value_str(value, i);

        p = put_string(p, s.text, s.n);
    }
    return p;
}

static uint8_t *put_tensor(uint8_t *p, const struct gguf_tensor *t, uint64_t data_start)
{
    p = put_string(p, t->name, strlen(t->name));
    p = put_u32(p, (uint32_t)t->n_dims);
    for (int i = 0; i < t->n_dims; i++)
        p = put_u64(p, t->ne[i]);
    return put_u64(put_u32(p, t->type), t->offset - data_start);
}

/* Give every tensor its place from data_start on; *end is that of the last one's padding. */
static enum status place(struct gguf_tensor *tensors, size_t n_tensors,
                         uint64_t data_start, uint32_t alignment, uint64_t *end,
                         struct error *err)
{
    uint64_t at = data_start;

    for (size_t i = 0; i < n_tensors; i++) {
        tensors[i].offset = at;
        if (!add_u64(at, tensors[i].n_bytes, &at) || at > INT64_MAX)
            return fail(err, ERR_SHAPE, "%s: ends beyond any file", tensors[i].name);
        at = round_up_u64(at, alignment);
    }
    *end = at;
    return OK;
}

enum status gguf_layout(const struct gguf_meta *meta, struct gguf_tensor *tensors,
                        size_t n_tensors, uint32_t alignment, uint8_t **header,
                        size_t *n_header, uint64_t *file_bytes, struct error *err)
{
    uint64_t data_start;
    uint8_t *bytes, *p;
    enum status st = check_unique(tensors, n_tensors, err);

    if (st == OK)
        st = check_texts(meta, err);
    assert(alignment > 0 && (alignment & (alignment - 1)) == 0);
    for (size_t i = 0; i < n_tensors && st == OK; i++)
        st = measure(&tensors[i], err);
    if (st != OK)
        return st;
    data_start = round_up_u64(header_bytes(meta, tensors, n_tensors), alignment);
    st = place(tensors, n_tensors, data_start, alignment, file_bytes, err);
    if (st != OK)
        return st;
    bytes = calloc((size_t)data_start, 1);
    if (!bytes)
        return fail(err, ERR_NOMEM, "no memory for a header of %" PRIu64 " bytes",
                    data_start);
    p = put_u32(put_bytes(bytes, "GGUF", 4), VERSION);
    p = put_u64(put_u64(p, n_tensors), meta->n_entries);
    for (size_t i = 0; i < meta->n_entries; i++) {
        p = put_string(p, meta->entries[i]->key, strlen(meta->entries[i]->key));
        p = put_value(p, &meta->entries[i]->value);
    }
    for (size_t i = 0; i < n_tensors; i++)
        p = put_tensor(p, &tensors[i], data_start);
    assert((uint64_t)(p - bytes) <= data_start);
    *header = bytes;
    *n_header = (size_t)data_start;
    return OK;
}

/* ---- names of shards ---- */

/* Bytes of `path` before "-NNNNN-of-NNNNN.gguf" or ".gguf", or all of them. */
static size_t stem_length(const char *path)
{
    static const char pattern[] = "-00000-of-00000"; /* 0 stands for any digit */
    const size_t n_pattern = sizeof(pattern) - 1;
    size_t n = strlen(path);
    const char *tail;

    if (n >= 5 && strcmp(path + n - 5, ".gguf") == 0)
        n -= 5;
    if (n < n_pattern)
        return n;
    tail = path + n - n_pattern;
    for (size_t i = 0; i < n_pattern; i++) {
        bool fits = pattern[i] == '0' ? isdigit((unsigned char)tail[i]) != 0
                                      : tail[i] == pattern[i];
        if (!fits)
            return n;
    }
    return n - n_pattern;
}

char *gguf_shard_path(const char *path, unsigned no, unsigned count)
{
    size_t stem = stem_length(path);
    size_t size = stem + sizeof("-4294967295-of-4294967295.gguf");
    char *shard = malloc(size);

    if (shard)
        snprintf(shard, size, "%.*s-%05u-of-%05u.gguf", (int)stem, path, no + 1, count);
    return shard;
}
