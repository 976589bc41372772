/*
 * gguf_open.c - open a GGUF, and the other files of its split
 */
#include "formats/gguf/gguf_file.h"

#include <inttypes.h>
#include <stdlib.h>

/* What the split.* keys of a file say; `count` is 1 without them. */
struct split {
    uint16_t no, count;
    int32_t n_tensors; /* over all files; -1: not said */
};

static enum status wrong_type(const struct gguf_meta *meta, const char *key,
                              const char *want, struct error *err)
{
    const struct gguf_value *value = gguf_meta_find(meta, key);

    if (!value)
        return fail(err, ERR_CORRUPT, "%s is missing", key);
    return fail(err, ERR_CORRUPT, "%s: its type is %s, not %s", key,
                gguf_type_name(value->type), want);
}

static enum status read_split(const struct gguf_meta *meta, struct split *split,
                              struct error *err)
{
    *split = (struct split){.count = 1, .n_tensors = -1};
    if (gguf_meta_find(meta, "split.count") &&
        !gguf_get_u16(meta, "split.count", &split->count))
        return wrong_type(meta, "split.count", "u16", err);
    if (split->count <= 1)
        return OK;
    if (!gguf_get_u16(meta, "split.no", &split->no))
        return wrong_type(meta, "split.no", "u16", err);
    if (!gguf_get_i32(meta, "split.tensors.count", &split->n_tensors))
        return wrong_type(meta, "split.tensors.count", "i32", err);
    return OK;
}

/* A model says its architecture; importance matrices say general.type alone. */
static enum status check_kind(const struct gguf_meta *meta, struct error *err)
{
    struct gguf_str text;

    if (gguf_get_str(meta, "general.architecture", &text))
        return OK;
    if (gguf_meta_find(meta, "general.architecture"))
        return wrong_type(meta, "general.architecture", "string", err);
    if (gguf_get_str(meta, "general.type", &text) && strcmp(text.text, "imatrix") == 0)
        return OK;
    return fail(err, ERR_CORRUPT,
                "general.architecture is missing: nothing says what it is");
}

static enum status read_part(struct gguf *gguf, size_t no, const char *path,
                             struct error *err)
{
    struct gguf_part *part = &gguf->parts[no];
    struct gguf_source src = {0};
    enum status st = file_open(path, &part->file, err);

    if (st != OK)
        return st;
    st = gguf_source_open(&src, part->file, err);
    if (st == OK)
        st = gguf_read_header(gguf, no, &src, err);
    if (st != OK && strncmp(err->text, path, strlen(path)) != 0)
        fail_at(err, path);
    gguf_source_close(&src);
    return st;
}

/* File `no` of a split, which need not say more than its number. */
static enum status read_sibling(struct gguf *gguf, size_t no, const char *first,
                                struct error *err)
{
    char *path = gguf_shard_path(first, (unsigned)no, (unsigned)gguf->n_parts);
    uint16_t said = 0;
    enum status st;

    if (!path)
        return fail(err, ERR_NOMEM, "%s: no memory for the names of its split", first);
    st = read_part(gguf, no, path, err);
    if (st == OK && !gguf_get_u16(gguf->parts[no].meta, "split.no", &said)) {
        st = wrong_type(gguf->parts[no].meta, "split.no", "u16", err);
        fail_at(err, path);
    }
    if (st == OK && said != no)
        st = fail(err, ERR_CORRUPT, "%s: split.no is %u, not %zu", path, said, no);
    free(path);
    return st;
}

/* The path must be that of file 0, by its keys and by its name. */
static enum status check_first(const char *path, const struct split *split,
                               struct error *err)
{
    char *first = gguf_shard_path(path, 0, split->count);
    enum status st = OK;

    if (!first)
        st = fail(err, ERR_NOMEM, "%s: no memory for a split", path);
    else if (split->no != 0)
        st = fail(err, ERR_USAGE, "%s: file %u of a split of %u; open the first", path,
                  split->no + 1u, split->count);
    else if (strcmp(first, path) != 0)
        st = fail(err, ERR_USAGE,
                  "%s: the first file of a split of %u, but its name does not end in "
                  "-00001-of-%05u.gguf",
                  path, split->count, split->count);
    free(first);
    return st;
}

