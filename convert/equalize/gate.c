/*
 * gate.c - round a sample of rows with each choice of factors and compare losses on held-out inputs
 *
 * Held-out text is of the same kind as what the factors were fitted to, and cannot warn of a fit that
 * is too close. So there is a second judge, inputs by which every column counts alike: a choice must do
 * well by both.
 * Errors are taken back to the original coordinates, where one metric judges all choices. Columns are
 * judged in groups: what is correlated across groups counts for no choice.
 */
#include "convert/equalize/rewrite.h"
#include "quantize/compensate/compensate.h"

#include <stdlib.h>

enum { SAMPLE_ROWS = 64, RUN = 16, MOST_PARTS = 8, GROUP = 1024, MOST_TRIALS = 3 };

/* One tensor's sample rows and what each trial made of them. Trial 0 has no factors. */
struct sample {
    const struct equalize_tensor *tensor;
    const struct side *side;
    size_t n_rows, n_cols, n_trials;
    const int8_t *k[MOST_TRIALS];     /* of the side's factors; NULL: none */
    int sign;                         /* -1: columns are divided */
    const float *importance;          /* of the original columns, or NULL */
    float *rows, *error[MOST_TRIALS]; /* [n_rows][n_cols], original coordinates */
    float *work, *weight;
    uint8_t *blocks;
};

static void sample_close(struct sample *s)
{
    free(s->rows);
    for (size_t i = 0; i < MOST_TRIALS; i++)
        free(s->error[i]);
    free(s->work);
    free(s->weight);
    free(s->blocks);
}

static enum status sample_read(struct sample *s, uint64_t matrix, struct error *err)
{
    const uint64_t rows = s->tensor->ne[1], base = matrix * rows;
    const uint64_t n = s->n_rows, n_runs = (n + RUN - 1) / RUN;
    enum status st = OK;

    for (uint64_t i = 0; i < n_runs && st == OK; i++) {
        const uint64_t at = i * RUN, some = n - at < RUN ? n - at : RUN;
        const uint64_t first = n < rows ? i * (rows - RUN) / (n_runs - 1) : at;

        st = source_read(s->tensor->t, base + first, some, s->rows + at * s->n_cols, err);
    }
    return st;
}

static enum status sample_open(struct sample *s, uint64_t matrix, struct error *err)
{
    const struct equalize_tensor *e = s->tensor;
    bool fits;

    s->n_cols = (size_t)e->ne[0];
    s->n_rows = (size_t)(e->ne[1] < SAMPLE_ROWS ? e->ne[1] : SAMPLE_ROWS);
    const size_t bytes = s->n_rows * s->n_cols * sizeof(float);
    s->rows = malloc(bytes);
    s->work = malloc(bytes);
    s->weight = malloc(s->n_cols * sizeof(float));
    s->blocks = malloc(s->n_rows * block_row_bytes(e->type, e->ne[0]));
    fits = s->rows && s->work && s->weight && s->blocks;
    for (size_t i = 0; i < s->n_trials; i++) {
        s->error[i] = malloc(bytes);
        fits &= s->error[i] != NULL;
    }
    return fits ? sample_read(s, matrix, err)
                : fail(err, ERR_NOMEM, "%s: no memory for sample rows", e->name);
}

static float column_factor(const struct sample *s, size_t trial, size_t c, int sign)
{
    return s->k[trial] ? equalize_factor(sign * s->k[trial][side_factor(s->side, c)])
                       : 1.0F;
}

/* The rows with a trial's factors, rounded, and the error taken back. */
static void sample_try(struct sample *s, size_t trial, enum method method)
{
    const enum block_type type = s->tensor->type;
    const size_t cols = s->n_cols;
    float *error = s->error[trial];

    for (size_t c = 0; c < cols; c++) {
        const float by = column_factor(s, trial, c, s->sign);
        const float inverse = column_factor(s, trial, c, -s->sign);

        s->weight[c] = s->importance ? s->importance[c] * inverse * inverse : 1.0F;
        for (size_t r = 0; r < s->n_rows; r++)
            s->work[r * cols + c] = s->rows[r * cols + c] * by;
    }
    quantize_rows(type, method, s->work, s->n_rows, cols,
                  s->importance ? s->weight : NULL, s->blocks);
    block_decode(type, s->blocks, error, s->n_rows * cols);
    for (size_t c = 0; c < cols; c++) {
        const float inverse = column_factor(s, trial, c, -s->sign);

        for (size_t r = 0; r < s->n_rows; r++)
            error[r * cols + c] = (s->work[r * cols + c] - error[r * cols + c]) * inverse;
    }
}

