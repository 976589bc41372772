/*
 * gguf_keys.c - read one key and its value
 */
#include "formats/gguf/gguf_file.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    KEY_MOST = 65535,       /* the specification's limit */
    VALUE_MOST = 256 << 20, /* ours: fifty times the largest vocabulary */
    TEXT_FIRST = 4 << 10,   /* first size of a growing text */
    STRING_LEAST = 8,       /* bytes of an empty string in the file */
};

const char *gguf_text_trouble(const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length(text + i, n - i);

        if (length == 0)
            return "is not UTF-8";
        if (text[i] == '\0')
            return "holds a NUL";
        i += length;
    }
    return NULL;
}

/* A u64 length and as many bytes; *text is owned by the caller, NUL-terminated. */
static enum status read_string(struct gguf_source *src, uint64_t most, char **text,
                               size_t *n, struct error *err)
{
    uint64_t length = 0;
    char *bytes;
    enum status st = gguf_source_u64(src, &length, err);

    if (st != OK)
        return st;
    if (length > gguf_source_left(src))
        return fail(err, ERR_CORRUPT,
                    "length %" PRIu64 ", but %" PRIu64 " bytes are left", length,
                    gguf_source_left(src));
    if (length > most)
        return fail(err, ERR_UNSUPPORTED, "length %" PRIu64 " is above %" PRIu64, length,
                    most);
    bytes = malloc((size_t)length + 1);
    if (!bytes)
        return fail(err, ERR_NOMEM, "no memory for %" PRIu64 " bytes", length);
    bytes[length] = '\0';
    st = gguf_source_take(src, bytes, (size_t)length, err);
    if (st != OK) {
        free(bytes);
        return st;
    }
    *text = bytes;
    *n = (size_t)length;
    return OK;
}

static enum status read_key(struct gguf_source *src, uint64_t no,
                            struct gguf_entry *entry, struct error *err)
{
    const char *trouble;
    char where[40];
    size_t n = 0;

    snprintf(where, sizeof(where), "key %" PRIu64, no);
    if (read_string(src, KEY_MOST, &entry->key, &n, err) != OK)
        return fail_at(err, where);
    trouble = gguf_text_trouble(entry->key, n);
    if (n == 0)
        return fail(err, ERR_CORRUPT, "key %" PRIu64 " is empty", no);
    if (trouble)
        return fail(err, ERR_CORRUPT, "key %" PRIu64 " %s", no, trouble);
    return OK;
}

static enum status read_single_string(struct gguf_source *src, struct gguf_entry *entry,
                                      struct error *err)
{
    const char *trouble;
    char *text = NULL;
    size_t n = 0;
    enum status st = read_string(src, VALUE_MOST, &text, &n, err);

    if (st != OK)
        return st;
    entry->bytes = text;
    entry->ends = malloc(sizeof(*entry->ends));
    if (!entry->ends)
        return fail(err, ERR_NOMEM, "no memory for a string");
    entry->ends[0] = n;
    trouble = gguf_text_trouble(text, n);
    if (trouble)
        return fail(err, ERR_CORRUPT, "the string %s", trouble);
    gguf_entry_describe(entry, false, GGUF_STRING, 1);
    return OK;
}

/* Append the next string and a NUL to *text, which holds *used of *size bytes. */
static enum status append_string(struct gguf_source *src, char **text, size_t *used,
                                 size_t *size, struct error *err)
{
    uint64_t length = 0;
    enum status st = gguf_source_u64(src, &length, err);

    if (st != OK)
        return st;
    if (length > gguf_source_left(src))
        return fail(err, ERR_CORRUPT,
                    "length %" PRIu64 ", but %" PRIu64 " bytes are left", length,
                    gguf_source_left(src));
    if (length + *used >= VALUE_MOST)
        return fail(err, ERR_UNSUPPORTED, "strings of more than %d bytes", VALUE_MOST);
    if (*used + length + 1 > *size) {
        size_t more = 2 * (*used + (size_t)length + 1);
        char *bigger = realloc(*text, more);

        if (!bigger)
            return fail(err, ERR_NOMEM, "no memory for strings");
        *text = bigger;
        *size = more;
    }
    st = gguf_source_take(src, *text + *used, (size_t)length, err);
    if (st != OK)
        return st;
    *used += (size_t)length;
    (*text)[(*used)++] = '\0';
    return OK;
}

