/*
 * matmul.c - products of a weight matrix with rows of activations
 *
 * Rows of weights are cut into ranges that threads take; within a range a tile of weights is
 * decoded once, into the first-level cache, and used for all tokens:
 *
 *     in f32       16 rows by 512 columns of f32; calls of tile() on 4 rows and up to 12 tokens
 *     in integers  few tokens: 8 or 16 rows at a time, straight from the file's bytes; many
 *                  tokens: panels of 16 rows by 1024 columns, interleaved, and 8 tokens
 */
#include "runtime/kernels/codes.h"
#include "runtime/kernels/kernel_table.h"

#include <stdlib.h>

enum {
    F32_ROWS = 16,           /* rows decoded together for products in f32 */
    PANEL_MIN_TOKENS = 4,    /* from so many tokens on, packing a panel pays */
    RANGE_BYTES = 128 << 10, /* weights in one range of a product with few tokens */
};

struct workspace {
    void *bytes; /* owned; 64-byte aligned */
    size_t n_bytes;
};

/* One product in hand: what the bodies of parallel_for() share. */
struct product {
    const struct kernels *k;
    const struct matrix *w;
    size_t row_bytes, n_tokens;
    const float *x; /* as the caller gave it */
    float *packed; /* x in pieces of 512 columns: [piece][token][512], zeros at the end */
    struct rounded rounded;
    float *y;
};

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* The larger of the two uses of a workspace, which are not at the same time. */
static bool bytes_needed(size_t n_tokens, size_t n_cols, size_t *out)
{
    size_t n = round_up(n_cols, PIECE);

    return n >= n_cols && mul_size(n, sizeof(float), &n) && mul_size(n, n_tokens, out);
}

static inline bool workspace_holds(const struct workspace *ws, size_t n_tokens,
                                   size_t n_cols)
{
    size_t n_bytes;

    return bytes_needed(n_tokens, n_cols, &n_bytes) && n_bytes <= ws->n_bytes;
}

enum status workspace_new(size_t max_tokens, size_t max_cols, struct workspace **out,
                          struct error *err)
{
    struct workspace *ws = calloc(1, sizeof(*ws));

    if (ws && bytes_needed(max_tokens, max_cols, &ws->n_bytes))
        ws->bytes = aligned_alloc(64, ws->n_bytes);
    if (!ws || !ws->bytes) {
        workspace_free(ws);
        return fail(err, ERR_NOMEM, "no memory for the activations of %zu tokens",
                    max_tokens);
    }
    *out = ws;
    return OK;
}

void workspace_free(struct workspace *ws)
{
    if (ws)
        free(ws->bytes);
    free(ws);
}

bool kernels_can_multiply(enum block_type type)
{
    return type == TYPE_F32 || type == TYPE_F16 || type == TYPE_BF16 ||
           codes_by_type[type] != NULL;
}

static const uint8_t *row_at(const struct product *p, size_t row)
{
    return (const uint8_t *)p->w->data + row * p->row_bytes;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- products in f32 ---- */

static void pack_token(void *arg, size_t begin, size_t end)
{
    const struct product *p = arg;
    size_t n_cols = p->w->n_cols;

    for (size_t t = begin; t < end; t++) {
        for (size_t first = 0; first < n_cols; first += PIECE) {
            size_t n = min_size(PIECE, n_cols - first);
            float *to = p->packed + first * p->n_tokens + t * PIECE;

            memcpy(to, p->x + t * n_cols + first, n * sizeof(float));
            memset(to + n, 0, (round_up(n, LANES) - n) * sizeof(float));
        }
    }
}

enum { LINE = 64 };

/* Ask for the columns that will be wanted soon, those of the 4th next row: a piece is too short
 * for the machine to notice by itself. An address past the end does no harm. */
static void prefetch(const uint8_t *in, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes; at += LINE)
        __builtin_prefetch((const void *)((uintptr_t)in + at), 0, 2);
}

/* Decode n columns from `first` on; the bytes of any piece begin at a whole block. */
static void decode(const struct product *p, size_t row, size_t first, size_t n, float *to)
{
    const struct block_info *info = block_type_info(p->w->type);
    const uint8_t *in = row_at(p, row) + first / info->weights * info->bytes;

    prefetch((const uint8_t *)((uintptr_t)in + 4 * p->row_bytes),
             n / info->weights * info->bytes);
    if (p->w->type == TYPE_F32)
        memcpy(to, in, n * sizeof(float));
    else if (p->w->type == TYPE_F16)
        p->k->widen_f16(in, to, n);
    else if (p->w->type == TYPE_BF16)
        p->k->widen_bf16(in, to, n);
    else
        block_decode(p->w->type, in, to, n);
    memset(to + n, 0, (round_up(n, LANES) - n) * sizeof(float));
}

