/*
 * stats_legacy.c - the .dat form
 */
#include "formats/stats/stats_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { NAME_MOST = 4096, ENTRY_LEAST = 4 + 1 + 4 + 4, ENTRIES_MOST = 1 << 20 };

/* ---- reading ---- */

struct reader {
    const struct file *file;
    uint64_t at;
};

static enum status take(struct reader *r, void *dst, uint64_t n, struct error *err)
{
    enum status st;

    if (n > file_size(r->file) - r->at)
        return fail(err, ERR_CORRUPT, "truncated at byte %" PRIu64, file_size(r->file));
    st = file_read(r->file, r->at, dst, (size_t)n, err);
    r->at += n;
    return st;
}

/* A 32-bit count that is not negative. */
static enum status take_count(struct reader *r, const char *what, uint32_t *out,
                              struct error *err)
{
    uint8_t bytes[4] = {0};
    enum status st = take(r, bytes, sizeof(bytes), err);

    *out = load_u32(bytes);
    if (st == OK && *out > INT32_MAX)
        return fail(err, ERR_CORRUPT,
                    "neither a GGUF nor an importance matrix: %s is %" PRId32, what,
                    (int32_t)*out);
    return st;
}

static enum status take_name(struct reader *r, struct arena *arena, char **out,
                             struct error *err)
{
    uint32_t n = 0;
    char *name;
    enum status st = take_count(r, "the length of a name", &n, err);

    if (st != OK)
        return st;
    if (n > NAME_MOST)
        return fail(
            err, ERR_CORRUPT,
            "neither a GGUF nor an importance matrix: a name of %" PRIu32 " bytes", n);
    name = arena_alloc(arena, (size_t)n + 1);
    if (!name)
        return fail(err, ERR_NOMEM, "no memory for a name");
    *out = name;
    return take(r, name, n, err);
}

static enum status read_entry(struct reader *r, struct stats *stats,
                              struct stats_entry *entry, struct error *err)
{
    uint32_t n_calls = 0, n = 0;
    char *name = NULL;
    enum status st = take_name(r, &stats->arena, &name, err);

    if (st == OK)
        st = take_count(r, "a number of calls", &n_calls, err);
    if (st == OK)
        st = take_count(r, "a number of values", &n, err);
    if (st != OK)
        return st;
    if (n > (file_size(r->file) - r->at) / sizeof(float))
        return fail(err, ERR_CORRUPT,
                    "%s: truncated: %" PRIu32 " values do not fit the file", name, n);
    *entry =
        (struct stats_entry){.name = name, .n_cols = n, .n_mats = 1, .is_flat = true};
    entry->sum2 = arena_array(&stats->arena, n, sizeof(float));
    entry->counts = arena_array(&stats->arena, 1, sizeof(float));
    if (!entry->sum2 || !entry->counts)
        return fail(err, ERR_NOMEM, "%s: no memory for it", name);
    entry->counts[0] =
        n_calls ? (float)n_calls : 1.0f; /* without calls, values are means */
    st = take(r, entry->sum2, (uint64_t)n * sizeof(float), err);
    return st == OK ? stats_check_numbers(entry->sum2, n, name, err) : st;
}

/* The number of chunks and the text's name came later to the format than the entries. */
static enum status read_tail(struct reader *r, struct stats *stats, struct error *err)
{
    enum status st = OK;

    if (r->at == file_size(r->file))
        return OK;
    st = take_count(r, "the number of chunks", &stats->n_chunks, err);
    if (st != OK || r->at == file_size(r->file))
        return st;
    stats->datasets = arena_array(&stats->arena, 1, sizeof(*stats->datasets));
    if (!stats->datasets)
        return fail(err, ERR_NOMEM, "no memory for a name");
    st = take_name(r, &stats->arena, &stats->datasets[0], err);
    stats->n_datasets = st == OK;
    return st;
}

