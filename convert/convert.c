/*
 * convert.c - the two verbs: plan a conversion, and run it
 */
#include "convert/convert.h"
#include "convert/feedback.h"
#include "convert/journal.h"
#include "convert/own_statistics.h"
#include "convert/pack.h"
#include "convert/slabs.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- planning ---- */

/* The public plan and the work it shows. */
struct shown_plan {
    struct plan plan; /* first: the caller frees it by this address */
    struct work *work;
    struct arena arena;
};

static const char *rounding_of(const struct work_item *item)
{
    return block_type_info(item->type)->is_quantized && !work_is_repacked(item)
               ? method_name(item->method)
               : "";
}

static struct plan_entry show_item(const struct work_item *item)
{
    struct plan_entry entry = {.name = item->e->name,
                               .source = item->e->t->found,
                               .transform = item->e->t->transform,
                               .source_type = item->e->t->type,
                               .type = item->type,
                               .why = item->why,
                               .rounding = rounding_of(item),
                               .n_dims = item->e->n_dims,
                               .n_bytes = item->n_bytes,
                               .offset = item->offset,
                               .file = item->file};

    memcpy(entry.ne, item->e->ne, sizeof(entry.ne));
    return entry;
}

static enum status show_plan(struct shown_plan *shown, struct error *err)
{
    const struct work *work = shown->work;
    struct plan *plan = &shown->plan;
    struct plan_entry *entries =
        arena_array(&shown->arena, work->n_items + 1, sizeof(*entries));
    const char **paths = arena_array(&shown->arena, MAX_FILES, sizeof(*paths));
    uint64_t *bytes = arena_array(&shown->arena, MAX_FILES, sizeof(*bytes));

    if (!entries || !paths || !bytes)
        return fail(err, ERR_NOMEM, "no memory for the plan");
    for (size_t i = 0; i < work->n_items; i++)
        entries[i] = show_item(&work->items[i]);
    for (size_t i = 0; i < work->n_files; i++) {
        paths[i] = work->files[i].path;
        bytes[i] = work->files[i].n_bytes;
    }
    *plan = (struct plan){.entries = entries,
                          .n_entries = work->n_items,
                          .layout = work->src->layout,
                          .notes = work->src->notes,
                          .n_notes = work->src->n_notes,
                          .verdict = work->verdict,
                          .paths = paths,
                          .file_bytes = bytes,
                          .n_files = work->n_files,
                          .source_bytes = source_bytes(work->src),
                          .meta = work->files[0].meta};
    return OK;
}

enum status convert_plan(const char *source, const char *out_path,
                         const struct convert_options *options, struct plan **out,
                         struct error *err)
{
    struct shown_plan *shown = calloc(1, sizeof(*shown));
    struct convert_options quick = *options;
    enum status st;

    if (!shown)
        return fail(err, ERR_NOMEM, "%s: no memory for a plan", source);
    quick.source.skim = true;
    st = work_plan(source, out_path, &quick, NULL, &shown->work, err);
    if (st == OK)
        st = show_plan(shown, err);
    if (st != OK) {
        plan_free(&shown->plan);
        return st;
    }
    *out = &shown->plan;
    return OK;
}

void plan_free(struct plan *plan)
{
    struct shown_plan *shown = (struct shown_plan *)plan;

    if (!shown)
        return;
    work_free(shown->work);
    arena_free(&shown->arena);
    free(shown);
}

/* ---- running ---- */

/* What error feedback adds: the largest item's, and a slab's rows decoded and in groups of columns. */
static uint64_t feedback_need(const struct work *work)
{
    uint64_t most = 0;

    for (size_t i = 0; i < work->n_items; i++) {
        const struct work_item *item = &work->items[i];
        const uint64_t cols = item->e->ne[0];
        const uint64_t rows =
            2 * sizeof(float) * (cols > SLAB_WEIGHTS ? cols : SLAB_WEIGHTS);
        const uint64_t n = item->method == METHOD_COMPENSATE
                               ? rows + feedback_bytes(work->moments, item)
                               : 0;

        most = n > most ? n : most;
    }
    return most;
}

