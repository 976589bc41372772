/*
 * factors.c - s_j from what the columns of the readers and the channels of the input are like
 */
#include "convert/equalize/rewrite.h"

#include <math.h>
#include <stdlib.h>

/* A matrix's columns are measured on this many rows, in runs that lie evenly. */
enum { ROWS = 512, RUN = 32 };

/* How small a channel's root mean square may count, of the median. */
static const double least_channel = 0.01, least_column = 0.001;

/* ---- sums over columns ---- */

static void add_squares(const float *x, size_t n_rows, size_t n_cols, double *sum)
{
    for (size_t r = 0; r < n_rows; r++)
        for (size_t c = 0; c < n_cols; c++) {
            const double value = (double)x[r * n_cols + c];
            sum[c] += value * value;
        }
}

enum status column_energy(const struct equalize_tensor *tensor, uint64_t matrix,
                          double *sum, struct error *err)
{
    const uint64_t rows = tensor->ne[1], cols = tensor->ne[0];
    const uint64_t n_runs = rows > ROWS ? ROWS / RUN : (rows + RUN - 1) / RUN;
    float *x = malloc((size_t)(RUN * cols) * sizeof(*x) + 1);
    enum status st =
        x ? OK : fail(err, ERR_NOMEM, "%s: no memory for rows", tensor->name);

    memset(sum, 0, (size_t)cols * sizeof(*sum));
    for (uint64_t i = 0; i < n_runs && st == OK; i++) {
        const uint64_t first = rows > ROWS ? i * (rows - RUN) / (n_runs - 1) : i * RUN;
        const uint64_t n = rows - first < RUN ? rows - first : RUN;

        st = source_read(tensor->t, matrix * rows + first, n, x, err);
        if (st == OK)
            add_squares(x, (size_t)n, (size_t)cols, sum);
    }
    free(x);
    return st;
}

/* ---- what is known of an input ---- */

bool part_moments(const struct equalize_choice *choice, const struct part *part,
                  char input[MOMENTS_NAME], struct moments_entry *entry)
{
    const struct equalize_tensor *e = part->tensor;

    return choice->moments &&
           moments_input(e->name, e->n_dims == 3 ? (int)part->matrix : -1, input) &&
           moments_find(choice->moments, input, entry) && entry->n == e->ne[0];
}

static const struct stats_entry *find_importance(const struct equalize_choice *choice,
                                                 const struct part *part)
{
    const struct equalize_tensor *e = part->tensor;

    if (!choice->stats || !stats_shape(choice->stats, e->name, e->ne[0], e->ne[2]))
        return NULL;
    const struct stats_entry *s = stats_find(choice->stats, e->name);
    return s && s->counts[s->is_flat ? 0 : part->matrix] > 0 ? s : NULL;
}

enum status part_energy(const struct equalize_choice *choice, const struct part *part,
                        struct energy *energy, struct error *err)
{
    const size_t cols = (size_t)part->tensor->ne[0];
    const struct stats_entry *importance = find_importance(choice, part);
    struct moments_entry entry;
    char input[MOMENTS_NAME];
    enum status st = OK;

    energy->tokens = 0;
    float *a = malloc((cols + 1) * sizeof(*a));
    if (!a)
        return fail(err, ERR_NOMEM, "%s: no memory for its input", part->tensor->name);
    if (part_moments(choice, part, input, &entry) && entry.tokens > 0) {
        st = moments_diagonal(choice->moments, &entry, a, err);
        energy->tokens = entry.tokens;
    } else if (importance) {
        stats_importance(importance, part->matrix, a);
        energy->tokens =
            (double)importance->counts[importance->is_flat ? 0 : part->matrix];
    }
    for (size_t c = 0; energy->tokens > 0 && c < cols; c++)
        energy->of[c] = (double)a[c];
    free(a);
    return st;
}

/* ---- one set ---- */

/* Sum over columns of energy times the input's: how large the matrix's output is. */
static double product_size(const double *sum, const struct energy *energy, size_t cols)
{
    double size = 0;

    for (size_t c = 0; c < cols; c++)
        size += energy->tokens > 0 ? sum[c] * energy->of[c] : sum[c];
    return size;
}

static enum status fold_part(const struct equalize_choice *choice,
                             const struct part *part, struct folded *to,
                             struct error *err)
{
    const size_t cols = (size_t)part->tensor->ne[0];
    double *sum = malloc(2 * (cols + 1) * sizeof(*sum));
    struct energy energy = {.of = sum + cols};
    enum status st =
        sum ? column_energy(part->tensor, part->matrix, sum, err)
            : fail(err, ERR_NOMEM, "%s: no memory for its columns", part->tensor->name);

