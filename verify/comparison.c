/*
 * comparison.c - a model against reference records, token by token, and the figures of it all
 */
#include "verify/figures.h"
#include "verify/kld.h"
#include "verify/records.h"
#include "verify/score.h"

#include <math.h>
#include <stdlib.h>

/* Two-sided 99.9 % of the normal distribution. */
static const double Z999 = 3.2905267314919255;

/* A run that compares; its records come from a file or from memory. */
struct compare_run {
    const struct logits_file *file;
    const struct records *records; /* when file is NULL; with n_vocab */
    uint32_t n_vocab, n_entries;
    struct logits_entry *entries; /* n_entries a thread */
    struct kld_token *tokens;     /* by index */
};

static enum status compare_row(void *arg, uint64_t index, int32_t target,
                               const struct logits_row *row, struct error *err)
{
    struct compare_run *run = arg;
    struct logits_record record = {.entries = run->entries +
                                              (size_t)parallel_index() * run->n_entries};
    enum status st;

    if (run->file)
        st = logits_read(run->file, index, &record, err);
    else
        st = logits_record_load(run->records->bytes +
                                    index * logits_record_bytes(run->n_entries),
                                run->n_entries, run->n_vocab, &record, err);
    if (st == OK)
        run->tokens[index] = kld_token(&record, target, row);
    return st;
}

/* ---- figures ---- */

/* Per chunk: sums of what is averaged. */
struct chunk_sums {
    double *kld, *same, *log_ratio, *n;
};

static enum status chunk_sums_open(struct chunk_sums *sums, uint32_t n_chunks,
                                   struct error *err)
{
    double *room = calloc((size_t)n_chunks * 4 + 1, sizeof(*room));

    if (!room)
        return fail(err, ERR_NOMEM, "out of memory for %u chunks", n_chunks);
    *sums = (struct chunk_sums){room, room + n_chunks, room + 2 * (size_t)n_chunks,
                                room + 3 * (size_t)n_chunks};
    return OK;
}

static void chunk_sums_add(struct chunk_sums *sums, const struct kld_token *tokens,
                           const uint64_t *counts, uint32_t n_chunks)
{
    for (uint32_t c = 0; c < n_chunks; c++) {
        for (uint64_t i = 0; i < counts[c]; i++, tokens++) {
            sums->kld[c] += tokens->kld;
            sums->same[c] += tokens->same_top;
            sums->log_ratio[c] += tokens->nll_model - tokens->nll_base;
        }
        sums->n[c] = (double)counts[c];
    }
}

static void totals(struct comparison *out, const struct kld_token *tokens, uint64_t n)
{
    double kld = 0.0, certain = 0.0, variance = 0.0, same = 0.0, dp2 = 0.0, base = 0.0,
           model = 0.0, count = (double)n;

    for (uint64_t i = 0; i < n; i++) {
        kld += tokens[i].kld;
        certain += tokens[i].certain;
        variance += tokens[i].variance;
        same += tokens[i].same_top;
        dp2 += tokens[i].dp * tokens[i].dp;
        base += tokens[i].nll_base;
        model += tokens[i].nll_model;
    }
    out->n_tokens = n;
    out->kld.mean = kld / count;
    out->kld_certain = certain / count;
    out->kld_error = Z999 * sqrt(variance) / count;
    out->same_top = same / count;
    out->rms_dp = sqrt(dp2 / count);
    out->ppl_base = exp(base / count);
    out->ppl_model = exp(model / count);
    out->ppl_ratio = exp((model - base) / count);
}

