/*
 * attend.c - attention over a cache of keys and values, with a running maximum
 *
 * One unit of work is a few query rows (tokens times heads that read the same K and V head).
 * For each aligned block of 64 positions it computes scores, folds them into the running
 * maximum and sum, and adds the weighted values:
 *
 *     m' = max(m, max s)    c = exp(m - m')    p = exp(s - m')    l = l c + sum p    o = o c + p v
 *
 * Positions outside a row's span have p = 0, and a block without any is skipped for that row,
 * so what else shares the unit does not matter.
 */
#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/row_math.h"

enum {
    ATTEND_ROWS = TILE_TOKENS, /* query rows in a unit */
    MAX_HEAD = 512,
};

struct job {
    const struct kernels *k;
    const struct attention *a;
    const float *q;
    const struct span *spans;
    size_t n_tokens;
    size_t heads, tokens; /* of one unit, at most; their product is at most ATTEND_ROWS */
    size_t head_units;    /* units that share a K and V head and its tokens */
    float *out;
};

/* The query rows of one unit and their state. */
struct unit {
    _Alignas(64) float q[ATTEND_ROWS][MAX_HEAD];
    _Alignas(64) float acc[ATTEND_ROWS * MAX_HEAD]; /* rows head_dim apart */
    float scores[ATTEND_ROWS][ATTEND_CELLS];
    float max[ATTEND_ROWS], sum[ATTEND_ROWS], carry[ATTEND_ROWS];
    struct span span[ATTEND_ROWS];
    size_t n_rows, kv_head;
    size_t at[ATTEND_ROWS]; /* where a row's result goes, in floats from `out` */
};

/* An aligned block of positions, of which base + skip ... base + n - 1 are looked at. */
struct block {
    size_t base, skip, n;
};

static void unit_load(const struct job *job, size_t index, struct unit *u)
{
    const struct attention *a = job->a;
    size_t group = a->n_heads / a->n_kv_heads, d = a->head_dim;
    size_t part = index % job->head_units, rest = index / job->head_units;
    size_t token = rest / a->n_kv_heads * job->tokens;
    size_t end =
        token + job->tokens < job->n_tokens ? token + job->tokens : job->n_tokens;
    size_t first = part * job->heads;
    size_t last = first + job->heads < group ? first + job->heads : group;

    u->kv_head = rest % a->n_kv_heads;
    u->n_rows = 0;
    for (; token < end; token++) {
        for (size_t h = first; h < last; h++) {
            size_t row = u->n_rows++;

            u->at[row] = (token * a->n_heads + u->kv_head * group + h) * d;
            u->span[row] = job->spans[token];
            memcpy(u->q[row], job->q + u->at[row], d * sizeof(float));
            u->max[row] = -INFINITY;
            u->sum[row] = 0.0f;
        }
    }
    memset(u->acc, 0, u->n_rows * d * sizeof(float));
}

/* Point at the cells of positions first ... first + n - 1. */
static void cells_at(const struct attention *a, const float *base, size_t kv_head,
                     size_t first, size_t n, const float **cells)
{
    size_t cell = first % a->n_cells;

    for (size_t i = 0; i < n; i++) {
        cells[i] = base + cell * a->stride + kv_head * a->head_dim;
        cell = cell + 1 < a->n_cells ? cell + 1 : 0;
    }
}

/* scores[row][i] for positions base + i, skip <= i < n. */
static void unit_score(const struct job *job, struct unit *u, struct block b)
{
    const struct attention *a = job->a;
    const float *cells[ATTEND_CELLS + TILE_ROWS];
    float out[TILE_TOKENS][TILE_ROWS];

    cells_at(a, a->k, u->kv_head, b.base + b.skip, b.n - b.skip, cells + b.skip);
    for (size_t i = 0; i < TILE_ROWS; i++)
        cells[b.n + i] = cells[b.n - 1];
    for (size_t i = b.skip; i < b.n; i += TILE_ROWS) {
        job->k->tile(cells + i, u->q[0], MAX_HEAD, u->n_rows, a->head_dim, out);
        for (size_t row = 0; row < u->n_rows; row++)
            for (size_t c = 0; c < TILE_ROWS && i + c < b.n; c++)
                u->scores[row][i + c] = out[row][c] * a->scale;
    }
    if (a->softcap > 0.0f)
        for (size_t row = 0; row < u->n_rows; row++)
            job->k->rows->softcap(u->scores[row] + b.skip, b.n - b.skip, a->softcap);
}

