/*
 * adapter_low_rank.c - W + s B A, its magnitude form (DoRA), and the layouts it comes in
 *
 *     linear      A {r, in}, B {out, r}               (MLX: transposed)
 *     embedding   A {r, rows}, B {cols, r}: W + s (B A)^T
 *     experts     A {E r, in}, expert-major; B {out, r E}, rank-major, of W {E, out, in}; older
 *                 releases have out and in the other way round
 *                 a pair for one projection of one expert: some rows of W
 *                 MLX: A {E, r, in}, B {E, out, r} of one projection: some rows of each expert
 *     rows        listed rows replaced (trainable tokens)
 *     DoRA        m[o] V[o] / |V[o]|, V = W + s B A
 */
#include "convert/checkpoint/adapter.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- products by tiles, everything on the stack ---- */

enum { TILE_ROWS = 32, TILE_COLS = 256, TILE_RANK = 16 };

/* right[k][c] for a tile of ranks and columns. */
static void load_right(const struct factor *f, const uint8_t *bytes, uint64_t expert,
                       uint64_t k0, uint64_t nk, uint64_t c0, uint64_t nc,
                       float tile[TILE_RANK][TILE_COLS])
{
    const enum dtype dtype = f->raw->t->dtype;
    const uint64_t width = dtype_bits(dtype) / 8, base = expert * f->expert;
    float run[TILE_RANK];

    for (uint64_t k = 0; k < nk && f->pos == 1; k++)
        dtype_widen(dtype, bytes + (base + (k0 + k) * f->k + c0) * width, tile[k],
                    (size_t)nc);
    for (uint64_t c = 0; c < nc && f->pos != 1; c++) {
        const uint8_t *at = bytes + (base + (c0 + c) * f->pos + k0 * f->k) * width;

        if (f->k == 1)
            dtype_widen(dtype, at, run, (size_t)nk);
        for (uint64_t k = 0; k < nk; k++)
            tile[k][c] = f->k == 1 ? run[k] : merge_number(f->raw, at, k * f->k);
    }
}

/* One entry of the left factor, with the scales some kinds put on its rows and ranks. */
static float left_entry(const struct merge *m, const struct factor *f,
                        const uint8_t *const *bytes, uint64_t expert, uint64_t o,
                        uint64_t k)
{
    float v = merge_number(f->raw, merge_bytes(m, bytes, f->raw),
                           expert * f->expert + o * f->pos + k * f->k);

    if (m->row_scale)
        v *= merge_number(m->row_scale, merge_bytes(m, bytes, m->row_scale), o);
    if (m->k_scale)
        v *= merge_number(m->k_scale, merge_bytes(m, bytes, m->k_scale), k);
    return v;
}

/* delta = left right for some rows of one expert and a run of columns. */
static void tile_product(const struct merge *m, const struct factor *left,
                         const struct factor *right, const uint8_t *const *bytes,
                         uint64_t expert, uint64_t o, uint64_t n_rows, uint64_t c0,
                         uint64_t nc, float delta[TILE_ROWS][TILE_COLS])
{
    const uint8_t *right_bytes = merge_bytes(m, bytes, right->raw);
    float tile[TILE_RANK][TILE_COLS];

    for (uint64_t r = 0; r < n_rows; r++)
        memset(delta[r], 0, sizeof(delta[r]));
    for (uint64_t k0 = 0; k0 < m->rank; k0 += TILE_RANK) {
        const uint64_t nk = m->rank - k0 < TILE_RANK ? m->rank - k0 : TILE_RANK;

        load_right(right, right_bytes, expert, k0, nk, c0, nc, tile);
        for (uint64_t r = 0; r < n_rows; r++)
            for (uint64_t k = 0; k < nk; k++) {
                const float b = left_entry(m, left, bytes, expert, o + r, k0 + k);

                for (uint64_t c = 0; c < nc; c++)
                    delta[r][c] += b * tile[k][c];
            }
    }
}

/* Rows [row, row + n_rows), all of one expert; x points at the first. */
static void add_product(const struct merge *m, const uint8_t *const *bytes, uint64_t row,
                        uint64_t n_rows, float *x)
{
    const uint64_t cols = source_cols(&m->base);
    const uint64_t expert = row / m->rows_per_expert;
    const uint64_t o = row % m->rows_per_expert - m->part_from;
    float delta[TILE_ROWS][TILE_COLS], second[TILE_ROWS][TILE_COLS];

    for (uint64_t c0 = 0; c0 < cols; c0 += TILE_COLS) {
        const uint64_t nc = cols - c0 < TILE_COLS ? cols - c0 : TILE_COLS;

        tile_product(m, &m->left, &m->right, bytes, expert, o, n_rows, c0, nc, delta);
        if (m->left2.raw) {
            tile_product(m, &m->left2, &m->right2, bytes, expert, o, n_rows, c0, nc,
                         second);
            for (uint64_t r = 0; r < n_rows; r++)
                for (uint64_t c = 0; c < nc; c++)
                    delta[r][c] *= second[r][c];
        }
        for (uint64_t r = 0; r < n_rows; r++)
            for (uint64_t c = 0; c < nc; c++)
                x[r * cols + c0 + c] += m->scale * delta[r][c];
    }
}

