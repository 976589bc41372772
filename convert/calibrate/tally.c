/*
 * tally.c - sums over inputs, by weight: the importance matrix in the making
 */
#include "convert/calibrate/tally.h"

#include "formats/moments/moments.h"
#include "formats/stats/stats.h"

#include <math.h>
#include <stdlib.h>

static int by_name(const void *left, const void *right)
{
    const struct tally_entry *a = left, *b = right;

    return strcmp(a->weight, b->weight);
}

enum status tally_open(const struct model *model, struct tally *tally, struct error *err)
{
    *tally = (struct tally){0};
    tally->entries =
        arena_array(&tally->arena, model->n_tensors + 1, sizeof(*tally->entries));
    if (!tally->entries)
        return fail(err, ERR_NOMEM, "no memory for %zu weights", model->n_tensors);
    for (size_t i = 0; i < model->n_tensors; i++) {
        const struct gguf_tensor *t = &model->tensors[i];
        struct tally_entry *entry = &tally->entries[tally->n_entries];
        char input[MOMENTS_NAME];
        size_t n;

        if (!moments_input(t->name, -1, input))
            continue;
        *entry = (struct tally_entry){.weight = t->name,
                                      .n_cols = (size_t)t->ne[0],
                                      .n_mats = (size_t)t->ne[2],
                                      .at = tally->n_bytes};
        if (mul_size(entry->n_cols + 1, entry->n_mats, &n))
            entry->sum2 = arena_array(&tally->arena, ++n, sizeof(*entry->sum2));
        if (!entry->sum2)
            return fail(err, ERR_NOMEM, "%s: no memory for its statistics", t->name);
        entry->steps = entry->sum2 + n - 1;
        entry->counts = entry->steps - entry->n_mats;
        tally->n_bytes += n * sizeof(*entry->sum2);
        tally->n_entries++;
    }
    qsort(tally->entries, tally->n_entries, sizeof(*tally->entries), by_name);
    return OK;
}

void tally_close(struct tally *tally)
{
    arena_free(&tally->arena);
    *tally = (struct tally){0};
}

struct column_job {
    const struct tap_event *event;
    double *sum2;
};

/* Columns [begin, end) of every row, rows in order: one accumulator a column. */
static void add_columns(void *arg, size_t begin, size_t end)
{
    const struct column_job *job = arg;
    const struct tap_event *event = job->event;

    for (size_t r = 0; r < event->n_rows; r++) {
        const float *x = event->x + r * event->n_cols;

        for (size_t j = begin; j < end; j++)
            job->sum2[j] += (double)x[j] * (double)x[j];
    }
}

bool tally_add(struct tally *tally, const struct tap_event *event)
{
    struct tally_entry key = {.weight = event->weight};
    struct tally_entry *entry =
        bsearch(&key, tally->entries, tally->n_entries, sizeof(*tally->entries), by_name);
    size_t mat = event->expert < 0 ? 0 : (size_t)event->expert;
    struct column_job job = {.event = event};

    if (!entry)
        return true;
    assert(entry->n_cols == event->n_cols && mat < entry->n_mats);
    job.sum2 = entry->sum2 + mat * entry->n_cols;
    parallel_for(event->n_cols, 256, add_columns, &job);
    entry->counts[mat] += (double)event->n_rows;
    entry->is_new = true;
    for (size_t j = 0; j < event->n_cols; j++)
        if (!isfinite(job.sum2[j]))
            return false;
    return true;
}

uint64_t tally_bytes(const struct tally *tally)
{
    return tally->n_bytes;
}

static size_t bytes_of(const struct tally_entry *entry)
{
    return ((entry->n_cols + 1) * entry->n_mats + 1) * sizeof(*entry->sum2);
}

enum status tally_save(struct tally *tally, struct walk *walk, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < tally->n_entries && st == OK; i++) {
        struct tally_entry *entry = &tally->entries[i];

        if (entry->is_new) {
            assert(*entry->steps == 0);
            *entry->steps = walk_step(walk) + 1;
            st = walk_write_state(walk, entry->at, entry->sum2, bytes_of(entry), err);
        }
        entry->is_new = false;
    }
    return st;
}

enum status tally_load(struct tally *tally, struct walk *walk, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < tally->n_entries && st == OK; i++) {
        struct tally_entry *entry = &tally->entries[i];

