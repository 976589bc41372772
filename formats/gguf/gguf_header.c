/*
 * gguf_header.c - read and check one file's header: counts, keys, the table of tensors
 */
#include "formats/gguf/gguf_file.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    KEYS_MOST = 1 << 16,
    TENSORS_MOST = 1 << 20,
    KEY_LEAST = 8 + 1 + 4 + 1, /* bytes of the shortest key and value */
    TENSOR_LEAST = 8 + 1 + 4 + 4 + 8,
    NAME_MOST = 63,
    DEFAULT_ALIGNMENT = 32,
};

/* Counts as the file gives them, and how far its tensors reach. */
struct header {
    uint64_t n_tensors, n_keys;
    uint64_t data_bytes; /* of the tensors so far, padded */
};

static enum status read_start(struct gguf_source *src, struct header *head,
                              struct error *err)
{
    uint8_t magic[4], fixed[20];
    uint32_t version;
    enum status st = gguf_source_take(src, magic, sizeof(magic), err);

    if (st != OK)
        return st;
    if (memcmp(magic, "GGUF", sizeof(magic)) != 0)
        return fail(err, ERR_CORRUPT, "not a GGUF file: the magic is not GGUF");
    st = gguf_source_take(src, fixed, sizeof(fixed), err);
    if (st != OK)
        return st;
    version = load_u32(fixed);
    if (version != 0 && (version & 0xffff) == 0)
        return fail(err, ERR_UNSUPPORTED, "version %" PRIu32 ": a big-endian file",
                    version);
    if (version != 2 && version != 3)
        return fail(err, ERR_UNSUPPORTED, "version %" PRIu32 ", not 2 or 3", version);
    head->n_tensors = load_u64(fixed + 4);
    head->n_keys = load_u64(fixed + 12);
    if (head->n_tensors > gguf_source_left(src) / TENSOR_LEAST ||
        head->n_tensors > TENSORS_MOST)
        return fail(err, ERR_CORRUPT,
                    "tensor count %" PRIu64 " in a file of %" PRIu64 " bytes",
                    head->n_tensors, src->size);
    if (head->n_keys > gguf_source_left(src) / KEY_LEAST || head->n_keys > KEYS_MOST)
        return fail(err, ERR_CORRUPT,
                    "key count %" PRIu64 " in a file of %" PRIu64 " bytes", head->n_keys,
                    src->size);
    return OK;
}

static enum status read_keys(struct gguf_source *src, const struct header *head,
                             struct gguf_meta *meta, struct error *err)
{
    for (uint64_t i = 0; i < head->n_keys; i++) {
        struct gguf_entry *entry = NULL;
        enum status st = gguf_read_entry(src, i, &entry, err);

        if (st == OK && gguf_meta_find(meta, entry->key)) {
            st = fail(err, ERR_CORRUPT, "%s: the key stands twice", entry->key);
            gguf_entry_free(entry);
        } else if (st == OK) {
            st = gguf_meta_take(meta, entry, err);
        }
        if (st != OK)
            return st;
    }
    return OK;
}

static enum status read_alignment(struct gguf_part *part, struct error *err)
{
    const struct gguf_value *value = gguf_meta_find(part->meta, "general.alignment");

    part->alignment = DEFAULT_ALIGNMENT;
    if (!value)
        return OK;
    if (value->type != GGUF_U32)
        return fail(err, ERR_CORRUPT, "general.alignment: its type is %s, not u32",
                    gguf_type_name(value->type));
    part->alignment = load_u32(value->data);
    if (part->alignment == 0 || (part->alignment & (part->alignment - 1)) != 0)
        return fail(err, ERR_CORRUPT,
                    "general.alignment: %" PRIu32 " is not a power of two",
                    part->alignment);
    return OK;
}

static enum status read_name(struct gguf *gguf, struct gguf_source *src,
                             struct gguf_tensor *t, struct error *err)
{
    const char *trouble;
    uint64_t n = 0;
    char *name;
    enum status st = gguf_source_u64(src, &n, err);

    if (st != OK)
        return st;
    if (n == 0 || n > NAME_MOST)
        return fail(err, ERR_CORRUPT, "a name of %" PRIu64 " bytes; they have 1 to %d", n,
                    NAME_MOST);
    name = arena_alloc(&gguf->names, (size_t)n + 1);
    if (!name)
        return fail(err, ERR_NOMEM, "no memory for a name");
    st = gguf_source_take(src, name, (size_t)n, err);
    if (st != OK)
        return st;
    trouble = gguf_text_trouble(name, (size_t)n);
    if (trouble)
        return fail(err, ERR_CORRUPT, "its name %s", trouble);
    t->name = name;
    return OK;
}

static enum status read_shape(struct gguf_source *src, struct gguf_tensor *t,
                              struct error *err)
{
    uint32_t n_dims = 0;
    uint64_t n = 1;
    enum status st = gguf_source_u32(src, &n_dims, err);

    if (st != OK)
        return st;
    if (n_dims > 4)
        return fail(err, ERR_CORRUPT, "%" PRIu32 " dimensions; there are at most 4",
                    n_dims);
    t->n_dims = (int)n_dims;
    for (int i = 0; i < 4; i++)
        t->ne[i] = 1;
    for (int i = 0; i < t->n_dims; i++) {
        st = gguf_source_u64(src, &t->ne[i], err);
        if (st != OK)
            return st;
        if (t->ne[i] == 0 || t->ne[i] > INT64_MAX)
            return fail(err, ERR_CORRUPT, "dimension %d is %" PRIu64, i, t->ne[i]);
        if (!mul_u64(n, t->ne[i], &n) || n > INT64_MAX)
            return fail(err, ERR_CORRUPT, "overflow in the number of elements");
    }
    return OK;
}