    if (st == OK)
        st = part_energy(choice, part, &energy, err);
    if (st == OK) {
        const double size = product_size(sum, &energy, cols);

        for (size_t c = 0; c < cols; c++) {
            const size_t j = side_factor(part->side, c);
            to->r2[j] += size > 0 ? sum[c] / size : 0;
            to->a2[j] += energy.tokens > 0 ? energy.tokens * energy.of[c] : 0;
        }
        to->tokens += energy.tokens;
    }
    free(sum);
    return st;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Logarithms to base 2 of the roots of x2, none below `least` of the median of those above 0. */
static enum status take_logs(double *x2, size_t n, double least, struct error *err)
{
    double *sorted = malloc((n + 1) * sizeof(*sorted));
    size_t zeros = 0;

    if (!sorted)
        return fail(err, ERR_NOMEM, "no memory for %zu factors", n);
    memcpy(sorted, x2, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), compare_doubles);
    while (zeros < n && !(sorted[zeros] > 0))
        zeros++;
    const double median = zeros < n ? sorted[zeros + (n - zeros) / 2] : 1.0;
    const double floor2 = least * least * median;
    for (size_t j = 0; j < n; j++)
        x2[j] = 0.5 * log2(x2[j] > floor2 ? x2[j] : floor2);
    free(sorted);
    return OK;
}

static bool all_finite(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* log2 s to whole steps, geometric mean 1. */
static void round_steps(const double *logs, size_t n, int8_t *k)
{
    double mean = 0;

    for (size_t j = 0; j < n; j++)
        mean += logs[j];
    mean /= (double)n;
    for (size_t j = 0; j < n; j++) {
        const double step = rint(EQUALIZE_STEPS * (logs[j] - mean));
        k[j] = (int8_t)fmin(EQUALIZE_MOST, fmax(-EQUALIZE_MOST, step));
    }
}

/* Squares of the table's columns, folded onto its slice. */
static enum status fold_table(const struct equalize_model *model,
                              const struct rewrite *rw, double *t2, struct error *err)
{
    const struct side *side = &rw->producers[1];
    const struct equalize_tensor *table = &model->tensors[side->tensor];
    double *sum = malloc((size_t)(table->ne[0] + 1) * sizeof(*sum));
    enum status st =
        sum ? column_energy(table, 0, sum, err)
            : fail(err, ERR_NOMEM, "%s: no memory for its columns", table->name);

    for (uint64_t c = 0; c < table->ne[0] && st == OK; c++)
        t2[side_factor(side, c)] += sum[c];
    free(sum);
    return st;
}

static double exponent(const struct equalize_choice *choice, bool known)
{
    return !known ? 0.0 : choice->method == METHOD_PLAIN ? 0.25 : 0.2;
}

/* From folded sums to steps. */
static enum status choose_steps(const struct rewrite *rw,
                                const struct equalize_choice *choice,
                                struct folded *folded, int8_t *k, struct error *err)
{
    const double g = exponent(choice, folded->tokens > 0 && !rw->has_table);
    const double of_r = rw->has_table ? 0.5 : 1 - g, of_a = rw->has_table ? 0.5 : g;
    enum status st = take_logs(folded->r2, rw->n, least_column, err);

    if (st == OK && of_a > 0)
        st = take_logs(folded->a2, rw->n, rw->has_table ? least_column : least_channel,
                       err);
    for (size_t j = 0; j < rw->n && st == OK; j++)
        folded->r2[j] = of_r * folded->r2[j] - (of_a > 0 ? of_a * folded->a2[j] : 0);
    if (st == OK)
        round_steps(folded->r2, rw->n, k);
    return st;
}

void folded_free(struct folded *folded)
{
    free(folded->r2);
    *folded = (struct folded){0};
}

enum status factors_fold(struct equalize_model *model, const struct rewrite *rw,
                         size_t set, const struct equalize_choice *choice,
                         struct folded *out, struct error *err)
{
    struct part *parts = NULL;
    size_t n_parts = 0;
    enum status st = rewrite_parts(model, rw, set, &parts, &n_parts, err);

    *out = (struct folded){.r2 = calloc(2 * rw->n + 1, sizeof(double))};
    if (st == OK && !out->r2)
        st = fail(err, ERR_NOMEM, "%s: no memory for its columns", rw->name);
    out->a2 = out->r2 ? out->r2 + rw->n : NULL;
    for (size_t i = 0; i < n_parts && st == OK; i++) {
        st = fold_part(choice, &parts[i], out, err);
        if (st == OK)
            st = interrupt_check(err);
    }
    if (st != OK)
        folded_free(out);
    return st;
}

enum status factors_find(struct equalize_model *model, const struct rewrite *rw,
                         size_t set, const struct equalize_choice *choice, int8_t *k,
                         bool *known, struct error *err)
{
    struct folded folded;
    enum status st = factors_fold(model, rw, set, choice, &folded, err);

    memset(k, 0, rw->n * sizeof(*k));
    if (st != OK)
        return st;
    *known = folded.tokens > 0;
    if (rw->has_table) { /* two tensors are traded; the input does not matter */
        memset(folded.a2, 0, rw->n * sizeof(*folded.a2));
        st = fold_table(model, rw, folded.a2, err);
    }
    if (st == OK && all_finite(folded.r2, 2 * rw->n))
        st = choose_steps(rw, choice, &folded, k, err);
    folded_free(&folded);
    return st;
}