static enum status read_siblings(struct gguf *gguf, const char *path,
                                 const struct split *split, struct error *err)
{
    struct gguf_part *parts;
    enum status st = check_first(path, split, err);

    if (st != OK)
        return st;
    parts = realloc(gguf->parts, split->count * sizeof(*parts));
    if (!parts)
        return fail(err, ERR_NOMEM, "%s: no memory for a split", path);
    memset(parts + 1, 0, (split->count - 1u) * sizeof(*parts));
    gguf->parts = parts;
    gguf->n_parts = split->count;
    for (size_t no = 1; no < gguf->n_parts; no++) {
        st = read_sibling(gguf, no, path, err);
        if (st != OK)
            return st;
    }
    if (split->n_tensors < 0 || gguf->n_tensors != (uint64_t)split->n_tensors)
        return fail(err, ERR_CORRUPT,
                    "%s: split.tensors.count is %" PRId32 ", but the %u files hold %zu",
                    path, split->n_tensors, split->count, gguf->n_tensors);
    return OK;
}

static struct gguf *gguf_new(struct error *err)
{
    struct gguf *gguf = calloc(1, sizeof(*gguf));

    if (gguf)
        gguf->parts = calloc(1, sizeof(*gguf->parts));
    if (gguf && gguf->parts) {
        gguf->n_parts = 1;
        return gguf;
    }
    free(gguf);
    fail(err, ERR_NOMEM, "no memory to open a GGUF");
    return NULL;
}

enum status gguf_open(const char *path, struct gguf **out, struct error *err)
{
    struct gguf *gguf = gguf_new(err);
    struct split split;
    enum status st;

    if (!gguf)
        return ERR_NOMEM;
    st = read_part(gguf, 0, path, err);
    if (st != OK)
        goto out;
    st = read_split(gguf->parts[0].meta, &split, err);
    if (st == OK && split.no == 0)
        st = check_kind(gguf->parts[0].meta, err);
    if (st != OK) {
        fail_at(err, path);
        goto out;
    }
    if (split.count > 1)
        st = read_siblings(gguf, path, &split, err);
    if (st == OK) {
        *out = gguf;
        gguf = NULL;
    }

out:
    gguf_close(gguf);
    return st;
}

enum status gguf_parse(const uint8_t *bytes, size_t n_bytes, struct gguf **out,
                       struct error *err)
{
    struct gguf *gguf = gguf_new(err);
    struct gguf_source src;
    enum status st;

    if (!gguf)
        return ERR_NOMEM;
    gguf_source_memory(&src, bytes, n_bytes);
    st = gguf_read_header(gguf, 0, &src, err);
    if (st == OK)
        *out = gguf;
    else
        gguf_close(gguf);
    return st;
}

void gguf_close(struct gguf *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->n_parts; i++) {
        gguf_meta_free(file->parts[i].meta);
        file_close(file->parts[i].file);
    }
    free(file->parts);
    free(file->tensors);
    name_index_free(&file->index);
    arena_free(&file->names);
    free(file);
}

const struct gguf_meta *gguf_metadata(const struct gguf *file)
{
    return file->parts[0].meta;
}

size_t gguf_count(const struct gguf *file)
{
    return file->n_tensors;
}

const struct gguf_tensor *gguf_at(const struct gguf *file, size_t i)
{
    return &file->tensors[i];
}

const struct gguf_tensor *gguf_find(const struct gguf *file, const char *name)
{
    int64_t at = name_index_find(&file->index, name);

    return at < 0 ? NULL : &file->tensors[at];
}

size_t gguf_n_files(const struct gguf *file)
{
    return file->n_parts;
}

struct file *gguf_file(const struct gguf *file, int i)
{
    return file->parts[i].file;
}

uint64_t gguf_data_start(const struct gguf *file, int i)
{
    return file->parts[i].data_start;
}

uint32_t gguf_alignment(const struct gguf *file, int i)
{
    return file->parts[i].alignment;
}

uint64_t gguf_tensor_rows(const struct gguf_tensor *t)
{
    return t->ne[1] * t->ne[2] * t->ne[3];
}
