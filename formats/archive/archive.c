/*
 * archive.c - one list of tensors over archives of several kinds; reading them
 */
#include "formats/archive/archive_file.h"

#include <assert.h>
#include <stdlib.h>

enum { START_BYTES = 32 };

/* The pickled magic number that the format before the zip begins with. */
static const uint8_t legacy_magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c,
                                       0xfc, 0x9c, 0x46, 0xf9, 0x20};

/* ---- adding ---- */

static bool is_row_major(const struct archive_entry *entry)
{
    const struct tensor *view = &entry->public.view;
    uint64_t stride = 1;

    for (int i = view->n_dims - 1; i >= 0; i--) {
        if (view->dims[i] != 1 && entry->strides[i] != stride)
            return false;
        stride *= view->dims[i];
    }
    return true;
}

static bool reserve_one(struct archive *archive)
{
    size_t capacity = archive->capacity ? 2 * archive->capacity : 64;
    struct archive_entry *bigger;

    if (archive->n < archive->capacity)
        return true;
    bigger = realloc(archive->entries, capacity * sizeof(*bigger));
    if (!bigger)
        return false;
    archive->entries = bigger;
    archive->capacity = capacity;
    return true;
}

enum status archive_add(struct archive *archive, const struct archive_entry *entry,
                        struct error *err)
{
    struct archive_entry *added;
    const char *name = entry->public.view.name;
    int64_t at = name_index_find(&archive->index, name);

    if (at >= 0)
        return fail(err, ERR_CORRUPT, "the tensor stands twice, the first time in %s",
                    file_path(archive->files[archive->entries[at].public.view.file]));
    name = arena_strdup(&archive->arena, name);
    if (!name || !reserve_one(archive) ||
        !name_index_add(&archive->index, name, archive->n))
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    added = &archive->entries[archive->n++];
    *added = *entry;
    added->public.view.name = name;
    added->public.view.offset = entry->first;
    added->public.is_plain =
        !entry->deflated && (entry->public.view.n_bytes == 0 || is_row_major(entry));
    return OK;
}

/* ---- opening ---- */

static enum status add_zip(struct archive *archive, const struct file *file, int no,
                           struct error *err)
{
    struct members members = {0};
    bool is_npz;
    enum status st = members_read(file, &members, err);

    if (st == OK) {
        const char *first = members.n ? members.list[0].name : "";
        size_t n = strlen(first);

        is_npz = n > 4 && strcmp(first + n - 4, ".npy") == 0;
        st = is_npz ? npz_add(archive, file, no, &members, err)
                    : torch_add(archive, file, no, &members, err);
    }
    members_free(&members);
    return st;
}

static enum status add_contents(struct archive *archive, const struct file *file, int no,
                                struct error *err)
{
    uint8_t start[START_BYTES] = {0};
    uint64_t size = file_size(file);
    size_t n = size < START_BYTES ? (size_t)size : START_BYTES;
    enum status st = file_read(file, 0, start, n, err);

    if (st != OK)
        return st;
    if (n >= sizeof(legacy_magic) &&
        memcmp(start, legacy_magic, sizeof(legacy_magic)) == 0)
        return fail(
            err, ERR_UNSUPPORTED,
            "the legacy torch format (before 1.6); save it again with a newer torch");
    if (n >= 6 && memcmp(start, "\x93NUMPY", 6) == 0)
        return npy_add(archive, file, no, err);
    if (file_is_pointer(start, n))
        return fail(err, ERR_CORRUPT,
                    "a git-lfs pointer; the file itself was not downloaded");
    if (!members_look_like_zip(start, n))
        return fail(err, ERR_UNSUPPORTED, "not a torch zip, nor a NumPy file");
    return add_zip(archive, file, no, err);
}

enum status archive_add_file(struct archive *archive, const char *path, struct error *err)
{
    struct file **files =
        realloc(archive->files, (archive->n_files + 1) * sizeof(struct file *));
    int no = (int)archive->n_files;
    enum status st;

    if (!files)
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    archive->files = files;
    st = file_open(path, &files[no], err);
    if (st != OK)
        return st;
    archive->n_files++;
    st = add_contents(archive, files[no], no, err);
    if (st != OK && strncmp(err->text, path, strlen(path)) != 0)
        fail_at(err, path);
    return st;
}

enum status archive_open(const char *path, struct archive **out, struct error *err)
{
    struct archive *archive = calloc(1, sizeof(*archive));
    enum status st;

    if (!archive)
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    st = archive_add_file(archive, path, err);
    if (st == OK)
        *out = archive;
    else
        archive_close(archive);
    return st;
}

void archive_close(struct archive *archive)
{
    if (!archive)
        return;
    for (size_t i = 0; i < archive->n; i++)
        deflated_close(archive->entries[i].deflated);
    for (size_t i = 0; i < archive->n_files; i++)
        file_close(archive->files[i]);
    free(archive->files);
    free(archive->entries);
    name_index_free(&archive->index);
    arena_free(&archive->arena);
    free(archive);
}

/* ---- looking ---- */

size_t archive_count(const struct archive *archive)
{
    return archive->n;
}

const struct archive_tensor *archive_at(const struct archive *archive, size_t i)
{
    return &archive->entries[i].public;
}

const struct archive_tensor *archive_find(const struct archive *archive, const char *name)
{
    int64_t at = name_index_find(&archive->index, name);

    return at < 0 ? NULL : &archive->entries[at].public;
}

size_t archive_n_files(const struct archive *archive)
{
    return archive->n_files;
}

const struct file *archive_file(const struct archive *archive, int i)
{
    return archive->files[i];
}

/* ---- reading ---- */

enum status archive_read(const struct archive *archive, size_t i, uint64_t at, size_t n,
                         void *dst, struct error *err)
{
    const struct archive_entry *entry = &archive->entries[i];
    const struct tensor *view = &entry->public.view;
    const struct file *file = archive->files[view->file];
    enum status st;

    assert(at <= view->n_bytes && n <= view->n_bytes - at);
    if (n == 0)
        return OK;
    if (entry->public.is_plain)
        return file_read(file, view->offset + at, dst, n, err);
    if (!entry->deflated)
        return gather_bytes(entry, file, at, n, dst, err);
    st = deflated_read(entry->deflated, entry->deflated_skip + at, dst, n, err);
    if (st == OK)
        return OK;
    fail_at(err, view->name);
    return fail_at(err, file_path(file));
}
