/*
 * test_kernels_matmul.c - products: one set of bits from every table, and the bounds of kernels.h
 */
#include "formats/blocks/blocks.h"
#include "runtime/kernels/codes.h"
#include "tests/fixture.h"
#include "tests/runtime/kernel_tables.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static const enum block_type types[] = {
    TYPE_F32,  TYPE_F16,  TYPE_BF16, TYPE_Q8_0, TYPE_Q4_0, TYPE_Q4_1,
    TYPE_Q5_0, TYPE_Q5_1, TYPE_Q4_K, TYPE_Q5_K, TYPE_Q6_K,
};

enum { N_TYPES = sizeof(types) / sizeof(types[0]), MAX_TOKENS = 13, MAX_COLS = 2304 };

/* Where a block keeps its halves: d and, where there is one, m or dmin. */
static void set_halves(enum block_type type, uint8_t *block, uint64_t *seed)
{
    uint16_t d = f16_from_f32(0.001f + 0.004f * fixture_uniform(seed));
    uint16_t m = f16_from_f32(0.02f * fixture_uniform(seed));

    if (type == TYPE_Q6_K) {
        store_u16(block + offsetof(struct q6_k, d), d);
        return;
    }
    store_u16(block, d);
    if (codes_has_minimum(type))
        store_u16(block + 2, m);
}

/* A matrix of random codes, its last byte at the end of memory. */
static struct matrix make_matrix(enum block_type type, size_t n_rows, size_t n_cols,
                                 size_t *n_bytes)
{
    const struct block_info *info = block_type_info(type);
    uint64_t seed = 20261124 + (uint64_t)type;
    struct matrix w = {.type = type, .n_rows = n_rows, .n_cols = n_cols};

    *n_bytes = n_rows * block_row_bytes(type, n_cols);
    uint8_t *bytes = fixture_guarded(*n_bytes);
    fixture_bytes(bytes, *n_bytes, seed);
    for (size_t at = 0; at < *n_bytes; at += info->bytes) {
        float x = fixture_uniform(&seed) - 0.5f;

        if (type == TYPE_F32)
            memcpy(bytes + at, &x, sizeof(x));
        else if (type == TYPE_F16)
            store_u16(bytes + at, f16_from_f32(x));
        else if (type == TYPE_BF16)
            store_u16(bytes + at, bf16_from_f32(x));
        else
            set_halves(type, bytes + at, &seed);
    }
    w.data = bytes;
    return w;
}

static void free_matrix(struct matrix *w, size_t n_bytes)
{
    fixture_unguard((void *)(uintptr_t)w->data, n_bytes);
}

static struct workspace *make_workspace(void)
{
    struct workspace *ws = NULL;
    struct error err = {0};

    cr_assert_eq(workspace_new(MAX_TOKENS, MAX_COLS, &ws, &err), OK, "%s", err.text);
    return ws;
}

static float *make_floats(size_t n)
{
    float *x = malloc(n * sizeof(*x));

    cr_assert_not_null(x);
    return x;
}

Test(codes, are_the_decoded_weights)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        enum { N_COLS = 1024 };
        static float want[N_COLS];
        size_t n_bytes;

        if (!codes_by_type[types[i]])
            continue;
        struct matrix w = make_matrix(types[i], 1, N_COLS, &n_bytes);
        block_decode(types[i], w.data, want, N_COLS);
        for (size_t c = 0; c < N_COLS; c++) {
            struct codes codes;

            codes_by_type[types[i]](w.data, c / 32, &codes);
            float h = codes.halves[c % 32 / 16];
            float x = fmaf(codes.s * h, codes.q[c % 32], codes.m);
            cr_assert_eq(x, want[c], "%s, column %zu: %a is not %a",
                         block_type_name(types[i]), c, (double)x, (double)want[c]);
        }
        free_matrix(&w, n_bytes);
    }
}

struct shape {
    size_t n_rows, n_cols, n_tokens;
};

static void expect_same_bits(enum block_type type, enum arithmetic arithmetic,
                             struct shape s)
{
    size_t n_bytes, n_y = s.n_rows * s.n_tokens;
    struct matrix w = make_matrix(type, s.n_rows, s.n_cols, &n_bytes);
    struct workspace *ws = make_workspace();
    float *x = make_floats(s.n_tokens * s.n_cols), *want = make_floats(n_y);

    fixture_activations(x, s.n_tokens * s.n_cols, 7);
    kernels_matmul(table_at(0), ws, arithmetic, &w, x, s.n_tokens, want);
    for (int table = 0; table < N_TABLES; table++) {
        const struct kernels *k = table_at(table);

        if (!k)
            continue; /* not this machine */
        for (int threads = 1; threads <= 3; threads++) {
            float *got = make_floats(n_y);

            parallel_set_threads(threads);
            kernels_matmul(k, ws, arithmetic, &w, x, s.n_tokens, got);
            cr_expect_arr_eq(got, want, n_y * sizeof(*got),
                             "%s of %s, %zu x %zu by %zu tokens, %d threads",
                             kernels_name(k), block_type_name(type), s.n_rows, s.n_cols,
                             s.n_tokens, threads);
            free(got);
        }
    }
    free_matrix(&w, n_bytes);
    workspace_free(ws);
    free(x);
    free(want);
}

