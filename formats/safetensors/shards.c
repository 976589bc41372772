/*
 * shards.c - the files of a checkpoint folder as one list of tensors
 */
#include "formats/names/names.h"
#include "formats/safetensors/safetensors.h"
#include "formats/weightmap/weightmap.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

enum { COMPARE_BYTES = 1 << 20 };

static const char index_name[] = "model.safetensors.index.json";
static const char single_name[] = "model.safetensors";

struct shards {
    struct safetensors **files; /* owned */
    size_t n_files;
    struct tensor *tensors; /* owned; by shard, then offset */
    size_t n_tensors;
    struct name_index index;
};

/* ---- the names in a folder ---- */

/* Starts as `= {0}`. */
struct listing {
    struct arena arena;
    const char **names; /* owned; in byte order */
    size_t n;
};

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool listing_add(struct listing *listing, const char *name)
{
    const char **names = realloc(listing->names, (listing->n + 1) * sizeof(*names));
    const char *copy = arena_strdup(&listing->arena, name);

    if (names)
        listing->names = names;
    if (!names || !copy)
        return false;
    names[listing->n++] = copy;
    return true;
}

static bool ends_in(const char *name, const char *ending)
{
    size_t n = strlen(name), n_ending = strlen(ending);

    return n >= n_ending && strcmp(name + n - n_ending, ending) == 0;
}

/* The index and everything that ends in .safetensors, whatever kind of file it is: a broken
 * link must be complained about, not passed over. */
static enum status listing_read(const char *folder, struct listing *listing,
                                struct error *err)
{
    DIR *dir = opendir(folder);
    struct dirent *found;
    enum status st = OK;

    if (!dir)
        return fail(err, ERR_USAGE, "%s: %s", folder, strerror(errno));
    for (errno = 0; st == OK && (found = readdir(dir)) != NULL; errno = 0) {
        bool counts = strcmp(found->d_name, index_name) == 0 ||
                      (found->d_name[0] != '.' && ends_in(found->d_name, ".safetensors"));

        if (counts && !listing_add(listing, found->d_name))
            st = fail(err, ERR_NOMEM, "%s: no memory for its listing", folder);
    }
    if (st == OK && errno)
        st = fail(err, ERR_IO, "%s: %s", folder, strerror(errno));
    closedir(dir);
    if (listing->n > 0)
        qsort(listing->names, listing->n, sizeof(*listing->names), by_bytes);
    return st;
}

static bool listing_has(const struct listing *listing, const char *name)
{
    for (size_t i = 0; i < listing->n; i++)
        if (strcmp(listing->names[i], name) == 0)
            return true;
    return false;
}

static void listing_free(struct listing *listing)
{
    arena_free(&listing->arena);
    free(listing->names);
}

/* ---- opening files ---- */

static enum status open_one(struct shards *set, const char *path, struct error *err)
{
    struct safetensors **files =
        realloc(set->files, (set->n_files + 1) * sizeof(struct safetensors *));
    enum status st;

    if (!files)
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    set->files = files;
    st = safetensors_open(path, &files[set->n_files], err);
    if (st == OK)
        set->n_files++;
    return st;
}

/* ---- one list ---- */

static enum status same_bytes(const struct shards *set, const struct tensor *a,
                              const struct tensor *b, bool *same, struct error *err)
{
    uint8_t *x = malloc(COMPARE_BYTES), *y = malloc(COMPARE_BYTES);
    enum status st = OK;

    *same = a->dtype == b->dtype && a->n_dims == b->n_dims &&
            memcmp(a->dims, b->dims, sizeof(a->dims)) == 0;
    if (!x || !y)
        st = fail(err, ERR_NOMEM, "no memory to compare %s", a->name);
    for (uint64_t at = 0; st == OK && *same && at < a->n_bytes; at += COMPARE_BYTES) {
        uint64_t left = a->n_bytes - at;
        size_t n = left < COMPARE_BYTES ? (size_t)left : COMPARE_BYTES;

        st = file_read(shards_file(set, a->file), a->offset + at, x, n, err);
        if (st == OK)
            st = file_read(shards_file(set, b->file), b->offset + at, y, n, err);
        if (st == OK)
            *same = memcmp(x, y, n) == 0;
    }
    free(x);
    free(y);
    return st;
}