/* Memory the pass will hold: buffers, scratch, headers with their metadata, and the program. */
static enum status check_memory(const struct work *work, uint64_t max_memory,
                                struct error *err)
{
    const struct slab_sizes sizes = slabs_sizes(work);
    const uint64_t program = 48 << 20;
    const uint64_t usual =
        work->method == METHOD_COMPENSATE ? (uint64_t)8 << 30 : (uint64_t)1 << 30;
    const uint64_t limit = max_memory ? max_memory : usual;
    const uint64_t slots = 3 * ((uint64_t)sizes.raw + sizes.packed);
    const uint64_t piece = sizes.row > 32768 ? sizes.row : 32768;
    uint64_t need = program + slots +
                    (uint64_t)parallel_threads() * piece * sizeof(float) +
                    feedback_need(work);

    for (size_t i = 0; i < work->n_files; i++)
        need += 4 * (uint64_t)work->files[i].n_header;
    if (need <= limit)
        return OK;
    return fail(err, ERR_USAGE,
                "%s: converting it takes %" PRIu64 " MiB of memory (--max-memory %" PRIu64
                " MiB)",
                work->src->path, (need + (1 << 20) - 1) >> 20, limit >> 20);
}

static enum status fill_result(const struct work *work, const struct pack_result *packed,
                               struct convert_result *result, struct error *err)
{
    result->n_files = work->n_files;
    result->n_tensors = work->n_items;
    for (size_t i = 0; i < work->n_files; i++) {
        result->files[i].path = strdup(work->files[i].path);
        if (!result->files[i].path)
            return fail(err, ERR_NOMEM, "no memory for a path");
        result->files[i].bytes = work->files[i].n_bytes;
        sha256_hex(packed->digest[i], result->files[i].sha256);
    }
    return OK;
}

static struct rounded_tensor tell_item(const struct work_item *item,
                                       const struct item_tally *tally)
{
    const struct feedback_report *fed = &tally->feedback;
    const double n = (double)(fed->n_matrices - fed->n_fell_back);

    return (struct rounded_tensor){.name = strdup(item->e->name),
                                   .type = item->type,
                                   .rounding = rounding_of(item),
                                   .n_blocks = tally->n_blocks,
                                   .n_exact = tally->n_exact,
                                   .n_matrices = fed->n_matrices,
                                   .n_fell_back = fed->n_fell_back,
                                   .damping = fed->damping,
                                   .held_out_loss = n > 0 ? exp(fed->log_gain / n) : 1};
}

static enum status tell_rounding(const struct work *work,
                                 const struct item_tally *tallies,
                                 struct convert_result *result, struct error *err)
{
    if (work->equalization) {
        const struct equalize_counts n = equalize_counts(work->equalization);

        result->n_equalizable = n.n_inputs;
        result->n_equalized = n.n_full + n.n_sparse;
    }
    result->rounded = calloc(work->n_items + 1, sizeof(*result->rounded));
    if (!result->rounded)
        return fail(err, ERR_NOMEM, "no memory for the report");
    for (size_t i = 0; i < work->n_items; i++) {
        if (*rounding_of(&work->items[i]) == '\0')
            continue;
        struct rounded_tensor *told = &result->rounded[result->n_rounded++];

        result->split.factor += tallies[i].feedback.factor_seconds;
        result->split.rounding += tallies[i].feedback.rounding_seconds;
        *told = tell_item(&work->items[i], &tallies[i]);
        if (!told->name)
            return fail(err, ERR_NOMEM, "no memory for the report");
    }
    return OK;
}

static enum status make_wider(struct wider *wider, const struct work *work,
                              struct error *err)
{
    wider->n = work->n_items;
    wider->at = calloc(wider->n + 1, sizeof(*wider->at));
    return wider->at ? OK : fail(err, ERR_NOMEM, "no memory for the plan");
}

static void tell_wide(const struct work *work, size_t item)
{
    log_warn("%s: a block's scale does not fit F16: it is kept unquantized",
             work->items[item].e->t->found);
}

/* Remember that an item must stay wide. */
static enum status widen(struct wider *wider, const struct work *work, size_t item,
                         struct error *err)
{
    const enum status st = wider->at ? OK : make_wider(wider, work, err);

    if (st != OK)
        return st;
    if (wider->at[item])
        return fail(err, ERR_UNSUPPORTED, "%s: no type holds its numbers",
                    work->items[item].e->t->found);
    wider->at[item] = true;
    tell_wide(work, item);
    return OK;
}

/* What the run that is resumed had found out; *n is how many items. */
static enum status recall_wide(struct wider *wider, const struct work *work, size_t *n,
                               struct error *err)
{
    enum status st = make_wider(wider, work, err);

