/*
 * adapter_other.c - LoHa, LoKr, IA3 and OFT
 *
 *     LoHa   W + s (w1_a w1_b) * (w2_a w2_b), element by element
 *     LoKr   W + s kron(w1, w2); either may be a product of two
 *     IA3    rows, or for feed-forward modules columns, scaled
 *     OFT    W R^T, R block-diagonal: the first terms of the Neumann series of (I + Q)(I - Q)^-1
 *            for a skew Q (the exact form is refused: no file with it was at hand to check against)
 */
#include "convert/checkpoint/adapter.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_matrix(const struct raw_tensor *raw, uint64_t rows, uint64_t cols)
{
    return raw->t->n_dims == 2 && raw->t->dims[0] == rows && raw->t->dims[1] == cols;
}

/* ---- LoHa ---- */

static enum status merge_loha(struct adapter *ad, const struct adapter_group *group,
                              struct source_tensor *t, struct error *err)
{
    static const enum adapter_role roles[] = {ROLE_W1_A, ROLE_W1_B, ROLE_W2_A, ROLE_W2_B};
    static const char *const names[] = {"hada_w1_a", "hada_w1_b", "hada_w2_a",
                                        "hada_w2_b"};
    const uint64_t rows = source_rows(t), cols = source_cols(t);
    struct merge m = {
        .apply = low_rank_apply, .rows_per_expert = rows, .part_rows = rows};
    const struct raw_tensor *part[4];
    double scale;
    enum status st = OK;

    for (int i = 0; i < 4 && st == OK; i++) {
        st = adapter_need(ad, group, roles[i], names[i], err);
        part[i] = group->role[roles[i]];
        if (st == OK && i == 0)
            m.rank = part[0]->t->n_dims == 2 ? part[0]->t->dims[1] : 0;
        if (st == OK && !(i % 2 ? is_matrix(part[i], m.rank, cols)
                                : is_matrix(part[i], rows, m.rank)))
            st = adapter_misfit(ad, part[i], err,
                                "it does not fit the base's %" PRIu64 " x %" PRIu64, rows,
                                cols);
    }
    if (st == OK)
        st = adapter_scale(ad, group, group->asked, m.rank, &scale, err);
    if (st != OK)
        return st;
    m.scale = (float)scale;
    m.left = (struct factor){part[0], m.rank, 1, 0};
    m.right = (struct factor){part[1], 1, cols, 0};
    m.left2 = (struct factor){part[2], m.rank, 1, 0};
    m.right2 = (struct factor){part[3], 1, cols, 0};
    for (int i = 0; i < 4; i++)
        merge_reads(&m, part[i]);
    return merge_wrap(ad->cp, t, &m, "LoHa", err);
}

/* ---- LoKr ---- */

/* A small factor whole: as it is, or the product of its two. */
static enum status kron_factor(struct adapter *ad, const struct adapter_group *group,
                               enum adapter_role whole, const struct source_tensor *t,
                               uint64_t dims[2], uint64_t *rank, const float **out,
                               struct error *err)
{
    const struct raw_tensor *one = group->role[whole];
    const struct raw_tensor *a = group->role[whole + 1], *b = group->role[whole + 2];
    const float *fa, *fb;
    float *x;
    enum status st;

    if (one) {
        if (one->t->n_dims != 2)
            return adapter_misfit(ad, one, err, "two dimensions expected");
        dims[0] = one->t->dims[0];
        dims[1] = one->t->dims[1];
        return raw_floats(ad->cp, one, out, err);
    }
    if (!a || !b || a->t->n_dims != 2 || b->t->n_dims != 2 ||
        a->t->dims[1] != b->t->dims[0])
        return fail(err, ERR_CORRUPT, "%s: %s: its lokr_w1 or lokr_w2 is not complete",
                    ad->folder, group->path);
    dims[0] = a->t->dims[0];
    dims[1] = b->t->dims[1];
    if (dims[0] > source_rows(t) || dims[1] > source_cols(t))
        return adapter_misfit(
            ad, a, err, "its product is larger than the base's %" PRIu64 " x %" PRIu64,
            source_rows(t), source_cols(t));
    *rank = a->t->dims[1];
    st = raw_floats(ad->cp, a, &fa, err);
    if (st == OK)
        st = raw_floats(ad->cp, b, &fb, err);
    if (st != OK)
        return st;
    x = arena_array(&ad->cp->arena, (size_t)dims[0], (size_t)dims[1] * sizeof(*x));
    if (!x)
        return fail(err, ERR_NOMEM, "%s: no memory for it", a->t->name);
    for (uint64_t i = 0; i < dims[0]; i++)
        for (uint64_t k = 0; k < *rank; k++)
            for (uint64_t j = 0; j < dims[1]; j++)
                x[i * dims[1] + j] += fa[i * *rank + k] * fb[k * dims[1] + j];
    *out = x;
    return OK;
}

struct kron {
    const float *w1, *w2;
    uint64_t rows2, cols1, cols2;
};