/* Add the piece's products of up to 4 decoded rows, PIECE apart, to y, for all tokens. Rows past the end are
 * computed again from the last one and dropped. */
static void add_tiles(const struct product *p, const float *w, size_t row, size_t n_rows,
                      const float *x, size_t n)
{
    float out[TILE_TOKENS][TILE_ROWS];
    const float *rows[TILE_ROWS];

    for (size_t r = 0; r < TILE_ROWS; r++)
        rows[r] = w + min_size(r, n_rows - 1) * PIECE;
    for (size_t t = 0; t < p->n_tokens; t += TILE_TOKENS) {
        size_t m = min_size(TILE_TOKENS, p->n_tokens - t);

        p->k->tile(rows, x + t * PIECE, PIECE, m, round_up(n, LANES), out);
        for (size_t i = 0; i < m; i++)
            for (size_t r = 0; r < n_rows; r++)
                p->y[(t + i) * p->w->n_rows + row + r] += out[i][r];
    }
}

static void multiply_f32(void *arg, size_t begin, size_t end)
{
    const struct product *p = arg;
    _Alignas(64) float w[F32_ROWS][PIECE];

    for (size_t t = 0; t < p->n_tokens; t++)
        memset(p->y + t * p->w->n_rows + begin, 0, (end - begin) * sizeof(float));
    for (size_t row = begin; row < end; row += F32_ROWS) {
        size_t n_rows = min_size(F32_ROWS, end - row);

        for (size_t first = 0; first < p->w->n_cols; first += PIECE) {
            size_t n = min_size(PIECE, p->w->n_cols - first);
            const float *x = p->packed + first * p->n_tokens;

            for (size_t r = 0; r < n_rows; r++)
                decode(p, row + r, first, n, w[r]);
            for (size_t r = 0; r < n_rows; r += TILE_ROWS)
                add_tiles(p, w[r], row + r, min_size(TILE_ROWS, n_rows - r), x, n);
        }
    }
}

/* ---- products in integers ---- */

/* Cut the workspace into the arrays of struct rounded: in all 32 + 4 + 4 + 4 of the 128 bytes
 * that a block of f32 takes. */
static struct rounded rounded_in(void *bytes, size_t n_tokens, size_t n_blocks)
{
    size_t n = n_tokens * n_blocks;
    struct rounded out = {.n_blocks = n_blocks, .d = bytes};

    out.dsum = out.d + n;
    out.halves = (int16_t *)(void *)(out.dsum + n);
    out.q = (int8_t *)(void *)(out.halves + 2 * n);
    return out;
}

static struct rounded rounded_row(const struct rounded *x, size_t t)
{
    size_t n = t * x->n_blocks;

    return (struct rounded){
        .n_blocks = x->n_blocks,
        .q = x->q + n * BLOCK,
        .d = x->d + n,
        .dsum = x->dsum + n,
        .halves = x->halves + 2 * n,
    };
}

static void round_token(void *arg, size_t begin, size_t end)
{
    const struct product *p = arg;

    for (size_t t = begin; t < end; t++) {
        struct rounded row = rounded_row(&p->rounded, t);

        p->k->round(p->x + t * p->w->n_cols, row.n_blocks, &row);
    }
}

static void multiply_dots(void *arg, size_t begin, size_t end)
{
    const struct product *p = arg;
    dot_function *dot = p->k->dot[p->w->type];

    for (size_t row = begin; row < end; row += DOT_ROWS) {
        size_t n_rows = min_size(DOT_ROWS, end - row);
        struct dot_rows w;

        for (size_t r = 0; r < DOT_ROWS; r++)
            w.row[r] = row_at(p, row + min_size(r, n_rows - 1));
        for (size_t t = 0; t < p->n_tokens; t++) {
            struct rounded x = rounded_row(&p->rounded, t);
            float y[DOT_ROWS] = {0};

            dot(&w, &x, y);
            memcpy(p->y + t * p->w->n_rows + row, y, n_rows * sizeof(float));
        }
    }
}