/* x[o] = m[o] / |x[o]| x[o]; a zero row stays. */
static void set_magnitude(const struct merge *m, const uint8_t *const *bytes, uint64_t o,
                          float *x)
{
    const uint64_t cols = source_cols(&m->base);
    const uint8_t *at = merge_bytes(m, bytes, m->magnitude);
    double sum = 0;

    for (uint64_t c = 0; c < cols; c++)
        sum += (double)x[c] * (double)x[c];
    if (sum == 0)
        return;
    const float factor = merge_number(m->magnitude, at, o) / sqrtf((float)sum);
    for (uint64_t c = 0; c < cols; c++)
        x[c] *= factor;
}

/* The row at or after `row` that changes next, and how many from there on do. */
static uint64_t next_part(const struct merge *m, uint64_t row, uint64_t *count)
{
    const uint64_t o = row % m->rows_per_expert, end = m->part_from + m->part_rows;
    const uint64_t begin = row - o;

    if (o < m->part_from)
        row = begin + m->part_from;
    else if (o >= end)
        row = begin + m->rows_per_expert + m->part_from;
    *count = end - row % m->rows_per_expert;
    return row;
}

bool merge_touches(const struct merge *m, uint64_t first, uint64_t n)
{
    uint64_t count;

    return m->part_rows == 0 || next_part(m, first, &count) < first + n;
}

void low_rank_apply(const struct merge *m, const uint8_t *const *bytes, uint64_t from,
                    uint64_t n, float *x)
{
    const uint64_t cols = source_cols(&m->base), end = from + n;
    uint64_t count;

    for (uint64_t row = next_part(m, from, &count); row < end;
         row = next_part(m, row + count, &count)) {
        const uint64_t o = row % m->rows_per_expert - m->part_from;
        float *at = x + (row - from) * cols;

        count = count < TILE_ROWS ? count : TILE_ROWS;
        count = count < end - row ? count : end - row;
        add_product(m, bytes, row, count, at);
        for (uint64_t r = 0; m->magnitude && r < count; r++)
            set_magnitude(m, bytes, o + r, at + r * cols);
    }
}

/* ---- the layouts ---- */

static enum status need_pair(const struct adapter *ad, const struct adapter_group *group,
                             enum adapter_role a, enum adapter_role b, struct error *err)
{
    const bool is_embedding = a == ROLE_EMBEDDING_A;
    const struct raw_tensor *half = group->role[a] ? group->role[a] : group->role[b];

    if (!group->role[a] || !group->role[b])
        return adapter_misfit(ad, half, err, "its %s is missing (%s)",
                              is_embedding     ? group->role[a] ? "lora_embedding_B"
                                                                : "lora_embedding_A"
                              : group->role[a] ? "lora_B"
                                               : "lora_A",
                              group->path);
    return OK;
}

static enum status need_two_dimensions(const struct adapter *ad,
                                       const struct raw_tensor *a,
                                       const struct raw_tensor *b, struct error *err)
{
    if (a->t->n_dims == 2 && b->t->n_dims == 2)
        return OK;
    return adapter_misfit(ad, a, err, "two factors of two dimensions expected");
}

/* Factors {r, in}, {out, r}, or transposed, against the rows of the target and its columns. */
static enum status fit_factors(const struct adapter *ad, const struct raw_tensor *left,
                               bool left_turned, const struct raw_tensor *right,
                               bool right_turned, const struct adapter_target *to,
                               struct merge *m, struct error *err)
{
    const uint64_t rows = to->rows, cols = source_cols(to->t);
    const enum status st = need_two_dimensions(ad, left, right, err);

    if (st != OK)
        return st;
    const uint64_t l_rows = left->t->dims[left_turned ? 1 : 0];
    const uint64_t l_rank = left->t->dims[left_turned ? 0 : 1];
    const uint64_t r_rank = right->t->dims[right_turned ? 1 : 0];
    const uint64_t r_cols = right->t->dims[right_turned ? 0 : 1];
    if (l_rows != rows || r_cols != cols || l_rank != r_rank)
        return adapter_misfit(ad, right, err,
                              "%" PRIu64 " x %" PRIu64 " and %" PRIu64 " x %" PRIu64
                              " do not multiply to the base's %" PRIu64 " x %" PRIu64
                              " (%s)",
                              l_rows, l_rank, r_rank, r_cols, rows, cols, to->t->name);
    m->left = (struct factor){left, left_turned ? 1 : l_rank, left_turned ? rows : 1, 0};
    m->right =
        (struct factor){right, right_turned ? r_rank : 1, right_turned ? 1 : cols, 0};
    m->rank = l_rank;
    return OK;
}