/* Fold the row's scores into its maximum and sum, and turn them into weights. */
static void unit_weigh(const struct job *job, struct unit *u, size_t row, struct block b)
{
    float *s = u->scores[row], max = u->max[row];
    const struct span *span = &u->span[row];
    bool sees_any = false;

    for (size_t i = 0; i < b.n; i++) {
        bool sees = b.base + i >= span->first && b.base + i < span->end;

        s[i] = sees ? s[i] : -INFINITY;
        max = s[i] > max ? s[i] : max;
        sees_any = sees_any || sees;
    }
    u->carry[row] = 1.0f;
    if (!sees_any) {
        memset(s, 0, b.n * sizeof(float));
        return;
    }
    u->carry[row] = u->max[row] > -INFINITY ? math_exp(u->max[row] - max) : 0.0f;
    u->sum[row] = u->sum[row] * u->carry[row] + job->k->rows->exp_sum(s, b.n, max);
    u->max[row] = max;
}

static void unit_block(const struct job *job, struct unit *u, struct block b)
{
    const float *cells[ATTEND_CELLS];
    size_t n = b.n - b.skip;

    unit_score(job, u, b);
    for (size_t row = 0; row < u->n_rows; row++)
        unit_weigh(job, u, row, b);
    cells_at(job->a, job->a->v, u->kv_head, b.base + b.skip, n, cells);
    job->k->add_values(u->scores[0] + b.skip, u->carry, u->n_rows, cells, n,
                       job->a->head_dim, u->acc);
}

static void unit_run(const struct job *job, struct unit *u)
{
    size_t d = job->a->head_dim, first = u->span[0].first, end = u->span[0].end;

    for (size_t row = 1; row < u->n_rows; row++) {
        first = u->span[row].first < first ? u->span[row].first : first;
        end = u->span[row].end > end ? u->span[row].end : end;
    }
    for (size_t base = first - first % ATTEND_CELLS; base < end; base += ATTEND_CELLS) {
        struct block b = {.base = base, .skip = base < first ? first - base : 0};

        b.n = end - base < ATTEND_CELLS ? end - base : ATTEND_CELLS;
        unit_block(job, u, b);
    }
    for (size_t row = 0; row < u->n_rows; row++)
        for (size_t i = 0; i < d; i++)
            job->out[u->at[row] + i] = u->acc[row * d + i] / u->sum[row];
}

static void attend(void *arg, size_t begin, size_t end)
{
    const struct job *job = arg;
    struct unit u;

    for (size_t index = begin; index < end; index++) {
        unit_load(job, index, &u);
        unit_run(job, &u);
    }
}

void kernels_attention(const struct kernels *k, const struct attention *a, const float *q,
                       const struct span *spans, size_t n_tokens, float *out)
{
    struct job job = {
        .k = k, .a = a, .q = q, .spans = spans, .n_tokens = n_tokens, .out = out};
    size_t group = a->n_heads / a->n_kv_heads;

    assert(a->head_dim % LANES == 0 && a->head_dim <= MAX_HEAD);
    assert(a->n_heads % a->n_kv_heads == 0);
    /* A lone token's heads are spread over more units, so that there is work for every thread. */
    job.heads = n_tokens == 1 ? 4 : ATTEND_ROWS;
    job.heads = group < job.heads ? group : job.heads;
    job.tokens = ATTEND_ROWS / job.heads;
    job.head_units = (group + job.heads - 1) / job.heads;
    parallel_for((n_tokens + job.tokens - 1) / job.tokens * a->n_kv_heads *
                     job.head_units,
                 1, attend, &job);
}
