/*
 * safetensors.c - open a file, check that its tensors tile its data, find them
 */
#include "formats/safetensors/safetensors_file.h"

#include <inttypes.h>
#include <stdlib.h>

static const uint64_t header_most = 100000000; /* the format's limit */

enum { LENGTH_BYTES = 8, SNIFF_BYTES = 24 };

/* What people have in place of a safetensors file, by its first bytes. */
static const struct {
    const char *start;
    size_t n;
    const char *says;
} strangers[] = {
    {"version https://git-lfs", 23,
     "a git-lfs pointer; the file itself was not downloaded"},
    {"<!", 2, "HTML, not a safetensors file"},
    {"<h", 2, "HTML, not a safetensors file"},
    {"\x1f\x8b", 2, "gzip, not a safetensors file"},
    {"PK\x03\x04", 4, "a zip archive, not a safetensors file"},
    {"GGUF", 4, "a GGUF file, not a safetensors file"},
};

static enum status bad_length(uint64_t length, uint64_t size, const uint8_t *start,
                              size_t n, struct error *err)
{
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++)
        if (n >= strangers[i].n && memcmp(start, strangers[i].start, strangers[i].n) == 0)
            return fail(err, ERR_CORRUPT, "%s", strangers[i].says);
    if (length > header_most)
        return fail(err, ERR_CORRUPT, "header length %" PRIu64 " is above %" PRIu64,
                    length, header_most);
    return fail(err, ERR_CORRUPT,
                "header length %" PRIu64 " does not fit the file size %" PRIu64, length,
                size);
}

/* ---- the layout of the data ---- */

/* By begin, then end; equal ranges in the order of the header. */
static int by_range(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->n_bytes != y->n_bytes)
        return x->n_bytes < y->n_bytes ? -1 : 1;
    return x->file < y->file ? -1 : x->file > y->file;
}

/* `n_bytes` is still the end of the range here. */
static enum status check_tiling(const struct safetensors *st, uint64_t *end,
                                struct error *err)
{
    uint64_t cursor = 0;

    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct tensor *t = &st->tensors[i];

        if (t->offset < cursor)
            return fail(err, ERR_CORRUPT,
                        "%s: overlaps %s: begins at %" PRIu64 ", before %" PRIu64,
                        t->name, st->tensors[i - 1].name, t->offset, cursor);
        if (t->offset > cursor)
            return fail(err, ERR_CORRUPT,
                        "%s: begins at %" PRIu64 ", expected %" PRIu64 ": a hole",
                        t->name, t->offset, cursor);
        cursor = t->n_bytes;
    }
    *end = cursor;
    return OK;
}

static enum status check_sizes(const struct safetensors *st, struct error *err)
{
    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct tensor *t = &st->tensors[i];
        uint64_t need = 0;

        if (tensor_measure(t->dtype, t->dims, t->n_dims, &need, err) != OK)
            return fail_at(err, t->name);
        if (need != t->n_bytes - t->offset)
            return fail(err, ERR_CORRUPT,
                        "%s: %s of its shape needs %" PRIu64
                        " bytes, data_offsets give %" PRIu64,
                        t->name, dtype_name(t->dtype), need, t->n_bytes - t->offset);
    }
    return OK;
}

/* The ranges must end where the file does. */
static enum status check_end(const struct safetensors *st, uint64_t data_start,
                             uint64_t end, uint64_t size, struct error *err)
{
    const uint64_t data = size - data_start;

    if (end < data)
        return fail(err, ERR_CORRUPT, "%" PRIu64 " trailing bytes after the last tensor",
                    data - end);
    for (size_t i = 0; i < st->n_tensors; i++)
        if (st->tensors[i].n_bytes > data)
            return fail(err, ERR_CORRUPT,
                        "%s: truncated: its data ends at byte %" PRIu64
                        " of the data, but the file size %" PRIu64 " leaves %" PRIu64,
                        st->tensors[i].name, st->tensors[i].n_bytes, size, data);
    return OK;
}

/* From ranges that count from the data to offsets in the file and sizes. */
static enum status settle(struct safetensors *st, uint64_t data_start, struct error *err)
{
    name_index_clear(&st->index);
    for (size_t i = 0; i < st->n_tensors; i++) {
        struct tensor *t = &st->tensors[i];

        t->n_bytes -= t->offset;
        t->offset += data_start;
        t->file = 0;
        if (!name_index_add(&st->index, t->name, i))
            return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    }
    return OK;
}

static enum status check(struct safetensors *st, uint64_t data_start, uint64_t size,
                         struct error *err)
{
    uint64_t end = 0;
    enum status status;