/* MLX: A {E, r, in}, in older files {E r, in}, and B {E, out, r}. */
static enum status fit_switch(const struct adapter *ad, const struct raw_tensor *a,
                              const struct raw_tensor *b, const struct adapter_target *to,
                              struct merge *m, struct error *err)
{
    const uint64_t n = to->t->dims[0], cols = source_cols(to->t);
    const uint64_t rank = b->t->n_dims == 3 ? b->t->dims[2] : 0;

    if (rank == 0 || b->t->dims[0] != n || b->t->dims[1] != to->rows ||
        tensor_cols(a->t) != cols || tensor_rows(a->t) != n * rank)
        return adapter_misfit(ad, a, err,
                              "its factors do not fit %" PRIu64 " experts of %" PRIu64
                              " x %" PRIu64 " (%s)",
                              n, to->rows, cols, to->t->name);
    m->left = (struct factor){b, rank, 1, to->rows * rank};
    m->right = (struct factor){a, 1, cols, rank * cols};
    m->rank = rank;
    return OK;
}

static enum status fit_experts(const struct adapter *ad, const struct raw_tensor *a,
                               const struct raw_tensor *b, const struct source_tensor *t,
                               struct merge *m, struct error *err)
{
    const uint64_t n = t->dims[0], out = t->dims[1], in = t->dims[2];
    const enum status st = need_two_dimensions(ad, a, b, err);

    if (st != OK)
        return st;
    const uint64_t width = b->t->dims[1];
    const bool newer = a->t->dims[1] == in && b->t->dims[0] == out;
    if (newer && in == out && !json_object_get(ad->config, "peft_version"))
        return adapter_misfit(ad, a, err,
                              "%s is square and no peft_version says which way round its "
                              "factors are",
                              t->name);
    if (n == 0 || a->t->dims[0] != width || width % n != 0 ||
        (!newer && (a->t->dims[1] != out || b->t->dims[0] != in)))
        return adapter_misfit(ad, a, err,
                              "its factors do not fit %" PRIu64 " experts of %" PRIu64
                              " x %" PRIu64 " (%s)",
                              n, out, in, t->name);
    m->rank = width / n;
    /* A: row e r + k; B: column k E + e. The factor at the output is B, in older files A. */
    const struct factor of_a = {a, 1, a->t->dims[1], m->rank * a->t->dims[1]};
    const struct factor of_b = {b, width, n, 1};
    m->left = newer ? of_b : of_a;
    m->right = newer ? of_a : of_b;
    return OK;
}

/* ---- replaced rows ---- */

static void replace_rows(const struct merge *m, const uint8_t *const *bytes,
                         uint64_t from, uint64_t n, float *x)
{
    const uint64_t cols = source_cols(&m->base);
    const uint64_t width = dtype_bits(m->tensors[0]->t->dtype) / 8;

    for (uint64_t i = 0; i < m->rank; i++)
        if (m->rows[i] >= from && m->rows[i] < from + n)
            dtype_widen(m->tensors[0]->t->dtype, bytes[0] + i * cols * width,
                        x + (m->rows[i] - from) * cols, (size_t)cols);
}

/* The list of rows for this module: an object by how its path ends, or one list for all. */
static const json_t *token_list(const struct adapter *ad, const char *path)
{
    json_t *lists = json_object_get(ad->config, "trainable_token_indices"), *list;
    const char *key;

    if (json_is_array(lists))
        return lists;
    json_object_foreach(lists, key, list)
    {
        const size_t n = strlen(path), k = strlen(key);

        if (n >= k && strcmp(path + n - k, key) == 0)
            return list;
    }
    return NULL;
}

static enum status merge_rows(struct adapter *ad, const struct adapter_group *group,
                              struct source_tensor *t, struct error *err)
{
    const struct raw_tensor *raw = group->role[ROLE_ROWS];
    const json_t *list = token_list(ad, group->asked);
    const size_t n = json_array_size(list);
    struct merge m = {.apply = replace_rows, .rank = n};
    uint64_t *rows = arena_array(&ad->cp->arena, n + 1, sizeof(*rows));

