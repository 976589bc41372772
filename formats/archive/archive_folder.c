/*
 * archive_folder.c - the archives of a checkpoint folder
 */
#include "formats/archive/archive_file.h"
#include "formats/weightmap/weightmap.h"

#include <stdlib.h>

static const char index_name[] = "pytorch_model.bin.index.json";

/* Looked for in this order when there is no index. */
static const char *const single_names[] = {"pytorch_model.bin", "weights.npz"};

enum { N_SINGLE = sizeof(single_names) / sizeof(single_names[0]) };

static enum status add_named(struct archive *archive, const char *folder,
                             const char *name, struct error *err)
{
    struct arena arena = {0};
    char *path = arena_printf(&arena, "%s/%s", folder, name);
    enum status st = path ? archive_add_file(archive, path, err)
                          : fail(err, ERR_NOMEM, "%s: no memory to open it", name);

    arena_free(&arena);
    return st;
}

static enum status add_indexed(struct archive *archive, const char *folder,
                               const char *index_path, struct error *err)
{
    struct weightmap map = {0};
    enum status st = weightmap_read(index_path, &map, err);

    for (size_t i = 0; i < map.n_shards && st == OK; i++)
        st = add_named(archive, folder, map.shards[i], err);
    weightmap_free(&map);
    return st;
}

/* The first of our names that is in the folder; NULL when none is. The path is in the arena. */
static const char *find_name(const char *folder, struct arena *arena, char **path)
{
    const char *names[1 + N_SINGLE] = {index_name};

    for (size_t i = 0; i < N_SINGLE; i++)
        names[1 + i] = single_names[i];
    for (size_t i = 0; i < 1 + N_SINGLE; i++) {
        *path = arena_printf(arena, "%s/%s", folder, names[i]);
        if (*path && file_exists(*path))
            return names[i];
    }
    return NULL;
}

bool archive_is_in_folder(const char *folder)
{
    struct arena arena = {0};
    char *path = NULL;
    bool is_there = find_name(folder, &arena, &path) != NULL;

    arena_free(&arena);
    return is_there;
}

enum status archive_open_folder(const char *folder, struct archive **out,
                                struct error *err)
{
    struct archive *archive = calloc(1, sizeof(*archive));
    struct arena arena = {0};
    char *path = NULL;
    const char *name = find_name(folder, &arena, &path);
    enum status st;

    if (!archive)
        st = fail(err, ERR_NOMEM, "%s: no memory to open it", folder);
    else if (!name)
        st = fail(err, ERR_USAGE, "%s: no weights: no %s, no %s", folder, index_name,
                  single_names[0]);
    else if (strcmp(name, index_name) == 0)
        st = add_indexed(archive, folder, path, err);
    else
        st = add_named(archive, folder, name, err);
    if (st == OK)
        *out = archive;
    else
        archive_close(archive);
    arena_free(&arena);
    return st;
}
