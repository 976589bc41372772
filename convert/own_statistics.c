/*
 * own_statistics.c - statistics that a conversion gathers for itself, from texts
 */
#include "convert/own_statistics.h"

#include "convert/calibrate/calibrate.h"
#include "convert/journal.h"
#include "formats/stats/stats.h"

#include <stdio.h>
#include <stdlib.h>

enum { HELD_EVERY = 8 };

static bool is_of(const struct stats *stats, const struct calibrate_text *text)
{
    bool same = stats->digests && text->digests && stats->n_datasets == text->n_names &&
                stats->n_tokens == (uint64_t)text->n_chunks * text->n_ctx;

    for (size_t i = 0; same && i < text->n_names; i++)
        same = strcmp(stats->digests[i], text->digests[i]) == 0;
    return same;
}

/* What a run to resume gathered: an importance matrix of the same texts is taken as it is. Second
 * moments are calibrate_run()'s to look at. */
static enum status look_for_whole(const struct own_statistics *own,
                                  const struct convert_options *how,
                                  const struct calibrate_text *text, bool *is_whole,
                                  struct error *err)
{
    struct stats *stats = NULL;
    enum status st;

    *is_whole = false;
    if (!how->resume || how->method == METHOD_COMPENSATE || !file_exists(own->path))
        return OK;
    st = stats_read(own->path, &stats, err);
    if (st != OK)
        return st;
    *is_whole = is_of(stats, text);
    stats_free(stats);
    return *is_whole ? OK
                     : fail(err, ERR_USAGE,
                            "%s: it is of other texts or another number of tokens; "
                            "--resume goes on with the same only",
                            own->path);
}

/* What calibrate_run() is asked for. */
static enum status gather(struct own_statistics *own, const char *source,
                          const struct convert_options *how, struct error *err)
{
    const bool has_moments = how->method == METHOD_COMPENSATE;
    const struct calibrate_options options = {.moments = has_moments ? own->path : NULL,
                                              .imatrix = has_moments ? NULL : own->path,
                                              .max_memory = how->max_memory,
                                              .force = how->force,
                                              .resume = how->resume};
    const struct calibrate_cut cut = {.tokens = how->tokens, .held_every = HELD_EVERY};
    struct calibrate_text text = {0};
    struct calibrate_report report = {0};
    struct model *model = NULL;
    bool is_whole = false;
    enum status st = convert_open_model(source, &how->source, &model, err);

    if (st == OK)
        st = calibrate_text_make(model, how->documents, how->n_documents, &cut, &text,
                                 err);
    if (st == OK)
        st = look_for_whole(own, how, &text, &is_whole, err);
    if (st == OK && !is_whole)
        st = calibrate_run(model, &text, &options, how->calibration_progress, &report,
                           err);
    own->forward_seconds = report.seconds - report.gathering_seconds;
    own->gathering_seconds = report.gathering_seconds;
    calibrate_text_free(&text);
    model_close(model);
    return st;
}

/* Was the conversion itself begun? The journal lies beside the first file, and whether there will be two
 * is known only when it is planned. */
static enum status find_begun(const char *out_path, struct convert_options *how,
                              struct error *err)
{
    char *first = how->ple_inline ? NULL : gguf_shard_path(out_path, 0, MAX_FILES);

    if (!how->ple_inline && !first)
        return fail(err, ERR_NOMEM, "%s: no memory for a path", out_path);
    how->resume =
        how->resume && (journal_exists(out_path) || (first && journal_exists(first)));
    free(first);
    return OK;
}

enum status own_statistics_name(struct own_statistics *own, const char *out_path,
                                const struct convert_options *how, struct error *err)
{
    const char *suffix = how->method == METHOD_COMPENSATE ? "moments" : "imatrix";
    const size_t n = strlen(out_path) + sizeof(".moments");

    if (how->n_documents == 0)
        return OK;
    if (how->moments || how->imatrix)
        return fail(err, ERR_USAGE,
                    "--text gathers statistics: %s are given as a file already",
                    how->moments ? "second moments" : "those of an importance matrix");
    own->path = malloc(n);
    if (!own->path)
        return fail(err, ERR_NOMEM, "%s: no memory for a name", out_path);
    snprintf(own->path, n, "%s.%s", out_path, suffix);
    if (!how->resume && file_exists(own->path))
        return fail(err, ERR_USAGE,
                    "%s: exists already, where the statistics of this conversion would "
                    "go; --imatrix or --stats takes it, another name saves it",
                    own->path);
    return OK;
}

enum status own_statistics_gather(struct own_statistics *own, const char *source,
                                  const char *out_path, struct convert_options *how,
                                  struct error *err)
{
    enum status st;

    if (!own->path)
        return OK;
    st = gather(own, source, how, err);
    own->is_made = st == OK;
    own->option = how->method == METHOD_COMPENSATE ? "stats" : "imatrix";
    if (how->method == METHOD_COMPENSATE)
        how->moments = own->path;
    else
        how->imatrix = own->path;
    return st == OK ? find_begun(out_path, how, err) : st;
}

void own_statistics_close(struct own_statistics *own, enum status st)
{
    const bool says_so = st == ERR_IO || st == ERR_NOMEM || st == ERR_INTERRUPTED;

    if (own->is_made && st == OK)
        remove(own->path);
    else if (own->is_made && !says_so)
        log_warn("%s: kept, with the statistics gathered for this conversion: --resume "
                 "or --%s takes them",
                 own->path, own->option);
    free(own->path);
    own->path = NULL;
}
