/*
 * moments_file.c - the file of second moments: written item by item, read entry by entry
 */
#include "formats/moments/moments.h"

#include <stdio.h>
#include <stdlib.h>

enum { PARTS = 3 }; /* tensors an item: .h, .held, .tokens */

/* ---- writing ---- */

struct moments_writer {
    struct output *dst;
    struct gguf_tensor *tensors; /* PARTS an item */
    size_t n_items;
    struct arena arena;
    uint64_t file_bytes;
};

void moments_abandon(struct moments_writer *writer)
{
    if (!writer)
        return;
    output_discard(writer->dst);
    free(writer->tensors);
    arena_free(&writer->arena);
    free(writer);
}

static enum status set_header(struct gguf_meta *meta, const struct moments_header *header,
                              struct error *err)
{
    struct gguf_str *names = calloc(header->n_datasets + 1, sizeof(*names));
    enum status st;

    if (!names)
        return fail(err, ERR_NOMEM, "no memory for %zu names", header->n_datasets);
    for (size_t i = 0; i < header->n_datasets; i++)
        names[i] = (struct gguf_str){header->datasets[i], strlen(header->datasets[i])};
    st = gguf_set_str(meta, "general.architecture", "moments", 7, err);
    if (st == OK)
        st = gguf_set_str(meta, "general.type", "moments", 7, err);
    if (st == OK)
        st = gguf_set_strings(meta, "moments.datasets", names, header->n_datasets, err);
    if (st == OK)
        st = gguf_set_u32(meta, "moments.chunk_size", header->chunk_size, err);
    if (st == OK && header->source)
        st = gguf_set_str(meta, "moments.source", header->source, strlen(header->source),
                          err);
    free(names);
    return st;
}

static bool describe_item(struct moments_writer *writer, const struct moments_item *item,
                          size_t i)
{
    static const char *const suffix[PARTS] = {"h", "held", "tokens"};

    for (size_t part = 0; part < PARTS; part++) {
        struct gguf_tensor *t = &writer->tensors[PARTS * i + part];

        *t = (struct gguf_tensor){
            .type = TYPE_F32, .n_dims = part < 2 ? 2 : 1, .ne = {2, 1, 1, 1}};
        if (part < 2)
            t->ne[0] = t->ne[1] = item->n;
        t->name = arena_printf(&writer->arena, "%s.%s", item->name, suffix[part]);
        if (!t->name)
            return false;
    }
    return true;
}

static enum status write_header(struct moments_writer *writer,
                                const struct moments_header *header, struct error *err)
{
    struct gguf_meta *meta = gguf_meta_new();
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    enum status st = meta ? OK : fail(err, ERR_NOMEM, "no memory for metadata");

    if (st == OK)
        st = set_header(meta, header, err);
    if (st == OK)
        st = gguf_layout(meta, writer->tensors, PARTS * writer->n_items, 32, &bytes,
                         &n_bytes, &writer->file_bytes, err);
    if (st == OK)
        st = output_write(writer->dst, 0, bytes, n_bytes, err);
    free(bytes);
    gguf_meta_free(meta);
    return st;
}

enum status moments_create(const char *path, const struct moments_header *header,
                           const struct moments_item *items, size_t n_items, bool force,
                           struct moments_writer **out, struct error *err)
{
    struct moments_writer *writer = calloc(1, sizeof(*writer));
    struct output_options options = {.force = force};
    enum status st = OK;

    if (!writer)
        return fail(err, ERR_NOMEM, "%s: no memory to write it", path);
    writer->n_items = n_items;
    writer->tensors = calloc(PARTS * n_items + 1, sizeof(*writer->tensors));
    for (size_t i = 0; writer->tensors && i < n_items; i++)
        if (!describe_item(writer, &items[i], i))
            st = fail(err, ERR_NOMEM, "%s: no memory for %zu names", path, n_items);
    if (!writer->tensors)
        st = fail(err, ERR_NOMEM, "%s: no memory for %zu items", path, n_items);
    if (st == OK)
        st = output_open(path, &options, &writer->dst, err);
    if (st == OK)
        st = write_header(writer, header, err);
    if (st == OK)
        *out = writer;
    else
        moments_abandon(writer);
    return st;
}

enum status moments_put(struct moments_writer *writer, size_t i, const struct gram *train,
                        const struct gram *held, struct error *err)
{
    const struct gguf_tensor *t = writer->tensors + PARTS * i;
    const float tokens[2] = {(float)train->tokens, (float)held->tokens};
    size_t n = (size_t)t[0].ne[0];
    float *h = malloc(n * n * sizeof(*h));
    enum status st =
        h ? OK : fail(err, ERR_NOMEM, "no memory for %zu x %zu floats", n, n);

    assert(train->n == n && held->n == n);
    for (int part = 0; part < 2 && st == OK; part++) {
        gram_mean(part ? held : train, h);
        st = output_write(writer->dst, t[part].offset, h, n * n * sizeof(*h), err);
    }
    if (st == OK)
        st = output_write(writer->dst, t[2].offset, tokens, sizeof(tokens), err);
    free(h);
    return st;
}

