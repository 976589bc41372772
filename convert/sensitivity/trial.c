/*
 * trial.c - a model over a model
 */
#include "convert/sensitivity/sensitivity.h"

#include "convert/convert.h"

#include <stdlib.h>

enum { PIECE_WEIGHTS = 1 << 16, SAMPLE_ROWS = 256 };

struct trial {
    const struct model *base;
    enum method method;
    struct model *view;          /* what is shown */
    struct gguf_tensor *tensors; /* the view's */
    void **kept;                 /* of matrices the base does not map */
    int64_t changed;             /* -1: none */
    void *packed;                /* its blocks; NULL for the per-layer table */
    struct arena arena;
};

static bool is_table(const struct gguf_tensor *t)
{
    return strcmp(t->name, "per_layer_token_embd.weight") == 0;
}

/* ---- rounding rows ---- */

/* Rows as floats; `raw` holds their bytes. */
static enum status read_floats(const struct trial *trial, size_t i, uint64_t first,
                               uint64_t n, void *raw, float *x, struct error *err)
{
    const struct gguf_tensor *t = &trial->base->tensors[i];
    const size_t count = (size_t)(n * t->ne[0]);
    enum status st = model_read_rows(trial->base, i, first, n, raw, err);
    size_t at;

    if (st != OK)
        return st;
    if (!block_type_info(t->type)->decode)
        return fail(err, ERR_UNSUPPORTED, "%s: type %s cannot be read", t->name,
                    block_type_name(t->type));
    block_decode(t->type, raw, x, count);
    if (!quantize_all_finite(x, count, &at))
        return fail(err, ERR_CORRUPT, "%s: row %llu, column %llu is not finite", t->name,
                    (unsigned long long)(first + at / t->ne[0]),
                    (unsigned long long)(at % t->ne[0]));
    return OK;
}

/* Rows [first, first + n) rounded into dst, in one go. */
static enum status round_rows(const struct trial *trial, size_t i, enum block_type type,
                              uint64_t first, uint64_t n, void *dst, struct error *err)
{
    const struct gguf_tensor *t = &trial->base->tensors[i];
    float *x = malloc((size_t)(n * t->ne[0]) * sizeof(*x) + 1);
    void *raw = malloc((size_t)n * block_row_bytes(t->type, t->ne[0]) + 1);
    enum status st =
        x && raw ? OK : fail(err, ERR_NOMEM, "%s: no memory for rows", t->name);

    if (st == OK)
        st = read_floats(trial, i, first, n, raw, x, err);
    if (st == OK)
        quantize_rows(type, trial->method, x, (size_t)n, (size_t)t->ne[0], NULL, dst);
    free(x);
    free(raw);
    return st;
}

/* A whole tensor, threads sharing its rows. Of several troubles that of the first rows is told. */
struct rounding {
    const struct trial *trial;
    size_t i;
    enum block_type type;
    uint8_t *out;
    size_t grain;
    struct error *errors; /* one a range */
};

static void round_range(void *arg, size_t begin, size_t end)
{
    const struct rounding *r = arg;
    const size_t row_bytes =
        block_row_bytes(r->type, r->trial->base->tensors[r->i].ne[0]);

    (void)round_rows(r->trial, r->i, r->type, begin, end - begin,
                     r->out + begin * row_bytes, &r->errors[begin / r->grain]);
}

static enum status round_whole(const struct trial *trial, size_t i, enum block_type type,
                               uint8_t *out, struct error *err)
{
    const struct gguf_tensor *t = &trial->base->tensors[i];
    const size_t n = (size_t)gguf_tensor_rows(t);
    const size_t grain = t->ne[0] < PIECE_WEIGHTS ? PIECE_WEIGHTS / (size_t)t->ne[0] : 1;
    const size_t n_ranges = (n + grain - 1) / grain;
    struct error *errors = calloc(n_ranges + 1, sizeof(*errors));
    struct rounding rounding = {trial, i, type, out, grain, errors};
    enum status st = OK;

    if (!errors)
        return fail(err, ERR_NOMEM, "%s: no memory to round it", t->name);
    parallel_for(n, grain, round_range, &rounding);
    for (size_t r = 0; st == OK && r < n_ranges; r++)
        if (errors[r].code != OK) {
            *err = errors[r];
            st = errors[r].code;
        }
    free(errors);
    return st;
}

/* ---- the view ---- */

static enum status read_rows(void *self, size_t i, uint64_t first, uint64_t n, void *dst,
                             struct error *err)
{
    const struct trial *trial = self;
    const struct gguf_tensor *t = &trial->tensors[i];
    const size_t row_bytes = block_row_bytes(t->type, t->ne[0]);

    if (trial->changed != (int64_t)i)
        return model_read_rows(trial->base, i, first, n, dst, err);
    if (!trial->packed)
        return round_rows(trial, i, t->type, first, n, dst, err);
    memcpy(dst, (const uint8_t *)trial->packed + first * row_bytes, n * row_bytes);
    return OK;
}

/* What the base maps, what was read before, or what was read now. What cannot be read is NULL:
 * read_rows() will say why. */
