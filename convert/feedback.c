/*
 * feedback.c - one matrix after the other: read its moments, choose damping, round
 */
#include "convert/feedback.h"
#include "convert/feedback_experts.h"

#include "quantize/compensate/compensate.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { SAMPLE_ROWS = 64, MAX_GROUPS = 64, SWEEPS = 3 };

/* Which damping is tried, in this order; the first of equals wins. The first group of a tensor's first
 * matrix chooses for all of it: a factor of a wide input costs too much to be made four times, and so
 * do those of 128 experts. A tied table takes the last: what is wrong in a row enters the model as
 * an input too, alike in every direction. */
static const double dampings[] = {0.01, 0.03, 0.1, 0.3, 1.0};
enum {
    N_DAMPINGS = sizeof(dampings) / sizeof(dampings[0]),
    TABLE_DAMPING = N_DAMPINGS - 1
};
static const double shrink = 0.1;

struct feedback {
    const struct moments *moments;
    const struct work_item *item; /* whose matrix is prepared */
    uint64_t matrix;
    size_t n_groups, group_cols;
    struct metric *metrics[MAX_GROUPS]; /* NULL: that group is rounded by search */
    float *diagonal;                    /* all columns */
    const struct work_item *chosen_for; /* the tensor whose damping is */
    size_t damping;                     /* index */
    struct expert_means means;
    struct feedback_report report;
};

enum status feedback_new(const struct moments *moments, struct feedback **out,
                         struct error *err)
{
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return fail(err, ERR_NOMEM, "no memory for error feedback");
    (*out)->moments = moments;
    return OK;
}

static void drop_matrix(struct feedback *fb)
{
    for (size_t g = 0; g < fb->n_groups; g++)
        metric_free(fb->metrics[g]);
    free(fb->diagonal);
    fb->diagonal = NULL;
    fb->n_groups = 0;
    fb->item = NULL;
}

void feedback_free(struct feedback *fb)
{
    if (!fb)
        return;
    drop_matrix(fb);
    expert_means_free(&fb->means);
    free(fb);
}

struct feedback_report feedback_take_report(struct feedback *fb)
{
    const struct feedback_report report = fb->report;

    fb->report = (struct feedback_report){.damping = report.damping};
    return report;
}

bool feedback_covers(const struct moments *moments, const struct work_item *item)
{
    struct moments_entry entry;

    return compensate_can(item->type) && feedback_entry(moments, item, 0, &entry);
}

uint64_t feedback_bytes(const struct moments *moments, const struct work_item *item)
{
    struct moments_entry entry;

    if (!feedback_entry(moments, item, 0, &entry))
        return 0;
    const uint64_t square = (uint64_t)entry.group * entry.group;
    const uint64_t n_groups = entry.n / entry.group;
    const uint64_t metrics = n_groups > 2 ? 8 * (n_groups - 1) : 8;
    const uint64_t means = item->e->n_dims == 3 ? 16 : 0; /* two f32, a sum of f64 */

    return (8 + 24 + metrics + means) * square;
}

/* ---- one group of one matrix ---- */

/* Everything that judging a group needs. */
struct trial {
    const struct work_item *item;
    size_t n, n_rows; /* columns of the group; sample rows */
    const float *h, *held, *diagonal;
    const float *w; /* [n_rows][n] */
    uint8_t *blocks;
    float *q;
};

/* The loss of what lies in t->blocks on held-out inputs. */
static enum status judge(const struct trial *t, double *loss, struct error *err)
{
    block_decode(t->item->type, t->blocks, t->q, t->n_rows * t->n);
    return layer_loss(t->held, t->n, t->w, t->q, t->n_rows, loss, err);
}

static enum status try_damping(struct feedback *fb, const struct trial *t, double damping,
                               struct metric **metric, double *loss, struct error *err)
{
    struct metric_options options = {
        .shrink = shrink, .damping = damping, .sweeps = SWEEPS};
    const double start = clock_seconds();
    enum status st = metric_new(t->h, t->n, t->item->type, &options, metric, err);

    fb->report.factor_seconds += clock_seconds() - start;
    if (st == OK)
        st = compensate_rows(*metric, t->w, t->n_rows, t->blocks, NULL, err);
    if (st == OK)
        st = judge(t, loss, err);
    if (st != OK) {
        metric_free(*metric);
        *metric = NULL;
    }
    return st;
}