/* A name that is there already must hold the same bytes; then the first one counts. */
static enum status check_twin(const struct shards *set, const struct tensor *first,
                              const struct tensor *again, struct error *err)
{
    bool same = false;
    enum status st = same_bytes(set, first, again, &same, err);

    if (st == OK && !same)
        return fail(err, ERR_CORRUPT,
                    "%s: the tensor is in %s and, with other data, in %s", first->name,
                    file_path(shards_file(set, first->file)),
                    file_path(shards_file(set, again->file)));
    return st;
}

static enum status add_file(struct shards *set, int no, struct error *err)
{
    const struct safetensors *file = set->files[no];

    for (size_t i = 0; i < safetensors_count(file); i++) {
        struct tensor t = *safetensors_at(file, i);
        int64_t at = name_index_find(&set->index, t.name);
        enum status st = OK;

        t.file = no;
        if (at >= 0)
            st = check_twin(set, &set->tensors[at], &t, err);
        else if (!name_index_add(&set->index, t.name, set->n_tensors))
            st = fail(err, ERR_NOMEM, "no memory for the table of tensors");
        else
            set->tensors[set->n_tensors++] = t;
        if (st != OK)
            return st;
    }
    return OK;
}

static enum status gather(struct shards *set, struct error *err)
{
    size_t n = 0;
    enum status st = OK;

    for (size_t i = 0; i < set->n_files; i++)
        n += safetensors_count(set->files[i]);
    set->tensors = calloc(n ? n : 1, sizeof(*set->tensors));
    if (!set->tensors)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    for (size_t i = 0; i < set->n_files && st == OK; i++)
        st = add_file(set, (int)i, err);
    return st;
}

/* ---- opening several ---- */

static enum status open_names(struct shards *set, const char *folder,
                              const char *const *names, size_t n, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < n && st == OK; i++) {
        struct arena arena = {0};
        char *path = arena_printf(&arena, "%s/%s", folder, names[i]);

        st = path ? open_one(set, path, err)
                  : fail(err, ERR_NOMEM, "%s: no memory to open it", names[i]);
        arena_free(&arena);
    }
    return st == OK ? gather(set, err) : st;
}

/* ---- without an index ---- */

/* model.safetensors, else all of model*.safetensors, else the only one. */
static enum status open_listed(struct shards *set, const char *folder,
                               const struct listing *listing, struct error *err)
{
    const char *single = single_name;
    const char **names = listing->names;
    size_t n = 0;

    if (listing_has(listing, single_name))
        return open_names(set, folder, &single, 1, err);
    for (size_t i = 0; i < listing->n; i++)
        if (strncmp(listing->names[i], "model", 5) == 0)
            names[n++] = listing->names[i]; /* never ahead of where it reads */
    if (n == 0 && listing->n == 1)
        n = 1;
    if (n == 0)
        return fail(err, ERR_USAGE,
                    "%s: no weights: no %s, no %s, and %zu other .safetensors files",
                    folder, index_name, single_name, listing->n);
    return open_names(set, folder, names, n, err);
}

/* ---- what the index gets wrong ---- */

/* A kind of slip: how often, and the first name. */
struct slip {
    size_t n;
    const char *first;
};

static void note(struct slip *slip, const char *name)
{
    if (slip->n++ == 0)
        slip->first = name;
}

static void warn(const struct slip *slip, const char *path, const char *what)
{
    if (slip->n == 1)
        log_warn("%s: %s %s", path, slip->first, what);
    else if (slip->n > 1)
        log_warn("%s: %s and %zu more: each %s", path, slip->first, slip->n - 1, what);
}

static void compare_index(const struct shards *set, const struct weightmap *index,
                          const char *path)
{
    struct slip unlisted = {0}, misplaced = {0}, absent = {0};

    for (size_t i = 0; i < set->n_tensors; i++) {
        const struct tensor *t = &set->tensors[i];
        int64_t at = name_index_find(&index->by_tensor, t->name);

        if (at < 0)
            note(&unlisted, t->name);
        else if (index->entries[at].shard != (size_t)t->file)
            note(&misplaced, t->name);
    }
    for (size_t i = 0; i < index->n_entries; i++)
        if (name_index_find(&set->index, index->entries[i].tensor) < 0)
            note(&absent, index->entries[i].tensor);
    warn(&unlisted, path, "is not in the index but in a shard");
    warn(&misplaced, path, "is not in the shard the index names but in another");
    warn(&absent, path, "is in the index but in no shard");
}

