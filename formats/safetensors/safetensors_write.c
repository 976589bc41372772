/*
 * safetensors_write.c - write a small file: header, padding, tensors in the order given
 */
#include "formats/safetensors/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>

enum { LENGTH_BYTES = 8, DATA_ALIGNMENT = 8 };

/* Text that grows; once memory is out it stays so. */
struct text {
    char *bytes; /* owned */
    size_t n, size;
    bool is_out;
};

static void put(struct text *text, const char *bytes, size_t n)
{
    if (text->is_out)
        return;
    if (text->n + n > text->size) {
        size_t size = 2 * (text->n + n);
        char *bigger = realloc(text->bytes, size);

        text->is_out = bigger == NULL;
        if (!bigger)
            return;
        text->bytes = bigger;
        text->size = size;
    }
    memcpy(text->bytes + text->n, bytes, n);
    text->n += n;
}

static void put_word(struct text *text, const char *word)
{
    put(text, word, strlen(word));
}

static void put_number(struct text *text, uint64_t v)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%" PRIu64, v);

    put(text, digits, (size_t)n);
}

/* A JSON string; bytes that are not UTF-8 are the caller's mistake and are kept. */
static void put_quoted(struct text *text, const char *s)
{
    char escape[8];

    put_word(text, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') {
            snprintf(escape, sizeof(escape), "\\%c", *s);
            put_word(text, escape);
        } else if ((unsigned char)*s < 0x20) {
            snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)(unsigned char)*s);
            put_word(text, escape);
        } else {
            put(text, s, 1);
        }
    }
    put_word(text, "\"");
}

static void put_metadata(struct text *text, const char *const *metadata)
{
    put_word(text, "\"__metadata__\":{");
    for (size_t i = 0; metadata[i]; i += 2) {
        put_word(text, i ? "," : "");
        put_quoted(text, metadata[i]);
        put_word(text, ":");
        put_quoted(text, metadata[i + 1]);
    }
    put_word(text, "}");
}

static void put_item(struct text *text, const struct safetensors_item *item,
                     uint64_t begin, uint64_t end)
{
    put_quoted(text, item->name);
    put_word(text, ":{\"dtype\":");
    put_quoted(text, dtype_name(item->dtype));
    put_word(text, ",\"shape\":[");
    for (int i = 0; i < item->n_dims; i++) {
        put_word(text, i ? "," : "");
        put_number(text, item->dims[i]);
    }
    put_word(text, "],\"data_offsets\":[");
    put_number(text, begin);
    put_word(text, ",");
    put_number(text, end);
    put_word(text, "]}");
}

/* The header, padded with spaces so that the data begins aligned. */
static enum status make_header(const struct safetensors_item *items, size_t n_items,
                               const char *const *metadata, struct text *text,
                               struct error *err)
{
    uint64_t at = 0;

    put_word(text, "{");
    if (metadata)
        put_metadata(text, metadata);
    for (size_t i = 0; i < n_items; i++) {
        uint64_t n_bytes = 0, end;

        if (tensor_measure(items[i].dtype, items[i].dims, items[i].n_dims, &n_bytes,
                           err) != OK)
            return fail_at(err, items[i].name);
        if (!add_u64(at, n_bytes, &end))
            return fail(err, ERR_USAGE, "%s: ends beyond any file", items[i].name);
        put_word(text, i || metadata ? "," : "");
        put_item(text, &items[i], at, end);
        at = end;
    }
    put_word(text, "}");
    while (text->n % DATA_ALIGNMENT != 0 && !text->is_out)
        put_word(text, " ");
    return text->is_out ? fail(err, ERR_NOMEM, "no memory for the header") : OK;
}

static enum status write_all(struct output *dst, const struct text *header,
                             const struct safetensors_item *items, size_t n_items,
                             uint64_t *end, struct error *err)
{
    uint8_t length[LENGTH_BYTES];
    uint64_t at = LENGTH_BYTES + header->n;
    enum status st;

    store_u64(length, header->n);
    st = output_write(dst, 0, length, sizeof(length), err);
    if (st == OK)
        st = output_write(dst, LENGTH_BYTES, header->bytes, header->n, err);
    for (size_t i = 0; i < n_items && st == OK; i++) {
        uint64_t n_bytes = 0;

        st =
            tensor_measure(items[i].dtype, items[i].dims, items[i].n_dims, &n_bytes, err);
        if (st == OK)
            st = output_write(dst, at, items[i].data, (size_t)n_bytes, err);
        at += n_bytes;
    }
    *end = at;
    return st;
}

enum status safetensors_write(const char *path, const struct safetensors_item *items,
                              size_t n_items, const char *const *metadata, bool force,
                              struct error *err)
{
    const struct output_options options = {.force = force};
    struct output *dst = NULL;
    struct text header = {0};
    uint64_t end = 0;
    enum status st = make_header(items, n_items, metadata, &header, err);

    if (st != OK) {
        fail_at(err, path);
        goto out;
    }
    st = output_open(path, &options, &dst, err);
    if (st != OK)
        goto out;
    st = write_all(dst, &header, items, n_items, &end, err);
    if (st == OK) {
        st = output_commit(dst, end, err);
        dst = NULL;
    }

out:
    output_discard(dst);
    free(header.bytes);
    return st;
}