/* The dampings in question, by index. */
struct range {
    size_t first, last;
};

static struct range dampings_of(const struct feedback *fb)
{
    if (strcmp(fb->item->e->name, "token_embd.weight") == 0)
        return (struct range){TABLE_DAMPING, TABLE_DAMPING};
    if (fb->chosen_for == fb->item)
        return (struct range){fb->damping, fb->damping};
    return (struct range){0, TABLE_DAMPING - 1};
}

/* The damping of least held-out loss; NULL when the search does better than any. */
static enum status choose_metric(struct feedback *fb, const struct trial *t,
                                 struct metric **best, struct error *err)
{
    const struct range range = dampings_of(fb);
    double search = 0, least = INFINITY;
    enum status st;

    *best = NULL;
    quantize_rows(t->item->type, METHOD_SEARCH, t->w, t->n_rows, t->n, t->diagonal,
                  t->blocks);
    st = judge(t, &search, err);
    for (size_t i = range.first; i <= range.last && st == OK; i++) {
        struct metric *metric = NULL;
        double loss = INFINITY;

        st = try_damping(fb, t, dampings[i], &metric, &loss, err);
        if (st == OK && loss < least) {
            metric_free(*best);
            *best = metric;
            least = loss;
            fb->damping = i;
        } else {
            metric_free(metric);
        }
    }
    if (st != OK) {
        metric_free(*best);
        *best = NULL;
        return st;
    }
    fb->chosen_for = fb->item;
    fb->report.n_matrices++;
    if (least > search) {
        metric_free(*best);
        *best = NULL;
        fb->report.n_fell_back++;
    } else if (least > 0) {
        fb->report.log_gain += log(least / search);
    }
    fb->report.damping = dampings[fb->damping];
    return OK;
}

/* ---- a group ---- */

static enum status prepare_group(struct feedback *fb, const struct moments_entry *entry,
                                 const float *sample, size_t n_rows, size_t group,
                                 struct error *err)
{
    const size_t n = fb->group_cols, first = group * n, cols = (size_t)fb->item->e->ne[0];
    const bool is_expert = fb->item->e->n_dims == 3;
    const bool has_held = is_expert || entry->held_tokens > 0;
    float *h = malloc(n * n * sizeof(*h)), *held = malloc(n * n * sizeof(*held));
    float *w = malloc(n_rows * n * sizeof(*w)), *q = malloc(n_rows * n * sizeof(*q));
    uint8_t *blocks = malloc(n_rows * block_row_bytes(fb->item->type, n));
    struct trial t = {fb->item, n, n_rows, h, held, fb->diagonal + first, w, blocks, q};
    enum status st = OK;

    if (!h || !held || !w || !q || !blocks)
        st = fail(err, ERR_NOMEM, "%s: no memory for second moments of %zu columns",
                  fb->item->e->name, n);
    if (st == OK)
        st = moments_read_square(fb->moments, entry, false, first, n, h, err);
    if (st == OK) /* without held-out tokens the training moments must do */
        st = moments_read_square(fb->moments, entry, has_held, first, n, held, err);
    if (st == OK && is_expert)
        st = expert_shrink(&fb->means, fb->moments, fb->item, entry, group, h, held,
                           fb->diagonal + first, err);
    for (size_t r = 0; r < n_rows && st == OK; r++)
        memcpy(w + r * n, sample + r * cols + first, n * sizeof(*w));
    if (st == OK && choose_metric(fb, &t, &fb->metrics[group], err) != OK)
        st = fail_at(err, fb->item->e->name);
    free(h);
    free(held);
    free(w);
    free(q);
    free(blocks);
    return st;
}

/* ---- one matrix ---- */

/* Its first rows, whatever part of it is being packed: a resumed run decides the same. */
static enum status read_sample(const struct work_item *item, uint64_t matrix, uint64_t n,
                               float **out, struct error *err)
{
    float *x = malloc((size_t)(n * item->e->ne[0]) * sizeof(*x));
    enum status st = x ? source_read(item->e->t, matrix * item->e->ne[1], n, x, err)
                       : fail(err, ERR_NOMEM, "%s: no memory for rows", item->e->name);

    if (st == OK)
        *out = x;
    else
        free(x);
    return st;
}

