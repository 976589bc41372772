/*
 * reference.c - run a model and keep what it said as a compact file
 */
#include "verify/perplexity.h"
#include "verify/records.h"
#include "verify/score.h"

#include <stdlib.h>

enum status records_open(struct records *records, uint32_t n_entries, size_t n_room,
                         struct error *err)
{
    size_t n_bytes, n_scratch;

    *records = (struct records){.n_entries = n_entries};
    if (!mul_size(logits_record_bytes(n_entries), n_room + 1, &n_bytes) ||
        !mul_size((size_t)n_entries * sizeof(struct logits_entry),
                  (size_t)parallel_threads(), &n_scratch))
        return fail(err, ERR_NOMEM, "records of %u entries do not fit memory", n_entries);
    records->bytes = malloc(n_bytes);
    records->entries = malloc(n_scratch);
    if (!records->bytes || !records->entries) {
        records_close(records);
        return fail(err, ERR_NOMEM, "out of memory for %zu records of %u entries", n_room,
                    n_entries);
    }
    return OK;
}

void records_make(struct records *records, uint64_t index, int32_t target,
                  const struct logits_row *row)
{
    struct logits_record record = {
        .entries = records->entries + (size_t)parallel_index() * records->n_entries};
    size_t at =
        (size_t)(index - records->first) * logits_record_bytes(records->n_entries);

    logits_record_make(row, target, index, records->n_entries, &record);
    logits_record_store(&record, records->n_entries, records->bytes + at);
}

void records_close(struct records *records)
{
    free(records->bytes);
    free(records->entries);
    *records = (struct records){0};
}

struct reference_run {
    struct records records;
    struct logits_writer *dst;
    double *nll;
};

static enum status keep_record(void *arg, uint64_t index, int32_t target,
                               const struct logits_row *row, struct error *err)
{
    struct reference_run *run = arg;

    (void)err;
    records_make(&run->records, index, target, row);
    run->nll[index] = row->lse - (double)row->z[target];
    return OK;
}

static enum status write_chunk(void *arg, uint64_t first, uint64_t n, struct error *err)
{
    struct reference_run *run = arg;

    run->records.first = first + n;
    return logits_append(run->dst, run->records.bytes, (size_t)n, err);
}

enum status verify_reference(const struct logits_source *source,
                             const struct logits_facts *facts, const char *path,
                             bool force, uint64_t seed, const struct progress *progress,
                             struct perplexity *out, struct error *err)
{
    const struct logits_text *text = &facts->text;
    struct reference_run run = {.nll =
                                    calloc((size_t)text->n_scored + 1, sizeof(*run.nll))};
    struct scorer scorer = {.arg = &run, .row = keep_record, .chunk = write_chunk};
    enum status st;

    if (!run.nll) {
        st = fail(err, ERR_NOMEM, "out of memory for %llu tokens",
                  (unsigned long long)text->n_scored);
        goto out;
    }
    st = records_open(&run.records, facts->n_entries, text->n_ctx, err);
    if (st == OK)
        st = logits_create(path, facts, force, &run.dst, err);
    if (st == OK)
        st = score_text(source, text, text->n_chunks, &scorer, progress, err);
    if (st == OK)
        st = perplexity_figures(run.nll, text, text->n_chunks, seed, out, err);
    if (st != OK)
        goto out;
    st = logits_commit(run.dst, err);
    run.dst = NULL;

out:
    logits_discard(run.dst);
    records_close(&run.records);
    free(run.nll);
    return st;
}