static enum status order_figures(struct spread *spread, const struct kld_token *tokens,
                                 uint64_t n, struct error *err)
{
    double *sorted = malloc((size_t)n * sizeof(*sorted));

    if (!sorted)
        return fail(err, ERR_NOMEM, "out of memory for %llu tokens",
                    (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++)
        sorted[i] = tokens[i].kld;
    figures_sort(sorted, (size_t)n);
    spread->median = figures_quantile(sorted, (size_t)n, 0.5);
    spread->p90 = figures_quantile(sorted, (size_t)n, 0.9);
    spread->p99 = figures_quantile(sorted, (size_t)n, 0.99);
    spread->p999 = figures_quantile(sorted, (size_t)n, 0.999);
    spread->max = sorted[n - 1];
    free(sorted);
    return OK;
}

/* What cannot be lies outside every interval. */
static struct interval within(struct interval ci, double least, double most)
{
    return (struct interval){fmax(ci.lo, least), fmin(ci.hi, most), ci.is_known};
}

static void intervals(struct comparison *out, const struct chunk_sums *sums,
                      uint32_t n_chunks, uint64_t seed)
{
    struct interval nats = figures_bootstrap(sums->log_ratio, sums->n, n_chunks, seed);

    out->kld.ci95 =
        within(figures_bootstrap(sums->kld, sums->n, n_chunks, seed), 0.0, INFINITY);
    out->same_top_ci95 =
        within(figures_bootstrap(sums->same, sums->n, n_chunks, seed), 0.0, 1.0);
    out->ppl_ratio_ci95 = (struct interval){exp(nats.lo), exp(nats.hi), nats.is_known};
}

static enum status summarise(struct comparison *out, const struct kld_token *tokens,
                             uint64_t n, const struct logits_text *text,
                             uint32_t n_chunks, uint64_t seed, struct error *err)
{
    struct chunk_sums sums = {0};
    uint64_t *counts = malloc(((size_t)n_chunks + 1) * sizeof(*counts));
    enum status st =
        counts ? OK : fail(err, ERR_NOMEM, "out of memory for %u chunks", n_chunks);

    if (st == OK)
        st = chunk_sums_open(&sums, n_chunks, err);
    if (st == OK)
        st = order_figures(&out->kld, tokens, n, err);
    if (st != OK) {
        free(sums.kld);
        free(counts);
        return st;
    }
    score_chunk_counts(text, n_chunks, counts);
    chunk_sums_add(&sums, tokens, counts, n_chunks);
    totals(out, tokens, n);
    intervals(out, &sums, n_chunks, seed);
    out->chunk_kld = sums.kld; /* the start of the one allocation of all four */
    out->chunk_n = counts;
    out->n_chunks = n_chunks;
    return OK;
}

/* ---- the doors ---- */

/* Run and summarise; `run` says where the records are. */
static enum status compare(struct compare_run *run, const struct logits_source *source,
                           const struct logits_text *text, uint32_t n_chunks,
                           uint64_t seed, const struct progress *progress,
                           struct comparison *out, struct error *err)
{
    struct scorer scorer = {.arg = run, .row = compare_row};
    uint64_t n = score_count(text, &n_chunks);
    enum status st = OK;

    run->tokens = calloc((size_t)n + 1, sizeof(*run->tokens));
    run->entries = calloc((size_t)run->n_entries * (size_t)parallel_threads(),
                          sizeof(*run->entries));
    if (!run->tokens || !run->entries)
        st = fail(err, ERR_NOMEM, "out of memory for %llu tokens", (unsigned long long)n);
    else if (n == 0)
        st = fail(err, ERR_USAGE, "the text has no token to score");
    if (st == OK)
        st = score_text(source, text, n_chunks, &scorer, progress, err);
    if (st == OK)
        st = summarise(out, run->tokens, n, text, n_chunks, seed, err);
    free(run->tokens);
    free(run->entries);
    return st;
}

enum status verify_compare(const struct logits_source *source,
                           const struct logits_file *reference, uint32_t n_chunks,
                           uint64_t seed, const struct progress *progress,
                           struct comparison *out, struct error *err)
{
    const struct logits_facts *facts = logits_facts(reference);
    struct compare_run run = {
        .file = reference, .n_vocab = facts->n_vocab, .n_entries = facts->n_entries};

    *out = (struct comparison){0};
    if (source->n_vocab != facts->n_vocab)
        return fail(err, ERR_USAGE,
                    "the reference has a vocabulary of %u pieces, the model %u",
                    facts->n_vocab, source->n_vocab);
    return compare(&run, source, &facts->text, n_chunks, seed, progress, out, err);
}

static enum status keep_record(void *arg, uint64_t index, int32_t target,
                               const struct logits_row *row, struct error *err)
{
    (void)err;
    records_make(arg, index, target, row);
    return OK;
}

enum status verify_noise(const struct logits_source *a, const struct logits_source *b,
                         const struct logits_text *text, uint32_t n_chunks,
                         struct comparison *out, struct error *err)
{
    struct records records = {0};
    struct scorer scorer = {.arg = &records, .row = keep_record};
    struct compare_run run = {
        .records = &records, .n_vocab = a->n_vocab, .n_entries = LOGITS_ENTRIES};
    uint64_t n = score_count(text, &n_chunks);
    enum status st;

    *out = (struct comparison){0};
    st = records_open(&records, LOGITS_ENTRIES, (size_t)n, err);
    if (st == OK)
        st = score_text(a, text, n_chunks, &scorer, NULL, err);
    if (st == OK)
        st = compare(&run, b, text, n_chunks, 0, NULL, out, err);
    records_close(&records);
    return st;
}

struct interval verify_paired(const struct comparison *a, const struct comparison *b,
                              uint64_t seed)
{
    uint32_t n = a->n_chunks < b->n_chunks ? a->n_chunks : b->n_chunks;
    double *room = malloc(((size_t)n * 2 + 1) * sizeof(*room));
    struct interval out = {0};

    if (!room)
        return out;
    for (uint32_t c = 0; c < n; c++) {
        room[c] = b->chunk_kld[c] - a->chunk_kld[c];
        room[n + c] = (double)a->chunk_n[c];
    }
    out = figures_bootstrap(room, room + n, n, seed);
    free(room);
    return out;
}

void comparison_free(struct comparison *comparison)
{
    free(comparison->chunk_kld);
    free(comparison->chunk_n);
    *comparison = (struct comparison){0};
}