    if (!rows)
        return fail(err, ERR_NOMEM, "%s: no memory to merge into it", t->name);
    if (raw->t->n_dims != 2 || raw->t->dims[0] != n || raw->t->dims[1] != source_cols(t))
        return adapter_misfit(ad, raw, err,
                              "trainable_token_indices lists %zu rows for it", n);
    for (size_t i = 0; i < n; i++) {
        const json_int_t row = json_integer_value(json_array_get(list, i));

        if (row < 0 || (uint64_t)row >= source_rows(t))
            return adapter_misfit(ad, raw, err, "row %lld is not in the table",
                                  (long long)row);
        rows[i] = (uint64_t)row;
    }
    m.rows = rows;
    merge_reads(&m, raw);
    return merge_wrap(ad->cp, t, &m, "token rows", err);
}

/* ---- one group ---- */

static enum status merge_embedding(struct adapter *ad, const struct adapter_group *group,
                                   const struct adapter_target *to, struct merge *m,
                                   struct error *err)
{
    const struct raw_tensor *a = group->role[ROLE_EMBEDDING_A],
                            *b = group->role[ROLE_EMBEDDING_B];
    const enum status st = need_pair(ad, group, ROLE_EMBEDDING_A, ROLE_EMBEDDING_B, err);

    return st == OK ? fit_factors(ad, a, true, b, true, to, m, err) : st;
}

/* MLX multiplies from the left: x A B, and for a table, whose rows are looked up, A B. */
static enum status merge_linear(struct adapter *ad, const struct adapter_group *group,
                                const struct adapter_target *to, struct merge *m,
                                struct error *err)
{
    const struct raw_tensor *a = group->role[ROLE_A], *b = group->role[ROLE_B];
    const enum status st = need_pair(ad, group, ROLE_A, ROLE_B, err);
    const bool is_whole = to->rows == to->period;

    if (st != OK)
        return st;
    if (ad->kind == ADAPTER_LORA)
        return to->t->n_dims == 3 && to->period == to->t->dims[1] && is_whole
                   ? fit_experts(ad, a, b, to->t, m, err)
                   : fit_factors(ad, b, false, a, false, to, m, err);
    if (to->t->n_dims == 3)
        return fit_switch(ad, a, b, to, m, err);
    return strncmp(group->path, "embed_tokens", strlen("embed_tokens")) == 0
               ? fit_factors(ad, a, false, b, false, to, m, err)
               : fit_factors(ad, b, true, a, true, to, m, err);
}

/* PEFT's patterns see a parameter of a module under its own name: "...experts.down_proj". NULL: no
 * memory. */
static const char *asked_of(struct adapter *ad, const struct adapter_group *group,
                            const struct source_tensor *t)
{
    const size_t n = strlen(group->path);

    if (t->n_dims != 3 || strncmp(t->name, group->path, n) != 0 || t->name[n] != '.')
        return group->asked;
    return arena_printf(&ad->cp->arena, "%s%s", group->asked, t->name + n);
}

enum status low_rank_merge(struct adapter *ad, const struct adapter_group *group,
                           const struct adapter_target *to, struct error *err)
{
    struct merge m = {.apply = low_rank_apply,
                      .rows_per_expert = to->period,
                      .part_from = to->from,
                      .part_rows = to->rows};
    double scale = 0;
    char what[32];
    enum status st = OK;

    if (group->role[ROLE_ROWS])
        st = merge_rows(ad, group, to->t, err);
    if (st != OK || (!group->role[ROLE_A] && !group->role[ROLE_B] &&
                     !group->role[ROLE_EMBEDDING_A] && !group->role[ROLE_EMBEDDING_B]))
        return st;
    st = group->role[ROLE_EMBEDDING_A] || group->role[ROLE_EMBEDDING_B]
             ? merge_embedding(ad, group, to, &m, err)
             : merge_linear(ad, group, to, &m, err);
    const char *asked = st == OK ? asked_of(ad, group, to->t) : NULL;
    if (st == OK)
        st = asked ? adapter_scale(ad, group, asked, m.rank, &scale, err)
                   : fail(err, ERR_NOMEM, "%s: no memory to merge into it", to->t->name);
    if (st != OK)
        return st;
    m.scale = (float)scale;
    merge_reads(&m, m.left.raw);
    merge_reads(&m, m.right.raw);
    m.magnitude = group->role[ROLE_MAGNITUDE];
    if (m.magnitude) {
        if (tensor_elements(m.magnitude->t) != to->rows ||
            (to->t->n_dims == 3 && to->period == to->t->dims[1]))
            return adapter_misfit(ad, m.magnitude, err,
                                  "a magnitude for each of %" PRIu64 " rows expected",
                                  to->rows);
        merge_reads(&m, m.magnitude);
    } else if (json_is_true(json_object_get(ad->config, "use_dora"))) {
        return adapter_misfit(ad, m.left.raw, err,
                              "use_dora is set, but its "
                              "lora_magnitude_vector is missing");
    }
    snprintf(what, sizeof(what), "%s r%" PRIu64, m.magnitude ? "DoRA" : "LoRA", m.rank);
    return merge_wrap(ad->cp, to->t, &m, what, err);
}