    if (st == OK)
        st = journal_wide(work->files[0].path, wider->at, wider->n, n, err);
    for (size_t i = 0; st == OK && i < wider->n; i++)
        if (wider->at[i])
            tell_wide(work, i);
    return st;
}

/* The plan; to go on with a run that had to keep tensors wider, the one it had in the end. */
static enum status plan_try(const char *source, const char *out_path,
                            const struct convert_options *options, struct wider *wider,
                            struct work **out, struct error *err)
{
    const bool is_first = !wider->at;
    size_t n_wide = 0;
    enum status st = work_plan(source, out_path, options, wider, out, err);

    for (size_t i = 0; st == OK && is_first && i < (*out)->src->n_notes; i++)
        log_warn("%s: %s", source, (*out)->src->notes[i]);
    if (st == OK && is_first && options->resume)
        st = recall_wide(wider, *out, &n_wide, err);
    if (n_wide == 0 && st == OK)
        return OK;
    work_free(*out);
    *out = NULL;
    return st == OK ? work_plan(source, out_path, options, wider, out, err) : st;
}

/* No --resume begins with a file that is done. */
static enum status check_targets(const struct work *work,
                                 const struct convert_options *options, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < work->n_files && st == OK; i++)
        st = output_check(work->files[i].path, options->force, err);
    return st;
}

/* Before statistics are gathered, which may take hours: what would be refused after them. The plan
 * is a rough one, rounded without equalization, by moments that are yet to come. */
static enum status check_beforehand(const char *source, const char *out_path,
                                    const struct convert_options *options,
                                    struct error *err)
{
    struct convert_options quick = *options;
    struct work *work = NULL;
    enum status st;

    quick.source.skim = true;
    quick.equalize = EQUALIZE_OFF;
    st = work_plan(source, out_path, &quick, NULL, &work, err);
    if (st != OK)
        return st;
    st = check_targets(work, options, err);
    if (st == OK)
        st = check_memory(work, options->max_memory, err);
    work_free(work);
    return st;
}

/* One try. *again becomes true when a tensor has to be kept wider first. */
static enum status try_run(const char *source, const char *out_path,
                           const struct convert_options *options,
                           const struct progress *progress, struct wider *wider,
                           bool *again, struct convert_result *result, struct error *err)
{
    struct pack_result packed = {0};
    struct work *work = NULL;
    enum status st = plan_try(source, out_path, options, wider, &work, err);

    *again = false;
    if (st != OK)
        return st;
    st = check_targets(work, options, err);
    if (st == OK)
        st = check_memory(work, options->max_memory, err);
    if (st == OK)
        st = pack_run(work, options, progress, &packed, err);
    if (st == OK) {
        st = fill_result(work, &packed, result, err);
        if (st == OK)
            st = tell_rounding(work, packed.tallies, result, err);
    } else if (st == ERR_UNSUPPORTED && packed.is_too_wide) {
        st = widen(wider, work, packed.wide_item, err);
        *again = st == OK;
    }
    free(packed.tallies);
    work_free(work);
    return st;
}

enum status convert_run(const char *source, const char *out_path,
                        const struct convert_options *options,
                        const struct progress *progress, struct convert_result *result,
                        struct error *err)
{
    const double start = clock_seconds();
    struct wider wider = {0};
    bool again = true;
    struct own_statistics own = {0};
    struct convert_options how = *options;
    enum status st;

    *result = (struct convert_result){0};
    st = own_statistics_name(&own, out_path, options, err);
    if (st == OK && own.path)
        st = check_beforehand(source, out_path, options, err);
    if (st == OK)
        st = own_statistics_gather(&own, source, out_path, &how, err);
    while (st == OK && again) {
        st = try_run(source, out_path, &how, progress, &wider, &again, result, err);
        how.resume = false; /* what a try with another plan wrote is of no use */
    }
    result->split.forward = own.forward_seconds;
    result->split.moments = own.gathering_seconds;
    own_statistics_close(&own, st);
    free(wider.at);
    result->seconds = clock_seconds() - start;
    if (st != OK)
        convert_result_free(result);
    return st;
}

void convert_result_free(struct convert_result *result)
{
    for (size_t i = 0; i < sizeof(result->files) / sizeof(result->files[0]); i++)
        free(result->files[i].path);
    for (size_t i = 0; i < result->n_rounded; i++)
        free(result->rounded[i].name);
    free(result->rounded);
    *result = (struct convert_result){0};
}
