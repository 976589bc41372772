/*
 * model_gguf.c - a GGUF on disk as a model
 *
 * The shard that holds the per-layer embedding table alone is never mapped: it may be larger
 * than all the rest, and a prompt touches a few of its rows.
 */
#include "formats/model/model.h"

#include <inttypes.h>
#include <stdlib.h>

static const char lazy_name[] = "per_layer_token_embd.weight";

struct gguf_model {
    struct gguf *gguf; /* owned */
    char *path;        /* owned */
    int lazy_file;     /* read, not mapped; -1: none */
};

/* Rows may be read hours after the file was opened: a file that somebody changed since is worse
 * than one that cannot be read. */
static enum status read_rows(void *self, size_t i, uint64_t first, uint64_t n, void *dst,
                             struct error *err)
{
    const struct gguf_model *m = self;
    const struct gguf_tensor *t = gguf_at(m->gguf, i);
    const struct file *file = gguf_file(m->gguf, t->file);
    const size_t row_bytes = block_row_bytes(t->type, t->ne[0]);
    enum status st =
        file_read(file, t->offset + first * row_bytes, dst, (size_t)n * row_bytes, err);

    if (st == OK)
        st = file_unchanged(file, err);
    return st == OK ? OK : fail(err, st, "%s (%s)", err->text, t->name);
}

static const void *map(void *self, size_t i)
{
    const struct gguf_model *m = self;
    const struct gguf_tensor *t = gguf_at(m->gguf, i);
    const uint8_t *bytes = NULL;
    struct error err;

    if (t->file == m->lazy_file ||
        file_map(gguf_file(m->gguf, t->file), &bytes, &err) != OK)
        return NULL;
    return bytes + t->offset;
}

static void close_gguf_model(void *self)
{
    struct gguf_model *m = self;

    if (!m)
        return;
    gguf_close(m->gguf);
    free(m->path);
    free(m);
}

static const struct model_ops ops = {
    .read_rows = read_rows, .map = map, .close = close_gguf_model};

/* The shard whose only tensor is the per-layer embedding table, or -1. */
static int find_lazy_file(const struct gguf *gguf)
{
    const struct gguf_tensor *table = gguf_find(gguf, lazy_name);

    if (!table)
        return -1;
    for (size_t i = 0; i < gguf_count(gguf); i++) {
        const struct gguf_tensor *t = gguf_at(gguf, i);

        if (t != table && t->file == table->file)
            return -1;
    }
    return table->file;
}

enum status model_open_gguf(const char *path, struct model **out, struct error *err)
{
    struct model *model = calloc(1, sizeof(*model));
    struct gguf_model *m = calloc(1, sizeof(*m));
    enum status st = OK;

    if (m)
        m->path = strdup(path);
    if (!model || !m || !m->path) {
        st = fail(err, ERR_NOMEM, "%s: no memory to open it", path);
        goto out;
    }
    st = gguf_open(path, &m->gguf, err);
    if (st != OK)
        goto out;
    m->lazy_file = find_lazy_file(m->gguf);
    *model = (struct model){
        .path = m->path,
        .meta = gguf_metadata(m->gguf),
        .tensors = gguf_count(m->gguf) ? gguf_at(m->gguf, 0) : NULL,
        .n_tensors = gguf_count(m->gguf),
        .ops = &ops,
        .self = m,
    };
    m = NULL; /* model_close() frees it from here on */
    st = model_index(model, err);
    if (st == OK)
        *out = model;
    else
        model_close(model);
    model = NULL;

out:
    close_gguf_model(m);
    free(model);
    return st;
}