        st = walk_read_state(walk, entry->at, entry->sum2, bytes_of(entry), err);
        if (*entry->steps < 1 || *entry->steps > walk_step(walk))
            memset(entry->sum2, 0, bytes_of(entry));
    }
    return st;
}

/* Say it for the first few of a kind, then only count. */
enum { SAY_AT_MOST = 4 };

static void audit_matrix(const struct tally_entry *entry, size_t mat, double mean,
                         struct calibrate_report *report)
{
    if (entry->counts[mat] <= 0) {
        if (report->n_unseen++ < SAY_AT_MOST)
            log_warn("%s: matrix %zu saw no token; it will be rounded without importance",
                     entry->weight, mat);
    } else if (entry->n_mats > 1 && entry->counts[mat] < mean / 20) {
        if (report->n_thin++ < SAY_AT_MOST)
            log_warn("%s: expert %zu saw %.0f tokens where the mean is %.0f; its "
                     "statistics are "
                     "drawn towards its layer's",
                     entry->weight, mat, entry->counts[mat], mean);
    }
}

/* A weight that no pass touched at all (dead keys of sharing layers) is not an omission. */
void tally_audit(const struct tally *tally, struct calibrate_report *report)
{
    for (size_t i = 0; i < tally->n_entries; i++) {
        const struct tally_entry *entry = &tally->entries[i];
        double mean = 0;

        for (size_t m = 0; m < entry->n_mats; m++)
            mean += entry->counts[m] / (double)entry->n_mats;
        report->n_weights += mean > 0;
        for (size_t m = 0; m < entry->n_mats && mean > 0; m++)
            audit_matrix(entry, m, mean, report);
    }
}

/* Sums of n_mats * n_cols doubles as floats, in the arena. */
static float *narrowed(struct arena *arena, const double *x, size_t n)
{
    float *out = arena_array(arena, n, sizeof(*out));

    for (size_t i = 0; out && i < n; i++)
        out[i] = (float)x[i];
    return out;
}

/* Names and digests; false when memory is out. */
static bool copy_texts(const struct calibrate_text *text, struct stats *stats)
{
    char **names = arena_array(&stats->arena, text->n_names + 1, sizeof(*names));
    char **digests = arena_array(&stats->arena, text->n_names + 1, sizeof(*digests));

    if (!names || !digests)
        return false;
    for (size_t i = 0; i < text->n_names; i++) {
        names[i] = arena_strdup(&stats->arena, text->names[i]);
        digests[i] = arena_strdup(&stats->arena, text->digests ? text->digests[i] : "");
        if (!names[i] || !digests[i])
            return false;
    }
    stats->datasets = names;
    stats->n_datasets = text->n_names;
    stats->digests = text->digests ? digests : NULL;
    return true;
}

enum status tally_write(const struct tally *tally, const struct calibrate_text *text,
                        const struct calibrate_options *options, struct error *err)
{
    struct stats stats = {.n_chunks = (uint32_t)text->n_chunks,
                          .n_tokens = (uint64_t)text->n_chunks * text->n_ctx,
                          .chunk_size = text->n_ctx};
    enum status st = OK;

    stats.entries =
        arena_array(&stats.arena, tally->n_entries + 1, sizeof(*stats.entries));
    if (!copy_texts(text, &stats))
        st = fail(err, ERR_NOMEM, "no memory for the names of texts");
    for (size_t i = 0; stats.entries && i < tally->n_entries; i++) {
        const struct tally_entry *from = &tally->entries[i];
        struct stats_entry *to = &stats.entries[stats.n_entries];
        double seen = 0;

        for (size_t m = 0; m < from->n_mats; m++)
            seen += from->counts[m];
        if (seen <= 0)
            continue;
        to->name = from->weight;
        to->n_cols = from->n_cols;
        to->n_mats = from->n_mats;
        to->sum2 = narrowed(&stats.arena, from->sum2, from->n_mats * from->n_cols);
        to->counts = narrowed(&stats.arena, from->counts, from->n_mats);
        if (!to->sum2 || !to->counts)
            st = fail(err, ERR_NOMEM, "%s: no memory for its statistics", from->weight);
        stats.n_entries++;
    }
    if (!stats.entries)
        st = fail(err, ERR_NOMEM, "no memory for %zu weights", tally->n_entries);
    if (st == OK)
        st = stats_write(&stats, options->imatrix, options->legacy, options->force, err);
    arena_free(&stats.arena);
    return st;
}