static enum status read_type(struct gguf_source *src, struct gguf_tensor *t,
                             struct error *err)
{
    const struct block_info *info;
    uint32_t type = 0;
    enum status st = gguf_source_u32(src, &type, err);

    if (st != OK)
        return st;
    info = block_type_info((enum block_type)type);
    if (!info)
        return fail(err, ERR_UNSUPPORTED, "tensor type %" PRIu32 " is unknown or retired",
                    type);
    t->type = (enum block_type)type;
    if (t->ne[0] % info->weights != 0)
        return fail(err, ERR_CORRUPT, "rows of %" PRIu64 " are not whole %s blocks of %u",
                    t->ne[0], info->name, info->weights);
    if (!mul_u64(t->ne[0] / info->weights * gguf_tensor_rows(t), info->bytes,
                 &t->n_bytes))
        return fail(err, ERR_CORRUPT, "overflow in the number of bytes");
    return OK;
}

/* Where its data lies, counted from the start of the data for now. */
static enum status read_offset(struct gguf_source *src, struct header *head,
                               uint32_t alignment, struct gguf_tensor *t,
                               struct error *err)
{
    uint64_t end;
    enum status st = gguf_source_u64(src, &t->offset, err);

    if (st != OK)
        return st;
    if (t->offset != head->data_bytes)
        return fail(err, ERR_CORRUPT, "offset %" PRIu64 ", expected %" PRIu64, t->offset,
                    head->data_bytes);
    if (!add_u64(t->offset, t->n_bytes, &end) || end > INT64_MAX)
        return fail(err, ERR_CORRUPT, "overflow in where its data ends");
    head->data_bytes = round_up_u64(end, alignment);
    return OK;
}

static enum status read_tensor(struct gguf *gguf, size_t no, struct gguf_source *src,
                               struct header *head, struct error *err)
{
    struct gguf_tensor *t = &gguf->tensors[gguf->n_tensors];
    enum status st = read_shape(src, t, err);

    t->file = (int)no;
    if (st == OK)
        st = read_type(src, t, err);
    if (st == OK)
        st = read_offset(src, head, gguf->parts[no].alignment, t, err);
    if (st != OK)
        return st;
    if (name_index_find(&gguf->index, t->name) >= 0)
        return fail(err, ERR_CORRUPT, "the tensor stands twice");
    if (!name_index_add(&gguf->index, t->name, gguf->n_tensors))
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    gguf->n_tensors++;
    return OK;
}

static enum status read_tensors(struct gguf *gguf, size_t no, struct gguf_source *src,
                                struct header *head, struct error *err)
{
    size_t n = gguf->n_tensors + (size_t)head->n_tensors;
    struct gguf_tensor *tensors = realloc(gguf->tensors, (n ? n : 1) * sizeof(*tensors));

    if (!tensors)
        return fail(err, ERR_NOMEM, "no memory for %" PRIu64 " tensors", head->n_tensors);
    gguf->tensors = tensors;
    for (uint64_t i = 0; i < head->n_tensors; i++) {
        struct gguf_tensor *t = &tensors[gguf->n_tensors];
        char where[40];

        *t = (struct gguf_tensor){0};
        snprintf(where, sizeof(where), "tensor %" PRIu64, i);
        if (read_name(gguf, src, t, err) != OK)
            return fail_at(err, where);
        if (read_tensor(gguf, no, src, head, err) != OK)
            return fail_at(err, t->name);
    }
    return OK;
}

/* Now that the header's end is known: where data begins, and that all of it is there. */
static enum status place_data(struct gguf *gguf, size_t no, const struct gguf_source *src,
                              const struct header *head, struct error *err)
{
    struct gguf_part *part = &gguf->parts[no];

    part->data_start = round_up_u64(src->at, part->alignment);
    if (head->n_tensors == 0 && src->at == src->size)
        part->data_start = src->size; /* metadata alone may go without its padding */
    if (part->data_start > src->size)
        return fail(err, ERR_CORRUPT,
                    "data begins at byte %" PRIu64 " (general.alignment is %" PRIu32
                    "), but the file has %" PRIu64,
                    part->data_start, part->alignment, src->size);
    for (size_t i = gguf->n_tensors - (size_t)head->n_tensors; i < gguf->n_tensors; i++) {
        struct gguf_tensor *t = &gguf->tensors[i];

        if (t->offset + t->n_bytes > src->size - part->data_start)
            return fail(err, ERR_CORRUPT,
                        "%s: needs bytes up to %" PRIu64
                        ", but the file is truncated at %" PRIu64,
                        t->name, part->data_start + t->offset + t->n_bytes, src->size);
        t->offset += part->data_start;
    }
    return OK;
}

enum status gguf_read_header(struct gguf *gguf, size_t no, struct gguf_source *src,
                             struct error *err)
{
    struct gguf_part *part = &gguf->parts[no];
    struct header head = {0};
    enum status st = read_start(src, &head, err);

    if (st != OK)
        return st;
    part->meta = gguf_meta_new();
    if (!part->meta)
        return fail(err, ERR_NOMEM, "no memory for metadata");
    st = read_keys(src, &head, part->meta, err);
    if (st == OK)
        st = read_alignment(part, err);
    if (st == OK)
        st = read_tensors(gguf, no, src, &head, err);
    if (st == OK)
        st = place_data(gguf, no, src, &head, err);
    return st;
}
