/*
 * safetensors_header.c - from JSON to a list of tensors
 */
#include "formats/safetensors/safetensors_file.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    TENSORS_MOST = 1 << 20,
    NAME_MOST = 4096,
    FIRST_CAPACITY = 64,
    WHERE_BYTES = 320,
};

struct header {
    struct safetensors *st;
    struct json_scanner scanner;
};

/* ---- trouble ---- */

static enum status bad_json(const struct header *head, const char *where,
                            struct error *err)
{
    return fail(err, ERR_CORRUPT, "%s: not JSON: %s at byte position %zu of the header",
                where, head->scanner.why, head->scanner.at);
}

/* An event that is not the one the format wants: the text may also be no JSON at all, which
 * matters more. */
static enum status unexpected(struct header *head, enum json_event event,
                              const char *where, const char *want, struct error *err)
{
    while (event != SCAN_BAD && event != SCAN_END)
        event = json_scan_next(&head->scanner);
    if (event == SCAN_BAD)
        return bad_json(head, where, err);
    return fail(err, ERR_CORRUPT, "%s is not %s", where, want);
}

/* True when the scanner's text is exactly this word (it may hold NULs). */
static bool says(const struct json_scanner *scanner, const char *word)
{
    return scanner->n_text == strlen(word) &&
           memcmp(scanner->text, word, scanner->n_text) == 0;
}

/* A list of `n` things with room for one more; NULL, the list untouched, when memory is out. */
static void *grown(void *list, size_t n, size_t *capacity, size_t size)
{
    size_t more = *capacity ? 2 * *capacity : FIRST_CAPACITY;

    if (n < *capacity)
        return list;
    list = realloc(list, more * size);
    if (list)
        *capacity = more;
    return list;
}

/* ---- one tensor ---- */

/* What one entry says; `has_*` tells which fields were there. */
struct entry {
    const char *name; /* in the arena */
    bool has_dtype, has_shape, has_offsets;
    enum dtype dtype;
    uint64_t rank; /* of which the first TENSOR_MAX_DIMS are kept */
    uint64_t dims[TENSOR_MAX_DIMS];
    uint64_t offsets[2];
};

/* An array of whole numbers: the first `most` go to out, all are counted. */
static enum status read_numbers(struct header *head, const char *where, uint64_t *out,
                                uint64_t most, uint64_t *count, struct error *err)
{
    struct json_scanner *scanner = &head->scanner;
    enum json_event event = json_scan_next(scanner);
    uint64_t n = 0, v;

    if (event != SCAN_ARRAY_BEGIN)
        return unexpected(head, event, where, "an array", err);
    while ((event = json_scan_next(scanner)) == SCAN_NUMBER) {
        if (!json_scan_u64(scanner, &v))
            return fail(err, ERR_CORRUPT, "%s: %s is not a whole number of 64 bits",
                        where, scanner->text);
        if (n < most)
            out[n] = v;
        n++;
    }
    if (event != SCAN_ARRAY_END)
        return unexpected(head, event, where, "an array of numbers", err);
    *count = n;
    return OK;
}

static enum status read_dtype(struct header *head, const char *where, struct entry *entry,
                              struct error *err)
{
    enum json_event event = json_scan_next(&head->scanner);

    if (event != SCAN_STRING)
        return unexpected(head, event, where, "a string", err);
    if (!dtype_from_name(head->scanner.text, &entry->dtype))
        return fail(err, ERR_UNSUPPORTED, "%s: %s is unknown", where, head->scanner.text);
    return OK;
}

static enum status read_offsets(struct header *head, const char *where,
                                struct entry *entry, struct error *err)
{
    uint64_t n = 0;
    enum status st = read_numbers(head, where, entry->offsets, 2, &n, err);

    if (st == OK && n != 2)
        return fail(err, ERR_CORRUPT, "%s: %" PRIu64 " numbers, not 2", where, n);
    return st;
}

/* Read the field whose key the scanner has just given. */
static enum status read_field(struct header *head, struct entry *entry, struct error *err)
{
    const struct json_scanner *scanner = &head->scanner;
    char where[WHERE_BYTES];
    bool *has;

    if (says(scanner, "dtype"))
        has = &entry->has_dtype;
    else if (says(scanner, "shape"))
        has = &entry->has_shape;
    else if (says(scanner, "data_offsets"))
        has = &entry->has_offsets;
    else if (json_scan_skip(&head->scanner))
        return OK;
    else
        return bad_json(head, entry->name, err);

    snprintf(where, sizeof(where), "%.256s: %s", entry->name, scanner->text);
    if (*has)
        return fail(err, ERR_CORRUPT, "%s stands twice", where);
    *has = true;
    if (has == &entry->has_dtype)
        return read_dtype(head, where, entry, err);
    if (has == &entry->has_shape)
        return read_numbers(head, where, entry->dims, TENSOR_MAX_DIMS, &entry->rank, err);
    return read_offsets(head, where, entry, err);
}

static enum status check_entry(const struct entry *entry, struct error *err)
{
    const char *missing = !entry->has_dtype     ? "dtype"
                          : !entry->has_shape   ? "shape"
                          : !entry->has_offsets ? "data_offsets"
                                                : NULL;

    if (missing)
        return fail(err, ERR_CORRUPT, "%s: no %s", entry->name, missing);
    if (entry->rank > TENSOR_MAX_DIMS)
        return fail(err, ERR_UNSUPPORTED, "%s: rank %" PRIu64 " is above %d", entry->name,
                    entry->rank, TENSOR_MAX_DIMS);
    if (entry->offsets[1] < entry->offsets[0])
        return fail(err, ERR_CORRUPT,
                    "%s: data_offsets end at %" PRIu64 ", before they begin at %" PRIu64,
                    entry->name, entry->offsets[1], entry->offsets[0]);
    return OK;
}

