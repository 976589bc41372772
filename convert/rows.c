/*
 * rows.c - decode, check and quantize runs of rows
 */
#include "convert/rows.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Floats a thread works on at once: decoded rows and their blocks stay in its own cache. */
enum { PIECE_FLOATS = 32768 };

/* No stored scale or minimum of any block type exceeds twice the block's largest magnitude, so
 * below a quarter of F16's largest number none can overflow. */
static const float SAFE_MAGNITUDE = 16384.0F;
static const float LARGEST_HALF = 65504.0F;

enum status row_packer_open(struct row_packer *packer, const struct work *work,
                            size_t longest_row, struct error *err)
{
    const size_t threads = (size_t)parallel_threads();
    size_t n_bytes;

    *packer = (struct row_packer){.work = work};
    packer->piece = longest_row > PIECE_FLOATS ? longest_row : PIECE_FLOATS;
    if (mul_size(packer->piece, threads * sizeof(float), &n_bytes))
        packer->scratch = malloc(n_bytes);
    packer->tallies = calloc(work->n_items + 1, sizeof(*packer->tallies));
    return packer->scratch && packer->tallies
               ? OK
               : fail(err, ERR_NOMEM, "no memory for rows of %zu", longest_row);
}

void row_packer_close(struct row_packer *packer)
{
    free(packer->scratch);
    free(packer->importance);
    free(packer->decoded);
    free(packer->tallies);
    feedback_free(packer->feedback);
    *packer = (struct row_packer){0};
}

/* What the threads share over one slab. */
struct run {
    const struct row_packer *packer;
    const struct work_item *item;
    struct fetched in;
    uint8_t *packed;
    uint64_t rows_a_mat; /* rows that share an importance vector */
    atomic_bool is_bad, is_too_wide;
    atomic_ullong n_exact; /* blocks on the grid */
};

/* Each magnitude, as bits, into a maximum of its own. */
static inline void largest_of(const float *x, size_t n, int32_t *most)
{
    for (size_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof(bits));
        bits &= 0x7fffffff;
        most[i] = bits > most[i] ? bits : most[i];
    }
}

/* The largest magnitude as bits: integers of non-negative floats order as the floats do, and NaN
 * and infinity come out above every finite number. */
static uint32_t largest_bits(const float *x, size_t n)
{
    enum { SIDE = 16 }; /* several maxima side by side: none waits for the one before */
    int32_t most[SIDE] = {0};

    for (; n >= SIDE; n -= SIDE, x += SIDE)
        largest_of(x, SIDE, most);
    largest_of(x, n, most);
    for (int j = 1; j < SIDE; j++)
        most[0] = most[j] > most[0] ? most[j] : most[0];
    return (uint32_t)most[0];
}

static const float *importance_of(const struct run *run, uint64_t row)
{
    const float *all = run->packer->importance;

    return all ? all + row / run->rows_a_mat * run->item->e->ne[0] : NULL;
}

/* Rows that share one importance vector. */
static void quantize_run(struct run *run, uint64_t row, uint64_t n, const float *x,
                         uint8_t *out)
{
    const struct work_item *item = run->item;

    if (item->method == METHOD_GRID) {
        atomic_fetch_add(&run->n_exact,
                         quantize_on_grid(x, (size_t)n, (size_t)item->e->ne[0], out));
        return;
    }
    quantize_rows(item->type, item->method, x, (size_t)n, (size_t)item->e->ne[0],
                  importance_of(run, row), out);
}

/* Did some block come out infinite? Decoded over x, which is not needed any more. */
static bool has_overflowed(enum block_type type, const uint8_t *blocks, float *x,
                           size_t n)
{
    block_decode(type, blocks, x, n);
    return largest_bits(x, n) >= 0x7f800000;
}

static void pack_decoded(struct run *run, uint64_t row, uint64_t n, float *x,
                         uint8_t *out)
{
    const struct work_item *item = run->item;
    const size_t cols = (size_t)item->e->ne[0], count = (size_t)n * cols;
    const uint32_t most = largest_bits(x, count);
    uint32_t safe;

    memcpy(&safe, &SAFE_MAGNITUDE, sizeof(safe));
    if (most >= 0x7f800000) {
        atomic_store(&run->is_bad, true);
        return;
    }
    for (uint64_t done = 0; done < n;) {
        const uint64_t to_next = run->rows_a_mat - (row + done) % run->rows_a_mat;
        const uint64_t some = to_next < n - done ? to_next : n - done;

        quantize_run(run, row + done, some, x + done * cols,
                     out + done * item->row_bytes);
        done += some;
    }
    if (most > safe && item->type != TYPE_F32 &&
        has_overflowed(item->type, out, x, count))
        atomic_store(&run->is_too_wide, true);
}

/* Rows [begin, end) of the slab as floats in packer->decoded, for rounding that wants them all. */
static void decode_range(void *arg, size_t begin, size_t end)
{
    struct run *run = arg;
    const struct source_tensor *t = run->item->e->t;
    const size_t cols = (size_t)run->item->e->ne[0];
    float *x = run->packer->decoded + begin * cols;

    t->provider->decode(t, &run->in, run->in.first + begin, end - begin, x);
    if (largest_bits(x, (end - begin) * cols) >= 0x7f800000)
        atomic_store(&run->is_bad, true);
}

/* Error feedback stores no scale above the largest half: what needs a larger one strays, by more than
 * half a step of any scale. */