static void add_kron(const struct merge *m, const uint8_t *const *bytes, uint64_t from,
                     uint64_t n, float *x)
{
    const struct kron *kron = m->own;
    const uint64_t cols = kron->cols1 * kron->cols2;

    (void)bytes;
    for (uint64_t r = from; r < from + n; r++, x += cols) {
        const float *left = kron->w1 + r / kron->rows2 * kron->cols1;
        const float *right = kron->w2 + r % kron->rows2 * kron->cols2;

        for (uint64_t c = 0; c < cols; c++)
            x[c] += m->scale * (left[c / kron->cols2] * right[c % kron->cols2]);
    }
}

static enum status merge_lokr(struct adapter *ad, const struct adapter_group *group,
                              struct source_tensor *t, struct error *err)
{
    struct kron *kron = arena_alloc(&ad->cp->arena, sizeof(*kron));
    struct merge m = {.apply = add_kron};
    uint64_t d1[2] = {0}, d2[2] = {0}, rank = 0; /* two whole factors show none */
    double scale;
    enum status st;

    if (!kron)
        return fail(err, ERR_NOMEM, "%s: no memory to merge into it", t->name);
    st = kron_factor(ad, group, ROLE_W1, t, d1, &rank, &kron->w1, err);
    if (st == OK)
        st = kron_factor(ad, group, ROLE_W2, t, d2, &rank, &kron->w2, err);
    if (st == OK && (d1[0] * d2[0] != source_rows(t) || d1[1] * d2[1] != source_cols(t)))
        st = fail(err, ERR_CORRUPT,
                  "%s: %s: %" PRIu64 " x %" PRIu64 " and %" PRIu64 " x %" PRIu64
                  " are not factors of the base's %" PRIu64 " x %" PRIu64,
                  ad->folder, group->path, d1[0], d1[1], d2[0], d2[1], source_rows(t),
                  source_cols(t));
    if (st == OK)
        st = adapter_scale(ad, group, group->asked, rank, &scale, err);
    if (st != OK)
        return st;
    kron->rows2 = d2[0];
    kron->cols1 = d1[1];
    kron->cols2 = d2[1];
    m.scale = (float)scale;
    m.own = kron;
    return merge_wrap(ad->cp, t, &m, "LoKr", err);
}

/* ---- IA3 ---- */

static void scale_rows(const struct merge *m, const uint8_t *const *bytes, uint64_t from,
                       uint64_t n, float *x)
{
    const uint64_t cols = source_cols(&m->base);

    for (uint64_t r = 0; r < n; r++) {
        const float s = merge_number(m->tensors[0], bytes[0], from + r);

        for (uint64_t c = 0; c < cols; c++)
            x[r * cols + c] *= s;
    }
}

static void scale_cols(const struct merge *m, const uint8_t *const *bytes, uint64_t from,
                       uint64_t n, float *x)
{
    const uint64_t cols = source_cols(&m->base);

    (void)from;
    for (uint64_t c = 0; c < cols; c++) {
        const float s = merge_number(m->tensors[0], bytes[0], c);

        for (uint64_t r = 0; r < n; r++)
            x[r * cols + c] *= s;
    }
}

static enum status merge_ia3(struct adapter *ad, const struct adapter_group *group,
                             struct source_tensor *t, struct error *err)
{
    struct merge m = {0};
    enum status st = adapter_need(ad, group, ROLE_SCALE, "ia3_l", err);
    const struct raw_tensor *raw = group->role[ROLE_SCALE];

    if (st != OK)
        return st;
    if (ad->strength != 1.0)
        return adapter_misfit(ad, raw, err, "an IA3 adapter cannot be scaled");
    if (is_matrix(raw, source_rows(t), 1))
        m.apply = scale_rows;
    else if (is_matrix(raw, 1, source_cols(t)))
        m.apply = scale_cols;
    else
        return adapter_misfit(ad, raw, err,
                              "it fits neither rows nor columns of the base's %" PRIu64
                              " x %" PRIu64,
                              source_rows(t), source_cols(t));
    merge_reads(&m, raw);
    return merge_wrap(ad->cp, t, &m, "IA3", err);
}

/* ---- OFT ---- */

static void multiply(const double *a, const double *b, double *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;

            for (size_t k = 0; k < n; k++)
                sum += a[i * n + k] * b[k * n + j];
            out[i * n + j] = sum;
        }
}

/* I + 2 Q + 2 Q^2 + ... + 2 Q^(last - 1) + Q^last, last = terms - 1 but at least 3 once there is a
 * square: PEFT's own loop. */