static enum status add_tensor(struct safetensors *st, const struct entry *entry,
                              struct error *err)
{
    struct tensor t = {
        .name = entry->name,
        .dtype = entry->dtype,
        .n_dims = (int)entry->rank,
        .offset = entry->offsets[0],
        .n_bytes = entry->offsets[1],
    };
    struct tensor *list;

    if (name_index_find(&st->index, t.name) >= 0)
        return fail(err, ERR_CORRUPT, "%s: duplicate tensor name", t.name);
    if (st->n_tensors >= TENSORS_MOST)
        return fail(err, ERR_UNSUPPORTED, "more than %d tensors", TENSORS_MOST);
    list = grown(st->tensors, st->n_tensors, &st->capacity, sizeof(t));
    if (list)
        st->tensors = list;
    if (!list || !name_index_add(&st->index, t.name, st->n_tensors))
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    memcpy(t.dims, entry->dims, sizeof(t.dims));
    st->tensors[st->n_tensors++] = t;
    return OK;
}

/* The name in the scanner, copied to the arena. */
static enum status take_name(struct header *head, const char **out, struct error *err)
{
    const struct json_scanner *scanner = &head->scanner;
    const char *name;

    if (memchr(scanner->text, '\0', scanner->n_text))
        return fail(err, ERR_CORRUPT, "a tensor name holds a NUL after \"%s\"",
                    scanner->text);
    if (scanner->n_text > NAME_MOST)
        return fail(err, ERR_UNSUPPORTED, "a tensor name of %zu bytes, above %d",
                    scanner->n_text, NAME_MOST);
    name = arena_strndup(&head->st->arena, scanner->text, scanner->n_text);
    if (!name)
        return fail(err, ERR_NOMEM, "no memory for tensor names");
    *out = name;
    return OK;
}

static enum status read_tensor(struct header *head, struct error *err)
{
    struct entry entry = {0};
    enum json_event event;
    enum status st = take_name(head, &entry.name, err);

    if (st != OK)
        return st;
    event = json_scan_next(&head->scanner);
    if (event != SCAN_OBJECT_BEGIN)
        return unexpected(head, event, entry.name, "an object", err);
    while ((event = json_scan_next(&head->scanner)) == SCAN_KEY) {
        st = read_field(head, &entry, err);
        if (st != OK)
            return st;
    }
    if (event != SCAN_OBJECT_END)
        return bad_json(head, entry.name, err);
    st = check_entry(&entry, err);
    return st == OK ? add_tensor(head->st, &entry, err) : st;
}

/* ---- __metadata__ ---- */

/* The key is in the scanner, its value comes next. */
static enum status read_pair(struct header *head, struct error *err)
{
    struct safetensors *st = head->st;
    struct json_scanner *scanner = &head->scanner;
    const char *key = arena_strndup(&st->arena, scanner->text, scanner->n_text);
    enum json_event event = json_scan_next(scanner);
    struct metadata_pair *list;
    const char *value;

    if (event != SCAN_STRING)
        return unexpected(head, event, "a value in __metadata__", "a string", err);
    value = arena_strndup(&st->arena, scanner->text, scanner->n_text);
    if (key && name_index_find(&st->pair_index, key) >= 0)
        return fail(err, ERR_CORRUPT, "__metadata__: %s stands twice", key);
    list = grown(st->pairs, st->n_pairs, &st->pairs_capacity, sizeof(*list));
    if (list)
        st->pairs = list;
    if (!key || !value || !list || !name_index_add(&st->pair_index, key, st->n_pairs))
        return fail(err, ERR_NOMEM, "no memory for __metadata__");
    st->pairs[st->n_pairs++] = (struct metadata_pair){key, value};
    return OK;
}

static enum status read_metadata(struct header *head, struct error *err)
{
    enum json_event event;

    if (head->st->has_metadata)
        return fail(err, ERR_CORRUPT, "__metadata__ stands twice");
    head->st->has_metadata = true;
    event = json_scan_next(&head->scanner);
    if (event ==
        SCAN_NULL) /* MLX writes so when there is none; the reference reader takes it */
        return OK;
    if (event != SCAN_OBJECT_BEGIN)
        return unexpected(head, event, "__metadata__", "an object", err);
    while ((event = json_scan_next(&head->scanner)) == SCAN_KEY) {
        enum status st = read_pair(head, err);

        if (st != OK)
            return st;
    }
    return event == SCAN_OBJECT_END ? OK : bad_json(head, "__metadata__", err);
}

/* ---- the whole ---- */

static enum status read_object(struct header *head, struct error *err)
{
    enum json_event event = json_scan_next(&head->scanner);

    if (event != SCAN_OBJECT_BEGIN)
        return unexpected(head, event, "header", "an object", err);
    while ((event = json_scan_next(&head->scanner)) == SCAN_KEY) {
        bool is_metadata = says(&head->scanner, "__metadata__");
        enum status st = is_metadata ? read_metadata(head, err) : read_tensor(head, err);

        if (st != OK)
            return st;
    }
    if (event != SCAN_OBJECT_END || json_scan_next(&head->scanner) != SCAN_END)
        return bad_json(head, "header", err);
    return OK;
}

enum status safetensors_read_json(struct safetensors *st, const char *json, size_t n,
                                  struct error *err)
{
    struct header head = {.st = st};
    enum status status;

    json_scan_begin(&head.scanner, json, n);
    status = read_object(&head, err);
    json_scan_end(&head.scanner);
    return status;
}
