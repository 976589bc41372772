/*
 * stats.c - importance matrices: which form, which entry, what it says
 */
#include "formats/stats/stats_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum status stats_check_numbers(const float *x, uint64_t n, const char *name,
                                struct error *err)
{
    for (uint64_t i = 0; i < n; i++)
        if (!(x[i] >= 0.0f) || isinf(x[i]))
            return fail(err, ERR_CORRUPT, "%s: value %" PRIu64 " is %g", name, i,
                        (double)x[i]);
    return OK;
}

static int by_name(const void *a, const void *b)
{
    const struct stats_entry *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static enum status sort_entries(struct stats *stats, struct error *err)
{
    if (stats->n_entries > 0)
        qsort(stats->entries, stats->n_entries, sizeof(*stats->entries), by_name);
    for (size_t i = 1; i < stats->n_entries; i++)
        if (strcmp(stats->entries[i - 1].name, stats->entries[i].name) == 0)
            return fail(err, ERR_CORRUPT, "%s: the entry stands twice",
                        stats->entries[i].name);
    return OK;
}

static enum status read_form(const char *path, struct stats *stats, struct error *err)
{
    struct file *file = NULL;
    uint8_t magic[4] = {0};
    enum status st = file_open(path, &file, err);

    if (st != OK)
        return st;
    if (file_size(file) >= sizeof(magic))
        st = file_read(file, 0, magic, sizeof(magic), err);
    if (st == OK && memcmp(magic, "GGUF", sizeof(magic)) == 0)
        st = stats_read_gguf(path, stats, err);
    else if (st == OK)
        st = stats_read_legacy(file, stats, err);
    file_close(file);
    return st;
}

enum status stats_read(const char *path, struct stats **out, struct error *err)
{
    struct stats *stats = calloc(1, sizeof(*stats));
    enum status st;

    if (!stats)
        return fail(err, ERR_NOMEM, "%s: no memory to read it", path);
    st = read_form(path, stats, err);
    if (st == OK)
        st = sort_entries(stats, err);
    if (st != OK && strncmp(err->text, path, strlen(path)) != 0)
        fail_at(err, path);
    if (st == OK)
        *out = stats;
    else
        stats_free(stats);
    return st;
}

static struct stats_entry *find(const struct stats *stats, const char *name)
{
    const struct stats_entry key = {.name = name};

    if (stats->n_entries == 0)
        return NULL;
    return bsearch(&key, stats->entries, stats->n_entries, sizeof(key), by_name);
}

const struct stats_entry *stats_find(const struct stats *stats, const char *name)
{
    return find(stats, name);
}

bool stats_shape(struct stats *stats, const char *name, uint64_t n_cols, uint64_t n_mats)
{
    struct stats_entry *entry = find(stats, name);
    uint64_t n;

    if (!entry)
        return false;
    if (entry->is_flat && mul_u64(n_cols, n_mats, &n) &&
        n == entry->n_cols * entry->n_mats) {
        entry->n_cols = n_cols;
        entry->n_mats = n_mats;
    }
    return entry->n_cols == n_cols && entry->n_mats == n_mats;
}

void stats_rescale(struct stats *stats, const char *name, uint64_t mat, const float *s,
                   size_t n_cols)
{
    const struct stats_entry *entry = stats_find(stats, name);

    if (!entry || entry->n_cols != n_cols || mat >= entry->n_mats)
        return;
    for (size_t j = 0; j < n_cols; j++)
        entry->sum2[mat * n_cols + j] *= s[j] * s[j];
}

void stats_importance(const struct stats_entry *entry, uint64_t mat, float *out)
{
    const float *sum2 = entry->sum2 + mat * entry->n_cols;
    const float count = entry->counts[entry->is_flat ? 0 : mat];

    for (uint64_t i = 0; i < entry->n_cols; i++)
        out[i] = count > 0.0f ? sum2[i] / count : 1.0f;
}

enum status stats_write(const struct stats *stats, const char *path, bool legacy,
                        bool force, struct error *err)
{
    const struct output_options options = {.force = force};
    struct output *dst = NULL;
    uint64_t n_bytes = 0;
    enum status st = output_open(path, &options, &dst, err);

    if (st != OK)
        return st;
    st = legacy ? stats_write_legacy(stats, dst, &n_bytes, err)
                : stats_write_gguf(stats, dst, &n_bytes, err);
    if (st == OK)
        return output_commit(dst, n_bytes, err);
    output_discard(dst);
    return st;
}

void stats_free(struct stats *stats)
{
    if (!stats)
        return;
    arena_free(&stats->arena);
    free(stats);
}