enum status stats_read_legacy(const struct file *file, struct stats *stats,
                              struct error *err)
{
    struct reader r = {.file = file};
    uint32_t n = 0;
    enum status st = take_count(&r, "the number of entries", &n, err);

    if (st != OK)
        return st;
    if (n == 0 || n > ENTRIES_MOST || n > file_size(file) / ENTRY_LEAST)
        return fail(err, ERR_CORRUPT,
                    "neither a GGUF nor an importance matrix: %" PRIu32 " entries", n);
    stats->entries = arena_array(&stats->arena, n, sizeof(*stats->entries));
    if (!stats->entries)
        return fail(err, ERR_NOMEM, "no memory for %" PRIu32 " entries", n);
    for (uint32_t i = 0; i < n && st == OK; i++)
        st = read_entry(&r, stats, &stats->entries[stats->n_entries++], err);
    return st == OK ? read_tail(&r, stats, err) : st;
}

/* ---- writing ---- */

static enum status put(struct output *dst, uint64_t *at, const void *bytes, size_t n,
                       struct error *err)
{
    enum status st = output_write(dst, *at, bytes, n, err);

    *at += n;
    return st;
}

static enum status put_number(struct output *dst, uint64_t *at, uint32_t v,
                              struct error *err)
{
    uint8_t bytes[4];

    store_u32(bytes, v);
    return put(dst, at, bytes, sizeof(bytes), err);
}

static enum status put_text(struct output *dst, uint64_t *at, const char *text,
                            struct error *err)
{
    enum status st = put_number(dst, at, (uint32_t)strlen(text), err);

    return st == OK ? put(dst, at, text, strlen(text), err) : st;
}

/* Chunks that the best-fed matrix saw, rounded up so that it is never 0. */
static uint32_t calls_of(const struct stats *stats, const struct stats_entry *entry)
{
    const float chunk = stats->chunk_size ? (float)stats->chunk_size : 1.0f;
    float most = 1.0f;

    if (entry->is_flat)
        return (uint32_t)entry->counts[0];
    for (uint64_t m = 0; m < entry->n_mats; m++)
        most = fmaxf(most, entry->counts[m]);
    return (uint32_t)fminf(ceilf(most / chunk), 0x1p30f);
}

static enum status put_entry(struct output *dst, uint64_t *at, const struct stats *stats,
                             const struct stats_entry *entry, struct error *err)
{
    const uint32_t n_calls = calls_of(stats, entry);
    float *row = malloc((entry->n_cols ? (size_t)entry->n_cols : 1) * sizeof(*row));
    enum status st = OK;

    if (!row)
        return fail(err, ERR_NOMEM, "%s: no memory to write it", entry->name);
    st = put_text(dst, at, entry->name, err);
    if (st == OK)
        st = put_number(dst, at, n_calls, err);
    if (st == OK)
        st = put_number(dst, at, (uint32_t)(entry->n_cols * entry->n_mats), err);
    for (uint64_t m = 0; m < entry->n_mats && st == OK; m++) {
        stats_importance(entry, m, row);
        for (uint64_t i = 0; i < entry->n_cols; i++)
            row[i] *= (float)n_calls;
        st = put(dst, at, row, (size_t)entry->n_cols * sizeof(*row), err);
    }
    free(row);
    return st;
}

enum status stats_write_legacy(const struct stats *stats, struct output *dst,
                               uint64_t *n_bytes, struct error *err)
{
    const char *dataset = stats->n_datasets ? stats->datasets[stats->n_datasets - 1] : "";
    uint64_t at = 0;
    enum status st = put_number(dst, &at, (uint32_t)stats->n_entries, err);

    for (size_t i = 0; i < stats->n_entries && st == OK; i++)
        st = put_entry(dst, &at, stats, &stats->entries[i], err);
    if (st == OK)
        st = put_number(dst, &at, stats->n_chunks, err);
    if (st == OK)
        st = put_text(dst, &at, dataset, err);
    *n_bytes = at;
    return st;
}
