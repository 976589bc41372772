/*
 * torch.c - from a zip with a pickle to tensors that are views of its storages
 */
#include "formats/archive/archive_file.h"
#include "formats/archive/pickle.h"

#include <inttypes.h>
#include <stdlib.h>

enum { PICKLE_MOST = 64 << 20, PATH_BYTES = 4200 };

/* What all tensors of one file share. */
struct torch_file {
    struct archive *archive;
    const struct file *file;
    int no;
    const struct members *members;
    const char *folder; /* "archive": the one folder of the zip */
};

/* ---- the zip ---- */

static const struct member *find_in(const struct torch_file *t, const char *name)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof(path), "%s/%s", t->folder, name);

    return n < (int)sizeof(path) ? members_find(t->members, path) : NULL;
}

/* The folder that holds data.pkl, copied to the arena. */
static enum status find_folder(struct torch_file *t, struct arena *arena,
                               struct error *err)
{
    for (size_t i = 0; i < t->members->n; i++) {
        const char *name = t->members->list[i].name;
        const char *slash = strchr(name, '/');

        if (slash && strcmp(slash, "/data.pkl") == 0) {
            t->folder = arena_strndup(arena, name, (size_t)(slash - name));
            return t->folder ? OK : fail(err, ERR_NOMEM, "no memory to read a zip");
        }
    }
    return fail(err, ERR_UNSUPPORTED, "a zip without data.pkl: not a torch zip");
}

static enum status check_byte_order(const struct torch_file *t, struct error *err)
{
    const struct member *order = find_in(t, "byteorder");
    char text[8] = {0};
    enum status st;

    if (!order)
        return OK;
    if (order->size >= sizeof(text))
        return fail(err, ERR_CORRUPT, "byteorder has %" PRIu64 " bytes", order->size);
    st = file_read(t->file, order->offset, text, (size_t)order->size, err);
    if (st == OK && strncmp(text, "little", 6) != 0)
        return fail(err, ERR_UNSUPPORTED, "byteorder is \"%s\", not little", text);
    return st;
}

static enum status check_zip(const struct torch_file *t, struct error *err)
{
    const size_t n_folder = strlen(t->folder);

    for (size_t i = 0; i < t->members->n; i++) {
        const struct member *member = &t->members->list[i];
        const char *inside = member->name + n_folder + 1;

        if (strncmp(member->name, t->folder, n_folder) != 0 ||
            member->name[n_folder] != '/')
            return fail(err, ERR_CORRUPT, "zip: %s is outside the folder %s",
                        member->name, t->folder);
        if (strcmp(inside, "constants.pkl") == 0 || strncmp(inside, "code/", 5) == 0)
            return fail(err, ERR_UNSUPPORTED,
                        "a TorchScript archive: it holds a program");
        if (member->method != METHOD_STORED)
            return fail(err, ERR_UNSUPPORTED,
                        "zip: %s: compression, which torch never uses", member->name);
    }
    return check_byte_order(t, err);
}

static enum status read_pickle(const struct torch_file *t, struct arena *arena,
                               struct value **out, struct error *err)
{
    const struct member *member = find_in(t, "data.pkl");
    uint8_t *bytes;
    enum status st;

    if (member->size > PICKLE_MOST)
        return fail(err, ERR_UNSUPPORTED, "%s: %" PRIu64 " bytes, above %d", member->name,
                    member->size, PICKLE_MOST);
    bytes = malloc(member->size ? (size_t)member->size : 1);
    if (!bytes)
        return fail(err, ERR_NOMEM, "no memory for %s", member->name);
    st = file_read(t->file, member->offset, bytes, (size_t)member->size, err);
    if (st == OK)
        st = pickle_read(bytes, (size_t)member->size, arena, out, err);
    free(bytes);
    return st;
}

/* ---- tensors ---- */

/* The member of a storage, whose size must be the one the pickle claims. */
static enum status find_storage(const struct torch_file *t, const struct value *storage,
                                const struct member **out, struct error *err)
{
    const bool counts_bytes = storage->name->meaning == NAME_BYTE_STORAGE;
    const uint64_t width = counts_bytes ? 1 : dtype_bits(storage->name->dtype) / 8;
    const struct member *member;
    char name[64];
    uint64_t n_bytes;

    if (storage->n == 0 || storage->n > 32 || strpbrk(storage->text, "/\\.") ||
        strlen(storage->text) != storage->n)
        return fail(err, ERR_CORRUPT, "the storage key \"%s\" is not a plain one",
                    storage->text);
    snprintf(name, sizeof(name), "data/%s", storage->text);
    member = find_in(t, name);
    if (!member)
        return fail(err, ERR_CORRUPT, "%s/%s is not in the zip", t->folder, name);
    if (storage->number < 0 || !mul_u64((uint64_t)storage->number, width, &n_bytes) ||
        n_bytes != member->size)
        return fail(err, ERR_CORRUPT,
                    "%s has %" PRIu64 " bytes, but the pickle says %" PRId64
                    " elements of %" PRIu64,
                    member->name, member->size, storage->number, width);
    *out = member;
    return OK;
}