static enum status prepare_matrix(struct feedback *fb, const struct work_item *item,
                                  uint64_t matrix, struct error *err)
{
    const size_t n = (size_t)item->e->ne[0];
    const uint64_t n_rows = item->e->ne[1] < SAMPLE_ROWS ? item->e->ne[1] : SAMPLE_ROWS;
    struct moments_entry entry;
    float *sample = NULL;
    enum status st;

    drop_matrix(fb);
    if (!feedback_entry(fb->moments, item, matrix, &entry))
        return fail(err, ERR_CORRUPT, "%s: no second moments of its input %" PRIu64,
                    item->e->name, matrix);
    fb->item = item;
    fb->matrix = matrix;
    fb->group_cols = entry.group;
    fb->n_groups = n / entry.group;
    memset(fb->metrics, 0, sizeof(fb->metrics));
    fb->diagonal = calloc(n, sizeof(*fb->diagonal));
    if (!fb->diagonal || fb->n_groups > MAX_GROUPS) {
        fb->n_groups = 0;
        return fail(err, ERR_NOMEM, "%s: no memory for %zu columns", item->e->name, n);
    }
    st = moments_diagonal(fb->moments, &entry, fb->diagonal, err);
    if (st == OK)
        st = read_sample(item, matrix, n_rows, &sample, err);
    for (size_t g = 0; g < fb->n_groups && st == OK; g++)
        st = prepare_group(fb, &entry, sample, (size_t)n_rows, g, err);
    free(sample);
    if (st != OK)
        drop_matrix(fb);
    return st;
}

/* ---- rows ---- */

/* One group of columns of some rows of the prepared matrix. */
static enum status round_group(const struct feedback *fb, size_t group, uint64_t n_rows,
                               const float *x, uint8_t *out, struct error *err)
{
    const struct work_item *item = fb->item;
    const size_t n = fb->group_cols, cols = (size_t)item->e->ne[0], first = group * n;
    const size_t group_bytes = block_row_bytes(item->type, n);
    float *w = malloc((size_t)n_rows * n * sizeof(*w));
    uint8_t *blocks = malloc((size_t)n_rows * group_bytes);
    enum status st = OK;

    if (!w || !blocks)
        st = fail(err, ERR_NOMEM, "%s: no memory for rows", item->e->name);
    for (uint64_t r = 0; r < n_rows && st == OK; r++)
        memcpy(w + r * n, x + r * cols + first, n * sizeof(*w));
    if (st == OK && fb->metrics[group])
        st = compensate_rows(fb->metrics[group], w, (size_t)n_rows, blocks, NULL, err);
    else if (st == OK)
        quantize_rows(item->type, METHOD_SEARCH, w, (size_t)n_rows, n,
                      fb->diagonal + first, blocks);
    for (uint64_t r = 0; r < n_rows && st == OK; r++)
        memcpy(out + r * item->row_bytes + group * group_bytes, blocks + r * group_bytes,
               group_bytes);
    free(w);
    free(blocks);
    return st;
}

enum status feedback_rows(struct feedback *fb, const struct work_item *item,
                          uint64_t first, uint64_t n, const float *x, uint8_t *out,
                          struct error *err)
{
    const double start = clock_seconds(), factor = fb->report.factor_seconds;
    enum status st = OK;

    for (uint64_t done = 0; done < n && st == OK;) {
        const uint64_t row = first + done, matrix = row / item->e->ne[1];
        const uint64_t left = item->e->ne[1] - row % item->e->ne[1];
        const uint64_t some = left < n - done ? left : n - done;

        /* a resumed run that begins with another expert asks the first one too */
        if (fb->chosen_for != item && matrix != 0)
            st = prepare_matrix(fb, item, 0, err);
        if (st == OK && (fb->item != item || fb->matrix != matrix))
            st = prepare_matrix(fb, item, matrix, err);
        for (size_t g = 0; g < fb->n_groups && st == OK; g++)
            st = round_group(fb, g, some, x + done * item->e->ne[0],
                             out + done * item->row_bytes, err);
        done += some;
    }
    fb->report.rounding_seconds +=
        clock_seconds() - start - (fb->report.factor_seconds - factor);
    return st;
}