Test(matmul, every_table_and_thread_count_gives_the_bits_of_the_scalar_one)
{
    static const struct shape shapes[] = {
        {1, 256, 1},  {7, 512, 1},  {37, 1280, 1}, {16, 256, 4},  {21, 768, 2},
        {40, 512, 8}, {18, 256, 9}, {33, 512, 5},  {19, 1280, 7}, {50, 2304, 13},
    };

    for (size_t i = 0; i < N_TYPES; i++) {
        for (size_t j = 0; j < sizeof(shapes) / sizeof(shapes[0]); j++) {
            expect_same_bits(types[i], ARITH_FAST, shapes[j]);
            expect_same_bits(types[i], ARITH_F32, shapes[j]);
        }
    }
}

Test(matmul, rows_of_any_length_are_fine_for_plain_types)
{
    static const size_t lengths[] = {1, 7, 8, 9, 31, 511, 513, 1030};

    for (size_t j = 0; j < sizeof(lengths) / sizeof(lengths[0]); j++)
        for (size_t i = 0; i < 3; i++)
            expect_same_bits(types[i], ARITH_FAST, (struct shape){5, lengths[j], 6});
}

/* Largest codes against largest activations of either sign: where 16-bit sums would overflow. */
Test(matmul, extreme_codes_do_not_overflow)
{
    enum { N_COLS = 512, N_ROWS = 16, N_TOKENS = 4 };
    static float x[N_TOKENS * N_COLS], want[N_TOKENS * N_ROWS], got[N_TOKENS * N_ROWS];
    struct workspace *ws = make_workspace();

    for (size_t i = 0; i < N_TOKENS * N_COLS; i++)
        x[i] = i / N_COLS % 2 ? -1.0f : 1.0f;
    for (size_t i = 3; i < N_TYPES; i++) {
        for (int fill = 0; fill < 4; fill++) {
            static const uint8_t fills[] = {0xff, 0x80, 0x7f, 0x00};
            uint64_t seed = 1;
            size_t n_bytes;
            struct matrix w = make_matrix(types[i], N_ROWS, N_COLS, &n_bytes);
            uint8_t *bytes = (uint8_t *)(uintptr_t)w.data;

            memset(bytes, fills[fill], n_bytes);
            for (size_t at = 0; at < n_bytes; at += block_type_info(types[i])->bytes)
                set_halves(types[i], bytes + at, &seed);
            kernels_matmul(table_at(0), ws, ARITH_FAST, &w, x, N_TOKENS, want);
            for (int table = 1; table < N_TABLES; table++) {
                const struct kernels *k = table_at(table);

                if (!k)
                    continue;
                kernels_matmul(k, ws, ARITH_FAST, &w, x, N_TOKENS, got);
                cr_expect_arr_eq(got, want, sizeof(got), "%s of %s filled with %02x",
                                 kernels_name(k), block_type_name(types[i]), fills[fill]);
                kernels_matmul(k, ws, ARITH_FAST, &w, x, 1, got);
                cr_expect_arr_eq(got, want, N_ROWS * sizeof(*got),
                                 "%s of %s filled with %02x, one token", kernels_name(k),
                                 block_type_name(types[i]), fills[fill]);
            }
            free_matrix(&w, n_bytes);
        }
    }
    workspace_free(ws);
}

Test(matmul, a_token_does_not_notice_its_neighbours)
{
    enum { N_COLS = 1280, N_ROWS = 37 };
    static float x[MAX_TOKENS * N_COLS], all[MAX_TOKENS * N_ROWS], one[N_ROWS];
    struct workspace *ws = make_workspace();

    fixture_activations(x, MAX_TOKENS * N_COLS, 3);
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t n_bytes;
        struct matrix w = make_matrix(types[i], N_ROWS, N_COLS, &n_bytes);

        for (int arithmetic = ARITH_FAST; arithmetic <= ARITH_F32; arithmetic++) {
            enum arithmetic a = (enum arithmetic)arithmetic;

            kernels_matmul(kernels_best(), ws, a, &w, x, MAX_TOKENS, all);
            for (size_t t = 0; t < MAX_TOKENS; t++) {
                kernels_matmul(kernels_best(), ws, a, &w, x + t * N_COLS, 1, one);
                cr_expect_arr_eq(one, all + t * N_ROWS, sizeof(one), "%s, token %zu",
                                 block_type_name(types[i]), t);
            }
        }
        free_matrix(&w, n_bytes);
    }
    workspace_free(ws);
}

/* What kernels.h promises for one row, from its weights in f32 (and scale and minimum apart). */
struct bound {
    double exact, f32, fast;
};

