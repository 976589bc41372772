/*
 * moments_file.c - the file of second moments: written item by item, read entry by entry
 */
#include "formats/moments/moments.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARTS = 3 }; /* tensors an item: .h, .held, .tokens */
enum { MOMENTS_MOST = 1 << 16 };

/* ---- writing ---- */

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

static enum status set_strings(struct gguf_meta *meta, const char *key,
                               const char *const *list, size_t n, struct error *err)
{
    struct gguf_str *names = calloc(n + 1, sizeof(*names));
    enum status st;

    if (!names)
        return fail(err, ERR_NOMEM, "no memory for %zu names", n);
    for (size_t i = 0; i < n; i++)
        names[i] = (struct gguf_str){list[i], strlen(list[i])};
    st = gguf_set_strings(meta, key, names, n, err);
    free(names);
    return st;
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
        st = set_strings(meta, "moments.datasets", header->datasets, header->n_datasets,
                         err);
    if (st == OK && header->digests)
        st = set_strings(meta, "moments.digests", header->digests, header->n_datasets,
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
    static const char *const suffix[PARTS] = {"h", "held", "tokens"};

    for (size_t part = 0; part < PARTS; part++) {
        struct gguf_tensor *t = &writer->tensors[PARTS * i + part];

        *t = (struct gguf_tensor){
            .type = TYPE_F32, .n_dims = part < 2 ? 3 : 1, .ne = {2, 1, 1, 1}};
        if (part < 2) {
            t->ne[0] = t->ne[1] = moments_group_columns(item->n);
            t->ne[2] = item->n / t->ne[0];
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
    else
        moments_abandon(writer);
    return st;
}

enum status moments_put(struct moments_writer *writer, size_t i, const struct gram *train,
                        const struct gram *held, struct error *err)
{
    const struct gguf_tensor *t = writer->tensors + PARTS * i;
    const float tokens[2] = {(float)train->tokens, (float)held->tokens};
    const size_t n_groups = (size_t)t[0].ne[2], n_bytes = (size_t)t[0].n_bytes / n_groups;
    float *h = malloc(n_bytes);
    enum status st = h ? OK : fail(err, ERR_NOMEM, "no memory for %zu bytes", n_bytes);

    assert(train->n == t[0].ne[0] * n_groups && held->n == train->n);
    for (size_t k = 0; k < 2 * n_groups && st == OK; k++) {
        const size_t part = k / n_groups, group = k % n_groups;

        gram_square(part ? held : train, group, h);
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

/* ---- reading ---- */

struct moments {
    struct gguf *file;
    char sha256[65];
    float **factors; /* by item: of its columns, or NULL; owned; NULL: none anywhere */
};

void moments_close(struct moments *moments)
{
    if (!moments)
        return;
    for (size_t i = 0; moments->factors && i < gguf_count(moments->file) / PARTS; i++)
        free(moments->factors[i]);
    free(moments->factors);
    gguf_close(moments->file);
    free(moments);
}

/* Groups of an input that is cut as every file cuts it. */
static bool is_squares_f32(const struct gguf_tensor *t)
{
    return t->type == TYPE_F32 && t->ne[0] == t->ne[1] && t->ne[0] > 0 &&
           t->ne[0] <= MOMENTS_MOST && t->ne[2] <= MOMENTS_MOST && t->ne[3] == 1 &&
           moments_group_columns((size_t)(t->ne[0] * t->ne[2])) == t->ne[0];
}

/* The three tensors of item i are I.h, I.held and I.tokens. */
static bool are_named_alike(const struct gguf_tensor *h, const struct gguf_tensor *held,
                            const struct gguf_tensor *tokens)
{
    const size_t n = strlen(h->name);

    return n > 2 && strcmp(h->name + n - 2, ".h") == 0 &&
           strncmp(held->name, h->name, n - 1) == 0 &&
           strcmp(held->name + n - 1, "held") == 0 &&
           strncmp(tokens->name, h->name, n - 1) == 0 &&
           strcmp(tokens->name + n - 1, "tokens") == 0;
}

static enum status check_version(const struct moments *moments, const char *path,
                                 struct error *err)
{
    uint32_t version = 1;

    if (!gguf_get_u32(gguf_metadata(moments->file), "moments.version", &version))
        version = 1;
    if (version == MOMENTS_VERSION)
        return OK;
    return fail(err, ERR_USAGE,
                "%s: second moments of version %" PRIu32
                ", where this program reads %d: gather them anew",
                path, version, MOMENTS_VERSION);
}

/* Every tensor belongs to a whole item. */
static enum status check_items(const struct moments *moments, const char *path,
                               struct error *err)
{
    struct gguf_str type;

    if (!gguf_get_str(gguf_metadata(moments->file), "general.type", &type) ||
        strcmp(type.text, "moments") != 0)
        return fail(err, ERR_USAGE, "%s: not a file of second moments", path);
    if (check_version(moments, path, err) != OK)
        return err->code;
    if (gguf_count(moments->file) % PARTS != 0)
        return fail(err, ERR_CORRUPT, "%s: an input's tensors are not complete", path);
    for (size_t i = 0; i < gguf_count(moments->file); i += PARTS) {
        const struct gguf_tensor *h = gguf_at(moments->file, i);
        const struct gguf_tensor *held = gguf_at(moments->file, i + 1);
        const struct gguf_tensor *tokens = gguf_at(moments->file, i + 2);

        if (!are_named_alike(h, held, tokens))
            return fail(err, ERR_CORRUPT, "%s: %s, %s and %s are not one input's", path,
                        h->name, held->name, tokens->name);
        if (!is_squares_f32(h) || !is_squares_f32(held) || held->ne[0] != h->ne[0] ||
            held->ne[2] != h->ne[2] || tokens->type != TYPE_F32 || tokens->ne[0] != 2 ||
            tokens->n_dims != 1)
            return fail(err, ERR_CORRUPT,
                        "%s: %s is not square matrices of F32 with their counts", path,
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

const struct gguf_meta *moments_meta(const struct moments *moments)
{
    return gguf_metadata(moments->file);
}

const char *moments_source(const struct moments *moments)
{
    struct gguf_str source;

    return gguf_get_str(moments_meta(moments), "moments.source", &source) ? source.text
                                                                          : NULL;
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
        *entry = (struct moments_entry){.n = (size_t)(t->ne[0] * t->ne[2]),
                                        .group = (size_t)t->ne[0],
                                        .tokens = (double)tokens[0],
                                        .held_tokens = (double)tokens[1],
                                        .index = i};
        return true;
    }
    return false;
}

/* ---- inputs of weights that were rewritten ---- */

enum status moments_rescale(struct moments *moments, const char *input, const float *s,
                            size_t n, struct error *err)
{
    struct moments_entry entry;
    float *copy;

    if (!moments_find(moments, input, &entry) || entry.n != n)
        return OK;
    if (!moments->factors)
        moments->factors =
            calloc(gguf_count(moments->file) / PARTS, sizeof(*moments->factors));
    copy = malloc((n + 1) * sizeof(*copy));
    if (!moments->factors || !copy) {
        free(copy);
        return fail(err, ERR_NOMEM, "%s: no memory for its factors", input);
    }
    memcpy(copy, s, n * sizeof(*copy));
    free(moments->factors[entry.index / PARTS]);
    moments->factors[entry.index / PARTS] = copy;
    return OK;
}

static const float *factors_of(const struct moments *moments,
                               const struct moments_entry *entry)
{
    return moments->factors ? moments->factors[entry->index / PARTS] : NULL;
}

/* The square of columns [first, first + count), in memory; symmetric before and after. */
static void rescale_square(const struct moments *moments,
                           const struct moments_entry *entry, size_t first, size_t count,
                           float *h)
{
    const float *s = factors_of(moments, entry);

    for (size_t i = 0; s && i < count; i++)
        for (size_t j = 0; j < count; j++)
            h[i * count + j] *= s[first + i] * s[first + j];
}

enum status moments_read(const struct moments *moments, const struct moments_entry *entry,
                         bool held, float *h, struct error *err)
{
    const struct gguf_tensor *t = gguf_at(moments->file, entry->index + (held ? 1 : 0));

    const size_t square = entry->group * entry->group;
    const enum status st =
        file_read(gguf_file(moments->file, 0), t->offset, h, (size_t)t->n_bytes, err);

    for (size_t first = 0; st == OK && first < entry->n; first += entry->group)
        rescale_square(moments, entry, first, entry->group,
                       h + first / entry->group * square);
    return st;
}

enum status moments_read_square(const struct moments *moments,
                                const struct moments_entry *entry, bool held,
                                size_t first, size_t count, float *h, struct error *err)
{
    const struct gguf_tensor *t = gguf_at(moments->file, entry->index + (held ? 1 : 0));
    enum status st = OK;

    const size_t n = entry->group, at = first % n;
    const uint64_t square = t->offset + (uint64_t)(first / n) * n * n * sizeof(*h);

    assert(first + count <= entry->n && at + count <= n);
    for (size_t i = 0; i < count && st == OK; i++)
        st = file_read(gguf_file(moments->file, 0),
                       square + ((at + i) * n + at) * sizeof(*h), h + i * count,
                       count * sizeof(*h), err);
    if (st == OK)
        rescale_square(moments, entry, first, count, h);
    return st;
}

enum status moments_diagonal(const struct moments *moments,
                             const struct moments_entry *entry, float *diagonal,
                             struct error *err)
{
    const struct gguf_tensor *t = gguf_at(moments->file, entry->index);
    const float *s = factors_of(moments, entry);
    const size_t n = entry->group;
    enum status st = OK;

    for (size_t j = 0; j < entry->n && st == OK; j++)
        st = file_read(gguf_file(moments->file, 0),
                       t->offset + (uint64_t)(j * n + j % n) * sizeof(float),
                       &diagonal[j], sizeof(float), err);
    for (size_t j = 0; j < entry->n && st == OK && s; j++)
        diagonal[j] *= s[j] * s[j];
    return st;
}