/* Whether a file has every tensor of the index. One that cannot be opened has not. */
static bool has_all(const char *path, const struct weightmap *index)
{
    struct safetensors *file = NULL;
    struct error unsaid = {0};
    size_t n = 0;

    if (safetensors_open(path, &file, &unsaid) != OK)
        return false;
    for (size_t i = 0; i < safetensors_count(file); i++)
        n += name_index_find(&index->by_tensor, safetensors_at(file, i)->name) >= 0;
    safetensors_close(file);
    return n == index->n_entries;
}

/* A model saved anew in one file leaves the index of its shards behind, and maybe the shards:
 * transformers looks for the one file first. Here it must be able to take the place of the shards. */
static bool is_outdated(const struct weightmap *index, const struct listing *listing,
                        const char *single)
{
    if (!listing_has(listing, single_name) ||
        name_index_find(&index->by_shard, single_name) >= 0)
        return false;
    for (size_t i = 0; i < index->n_shards; i++)
        if (!listing_has(listing, index->shards[i]))
            return true;
    return has_all(single, index);
}

static enum status open_indexed(struct shards *set, const char *folder,
                                const struct listing *listing, struct error *err)
{
    struct weightmap index = {0};
    struct arena arena = {0};
    char *path = arena_printf(&arena, "%s/%s", folder, index_name);
    char *single = arena_printf(&arena, "%s/%s", folder, single_name);
    enum status st;

    if (!path || !single)
        st = fail(err, ERR_NOMEM, "%s: no memory to open it", folder);
    else
        st = weightmap_read(path, &index, err);
    if (st == OK && is_outdated(&index, listing, single)) {
        log_warn("%s is not read: %s is there", path, single_name);
        st = open_listed(set, folder, listing, err);
    } else if (st == OK) {
        st = open_names(set, folder, index.shards, index.n_shards, err);
        if (st == OK)
            compare_index(set, &index, path);
    }
    weightmap_free(&index);
    arena_free(&arena);
    return st;
}

/* ---- the door ---- */

static bool is_open(const struct shards *set, const char *name)
{
    for (size_t i = 0; i < set->n_files; i++) {
        const char *path = file_path(safetensors_file(set->files[i]));
        const char *slash = strrchr(path, '/');

        if (strcmp(slash ? slash + 1 : path, name) == 0)
            return true;
    }
    return false;
}

/* Weights beside those that are read: which of the two was meant, only the user knows. */
static void warn_unread(const struct shards *set, const struct listing *listing,
                        const char *folder)
{
    struct slip unread = {0};

    for (size_t i = 0; i < listing->n; i++)
        if (strncmp(listing->names[i], "model", 5) == 0 &&
            ends_in(listing->names[i], ".safetensors") &&
            !is_open(set, listing->names[i]))
            note(&unread, listing->names[i]);
    warn(&unread, folder, "is not read: other files are the model's");
}

enum status shards_open(const char *folder, struct shards **out, struct error *err)
{
    struct listing listing = {0};
    struct shards *set = calloc(1, sizeof(*set));
    enum status st;

    if (!set)
        return fail(err, ERR_NOMEM, "%s: no memory to open it", folder);
    st = listing_read(folder, &listing, err);
    if (st == OK && listing_has(&listing, index_name))
        st = open_indexed(set, folder, &listing, err);
    else if (st == OK)
        st = open_listed(set, folder, &listing, err);
    if (st == OK)
        warn_unread(set, &listing, folder);
    listing_free(&listing);
    if (st == OK)
        *out = set;
    else
        shards_close(set);
    return st;
}

enum status shards_open_file(const char *path, struct shards **out, struct error *err)
{
    struct shards *set = calloc(1, sizeof(*set));
    enum status st;

    if (!set)
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    st = open_one(set, path, err);
    if (st == OK)
        st = gather(set, err);
    if (st == OK)
        *out = set;
    else
        shards_close(set);
    return st;
}

void shards_close(struct shards *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->n_files; i++)
        safetensors_close(set->files[i]);
    free(set->files);
    free(set->tensors);
    name_index_free(&set->index);
    free(set);
}

size_t shards_count(const struct shards *set)
{
    return set->n_tensors;
}

const struct tensor *shards_at(const struct shards *set, size_t i)
{
    return &set->tensors[i];
}

const struct tensor *shards_find(const struct shards *set, const char *name)
{
    int64_t at = name_index_find(&set->index, name);

    return at < 0 ? NULL : &set->tensors[at];
}

size_t shards_n_files(const struct shards *set)
{
    return set->n_files;
}

const struct file *shards_file(const struct shards *set, int i)
{
    return safetensors_file(set->files[i]);
}