static void cayley_series(const double *q, double *r, double *work, size_t n, int terms)
{
    double *power = work, *next = work + n * n;
    const int last = terms <= 2 ? 1 : terms > 4 ? terms - 1 : 3;

    for (size_t i = 0; i < n * n; i++) {
        r[i] = (i % (n + 1) == 0 ? 1.0 : 0.0) + (terms > 1 ? 2 * q[i] : 0.0);
        power[i] = q[i];
    }
    for (int k = 2; k <= last; k++) {
        multiply(power, q, next, n);
        for (size_t i = 0; i < n * n; i++) {
            power[i] = next[i];
            r[i] += (k == last ? 1.0 : 2.0) * power[i];
        }
    }
}

/* x = x R^T, block after block of columns. */
static void rotate(const struct merge *m, const uint8_t *const *bytes, uint64_t from,
                   uint64_t n, float *x)
{
    const uint64_t cols = source_cols(&m->base), b = m->rank;
    const float *rotation = m->own;
    double in[256];

    (void)bytes;
    (void)from;
    for (uint64_t at = 0; at < n * cols; at += b) {
        const float *r = rotation + at % cols * b;

        for (uint64_t j = 0; j < b; j++)
            in[j] = (double)x[at + j];
        for (uint64_t i = 0; i < b; i++) {
            double sum = 0;

            for (uint64_t j = 0; j < b; j++)
                sum += (double)r[i * b + j] * in[j];
            x[at + i] = (float)sum;
        }
    }
}

/* Skew Q from its upper triangle, then R, for every block. */
static enum status make_rotations(struct adapter *ad, const float *upper,
                                  uint64_t n_blocks, size_t b, float *out,
                                  struct error *err)
{
    const json_t *count = json_object_get(ad->config, "num_cayley_neumann_terms");
    const int terms = json_is_integer(count) ? (int)json_integer_value(count) : 5;
    double *q = malloc(4 * b * b * sizeof(*q));

    if (!q || terms < 1 || terms > 64) {
        const bool has_memory = q != NULL;

        free(q);
        return has_memory
                   ? fail(err, ERR_UNSUPPORTED,
                          "%s/adapter_config.json: num_cayley_neumann_terms %d (1 to 64 "
                          "expected)",
                          ad->folder, terms)
                   : fail(err, ERR_NOMEM, "%s: no memory for rotations", ad->folder);
    }
    for (uint64_t block = 0; block < n_blocks; block++, out += b * b) {
        double *r = q + b * b;

        memset(q, 0, b * b * sizeof(*q));
        for (size_t i = 0; i < b; i++)
            for (size_t j = i + 1; j < b; j++) {
                q[i * b + j] = (double)*upper++;
                q[j * b + i] = -q[i * b + j];
            }
        cayley_series(q, r, q + 2 * b * b, b, terms);
        for (size_t i = 0; i < b * b; i++)
            out[i] = (float)r[i];
    }
    free(q);
    return OK;
}

static enum status merge_oft(struct adapter *ad, const struct adapter_group *group,
                             struct source_tensor *t, struct error *err)
{
    const uint64_t cols = source_cols(t);
    struct merge m = {.apply = rotate};
    const float *upper;
    uint64_t b = 2;
    enum status st = adapter_need(ad, group, ROLE_ROTATION, "oft_R", err);
    const struct raw_tensor *raw = group->role[ROLE_ROTATION];

    if (st == OK && !json_is_true(json_object_get(ad->config, "use_cayley_neumann")))
        st = fail(err, ERR_UNSUPPORTED,
                  "%s/adapter_config.json: OFT with use_cayley_neumann off is "
                  "not supported",
                  ad->folder);
    if (st != OK)
        return st;
    while (raw->t->n_dims == 2 && b * (b - 1) / 2 < raw->t->dims[1])
        b++;
    if (raw->t->n_dims != 2 || b * (b - 1) / 2 != raw->t->dims[1] || b > 256 ||
        cols % b != 0 || raw->t->dims[0] != cols / b || ad->strength != 1.0)
        return adapter_misfit(
            ad, raw, err, "blocks of a rotation of %" PRIu64 " columns expected", cols);
    st = raw_floats(ad->cp, raw, &upper, err);
    float *rotation =
        arena_array(&ad->cp->arena, (size_t)(cols / b), (size_t)(b * b) * sizeof(float));
    if (st == OK && !rotation)
        st = fail(err, ERR_NOMEM, "%s: no memory for rotations", ad->folder);
    if (st == OK)
        st = make_rotations(ad, upper, cols / b, (size_t)b, rotation, err);
    if (st != OK)
        return st;
    m.rank = b;
    m.own = rotation;
    return merge_wrap(ad->cp, t, &m, "OFT", err);
}

enum status other_merge(struct adapter *ad, const struct adapter_group *group,
                        struct source_tensor *t, struct error *err)
{
    switch (ad->kind) {
    case ADAPTER_LOHA:
        return merge_loha(ad, group, t, err);
    case ADAPTER_LOKR:
        return merge_lokr(ad, group, t, err);
    case ADAPTER_IA3:
        return merge_ia3(ad, group, t, err);
    case ADAPTER_VERA:
        return vera_merge(ad, group, t, err);
    default:
        return merge_oft(ad, group, t, err);
    }
}