static void multiply_few(void *arg, size_t begin, size_t end)
{
    const struct product *p = arg;
    few_function *few = p->k->few[p->w->type];

    for (size_t row = begin; row < end; row += PANEL_ROWS) {
        size_t n_rows = min_size(PANEL_ROWS, end - row);
        float y[PANEL_TOKENS][PANEL_ROWS] = {0};
        const uint8_t *rows[PANEL_ROWS];

        for (size_t r = 0; r < PANEL_ROWS; r++)
            rows[r] = row_at(p, row + min_size(r, n_rows - 1));
        few(rows, &p->rounded, p->n_tokens, y);
        for (size_t t = 0; t < p->n_tokens; t++)
            memcpy(p->y + t * p->w->n_rows + row, y[t], n_rows * sizeof(float));
    }
}

/* All tokens with one panel; y is read and written in place, 16 rows at a time. */
static void multiply_panel(const struct product *p, const struct panel *panel,
                           size_t first, size_t row, size_t n_rows)
{
    float y[PANEL_TOKENS][PANEL_ROWS] = {0};

    for (size_t t = 0; t < p->n_tokens; t += PANEL_TOKENS) {
        size_t m = min_size(PANEL_TOKENS, p->n_tokens - t);
        struct rounded x = rounded_row(&p->rounded, t);
        float *to = p->y + t * p->w->n_rows + row;

        for (size_t i = 0; i < m; i++) {
            if (first == 0)
                memset(y[i], 0, sizeof(y[i]));
            else
                memcpy(y[i], to + i * p->w->n_rows, n_rows * sizeof(float));
        }
        p->k->panel(panel, &x, first, m, y);
        for (size_t i = 0; i < m; i++)
            memcpy(to + i * p->w->n_rows, y[i], n_rows * sizeof(float));
    }
}

static void multiply_panels(void *arg, size_t begin, size_t end)
{
    const struct product *p = arg;
    struct panel panel;

    for (size_t row = begin; row < end; row += PANEL_ROWS) {
        size_t n_rows = min_size(PANEL_ROWS, end - row);
        const uint8_t *rows[PANEL_ROWS];

        for (size_t r = 0; r < PANEL_ROWS; r++)
            rows[r] = row_at(p, row + min_size(r, n_rows - 1));
        for (size_t first = 0; first < p->rounded.n_blocks; first += PANEL_BLOCKS) {
            panel.type = p->w->type;
            panel.n_steps = BLOCK / 4;
            panel.n_blocks = min_size(PANEL_BLOCKS, p->rounded.n_blocks - first);
            p->k->pack(&panel, rows, first);
            multiply_panel(p, &panel, first, row, n_rows);
        }
    }
}

/* ---- the door ---- */

static void multiply_integers(struct product *p, struct workspace *ws)
{
    size_t grain = round_up(RANGE_BYTES / p->row_bytes + 1, PANEL_ROWS);

    p->rounded = rounded_in(ws->bytes, p->n_tokens, p->w->n_cols / BLOCK);
    parallel_for(p->n_tokens, 4, round_token, p);
    if (p->k->few && p->n_tokens >= p->k->few_from && p->n_tokens <= PANEL_TOKENS)
        parallel_for(p->w->n_rows, grain, multiply_few, p);
    else if (p->n_tokens < PANEL_MIN_TOKENS || !p->k->pack)
        parallel_for(p->w->n_rows, grain, multiply_dots, p);
    else
        parallel_for(p->w->n_rows, PANEL_ROWS, multiply_panels, p);
}

void kernels_matmul(const struct kernels *k, struct workspace *ws,
                    enum arithmetic arithmetic, const struct matrix *w, const float *x,
                    size_t n_tokens, float *y)
{
    struct product p = {
        .k = k,
        .w = w,
        .row_bytes = block_row_bytes(w->type, w->n_cols),
        .n_tokens = n_tokens,
        .x = x,
        .packed = ws->bytes,
        .y = y,
    };

    assert(kernels_can_multiply(w->type));
    assert(workspace_holds(ws, n_tokens, w->n_cols));
    if (arithmetic == ARITH_FAST && k->dot[w->type]) {
        multiply_integers(&p, ws);
        return;
    }
    parallel_for(n_tokens, 4, pack_token, &p);
    parallel_for(w->n_rows, round_up(RANGE_BYTES / p.row_bytes / 4 + 1, F32_ROWS),
                 multiply_f32, &p);
}
