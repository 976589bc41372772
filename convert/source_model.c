/*
 * source_model.c - a source shown as a model: what a runtime or a verifier reads
 */
#include "convert/source.h"

#include <inttypes.h>
#include <stdlib.h>

/* A model's own state: the source, and which entry each of its tensors is. */
struct source_model {
    struct source *src;
    struct gguf_tensor *tensors;
    size_t n_tensors;
    const struct source_entry **entries;
    struct arena arena;
};

static enum status convert_rows(const struct source_entry *e, uint64_t first, uint64_t n,
                                const void *raw, float *x, void *dst, struct error *err)
{
    const struct fetched in = {first, n, raw};
    const struct block_info *info = block_type_info(e->kept);

    if (info->is_quantized) {
        e->t->provider->repack(e->t, &in, first, n, dst);
        return OK;
    }
    e->t->provider->decode(e->t, &in, first, n, x);
    const enum status st = source_check_finite(e->t, first, n, x, err);
    if (st == OK)
        quantize_rows(e->kept, METHOD_PLAIN, x, (size_t)n, (size_t)e->ne[0], NULL, dst);
    return st;
}

enum { SLAB_BYTES = 1 << 20 };

/* Bytes that the largest slab of rows [first, end) takes: one that begins between two scales may need
 * more of them than the first. */
static size_t most_bytes(const struct source_tensor *t, uint64_t first, uint64_t end,
                         uint64_t slab)
{
    size_t most = 0;

    for (uint64_t row = first; row < end; row += slab) {
        const uint64_t count = end - row < slab ? end - row : slab;
        const size_t n = t->provider->fetch_bytes(t, row, count);

        most = n > most ? n : most;
    }
    return most;
}

/* Rows go through two small buffers, so any number of them costs the same memory. */
static enum status read_rows(void *self, size_t i, uint64_t first, uint64_t n, void *dst,
                             struct error *err)
{
    const struct source_model *sm = self;
    const struct source_entry *e = sm->entries[i];
    const uint64_t cols = e->ne[0], fits = SLAB_BYTES / sizeof(float) / (cols ? cols : 1);
    const uint64_t slab = fits ? (fits < n ? fits : n) : 1;
    const size_t row_bytes = block_row_bytes(e->kept, cols);
    float *x = malloc((size_t)(slab * cols) * sizeof(float) + 1);
    void *raw = malloc(most_bytes(e->t, first, first + n, slab) + 1);
    uint8_t *out = dst;
    enum status st =
        x && raw ? OK : fail(err, ERR_NOMEM, "%s: no memory for rows", e->name);

    for (uint64_t row = first; st == OK && row < first + n; row += slab) {
        const uint64_t count = first + n - row < slab ? first + n - row : slab;

        st = e->t->provider->fetch(e->t, row, count, raw, err);
        if (st == OK)
            st = convert_rows(e, row, count, raw, x, out, err);
        out += count * row_bytes;
    }
    free(x);
    free(raw);
    return st == ERR_CORRUPT ? fail_at(err, sm->src->path) : st;
}

static void close_model(void *self)
{
    struct source_model *sm = self;

    source_close(sm->src);
    arena_free(&sm->arena);
    free(sm);
}

static const struct model_ops ops = {.read_rows = read_rows, .close = close_model};

static enum status list_tensors(struct source_model *sm, struct error *err)
{
    const struct source *src = sm->src;
    size_t n = 0;

    sm->tensors = arena_array(&sm->arena, src->n_entries + 1, sizeof(*sm->tensors));
    sm->entries = arena_array(&sm->arena, src->n_entries + 1, sizeof(*sm->entries));
    if (!sm->tensors || !sm->entries)
        return fail(err, ERR_NOMEM, "%s: no memory for the table of tensors", src->path);
    for (size_t i = 0; i < src->n_entries; i++) {
        const struct source_entry *e = &src->entries[i];
        struct gguf_tensor *t = &sm->tensors[n];

        if (e->is_dead)
            continue;
        *t = (struct gguf_tensor){.name = e->name, .type = e->kept, .n_dims = e->n_dims};
        memcpy(t->ne, e->ne, sizeof(t->ne));
        t->n_bytes = block_row_bytes(e->kept, e->ne[0]) * gguf_tensor_rows(t);
        sm->entries[n++] = e;
    }
    sm->n_tensors = n;
    return OK;
}

enum status convert_open_source(const char *path, const struct source_options *options,
                                struct model **out, struct error *err)
{
    static const struct source_options none = {0};
    struct model *model = calloc(1, sizeof(*model));
    struct source_model *sm = calloc(1, sizeof(*sm));
    enum status st = OK;

    if (!model || !sm) {
        free(model);
        free(sm);
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    }
    *model = (struct model){.ops = &ops,
                            .self = sm}; /* model_close() frees both from here on */
    st = source_open(path, options ? options : &none, &sm->src, err);
    if (st == OK)
        st = list_tensors(sm, err);
    if (st == OK) {
        model->path = sm->src->path;
        model->meta = sm->src->meta;
        model->tensors = sm->tensors;
        model->n_tensors = sm->n_tensors;
        st = model_index(model, err);
    }
    if (st != OK) {
        model_close(model);
        return st;
    }
    for (size_t i = 0; i < sm->src->n_notes; i++)
        log_warn("%s: %s", path, sm->src->notes[i]);
    *out = model;
    return OK;
}

enum status convert_open_model(const char *path, const struct source_options *options,
                               struct model **out, struct error *err)
{
    const size_t n = strlen(path);
    const bool has_options =
        options &&
        (options->n_loras || options->chat_template || options->n_metadata ||
         (options->equalize_from && equalize_has_keys(options->equalize_from)));

    if (n > 5 && strcmp(path + n - 5, ".gguf") == 0 && !file_is_folder(path) &&
        !has_options)
        return model_open_gguf(path, out, err);
    return convert_open_source(path, options, out, err);
}