static enum status read_string_array(struct gguf_source *src, struct gguf_entry *entry,
                                     uint64_t count, struct error *err)
{
    size_t used = 0, size = TEXT_FIRST;
    char *text = malloc(TEXT_FIRST);
    enum status st = OK;

    entry->ends = malloc(count ? (size_t)count * sizeof(*entry->ends) : 1);
    if (!text || !entry->ends)
        st = fail(err, ERR_NOMEM, "no memory for %" PRIu64 " strings", count);
    for (uint64_t i = 0; st == OK && i < count; i++) {
        char where[40];

        st = append_string(src, &text, &used, &size, err);
        if (st != OK) {
            snprintf(where, sizeof(where), "string %" PRIu64, i);
            fail_at(err, where);
            break;
        }
        entry->ends[i] = used - 1;
    }
    entry->bytes = text;
    gguf_entry_describe(entry, true, GGUF_STRING, count);
    return st;
}

/* `count` elements of a fixed width. */
static enum status read_packed(struct gguf_source *src, struct gguf_entry *entry,
                               bool is_array, enum gguf_type element, uint64_t count,
                               struct error *err)
{
    size_t n = (size_t)count * gguf_type_bytes(element);
    const uint8_t *bytes;
    enum status st;

    entry->bytes = malloc(n ? n : 1);
    if (!entry->bytes)
        return fail(err, ERR_NOMEM, "no memory for %zu bytes", n);
    st = gguf_source_take(src, entry->bytes, n, err);
    if (st != OK)
        return st;
    bytes = entry->bytes;
    for (size_t i = 0; element == GGUF_BOOL && i < n; i++)
        if (bytes[i] > 1)
            return fail(err, ERR_CORRUPT, "a bool is %d, not 0 or 1", bytes[i]);
    gguf_entry_describe(entry, is_array, element, count);
    return OK;
}

static enum status read_array(struct gguf_source *src, struct gguf_entry *entry,
                              struct error *err)
{
    uint32_t element = 0;
    uint64_t count = 0;
    size_t least;
    enum status st = gguf_source_u32(src, &element, err);

    if (st == OK)
        st = gguf_source_u64(src, &count, err);
    if (st != OK)
        return st;
    if (element == GGUF_ARRAY)
        return fail(err, ERR_UNSUPPORTED, "an array of arrays");
    least =
        element == GGUF_STRING ? STRING_LEAST : gguf_type_bytes((enum gguf_type)element);
    if (least == 0)
        return fail(err, ERR_CORRUPT, "elements of type %" PRIu32, element);
    if (count > gguf_source_left(src) / least)
        return fail(err, ERR_CORRUPT,
                    "an array of %" PRIu64 " elements, but %" PRIu64 " bytes are left",
                    count, gguf_source_left(src));
    if (count > VALUE_MOST / least)
        return fail(err, ERR_UNSUPPORTED, "an array of %" PRIu64 " elements", count);
    if (element == GGUF_STRING)
        return read_string_array(src, entry, count, err);
    return read_packed(src, entry, true, (enum gguf_type)element, count, err);
}

static enum status read_value(struct gguf_source *src, struct gguf_entry *entry,
                              struct error *err)
{
    uint32_t type = 0;
    enum status st = gguf_source_u32(src, &type, err);

    if (st != OK)
        return st;
    if (type == GGUF_ARRAY)
        return read_array(src, entry, err);
    if (type == GGUF_STRING)
        return read_single_string(src, entry, err);
    if (gguf_type_bytes((enum gguf_type)type) == 0)
        return fail(err, ERR_CORRUPT, "a value of type %" PRIu32, type);
    return read_packed(src, entry, false, (enum gguf_type)type, 1, err);
}

enum status gguf_read_entry(struct gguf_source *src, uint64_t no, struct gguf_entry **out,
                            struct error *err)
{
    struct gguf_entry *entry = calloc(1, sizeof(*entry));
    enum status st;

    if (!entry)
        return fail(err, ERR_NOMEM, "no memory for metadata");
    st = read_key(src, no, entry, err);
    if (st == OK) {
        st = read_value(src, entry, err);
        if (st != OK)
            fail_at(err, entry->key);
    }
    if (st == OK)
        *out = entry;
    else
        gguf_entry_free(entry);
    return st;
}
