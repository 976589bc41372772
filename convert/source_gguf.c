/*
 * source_gguf.c - a GGUF as source: its own names, metadata and order; rows decoded from blocks
 */
#include "convert/source.h"

#include <inttypes.h>

/* What a provider needs of one tensor. */
struct gguf_rows {
    const struct gguf_tensor *t;
    const struct file *file;
    size_t row_bytes;
};

static size_t rows_bytes(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    const struct gguf_rows *rows = t->self;

    (void)first;
    return (size_t)n * rows->row_bytes;
}

static enum status rows_fetch(const struct source_tensor *t, uint64_t first, uint64_t n,
                              void *raw, struct error *err)
{
    const struct gguf_rows *rows = t->self;
    const enum status st =
        file_read(rows->file, rows->t->offset + first * rows->row_bytes, raw,
                  (size_t)n * rows->row_bytes, err);

    return st == OK ? OK : fail_at(err, t->found);
}

static const uint8_t *rows_at(const struct source_tensor *t, const struct fetched *in,
                              uint64_t from)
{
    const struct gguf_rows *rows = t->self;
    const uint8_t *raw = in->raw;

    return raw + (from - in->first) * rows->row_bytes;
}

static void rows_decode(const struct source_tensor *t, const struct fetched *in,
                        uint64_t from, uint64_t n, float *x)
{
    const struct gguf_rows *rows = t->self;

    block_decode(rows->t->type, rows_at(t, in, from), x, (size_t)(n * source_cols(t)));
}

static void rows_repack(const struct source_tensor *t, const struct fetched *in,
                        uint64_t from, uint64_t n, void *blocks)
{
    const struct gguf_rows *rows = t->self;

    memcpy(blocks, rows_at(t, in, from), (size_t)n * rows->row_bytes);
}

static const struct provider gguf_provider = {.fetch_bytes = rows_bytes,
                                              .fetch = rows_fetch,
                                              .decode = rows_decode,
                                              .repack = rows_repack};

static enum status add_tensor(struct source *src, const struct gguf_tensor *g,
                              uint64_t order, struct error *err)
{
    const struct block_info *info = block_type_info(g->type);
    struct source_tensor *t = arena_alloc(&src->arena, sizeof(*t));
    struct gguf_rows *rows = arena_alloc(&src->arena, sizeof(*rows));

    if (!t || !rows)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    if (!info || !info->decode)
        return fail(err, ERR_UNSUPPORTED, "%s: %s: weights of type %s cannot be read",
                    src->path, g->name, block_type_name(g->type));

    *rows = (struct gguf_rows){g, gguf_file(src->gguf, g->file),
                               block_row_bytes(g->type, g->ne[0])};
    *t = (struct source_tensor){.name = g->name,
                                .found = g->name,
                                .type = block_type_name(g->type),
                                .transform = "copy",
                                .n_dims = g->n_dims,
                                .exact = g->type == TYPE_F64 ? TYPE_F32 : g->type,
                                .order = order,
                                .n_bytes = g->n_bytes,
                                .provider = &gguf_provider,
                                .self = rows};
    for (int i = 0; i < g->n_dims; i++)
        t->dims[i] = g->ne[g->n_dims - 1 - i];

    struct source_entry *e = &src->entries[src->n_entries++];
    *e = (struct source_entry){
        .name = g->name, .t = t, .kept = t->exact, .n_dims = g->n_dims};
    memcpy(e->ne, g->ne, sizeof(e->ne));
    return OK;
}

static enum status copy_metadata(struct source *src, struct error *err)
{
    static const char *const of_a_file[] = {"split.no", "split.count",
                                            "split.tensors.count", "general.alignment"};
    const struct gguf_meta *from = gguf_metadata(src->gguf);
    enum status st = OK;

    bool is_equalized = false;
    for (size_t i = 0; st == OK && i < gguf_meta_count(from); i++) {
        const struct gguf_value *value = gguf_meta_at(from, i);

        if (equalize_is_key(value->key))
            is_equalized = true; /* relative to what it was made from, not to itself */
        else
            st = gguf_set_value(src->meta, value, err);
    }
    if (st == OK && is_equalized)
        st = source_note(src, err,
                         "it was equalized when it was made: the same function, weights "
                         "other than its own source's");
    for (size_t i = 0; i < sizeof(of_a_file) / sizeof(of_a_file[0]); i++)
        gguf_unset(src->meta, of_a_file[i]);
    return st;
}

/* Keys of the architecture are called after it. */
static uint32_t arch_u32(const struct source *src, const char *arch, const char *key)
{
    char name[128];
    int64_t n = 0;

    snprintf(name, sizeof(name), "%s.%s", arch, key);
    return gguf_get_int(src->meta, name, &n) && n > 0 && n <= UINT32_MAX ? (uint32_t)n
                                                                         : 0;
}

static enum status find_facts(struct source *src, struct error *err)
{
    struct gguf_str arch;

    if (!gguf_get_str(src->meta, "general.architecture", &arch))
        return fail(err, ERR_CORRUPT, "%s: general.architecture is missing", src->path);
    src->facts =
        (struct mix_facts){.n_layers = arch_u32(src, arch.text, "block_count"),
                           .n_experts = arch_u32(src, arch.text, "expert_count")};
    src->layout = arena_printf(&src->arena, "GGUF, %s, %u layers, %zu tensors", arch.text,
                               src->facts.n_layers, src->n_entries);
    return src->layout ? OK : fail(err, ERR_NOMEM, "no memory for a sentence");
}

static enum status note_requantizing(struct source *src, struct error *err)
{
    size_t n = 0;

    for (size_t i = 0; i < src->n_entries; i++)
        n += block_type_info(src->entries[i].t->exact)->is_quantized;
    if (n == 0)
        return OK;
    return source_note(src, err,
                       "%zu tensors are quantized already: other types cost accuracy "
                       "twice; convert from the original weights where you can",
                       n);
}

enum status source_open_gguf(struct source *src, struct error *err)
{
    enum status st = gguf_open(src->path, &src->gguf, err);

    if (st != OK)
        return st;
    const size_t n = gguf_count(src->gguf);
    src->entries = arena_array(&src->arena, n + 1, sizeof(*src->entries));
    if (!src->entries)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    for (size_t i = 0; st == OK && i < n; i++)
        st = add_tensor(src, gguf_at(src->gguf, i), i, err);
    if (st == OK)
        st = copy_metadata(src, err);
    if (st == OK)
        st = find_facts(src, err);
    return st == OK ? note_requantizing(src, err) : st;
}