static enum method rounding(const struct equalize_choice *choice, enum block_type type)
{
    return choice->method != METHOD_PLAIN && quantize_can(type, METHOD_SEARCH)
               ? METHOD_SEARCH
               : METHOD_PLAIN;
}

/* ---- readers, judged by second moments ---- */

/* Columns [first, first + n) of rows, one behind the other. */
static void cut(const float *x, size_t n_rows, size_t n_cols, size_t first, size_t n,
                float *out)
{
    for (size_t r = 0; r < n_rows; r++)
        memcpy(out + r * n, x + r * n_cols + first, n * sizeof(*out));
}

/* Losses of all trials in one group of columns; size becomes that of the rows themselves. */
static enum status judge_group(struct sample *s, const float *h, const float *zeros,
                               size_t first, size_t n, double *losses, double *size,
                               struct error *err)
{
    double loss = 0;
    enum status st;

    cut(s->rows, s->n_rows, s->n_cols, first, n, s->work);
    st = layer_loss(h, n, s->work, zeros, s->n_rows, &loss, err);
    *size += loss;
    for (size_t i = 0; i < s->n_trials && st == OK; i++) {
        cut(s->error[i], s->n_rows, s->n_cols, first, n, s->work);
        st = layer_loss(h, n, s->work, zeros, s->n_rows, &loss, err);
        losses[i] += loss;
    }
    return st;
}

static enum status judge_held(struct sample *s, const struct moments *moments,
                              const struct moments_entry *entry, double *losses,
                              double *size, struct error *err)
{
    float *h = malloc((size_t)GROUP * GROUP * sizeof(*h));
    float *zeros = calloc((size_t)SAMPLE_ROWS * GROUP, sizeof(*zeros));
    enum status st =
        h && zeros ? OK : fail(err, ERR_NOMEM, "%s: no memory", s->tensor->name);

    for (size_t first = 0, n; first < s->n_cols && st == OK; first += n) {
        const size_t left = entry->group - first % entry->group; /* of the file's own */

        n = left < GROUP ? left : GROUP;
        st = moments_read_square(moments, entry, true, first, n, h, err);
        if (st == OK)
            st = judge_group(s, h, zeros, first, n, losses, size, err);
    }
    free(h);
    free(zeros);
    return st;
}

/* Mean squares of the part's input as conversion will use them for weights. */
static enum status find_weights(const struct equalize_choice *choice,
                                const struct part *part, float **out, struct error *err)
{
    const size_t cols = (size_t)part->tensor->ne[0];
    struct equalize_choice seen = *choice;
    struct energy energy = {.of = malloc((cols + 1) * sizeof(double))};
    float *weights = malloc((cols + 1) * sizeof(*weights));
    enum status st = energy.of && weights
                         ? OK
                         : fail(err, ERR_NOMEM, "%s: no memory", part->tensor->name);

    if (choice->method != METHOD_COMPENSATE)
        seen.moments = NULL; /* only the importance matrix weighs there */
    if (st == OK)
        st = part_energy(&seen, part, &energy, err);
    for (size_t c = 0; c < cols && st == OK && energy.tokens > 0; c++)
        weights[c] = (float)energy.of[c];
    if (st == OK && energy.tokens > 0)
        *out = weights;
    else
        free(weights);
    free(energy.of);
    return st;
}

/* Losses were every column of the readers to matter as much as another: what factors do for inputs
 * nobody has seen. Like all that is compared here, it does not depend on how the checkpoint spread its
 * factors before. */
static void judge_even(const struct sample *s, const double *r2, double *sums)
{
    double size = 0;

    for (size_t r = 0; r < s->n_rows; r++)
        for (size_t c = 0; c < s->n_cols; c++) {
            const double scale = r2[side_factor(s->side, c)];
            const double x = (double)s->rows[r * s->n_cols + c];
            size += scale > 0 ? x * x / scale : 0;
        }
    for (size_t i = 0; i < s->n_trials && size > 0; i++)
        for (size_t r = 0; r < s->n_rows; r++)
            for (size_t c = 0; c < s->n_cols; c++) {
                const double scale = r2[side_factor(s->side, c)];
                const double e = (double)s->error[i][r * s->n_cols + c];
                sums[i] += scale > 0 ? e * e / scale / size : 0;
            }
}

