/*
 * perplexity.c - one model on one text
 *
 * Source: llama.cpp 0.5.0, tools/perplexity: the mean over all scored tokens, and as +/- the
 * standard error of that mean times the perplexity, as if tokens were independent. The interval
 * over chunks does not assume that.
 */
#include "verify/perplexity.h"

#include "verify/figures.h"
#include "verify/score.h"

#include <math.h>
#include <stdlib.h>

/* Sums a chunk of the values of its tokens, and how many there are. */
static void sum_chunks(const double *x, const uint64_t *counts, uint32_t n_chunks,
                       double *sums, double *ns)
{
    for (uint32_t c = 0; c < n_chunks; c++) {
        sums[c] = 0.0;
        ns[c] = (double)counts[c];
        for (uint64_t i = 0; i < counts[c]; i++)
            sums[c] += *x++;
    }
}

static struct perplexity summarise(const double *nll, uint64_t n, const double *sums,
                                   uint32_t n_chunks)
{
    double sum = 0.0, squares = 0.0;
    struct perplexity out = {.n_tokens = n};

    for (uint32_t c = 0; c < n_chunks; c++)
        sum += sums[c];
    out.nll = sum / (double)n;
    for (uint64_t i = 0; i < n; i++)
        squares += (nll[i] - out.nll) * (nll[i] - out.nll);
    out.perplexity = exp(out.nll);
    if (n > 1)
        out.ppl_stderr = out.perplexity * sqrt(squares / (double)n / (double)(n - 1));
    return out;
}

enum status perplexity_figures(const double *nll, const struct logits_text *text,
                               uint32_t n_chunks, uint64_t seed, struct perplexity *out,
                               struct error *err)
{
    double *sums = malloc(((size_t)n_chunks + 1) * sizeof(*sums));
    double *ns = malloc(((size_t)n_chunks + 1) * sizeof(*ns));
    uint64_t *counts = malloc(((size_t)n_chunks + 1) * sizeof(*counts));
    uint64_t n = score_count(text, &n_chunks);
    enum status st = OK;

    if (!sums || !ns || !counts) {
        st = fail(err, ERR_NOMEM, "out of memory for %u chunks", n_chunks);
        goto out;
    }
    if (n == 0) {
        st = fail(err, ERR_USAGE, "the text has no token to score");
        goto out;
    }
    score_chunk_counts(text, n_chunks, counts);
    sum_chunks(nll, counts, n_chunks, sums, ns);
    *out = summarise(nll, n, sums, n_chunks);

    struct interval nats = figures_bootstrap(sums, ns, n_chunks, seed);
    out->ci95 = (struct interval){exp(nats.lo), exp(nats.hi), nats.is_known};

out:
    free(sums);
    free(ns);
    free(counts);
    return st;
}

static enum status keep_nll(void *arg, uint64_t index, int32_t target,
                            const struct logits_row *row, struct error *err)
{
    double *nll = arg;

    (void)err;
    nll[index] = row->lse - (double)row->z[target];
    return OK;
}

enum status verify_perplexity(const struct logits_source *source,
                              const struct logits_text *text, uint64_t seed,
                              const struct progress *progress, struct perplexity *out,
                              struct error *err)
{
    double *nll = calloc((size_t)text->n_scored + 1, sizeof(*nll));
    struct scorer scorer = {.arg = nll, .row = keep_nll};
    enum status st = OK;

    if (!nll)
        st = fail(err, ERR_NOMEM, "out of memory for %llu tokens",
                  (unsigned long long)text->n_scored);
    if (st == OK)
        st = score_text(source, text, text->n_chunks, &scorer, progress, err);
    if (st == OK)
        st = perplexity_figures(nll, text, text->n_chunks, seed, out, err);
    free(nll);
    return st;
}
