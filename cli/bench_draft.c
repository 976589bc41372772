#include "cli/bench_draft.h"
#include "cli/ui.h"
#include "convert/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { GUESSES = 4 }; /* in a row: what one costs is their mean */

static const double acceptances[] = {0.5, 0.6, 0.7, 0.8, 0.9};
enum { N_ACCEPTANCES = sizeof(acceptances) / sizeof(acceptances[0]) };

/* Seconds of every round, of guesses at [0] and of passes over k tokens at [k]. */
struct times {
    double *of[DRAFT_PASS + 1];
};

size_t bench_draft_room(int64_t n_rounds)
{
    /* a pass keeps one position: no more than all but one can be taken back */
    return (size_t)n_rounds * DRAFT_PASS + DRAFT_PASS;
}

static void drop_rows(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    (void)arg, (void)position, (void)n_rows, (void)logits;
}

/* One pass over k tokens, of which all but the first are then taken back; seconds. */
static enum status time_pass(const struct draft_bench *bench, size_t k, double *seconds,
                             struct error *err)
{
    const uint32_t length = sequence_length(bench->seq);
    const struct logits_sink sink = {.first = length, .rows = drop_rows};
    const double begin = clock_seconds();
    enum status st = runtime_eval(bench->target, bench->seq, bench->ids, k, &sink, err);

    *seconds = clock_seconds() - begin;
    if (st == OK && k > 1)
        sequence_truncate(bench->seq, length + 1);
    return st;
}

static enum status time_guesses(const struct draft_bench *bench, struct drafter *drafter,
                                double *seconds, struct error *err)
{
    const float *hidden = sequence_hidden(bench->seq, sequence_length(bench->seq) - 1);
    const double begin = clock_seconds();
    int32_t guesses[GUESSES];
    enum status st =
        drafter_guess(drafter, bench->seq, bench->ids[0], hidden, GUESSES, guesses, err);

    *seconds = (clock_seconds() - begin) / GUESSES;
    return st;
}

/* Passes of all lengths and the guesses after each of one token, once. */
static enum status time_round(const struct draft_bench *bench, struct drafter *drafter,
                              int64_t round, const struct times *times, struct error *err)
{
    enum status st = OK;

    for (size_t k = 1; k <= DRAFT_PASS && st == OK; k++) {
        st = time_pass(bench, k, &times->of[k][round], err);
        if (st == OK && k == 1)
            st = time_guesses(bench, drafter, &times->of[0][round], err);
    }
    return st;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *x, int64_t n)
{
    qsort(x, (size_t)n, sizeof(*x), by_size);
    return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

static void summarize(const struct times *times, int64_t n_rounds,
                      struct draft_report *out)
{
    double *verify = out->verify_seconds;

    out->guess_seconds = median(times->of[0], n_rounds);
    for (int k = 1; k <= DRAFT_PASS; k++)
        verify[k] = median(times->of[k], n_rounds);
    out->costs.guess = out->guess_seconds / verify[1];
    for (int k = 1; k <= DRAFT_PASS; k++)
        out->costs.verify[k] = verify[k] / verify[1];
}

static enum status time_rounds(const struct draft_bench *bench, struct drafter *drafter,
                               struct draft_report *out, struct error *err)
{
    const size_t n = (size_t)bench->n_rounds;
    double *all = calloc(n * (DRAFT_PASS + 1), sizeof(*all));
    enum status st = all ? OK : fail(err, ERR_NOMEM, "no memory for %zu times", n);
    struct times times;

    for (size_t k = 0; k <= DRAFT_PASS && all; k++)
        times.of[k] = all + k * n;
    for (int64_t i = 0; i < bench->n_rounds && st == OK; i++)
        st = time_round(bench, drafter, i, &times, err);
    if (st == OK)
        summarize(&times, bench->n_rounds, out);
    free(all);
    return st;
}

enum status bench_draft(const struct draft_bench *bench, struct draft_report *out,
                        struct error *err)
{
    struct model *model = NULL;
    struct runtime *rt = NULL;
    struct drafter *drafter = NULL;
    enum status st =
        convert_open_model(bench->path, &(struct source_options){0}, &model, err);

    if (st == OK && (st = runtime_open(model, bench->options, &rt, err)) != OK)
        (void)fail_at(err, bench->path);
    if (st == OK)
        st = drafter_new(rt, bench->target, &drafter, err);
    if (st == OK)
        st = time_rounds(bench, drafter, out, err);
    drafter_free(drafter);
    runtime_close(rt);
    model_close(model);
    return st;
}

/* ---- the report ---- */

void bench_draft_print(const struct draft_report *r)
{
    const double break_even = draft_break_even(&r->costs);

    printf("drafting\ttokens\tms\tdecode steps\n");
    printf("guess\t1\t%.2f\t%.3f\n", 1e3 * r->guess_seconds, r->costs.guess);
    for (int k = 1; k <= DRAFT_PASS; k++)
        printf("verify\t%d\t%.2f\t%.2f\n", k, 1e3 * r->verify_seconds[k],
               r->costs.verify[k]);
    if (isfinite(break_even))
        printf("# computed from these: drafting pays from an acceptance of %.2f on\n",
               break_even);
    else
        printf("# computed from these: drafting never pays here\n");
    printf("acceptance\tguesses\tspeed-up\n");
    for (int i = 0; i < N_ACCEPTANCES; i++) {
        const int n = draft_best_guesses(&r->costs, acceptances[i]);

        printf("%.1f\t%d\t%.2f\n", acceptances[i], n,
               draft_speed_up(&r->costs, acceptances[i], n));
    }
}

json_t *bench_draft_json(const struct draft_report *r)
{
    json_t *verify = json_array(), *computed = json_array();

    for (int k = 1; k <= DRAFT_PASS; k++)
        json_array_append_new(verify, ui_json_real(r->verify_seconds[k]));
    for (int i = 0; i < N_ACCEPTANCES; i++) {
        const int n = draft_best_guesses(&r->costs, acceptances[i]);

        json_array_append_new(
            computed,
            json_pack("{s:o, s:i, s:o}", "acceptance", ui_json_real(acceptances[i]),
                      "guesses", n, "speed_up",
                      ui_json_real(draft_speed_up(&r->costs, acceptances[i], n))));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "guess_seconds",
                     ui_json_real(r->guess_seconds), "verify_seconds", verify,
                     "break_even", ui_json_real(draft_break_even(&r->costs)), "computed",
                     computed);
}
