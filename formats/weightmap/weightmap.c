/*
 * weightmap.c - read the map from tensors to files
 */
#include "formats/weightmap/weightmap.h"

#include <stdlib.h>

enum { FILE_MOST = 256 << 20, FIRST_CAPACITY = 64 };

static enum status bad_json(const struct json_scanner *scanner, struct error *err)
{
    return fail(err, ERR_CORRUPT, "not JSON: %s at byte position %zu", scanner->why,
                scanner->at);
}

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

/* A name that can only mean a file in this very folder. */
static enum status check_plain(const char *name, size_t n, struct error *err)
{
    if (memchr(name, '\0', n))
        return fail(err, ERR_CORRUPT, "a shard name holds a NUL after \"%s\"", name);
    if (n == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return fail(err, ERR_CORRUPT, "the shard name \"%s\" is not a file's", name);
    if (strpbrk(name, "/\\"))
        return fail(err, ERR_CORRUPT, "the shard name %s leads outside the folder", name);
    return OK;
}

/* The position of the shard of that name, added when it is new. */
static enum status shard_position(struct weightmap *index, const char *name, size_t *out,
                                  struct error *err)
{
    int64_t at = name_index_find(&index->by_shard, name);
    const char *copy;
    const char **list;

    if (at >= 0) {
        *out = (size_t)at;
        return OK;
    }
    copy = arena_strdup(&index->arena, name);
    list = grown(index->shards, index->n_shards, &index->shards_capacity, sizeof(*list));
    if (list)
        index->shards = list;
    if (!copy || !list || !name_index_add(&index->by_shard, copy, index->n_shards))
        return fail(err, ERR_NOMEM, "no memory for the names of shards");
    *out = index->n_shards;
    index->shards[index->n_shards++] = copy;
    return OK;
}

static enum status add_entry(struct weightmap *index, const char *tensor, size_t shard,
                             struct error *err)
{
    struct weightmap_entry *list =
        grown(index->entries, index->n_entries, &index->entries_capacity, sizeof(*list));

    if (list)
        index->entries = list;
    if (!list || !name_index_add(&index->by_tensor, tensor, index->n_entries))
        return fail(err, ERR_NOMEM, "no memory for the weight_map");
    index->entries[index->n_entries++] = (struct weightmap_entry){tensor, shard};
    return OK;
}

/* The tensor's name is in the scanner, its file comes next. */
static enum status read_pair(struct weightmap *index, struct json_scanner *scanner,
                             struct error *err)
{
    const char *tensor;
    size_t shard = 0;
    enum json_event event;
    enum status st;

    if (memchr(scanner->text, '\0', scanner->n_text))
        return fail(err, ERR_CORRUPT, "a tensor name holds a NUL after \"%s\"",
                    scanner->text);
    tensor = arena_strndup(&index->arena, scanner->text, scanner->n_text);
    if (!tensor)
        return fail(err, ERR_NOMEM, "no memory for the weight_map");
    if (name_index_find(&index->by_tensor, tensor) >= 0)
        return fail(err, ERR_CORRUPT, "%s: duplicate tensor name in weight_map", tensor);
    event = json_scan_next(scanner);
    if (event == SCAN_BAD)
        return bad_json(scanner, err);
    if (event != SCAN_STRING)
        return fail(err, ERR_CORRUPT, "%s: its shard name is not a string", tensor);
    st = check_plain(scanner->text, scanner->n_text, err);
    if (st == OK)
        st = shard_position(index, scanner->text, &shard, err);
    if (st == OK)
        st = add_entry(index, tensor, shard, err);
    return st;
}

static enum status read_map(struct weightmap *index, struct json_scanner *scanner,
                            struct error *err)
{
    enum json_event event = json_scan_next(scanner);

    if (event == SCAN_BAD)
        return bad_json(scanner, err);
    if (event != SCAN_OBJECT_BEGIN)
        return fail(err, ERR_CORRUPT, "weight_map is not an object");
    while ((event = json_scan_next(scanner)) == SCAN_KEY) {
        enum status st = read_pair(index, scanner, err);

        if (st != OK)
            return st;
    }
    return event == SCAN_OBJECT_END ? OK : bad_json(scanner, err);
}

static enum status read_document(struct weightmap *index, struct json_scanner *scanner,
                                 struct error *err)
{
    enum json_event event = json_scan_next(scanner);
    bool has_map = false;

    if (event != SCAN_OBJECT_BEGIN)
        return event == SCAN_BAD ? bad_json(scanner, err)
                                 : fail(err, ERR_CORRUPT, "not a JSON object");
    while ((event = json_scan_next(scanner)) == SCAN_KEY) {
        enum status st = OK;

        if (strcmp(scanner->text, "weight_map") != 0) {
            if (!json_scan_skip(scanner))
                return bad_json(scanner, err);
            continue;
        }
        if (has_map)
            return fail(err, ERR_CORRUPT, "weight_map stands twice");
        has_map = true;
        st = read_map(index, scanner, err);
        if (st != OK)
            return st;
    }
    if (event != SCAN_OBJECT_END || json_scan_next(scanner) != SCAN_END)
        return bad_json(scanner, err);
    if (!has_map)
        return fail(err, ERR_CORRUPT, "no weight_map");
    if (index->n_shards == 0)
        return fail(err, ERR_CORRUPT, "weight_map is empty");
    return OK;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Put the shards in byte order and entries in step with it. */
static enum status sort_shards(struct weightmap *index, struct error *err)
{
    const char **before = malloc(index->n_shards * sizeof(*before));
    const size_t n_bytes = index->n_shards * sizeof(*before);

    if (!before)
        return fail(err, ERR_NOMEM, "no memory for the names of shards");
    memcpy(before, index->shards, n_bytes);
    qsort(index->shards, index->n_shards, sizeof(*index->shards), by_bytes);
    name_index_clear(&index->by_shard);
    for (size_t i = 0; i < index->n_shards; i++)
        if (!name_index_add(&index->by_shard, index->shards[i], i))
            break; /* cannot be: there was room for as many */
    for (size_t i = 0; i < index->n_entries; i++) {
        const char *name = before[index->entries[i].shard];

        index->entries[i].shard = (size_t)name_index_find(&index->by_shard, name);
    }
    free(before);
    return OK;
}

enum status weightmap_read(const char *path, struct weightmap *index, struct error *err)
{
    struct json_scanner scanner;
    char *text = NULL;
    size_t n = 0;
    enum status st = file_read_all(path, FILE_MOST, &text, &n, err);

    if (st != OK)
        return st;
    json_scan_begin(&scanner, text, n);
    st = read_document(index, &scanner, err);
    if (st == OK)
        st = sort_shards(index, err);
    if (st != OK)
        fail_at(err, path);
    json_scan_end(&scanner);
    free(text);
    return st;
}

void weightmap_free(struct weightmap *index)
{
    arena_free(&index->arena);
    free(index->entries);
    free(index->shards);
    name_index_free(&index->by_tensor);
    name_index_free(&index->by_shard);
    *index = (struct weightmap){0};
}