/* A tuple of whole numbers that are not negative. */
static enum status read_numbers(const struct value *tuple, const char *what,
                                uint64_t *out, struct error *err)
{
    if (tuple->n > TENSOR_MAX_DIMS)
        return fail(err, ERR_UNSUPPORTED, "rank %zu is above %d", tuple->n,
                    TENSOR_MAX_DIMS);
    for (size_t i = 0; i < tuple->n; i++) {
        if (tuple->items[i]->kind != VALUE_INT)
            return fail(err, ERR_CORRUPT, "a %s that is not a whole number", what);
        if (tuple->items[i]->number < 0)
            return fail(err, ERR_CORRUPT, "a negative %s: %" PRId64, what,
                        tuple->items[i]->number);
        out[i] = (uint64_t)tuple->items[i]->number;
    }
    return OK;
}

/* The last element must lie within the storage's n_elements. */
static enum status check_reach(const struct archive_entry *entry, uint64_t offset,
                               uint64_t n_elements, struct error *err)
{
    const struct tensor *view = &entry->public.view;
    uint64_t last = offset, step;

    if (view->n_bytes == 0)
        return OK;
    for (int i = 0; i < view->n_dims; i++)
        if (!mul_u64(view->dims[i] - 1, entry->strides[i], &step) ||
            !add_u64(last, step, &last))
            return fail(err, ERR_CORRUPT, "overflow in its stride");
    if (last >= n_elements)
        return fail(err, ERR_CORRUPT,
                    "its size and stride reach element %" PRIu64 " of the %" PRIu64
                    " in its storage",
                    last, n_elements);
    return OK;
}

static enum status add_tensor(const struct torch_file *t, const char *name,
                              const struct value *tensor, struct error *err)
{
    const struct value *storage = tensor->items[0], *size = tensor->items[2];
    const struct torch_name *type = tensor->name ? tensor->name : storage->name;
    const uint64_t width = dtype_bits(type->dtype) / 8;
    struct archive_entry entry = {.public.view = {.name = name, .dtype = type->dtype}};
    struct tensor *view = &entry.public.view;
    const struct member *member = NULL;
    enum status st = find_storage(t, storage, &member, err);

    if (st == OK)
        st = read_numbers(size, "size", view->dims, err);
    if (st == OK)
        st = read_numbers(tensor->items[3], "stride", entry.strides, err);
    if (st != OK)
        return st;
    if (type->meaning == NAME_BYTE_STORAGE)
        return fail(err, ERR_CORRUPT, "a tensor of no type");
    if (tensor->items[3]->n != size->n || tensor->items[1]->number < 0)
        return fail(err, ERR_CORRUPT,
                    "its size, stride and offset do not fit each other");
    view->n_dims = (int)size->n;
    view->file = t->no;
    st = tensor_measure(view->dtype, view->dims, view->n_dims, &view->n_bytes, err);
    if (st == OK)
        st = check_reach(&entry, (uint64_t)tensor->items[1]->number, member->size / width,
                         err);
    if (st == OK && view->n_bytes > file_size(t->file))
        st = fail(err, ERR_CORRUPT,
                  "a view of %" PRIu64 " bytes, which repeats a storage of %" PRIu64,
                  view->n_bytes, member->size);
    if (st != OK)
        return st;
    entry.first = member->offset;
    if (view->n_bytes > 0)
        entry.first += (uint64_t)tensor->items[1]->number * width;
    return archive_add(t->archive, &entry, err);
}

static enum status add_dict(const struct torch_file *t, const struct value *dict,
                            struct error *err)
{
    for (size_t i = 0; i + 1 < dict->n; i += 2) {
        const struct value *key = dict->items[i], *value = dict->items[i + 1];
        enum status st;

        if (value->kind != VALUE_TENSOR || key->kind != VALUE_TEXT)
            continue;
        if (strlen(key->text) != key->n)
            return fail(err, ERR_CORRUPT, "a tensor name holds a NUL after \"%s\"",
                        key->text);
        st = add_tensor(t, key->text, value, err);
        if (st != OK)
            return fail_at(err, key->text);
    }
    return OK;
}

static bool has_tensor(const struct value *dict)
{
    for (size_t i = 1; i < dict->n; i += 2)
        if (dict->items[i]->kind == VALUE_TENSOR)
            return true;
    return false;
}

/* Trainers wrap the dictionary of tensors in another one. */
static const struct value *find_dict(const struct value *top)
{
    static const char *const wrappers[] = {"state_dict", "model", "module"};

    if (top->kind != VALUE_DICT)
        return NULL;
    if (has_tensor(top))
        return top;
    for (size_t w = 0; w < sizeof(wrappers) / sizeof(wrappers[0]); w++) {
        for (size_t i = 0; i + 1 < top->n; i += 2) {
            const struct value *key = top->items[i], *value = top->items[i + 1];

            if (key->kind == VALUE_TEXT && strcmp(key->text, wrappers[w]) == 0 &&
                value->kind == VALUE_DICT && has_tensor(value))
                return value;
        }
    }
    return NULL;
}

enum status torch_add(struct archive *archive, const struct file *file, int no,
                      const struct members *members, struct error *err)
{
    struct torch_file t = {
        .archive = archive, .file = file, .no = no, .members = members};
    struct arena arena = {0};
    struct value *top = NULL;
    const struct value *dict;
    enum status st = find_folder(&t, &arena, err);

    if (st == OK)
        st = check_zip(&t, err);
    if (st == OK)
        st = read_pickle(&t, &arena, &top, err);
    if (st == OK) {
        dict = find_dict(top);
        st = dict ? add_dict(&t, dict, err)
                  : fail(err, ERR_UNSUPPORTED,
                         "the pickle holds no dictionary of tensors");
    }
    arena_free(&arena);
    return st;
}
