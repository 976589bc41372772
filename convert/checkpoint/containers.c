/*
 * containers.c - the files weights come in: safetensors shards, PyTorch archives, NumPy archives
 *
 * Safetensors first, as every loader has it; archives where there are none.
 */
#include "convert/checkpoint/catalogue.h"
#include "formats/archive/archive.h"
#include "formats/safetensors/safetensors.h"

#include <stdio.h>
#include <stdlib.h>

static int by_canonical(const void *a, const void *b)
{
    const struct raw_tensor *x = a, *y = b;
    const int order = strcmp(x->name, y->name);

    return order ? order : (x->order > y->order) - (x->order < y->order);
}

/* Two tensors that mean the same are a contradiction nobody can resolve. */
static enum status check_unique(const struct checkpoint *cp, struct error *err)
{
    for (size_t i = 1; i < cp->n_raws; i++)
        if (strcmp(cp->raws[i - 1].name, cp->raws[i].name) == 0)
            return fail(err, ERR_CORRUPT, "%s: %s and %s are the same tensor (%s)",
                        cp->path, cp->raws[i - 1].t->name, cp->raws[i].t->name,
                        cp->raws[i].name);
    return OK;
}

/* One stored tensor of either kind of container. */
static void fill_raw(const struct checkpoint *cp, size_t i, struct raw_tensor *raw)
{
    raw->order = i;
    if (cp->shards) {
        raw->t = shards_at(cp->shards, i);
        raw->file = shards_file(cp->shards, raw->t->file);
        return;
    }
    const struct archive_tensor *t = archive_at(cp->archive, i);
    raw->t = &t->view;
    raw->file = archive_file(cp->archive, t->view.file);
    if (!t->is_plain)
        raw->archive = cp->archive;
}

static enum status list_raws(struct checkpoint *cp, struct error *err)
{
    cp->n_raws = cp->shards ? shards_count(cp->shards) : archive_count(cp->archive);
    cp->raws = arena_array(&cp->arena, cp->n_raws + 1, sizeof(*cp->raws));
    if (!cp->raws)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");

    for (size_t i = 0; i < cp->n_raws; i++) {
        struct raw_tensor *raw = &cp->raws[i];

        fill_raw(cp, i, raw);
        raw->name = canonical_name(&cp->arena, raw->t->name);
        if (!raw->name)
            return fail(err, ERR_NOMEM, "no memory for names of tensors");
    }
    qsort(cp->raws, cp->n_raws, sizeof(*cp->raws), by_canonical);
    return check_unique(cp, err);
}

static const char *kind_of_file(const struct checkpoint *cp)
{
    const char *dot = cp->shards ? NULL : strrchr(file_path(checkpoint_file(cp, 0)), '.');

    if (cp->shards)
        return "shard";
    return dot && (strcmp(dot, ".npz") == 0 || strcmp(dot, ".npy") == 0) ? "NumPy file"
                                                                         : "PyTorch file";
}

/* "3 shards, BF16": how many files, and the type of most bytes. */
static enum status describe(struct checkpoint *cp, struct error *err)
{
    const size_t n = checkpoint_n_files(cp);
    uint64_t bytes[DTYPE_COUNT] = {0};
    int most = DTYPE_BF16;

    for (size_t i = 0; i < cp->n_raws; i++)
        bytes[cp->raws[i].t->dtype] += cp->raws[i].t->n_bytes;
    for (int d = 0; d < DTYPE_COUNT; d++)
        if (bytes[d] > bytes[most])
            most = d;
    cp->files = arena_printf(&cp->arena, "%zu %s%s", n, n ? kind_of_file(cp) : "file",
                             n == 1 ? "" : "s");
    cp->layout = arena_printf(&cp->arena, "%s, %s", cp->files ? cp->files : "",
                              dtype_name((enum dtype)most));
    return cp->layout ? OK : fail(err, ERR_NOMEM, "no memory for a sentence");
}