/* Add one part's relative losses to `sums`; nothing when it has no held-out inputs. */
static enum status judge_part(const struct equalize_choice *choice,
                              const struct part *part, const struct sample *like,
                              const double *r2, double *sums, double *even, bool *judged,
                              struct error *err)
{
    double losses[MOST_TRIALS] = {0}, size = 0;
    struct sample s = *like;
    struct moments_entry entry;
    char input[MOMENTS_NAME];
    float *weights = NULL;
    enum status st;

    if (!block_type_info(part->tensor->type)->is_quantized ||
        !part_moments(choice, part, input, &entry) || !(entry.held_tokens > 0))
        return OK;
    s.tensor = part->tensor;
    s.side = part->side;
    st = find_weights(choice, part, &weights, err);
    s.importance = weights;
    if (st == OK)
        st = sample_open(&s, part->matrix, err);
    for (size_t i = 0; i < s.n_trials && st == OK; i++)
        sample_try(&s, i, rounding(choice, s.tensor->type));
    if (st == OK)
        st = judge_held(&s, choice->moments, &entry, losses, &size, err);
    for (size_t i = 0; i < s.n_trials && st == OK && size > 0; i++)
        sums[i] += losses[i] / size;
    if (st == OK && size > 0)
        judge_even(&s, r2, even);
    *judged |= st == OK && size > 0;
    sample_close(&s);
    free(weights);
    return st;
}

/* ---- the table, judged by what its readers make of a channel ---- */

static enum status judge_table(struct equalize_model *model, const struct rewrite *rw,
                               const struct equalize_choice *choice,
                               const struct sample *like, const double *r2, double *sums,
                               struct error *err)
{
    struct sample s = *like;
    enum status st = OK;

    s.side = &rw->producers[1];
    s.tensor = &model->tensors[s.side->tensor];
    s.sign = 1;
    if (block_type_info(s.tensor->type)->is_quantized)
        st = sample_open(&s, 0, err);
    for (size_t i = 0; i < s.n_trials && st == OK && s.rows; i++) {
        sample_try(&s, i, rounding(choice, s.tensor->type));
        for (size_t r = 0; r < s.n_rows; r++)
            for (size_t c = 0; c < s.n_cols; c++) {
                const double e = (double)s.error[i][r * s.n_cols + c];
                sums[i] += r2[side_factor(s.side, c)] * e * e;
            }
    }
    sample_close(&s);
    return st;
}

/* ---- all of it ---- */

/* Raise losses to those of one more judge, relative to trial 0. */
static void take_worst(const double *sums, size_t n, double *losses)
{
    for (size_t i = 1; i < n; i++) {
        const double ratio = sums[0] > 0 ? sums[i] / sums[0] : 1.0;
        losses[i - 1] = ratio > losses[i - 1] ? ratio : losses[i - 1];
    }
}

enum status gate_losses(struct equalize_model *model, const struct rewrite *rw,
                        size_t set, const struct equalize_choice *choice,
                        const int8_t *const *candidates, size_t n_candidates,
                        double *losses, bool *judged, struct error *err)
{
    struct sample like = {.n_trials = n_candidates + 1, .sign = -1};
    double sums[3][MOST_TRIALS] = {{0}}; /* held-out inputs, even ones, the table */
    struct part *parts = NULL;
    struct folded folded = {0};
    size_t n_parts = 0;
    enum status st = rewrite_parts(model, rw, set, &parts, &n_parts, err);
    const size_t step = n_parts > MOST_PARTS ? n_parts / MOST_PARTS : 1;

    *judged = false;
    for (size_t i = 0; i < n_candidates; i++) {
        like.k[i + 1] = candidates[i];
        losses[i] = 0;
    }
    if (st == OK)
        st = factors_fold(model, rw, set, choice, &folded, err);
    for (size_t i = 0; i < n_parts && st == OK; i += step)
        st = judge_part(choice, &parts[i], &like, folded.r2, sums[0], sums[1], judged,
                        err);
    if (st == OK && *judged && rw->has_table)
        st = judge_table(model, rw, choice, &like, folded.r2, sums[2], err);
    for (size_t i = 0; i < 3 && st == OK; i++)
        if (sums[i][0] > 0)
            take_worst(sums[i], n_candidates + 1, losses);
    folded_free(&folded);
    return st;
}