static void add_block(struct bound *b, const struct codes *c, const float *x)
{
    double d = 0, weights = 0, parts = 0;

    for (int i = 0; i < 32; i++)
        d = fmax(d, fabs((double)x[i]) / 127);
    for (int i = 0; i < 32; i++) {
        double w = (double)c->s * c->halves[i / 16] * c->q[i];

        weights += fabs(w + (double)c->m);
        parts += (fabs(w) + fabs((double)c->m)) * (fabs((double)x[i]) + d / 2);
    }
    b->fast += d / 2 * (1 + 0x1p-14) * weights;
    b->f32 += parts; /* scaled by the number of roundings at the end */
}

static struct bound bound_of(enum block_type type, const uint8_t *row, const float *x,
                             size_t n_cols)
{
    static float w[MAX_COLS];
    const double u = 0x1p-24;
    double pieces = (double)((n_cols + PIECE - 1) / PIECE), blocks = (double)n_cols / 32;
    struct bound b = {0};
    double sum = 0, parts;

    block_decode(type, row, w, n_cols);
    for (size_t c = 0; c < n_cols; c++) {
        b.exact += (double)w[c] * (double)x[c];
        sum += fabs((double)w[c] * (double)x[c]);
    }
    for (size_t c = 0; codes_by_type[type] && c < n_cols; c += 32) {
        struct codes codes;

        codes_by_type[type](row, c / 32, &codes);
        add_block(&b, &codes, x + c);
    }
    parts = b.f32;
    b.f32 = (67 + pieces) * u * (1 + 0x1p-10) * sum;
    b.fast += (2 * blocks + 71 + pieces) * u * (1 + 0x1p-10) * parts;
    return b;
}

Test(matmul, stays_within_the_bounds_of_the_header)
{
    enum { N_COLS = 2304, N_ROWS = 24 };
    static float x[N_COLS], exact[N_ROWS], fast[N_ROWS];
    struct workspace *ws = make_workspace();

    fixture_activations(x, N_COLS, 5);
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t n_bytes;
        struct matrix w = make_matrix(types[i], N_ROWS, N_COLS, &n_bytes);
        size_t row_bytes = n_bytes / N_ROWS;

        kernels_matmul(kernels_best(), ws, ARITH_F32, &w, x, 1, exact);
        kernels_matmul(kernels_best(), ws, ARITH_FAST, &w, x, 1, fast);
        for (size_t r = 0; r < N_ROWS; r++) {
            struct bound b =
                bound_of(types[i], (const uint8_t *)w.data + r * row_bytes, x, N_COLS);

            cr_expect_leq(fabs((double)exact[r] - b.exact), b.f32, "%s: f32 row %zu",
                          block_type_name(types[i]), r);
            if (codes_by_type[types[i]])
                cr_expect_leq(fabs((double)fast[r] - (double)exact[r]), b.fast,
                              "%s: row %zu", block_type_name(types[i]), r);
            else
                cr_expect_eq(fast[r], exact[r], "%s: row %zu", block_type_name(types[i]),
                             r);
        }
        free_matrix(&w, n_bytes);
    }
    workspace_free(ws);
}

/* FNV-1a, so that a cross-built program needs no library. */
static uint64_t digest(uint64_t hash, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

/* The digest was taken from the scalar table; any machine must arrive at it. */
Test(matmul, every_architecture_gives_the_same_bits)
{
    enum { N_COLS = 1280, N_ROWS = 21, N_TOKENS = 5 };
    static float x[N_TOKENS * N_COLS], y[N_TOKENS * N_ROWS];
    struct workspace *ws = make_workspace();
    uint64_t hash = 0xcbf29ce484222325u;

    fixture_activations(x, N_TOKENS * N_COLS, 17);
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t n_bytes;
        struct matrix w = make_matrix(types[i], N_ROWS, N_COLS, &n_bytes);

        for (int arithmetic = ARITH_FAST; arithmetic <= ARITH_F32; arithmetic++) {
            kernels_matmul(kernels_best(), ws, (enum arithmetic)arithmetic, &w, x,
                           N_TOKENS, y);
            hash = digest(hash, y, sizeof(y));
        }
        free_matrix(&w, n_bytes);
    }
    cr_expect_eq(hash, 0x7d311c98acfbbb5au, "%016llx", (unsigned long long)hash);
    workspace_free(ws);
}

Test(matmul, a_row_of_zeros_gives_zero)
{
    enum { N_COLS = 512, N_ROWS = 9 };
    static float x[N_COLS], y[N_ROWS];
    struct workspace *ws = make_workspace();
    size_t n_bytes;
    struct matrix w = make_matrix(TYPE_Q4_K, N_ROWS, N_COLS, &n_bytes);

    kernels_matmul(kernels_best(), ws, ARITH_FAST, &w, x, 1, y);
    for (size_t r = 0; r < N_ROWS; r++)
        cr_expect_eq(y[r], 0.0f);
    free_matrix(&w, n_bytes);
    workspace_free(ws);
}

Test(workspace, refuses_sizes_that_overflow)
{
    struct workspace *ws = NULL;
    struct error err = {0};

    cr_expect_eq(workspace_new(SIZE_MAX / 2, 4096, &ws, &err), ERR_NOMEM);
    cr_expect_eq(workspace_new(1, SIZE_MAX, &ws, &err), ERR_NOMEM);
    cr_expect_null(ws);
}