static bool is_archive(const char *path)
{
    static const char *const ends[] = {".bin", ".pt", ".pth", ".npz", ".npy"};
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot && i < sizeof(ends) / sizeof(ends[0]); i++)
        if (strcmp(dot, ends[i]) == 0)
            return true;
    return false;
}

static enum status open_folder(struct checkpoint *cp, struct error *err)
{
    const enum status st = shards_open(cp->path, &cp->shards, err);

    /* ERR_USAGE: there is no safetensors file to be wrong with */
    if (st == ERR_USAGE && archive_is_in_folder(cp->path))
        return archive_open_folder(cp->path, &cp->archive, err);
    return st;
}

/* N of "...-00001-of-0000N.safetensors", one file of a checkpoint of several; else 0. */
static unsigned count_siblings(const char *path)
{
    const char *slash = strrchr(path, '/');
    char dot = '\0';
    unsigned n = 0;

    for (const char *at = slash ? slash : path; (at = strchr(at, '-')); at++)
        if (sscanf(at, "-%*5u-of-%5u%c", &n, &dot) == 2 && dot == '.')
            return n > 1 ? n : 0;
    return 0;
}

enum status containers_open(struct checkpoint *cp, struct error *err)
{
    const bool is_folder = file_is_folder(cp->path);
    const unsigned n_siblings = is_folder ? 0 : count_siblings(cp->path);
    enum status st;

    if (n_siblings)
        return fail(err, ERR_USAGE,
                    "%s: one of %u files of a checkpoint: give their folder", cp->path,
                    n_siblings);
    if (is_folder)
        st = open_folder(cp, err);
    else if (is_archive(cp->path))
        st = archive_open(cp->path, &cp->archive, err);
    else
        st = shards_open_file(cp->path, &cp->shards, err);
    if (st == OK)
        st = list_raws(cp, err);
    return st == OK ? describe(cp, err) : st;
}

void containers_close(struct checkpoint *cp)
{
    shards_close(cp->shards);
    archive_close(cp->archive);
}

static size_t n_containers(const struct checkpoint *cp)
{
    return cp->shards ? shards_n_files(cp->shards) : archive_n_files(cp->archive);
}

size_t checkpoint_n_files(const struct checkpoint *cp)
{
    return n_containers(cp) + cp->n_modules + cp->n_adapters;
}

const struct file *checkpoint_file(const struct checkpoint *cp, size_t i)
{
    const size_t n = n_containers(cp);

    if (i >= n + cp->n_modules)
        return adapters_file(cp, i - n - cp->n_modules);
    if (i >= n)
        return modules_file(cp, i - n);
    return cp->shards ? shards_file(cp->shards, (int)i)
                      : archive_file(cp->archive, (int)i);
}

enum status raw_read(const struct raw_tensor *raw, uint64_t at, size_t n, void *dst,
                     struct error *err)
{
    if (raw->held) {
        memcpy(dst, (const uint8_t *)raw->held + at, n);
        return OK;
    }
    if (raw->archive)
        return archive_read(raw->archive, (size_t)raw->order, at, n, dst, err);
    return file_read(raw->file, raw->t->offset + at, dst, n, err);
}

enum status raw_floats(struct checkpoint *cp, const struct raw_tensor *raw,
                       const float **out, struct error *err)
{
    const uint64_t n = tensor_elements(raw->t);
    float *x = arena_array(&cp->arena, (size_t)n + 1, sizeof(*x));
    void *bytes = malloc((size_t)raw->t->n_bytes + 1);
    enum status st =
        x && bytes ? OK : fail(err, ERR_NOMEM, "%s: no memory for it", raw->t->name);

    if (st == OK)
        st = raw_read(raw, 0, (size_t)raw->t->n_bytes, bytes, err);
    if (st == OK)
        dtype_widen(raw->t->dtype, bytes, x, (size_t)n);
    free(bytes);
    *out = x;
    return st;
}
