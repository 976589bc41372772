/*
 * moments_write.c - the file of second moments, written item by item
 */
#include "formats/moments/layout.h"

#include <stdio.h>
#include <stdlib.h>

struct moments_writer {
    struct output *dst;
    struct gguf_tensor *tensors; /* PARTS an item */
    size_t n_items;
    struct arena arena;
    uint64_t file_bytes;
};

static void release(struct moments_writer *writer)
{
    free(writer->tensors);
    arena_free(&writer->arena);
    free(writer);
}

void moments_abandon(struct moments_writer *writer)
{
    if (!writer)
        return;
    output_discard(writer->dst);
    release(writer);
}

void moments_keep(struct moments_writer *writer)
{
    if (!writer)
        return;
    output_keep(writer->dst);
    release(writer);
}

enum status moments_sync(struct moments_writer *writer, struct error *err)
{
    return output_sync(writer->dst, err);
}

static enum status set_header(struct gguf_meta *meta, const struct moments_header *header,
                              struct error *err)
{
    enum status st;

    st = gguf_set_str(meta, "general.architecture", "moments", 7, err);
    if (st == OK)
        st = gguf_set_str(meta, "general.type", "moments", 7, err);
    if (st == OK)
        st = gguf_set_u32(meta, "moments.version", MOMENTS_VERSION, err);
    if (st == OK)
        st = gguf_set_texts(meta, "moments.datasets", header->datasets,
                            header->n_datasets, err);
    if (st == OK && header->digests)
        st = gguf_set_texts(meta, "moments.digests", header->digests, header->n_datasets,
                            err);
    if (st == OK && header->tokens)
        st = gguf_set_u64(meta, "moments.tokens", header->tokens, err);
    if (st == OK)
        st = gguf_set_u32(meta, "moments.chunk_size", header->chunk_size, err);
    if (st == OK && header->source)
        st = gguf_set_str(meta, "moments.source", header->source, strlen(header->source),
                          err);
    return st;
}

static bool describe_item(struct moments_writer *writer, const struct moments_item *item,
                          size_t i)
{
    const char *suffix[PARTS] = {item->is_diagonal ? "d" : "h", "held", "tokens"};

    for (size_t part = 0; part < PARTS; part++) {
        struct gguf_tensor *t = &writer->tensors[PARTS * i + part];

        *t = (struct gguf_tensor){.type = TYPE_F32, .n_dims = 1, .ne = {2, 1, 1, 1}};
        if (part < 2) {
            const size_t group = moments_group_columns(item->n);

            t->n_dims = item->is_diagonal ? 1 : 2;
            t->ne[0] = item->is_diagonal ? item->n : triangle(group);
            t->ne[1] = item->is_diagonal ? 1 : item->n / group;
        }
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
                           const struct moments_item *items, size_t n_items,
                           const struct output_options *options,
                           struct moments_writer **out, struct error *err)
{
    struct moments_writer *writer = calloc(1, sizeof(*writer));
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
        st = output_open(path, options, &writer->dst, err);
    if (st == OK && options->resume && output_size(writer->dst) == 0)
        st = fail(err, ERR_USAGE, "%s: there is nothing to resume", path);
    if (st == OK)
        st = write_header(writer, header, err);
    if (st == OK)
        st = output_fits(writer->dst, writer->file_bytes, err);
    if (st == OK)
        *out = writer;
    else if (options->resume && writer->dst && output_size(writer->dst) > 0)
        moments_keep(writer);
    else
        moments_abandon(writer);
    return st;
}

enum status moments_put(struct moments_writer *writer, size_t i, const struct gram *train,
                        const struct gram *held, struct error *err)
{
    const struct gguf_tensor *t = writer->tensors + PARTS * i;
    const float tokens[2] = {(float)train->tokens, (float)held->tokens};
    const size_t n_groups = (size_t)t[0].ne[1], n_bytes = (size_t)t[0].n_bytes / n_groups;
    float *h = malloc(n_bytes);
    enum status st = h ? OK : fail(err, ERR_NOMEM, "no memory for %zu bytes", n_bytes);

    assert(held->n == train->n && held->is_diagonal == train->is_diagonal);
    assert(n_bytes ==
           (train->is_diagonal ? train->n : triangle(train->group)) * sizeof(*h));
    for (size_t k = 0; k < 2 * n_groups && st == OK; k++) {
        const size_t part = k / n_groups, group = k % n_groups;

        gram_file(part ? held : train, group, h);
        st = output_write(writer->dst, t[part].offset + group * n_bytes, h, n_bytes, err);
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