    for (size_t i = 0; i < st->n_tensors; i++)
        st->tensors[i].file =
            (int)i; /* its place in the header, for the order of equals */
    if (st->n_tensors > 0)
        qsort(st->tensors, st->n_tensors, sizeof(*st->tensors), by_range);
    status = check_tiling(st, &end, err);
    if (status == OK)
        status = check_sizes(st, err);
    if (status == OK)
        status = check_end(st, data_start, end, size, err);
    if (status == OK)
        status = settle(st, data_start, err);
    return status;
}

/* ---- opening ---- */

/* The header length of a file that begins with `start`, of which at most SNIFF_BYTES are here. */
static enum status read_length(const uint8_t *start, size_t n_start, uint64_t size,
                               uint64_t *out, struct error *err)
{
    uint64_t length;

    if (size < LENGTH_BYTES)
        return fail(err, ERR_CORRUPT,
                    "a file of %" PRIu64 " bytes; 8 bytes needed for the header length",
                    size);
    length = load_u64(start);
    if (length > header_most || length > size - LENGTH_BYTES)
        return bad_length(length, size, start, n_start, err);
    if (length == 0)
        return fail(err, ERR_CORRUPT, "the header is empty");
    *out = length;
    return OK;
}

static enum status read_file(struct safetensors *st, struct error *err)
{
    const uint64_t size = file_size(st->file);
    uint8_t start[SNIFF_BYTES] = {0};
    size_t n_start = size < SNIFF_BYTES ? (size_t)size : SNIFF_BYTES;
    uint64_t length = 0;
    char *json;
    enum status status = file_read(st->file, 0, start, n_start, err);

    if (status != OK)
        return status;
    status = read_length(start, n_start, size, &length, err);
    if (status != OK)
        return status;
    json = malloc((size_t)length);
    if (!json)
        return fail(err, ERR_NOMEM, "no memory for a header of %" PRIu64 " bytes",
                    length);
    status = file_read(st->file, LENGTH_BYTES, json, (size_t)length, err);
    if (status == OK)
        status = safetensors_read_json(st, json, (size_t)length, err);
    if (status == OK)
        status = check(st, LENGTH_BYTES + length, size, err);
    free(json);
    return status;
}

enum status safetensors_open(const char *path, struct safetensors **out,
                             struct error *err)
{
    struct safetensors *st = calloc(1, sizeof(*st));
    enum status status;

    if (!st)
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    status = file_open(path, &st->file, err);
    if (status == OK) {
        status = read_file(st, err);
        if (status != OK && strncmp(err->text, path, strlen(path)) != 0)
            fail_at(err, path);
    }
    if (status == OK)
        *out = st;
    else
        safetensors_close(st);
    return status;
}

enum status safetensors_parse(const uint8_t *bytes, size_t n_bytes,
                              struct safetensors **out, struct error *err)
{
    const size_t n_start = n_bytes < SNIFF_BYTES ? n_bytes : SNIFF_BYTES;
    struct safetensors *st = calloc(1, sizeof(*st));
    uint64_t length = 0;
    enum status status;

    if (!st)
        return fail(err, ERR_NOMEM, "no memory to read safetensors");
    status = read_length(bytes, n_start, n_bytes, &length, err);
    if (status == OK)
        status = safetensors_read_json(st, (const char *)bytes + LENGTH_BYTES,
                                       (size_t)length, err);
    if (status == OK)
        status = check(st, LENGTH_BYTES + length, n_bytes, err);
    if (status == OK)
        *out = st;
    else
        safetensors_close(st);
    return status;
}

void safetensors_close(struct safetensors *st)
{
    if (!st)
        return;
    file_close(st->file);
    arena_free(&st->arena);
    free(st->tensors);
    name_index_free(&st->index);
    free(st->pairs);
    name_index_free(&st->pair_index);
    free(st);
}

size_t safetensors_count(const struct safetensors *st)
{
    return st->n_tensors;
}

const struct tensor *safetensors_at(const struct safetensors *st, size_t i)
{
    return &st->tensors[i];
}

const struct tensor *safetensors_find(const struct safetensors *st, const char *name)
{
    int64_t at = name_index_find(&st->index, name);

    return at < 0 ? NULL : &st->tensors[at];
}

const char *safetensors_metadata(const struct safetensors *st, const char *key)
{
    int64_t at = name_index_find(&st->pair_index, key);

    return at < 0 ? NULL : st->pairs[at].value;
}

const struct file *safetensors_file(const struct safetensors *st)
{
    return st->file;
}