static const void *map_tensor(void *self, size_t i)
{
    struct trial *trial = self;
    const struct gguf_tensor *t = &trial->base->tensors[i];
    const void *mapped;
    struct error err = {0};

    if (trial->changed == (int64_t)i)
        return trial->packed;
    mapped = model_map(trial->base, i);
    if (mapped || is_table(t))
        return mapped;
    if (!trial->kept[i]) {
        void *bytes = malloc((size_t)t->n_bytes + 1);

        if (bytes &&
            model_read_rows(trial->base, i, 0, gguf_tensor_rows(t), bytes, &err) != OK) {
            free(bytes);
            bytes = NULL;
        }
        trial->kept[i] = bytes;
    }
    return trial->kept[i];
}

static void close_view(void *self)
{
    (void)self; /* trial_close() frees what the view shows */
}

static const struct model_ops ops = {
    .read_rows = read_rows, .map = map_tensor, .close = close_view};

enum status trial_open(const struct model *model, enum method method, struct trial **out,
                       struct error *err)
{
    struct trial *trial = calloc(1, sizeof(*trial));
    enum status st = OK;

    if (!trial)
        return fail(err, ERR_NOMEM, "%s: no memory to try types", model->path);
    trial->base = model;
    trial->method = method;
    trial->changed = -1;
    trial->tensors =
        arena_array(&trial->arena, model->n_tensors + 1, sizeof(*trial->tensors));
    trial->kept = arena_array(&trial->arena, model->n_tensors + 1, sizeof(*trial->kept));
    if (!trial->tensors || !trial->kept)
        st = fail(err, ERR_NOMEM, "%s: no memory to try types", model->path);
    trial->view = malloc(sizeof(*trial->view));
    if (st == OK && !trial->view)
        st = fail(err, ERR_NOMEM, "%s: no memory to try types", model->path);
    if (trial->view)
        *trial->view = (struct model){.path = model->path,
                                      .meta = model->meta,
                                      .tensors = trial->tensors,
                                      .n_tensors = model->n_tensors,
                                      .ops = &ops,
                                      .self = trial};
    if (st == OK) {
        memcpy(trial->tensors, model->tensors,
               model->n_tensors * sizeof(*trial->tensors));
        st = model_index(trial->view, err);
    }
    if (st != OK) {
        trial_close(trial);
        return st;
    }
    *out = trial;
    return OK;
}

const struct model *trial_model(const struct trial *trial)
{
    return trial->view;
}

bool trial_is_free(const struct trial *trial, size_t i)
{
    const struct gguf_tensor *t = &trial->base->tensors[i];

    return convert_is_free(t->name, t->n_dims);
}

static void restore(struct trial *trial)
{
    if (trial->changed >= 0)
        trial->tensors[trial->changed] = trial->base->tensors[trial->changed];
    free(trial->packed);
    trial->packed = NULL;
    trial->changed = -1;
}

enum status trial_round(struct trial *trial, size_t i, enum block_type type,
                        struct error *err)
{
    const struct gguf_tensor *t = &trial->base->tensors[i];
    const uint64_t n_bytes = block_row_bytes(type, t->ne[0]) * gguf_tensor_rows(t);
    uint8_t *packed = NULL;

    restore(trial);
    if (!is_table(t)) {
        packed = malloc((size_t)n_bytes + 1);
        if (!packed)
            return fail(err, ERR_NOMEM, "%s: no memory for %llu bytes", t->name,
                        (unsigned long long)n_bytes);
        const enum status st = round_whole(trial, i, type, packed, err);
        if (st != OK) {
            free(packed);
            return st;
        }
    }
    trial->packed = packed;
    trial->changed = (int64_t)i;
    trial->tensors[i].type = type;
    trial->tensors[i].n_bytes = n_bytes;
    return OK;
}

/* ---- errors ---- */

static double row_error(const struct trial *trial, enum block_type type, const float *x,
                        float *y, size_t n, void *blocks)
{
    double sum = 0;

    quantize_rows(type, trial->method, x, 1, n, NULL, blocks);
    block_decode(type, blocks, y, n);
    for (size_t j = 0; j < n; j++) {
        const double e = (double)x[j] - (double)y[j];
        sum += e * e;
    }
    return sum;
}

enum status trial_errors(const struct trial *trial, size_t i,
                         const enum block_type *types, size_t n, double *errors,
                         struct error *err)
{
    const struct gguf_tensor *t = &trial->base->tensors[i];
    const size_t cols = (size_t)t->ne[0];
    const uint64_t n_rows = gguf_tensor_rows(t);
    const uint64_t n_sample = n_rows < SAMPLE_ROWS ? n_rows : SAMPLE_ROWS;
    const size_t wide = cols * sizeof(double); /* no type takes more a weight */
    float *x = malloc(wide + 1), *y = malloc(wide + 1);
    void *raw = malloc(wide + 1);
    enum status st =
        x && y && raw ? OK : fail(err, ERR_NOMEM, "%s: no memory for rows", t->name);

    memset(errors, 0, n * sizeof(*errors));
    for (uint64_t s = 0; st == OK && s < n_sample; s++) {
        st = read_floats(trial, i, s * n_rows / n_sample, 1, raw, x, err);
        for (size_t k = 0; st == OK && k < n; k++)
            errors[k] += row_error(trial, types[k], x, y, cols, raw);
    }
    free(x);
    free(y);
    free(raw);
    return st;
}

void trial_close(struct trial *trial)
{
    if (!trial)
        return;
    for (size_t i = 0; trial->kept && i < trial->base->n_tensors; i++)
        free(trial->kept[i]);
    free(trial->packed);
    model_close(trial->view);
    arena_free(&trial->arena);
    free(trial);
}