enum status moments_finish(struct moments_writer *writer, struct error *err)
{
    enum status st = output_commit(writer->dst, writer->file_bytes, err);

    writer->dst = NULL;
    moments_abandon(writer);
    return st;
}

/* ---- reading ---- */

struct moments {
    struct gguf *file;
    char sha256[65];
};

void moments_close(struct moments *moments)
{
    if (!moments)
        return;
    gguf_close(moments->file);
    free(moments);
}

static bool is_square_f32(const struct gguf_tensor *t)
{
    return t->type == TYPE_F32 && t->n_dims == 2 && t->ne[0] == t->ne[1] &&
           t->ne[0] < 1u << 20;
}

/* Every tensor belongs to a whole item. */
static enum status check_items(const struct moments *moments, const char *path,
                               struct error *err)
{
    struct gguf_str type;

    if (!gguf_get_str(gguf_metadata(moments->file), "general.type", &type) ||
        strcmp(type.text, "moments") != 0)
        return fail(err, ERR_USAGE, "%s: not a file of second moments", path);
    if (gguf_count(moments->file) % PARTS != 0)
        return fail(err, ERR_CORRUPT, "%s: an input's tensors are not complete", path);
    for (size_t i = 0; i < gguf_count(moments->file); i += PARTS) {
        const struct gguf_tensor *h = gguf_at(moments->file, i);
        const struct gguf_tensor *held = gguf_at(moments->file, i + 1);
        const struct gguf_tensor *tokens = gguf_at(moments->file, i + 2);

        if (!is_square_f32(h) || !is_square_f32(held) || held->ne[0] != h->ne[0] ||
            tokens->type != TYPE_F32 || tokens->ne[0] != 2)
            return fail(err, ERR_CORRUPT, "%s: %s is not a square matrix of F32", path,
                        h->name);
    }
    return OK;
}

enum status moments_open(const char *path, struct moments **out, struct error *err)
{
    struct moments *moments = calloc(1, sizeof(*moments));
    uint8_t digest[32];
    enum status st = moments ? gguf_open(path, &moments->file, err)
                             : fail(err, ERR_NOMEM, "%s: no memory to read it", path);

    if (st == OK)
        st = check_items(moments, path, err);
    if (st == OK)
        st = sha256_file(path, digest, err);
    if (st != OK) {
        moments_close(moments);
        return st;
    }
    sha256_hex(digest, moments->sha256);
    *out = moments;
    return OK;
}

const char *moments_sha256(const struct moments *moments)
{
    return moments->sha256;
}

bool moments_find(const struct moments *moments, const char *input,
                  struct moments_entry *entry)
{
    char name[MOMENTS_NAME + 8];
    float tokens[2];
    struct error err;

    snprintf(name, sizeof(name), "%s.h", input);
    for (size_t i = 0; i < gguf_count(moments->file); i += PARTS) {
        const struct gguf_tensor *t = gguf_at(moments->file, i);
        const struct gguf_tensor *counts = gguf_at(moments->file, i + 2);

        if (strcmp(t->name, name) != 0)
            continue;
        if (file_read(gguf_file(moments->file, 0), counts->offset, tokens, sizeof(tokens),
                      &err))
            return false;
        *entry = (struct moments_entry){(size_t)t->ne[0], (double)tokens[0],
                                        (double)tokens[1], i};
        return true;
    }
    return false;
}

enum status moments_read(const struct moments *moments, const struct moments_entry *entry,
                         bool held, float *h, struct error *err)
{
    const struct gguf_tensor *t = gguf_at(moments->file, entry->index + (held ? 1 : 0));

    return file_read(gguf_file(moments->file, 0), t->offset, h, (size_t)t->n_bytes, err);
}

enum status moments_read_square(const struct moments *moments,
                                const struct moments_entry *entry, bool held,
                                size_t first, size_t count, float *h, struct error *err)
{
    const struct gguf_tensor *t = gguf_at(moments->file, entry->index + (held ? 1 : 0));
    enum status st = OK;

    assert(first + count <= entry->n);
    for (size_t i = first; i < first + count && st == OK; i++, h += count)
        st = file_read(gguf_file(moments->file, 0),
                       t->offset + (i * entry->n + first) * sizeof(*h), h,
                       count * sizeof(*h), err);
    return st;
}

enum status moments_diagonal(const struct moments *moments,
                             const struct moments_entry *entry, float *diagonal,
                             struct error *err)
{
    const struct gguf_tensor *t = gguf_at(moments->file, entry->index);
    enum status st = OK;

    for (size_t j = 0; j < entry->n && st == OK; j++)
        st = file_read(gguf_file(moments->file, 0),
                       t->offset + j * (entry->n + 1) * sizeof(float), &diagonal[j],
                       sizeof(float), err);
    return st;
}