static void check_range(void *arg, size_t begin, size_t end)
{
    struct run *run = arg;
    const struct work_item *item = run->item;
    const size_t cols = (size_t)item->e->ne[0];
    float *row = run->packer->scratch + (size_t)parallel_index() * run->packer->piece;
    bool has_strayed = false;

    for (size_t r = begin; r < end; r++) {
        const float *x = run->packer->decoded + r * cols;

        block_decode(item->type, run->packed + r * item->row_bytes, row, cols);
        for (size_t c = 0; c < cols; c++)
            has_strayed |= !(fabsf(row[c] - x[c]) <= LARGEST_HALF);
    }
    if (has_strayed)
        atomic_store(&run->is_too_wide, true);
}

static void count_feedback(struct row_packer *packer, const struct work_item *item)
{
    struct feedback_report *sum = &packer->tallies[item - packer->work->items].feedback;
    const struct feedback_report now = feedback_take_report(packer->feedback);

    sum->n_matrices += now.n_matrices;
    sum->n_fell_back += now.n_fell_back;
    sum->log_gain += now.log_gain;
    sum->factor_seconds += now.factor_seconds;
    sum->rounding_seconds += now.rounding_seconds;
    sum->damping = now.damping;
}

/* A whole slab with error feedback: threads share its rows inside. */
static enum status pack_compensated(struct row_packer *packer, struct run *run,
                                    size_t grain, struct error *err)
{
    const struct work_item *item = run->item;
    const size_t count = (size_t)(run->in.n * item->e->ne[0]);
    enum status st = OK;

    if (count > packer->n_decoded) {
        free(packer->decoded);
        packer->decoded = malloc(count * sizeof(*packer->decoded));
        packer->n_decoded = packer->decoded ? count : 0;
    }
    if (!packer->feedback)
        st = feedback_new(packer->work->moments, &packer->feedback, err);
    if (st == OK && !packer->decoded)
        st = fail(err, ERR_NOMEM, "%s: no memory for rows", item->e->name);
    if (st != OK)
        return st;
    parallel_for((size_t)run->in.n, grain, decode_range, run);
    if (atomic_load(&run->is_bad))
        return OK;
    st = feedback_rows(packer->feedback, item, run->in.first, run->in.n, packer->decoded,
                       run->packed, err);
    count_feedback(packer, item);
    if (st == OK)
        parallel_for((size_t)run->in.n, grain, check_range, run);
    return st;
}

/* Rows [begin, end) of the slab. */
static void pack_range(void *arg, size_t begin, size_t end)
{
    struct run *run = arg;
    const struct work_item *item = run->item;
    const struct source_tensor *t = item->e->t;
    const uint64_t row = run->in.first + begin;
    uint8_t *out = run->packed + begin * item->row_bytes;

    if (work_is_repacked(item)) {
        t->provider->repack(t, &run->in, row, end - begin, out);
        return;
    }
    float *x = run->packer->scratch + (size_t)parallel_index() * run->packer->piece;
    t->provider->decode(t, &run->in, row, end - begin, x);
    pack_decoded(run, row, end - begin, x, out);
}

/* The first value that is not finite, by row and column. */
static enum status name_bad_value(const struct run *run, struct error *err)
{
    const struct source_tensor *t = run->item->e->t;
    float *x = run->packer->scratch;
    enum status st = OK;

    for (uint64_t i = 0; st == OK && i < run->in.n; i++) {
        t->provider->decode(t, &run->in, run->in.first + i, 1, x);
        st = source_check_finite(t, run->in.first + i, 1, x, err);
    }
    return st;
}

/* The importance of an item, made when its first slab comes. */
static enum status load_importance(struct row_packer *packer,
                                   const struct work_item *item, struct error *err)
{
    const struct stats_entry *s = item->importance;
    size_t n;

    if (packer->importance_of == item)
        return OK;
    free(packer->importance);
    packer->importance = NULL;
    packer->importance_of = item;
    if (!s)
        return OK;
    if (mul_size((size_t)s->n_mats, (size_t)s->n_cols * sizeof(float), &n))
        packer->importance = malloc(n);
    if (!packer->importance)
        return fail(err, ERR_NOMEM, "%s: no memory for its importance", item->e->name);
    for (uint64_t m = 0; m < s->n_mats; m++)
        stats_importance(s, m, packer->importance + m * s->n_cols);
    return OK;
}

enum status row_packer_run(struct row_packer *packer, const struct slab *slab,
                           const void *raw, void *packed, bool *too_wide,
                           struct error *err)
{
    const struct work_item *item = &packer->work->items[slab->item];
    const uint64_t cols = item->e->ne[0];
    const uint64_t per_piece = cols ? packer->piece / cols : 1;
    struct run run = {.packer = packer,
                      .item = item,
                      .in = {slab->first, slab->n_rows, raw},
                      .packed = packed,
                      .rows_a_mat = item->e->ne[1] ? item->e->ne[1] : 1};
    const size_t grain = per_piece ? (size_t)per_piece : 1;
    enum status st = load_importance(packer, item, err);

    if (st == OK && item->method == METHOD_COMPENSATE)
        st = pack_compensated(packer, &run, grain, err);
    else if (st == OK)
        parallel_for_once((size_t)slab->n_rows, grain, pack_range, &run);
    if (st != OK)
        return st;
    if (item->method == METHOD_GRID) {
        packer->tallies[slab->item].n_blocks += slab->n_rows * (cols / 32);
        packer->tallies[slab->item].n_exact += atomic_load(&run.n_exact);
    }
    *too_wide = atomic_load(&run.is_too_wide);
    if (!atomic_load(&run.is_bad) || name_bad_value(&run, err) == OK)
        return OK;
    return fail_at(err, packer->work->src->path);
}
