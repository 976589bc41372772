/*
 * test_kernels_attention.c - attention against a plain double-precision one, and its bits
 */
#include "tests/fixture.h"
#include "tests/runtime/kernel_tables.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* A layer, its cache and queries, made in the test. */
struct layer {
    struct attention a;
    float *cells; /* K of a cell, then V */
    float *q;
    struct span *spans;
    size_t n_tokens;
};

static struct layer make_layer(size_t n_heads, size_t n_kv_heads, size_t head_dim,
                               size_t n_cells, size_t n_tokens)
{
    size_t width = n_kv_heads * head_dim;
    struct layer l = {
        .a = {.n_heads = n_heads,
              .n_kv_heads = n_kv_heads,
              .head_dim = head_dim,
              .stride = 2 * width,
              .n_cells = n_cells,
              .scale = 0.25f},
        .n_tokens = n_tokens,
    };

    l.cells = malloc(n_cells * 2 * width * sizeof(float));
    l.q = malloc(n_tokens * n_heads * head_dim * sizeof(float));
    l.spans = malloc(n_tokens * sizeof(*l.spans));
    cr_assert(l.cells && l.q && l.spans);
    fixture_activations(l.cells, n_cells * 2 * width, 11);
    fixture_activations(l.q, n_tokens * n_heads * head_dim, 12);
    l.a.k = l.cells;
    l.a.v = l.cells + width;
    return l;
}

static void free_layer(struct layer *l)
{
    free(l->cells);
    free(l->q);
    free(l->spans);
}

/* Token t stands at position first + t and sees the `window` positions up to its own. */
static void set_window(struct layer *l, uint32_t first, uint32_t window)
{
    for (uint32_t t = 0; t < l->n_tokens; t++) {
        uint32_t end = first + t + 1;

        l->spans[t] = (struct span){.first = end > window ? end - window : 0, .end = end};
    }
}

static float *attend(const struct kernels *k, const struct layer *l)
{
    float *out = malloc(l->n_tokens * l->a.n_heads * l->a.head_dim * sizeof(float));

    cr_assert_not_null(out);
    kernels_attention(k, &l->a, l->q, l->spans, l->n_tokens, out);
    return out;
}

static const float *cell(const struct layer *l, const float *base, uint32_t position,
                         size_t head)
{
    size_t group = l->a.n_heads / l->a.n_kv_heads;

    return base + position % l->a.n_cells * l->a.stride + head / group * l->a.head_dim;
}

static double score(const struct layer *l, const float *q, uint32_t position, size_t head)
{
    const float *k = cell(l, l->a.k, position, head);
    double s = 0, cap = (double)l->a.softcap;

    for (size_t i = 0; i < l->a.head_dim; i++)
        s += (double)q[i] * (double)k[i];
    s *= (double)l->a.scale;
    return cap > 0 ? cap * tanh(s / cap) : s;
}

/* The sum of |q k|, scaled. */
static double score_size(const struct layer *l, const float *q, uint32_t position,
                         size_t head)
{
    const float *k = cell(l, l->a.k, position, head);
    double s = 0;

    for (size_t i = 0; i < l->a.head_dim; i++)
        s += fabs((double)q[i] * (double)k[i]);
    return s * (double)l->a.scale;
}

/* One head of one token in double precision; size[i] is the sum of p |v| of a column. */
static void expect_close(const struct layer *l, const float *out, size_t t, size_t head)
{
    size_t d = l->a.head_dim, at = (t * l->a.n_heads + head) * d;
    struct span span = l->spans[t];
    double want[512] = {0}, size[512] = {0}, sum = 0, max = -INFINITY, largest = 0;

    for (uint32_t p = span.first; p < span.end; p++) {
        max = fmax(max, score(l, l->q + at, p, head));
        largest = fmax(largest, score_size(l, l->q + at, p, head));
    }
    for (uint32_t p = span.first; p < span.end; p++) {
        double e = exp(score(l, l->q + at, p, head) - max);
        const float *v = cell(l, l->a.v, p, head);

        sum += e;
        for (size_t i = 0; i < d; i++) {
            want[i] += e * (double)v[i];
            size[i] += e * fabs((double)v[i]);
        }
    }
    /* With S the largest sum of |q k|: a score is off by 68 u S, its distance to the maximum is
     * rounded (2 u S) and the softcap adds 2 u S; e to the power of that repeats it as a relative
     * error, and adds 2 u of its own. Chains of n additions add n u, carries of a block 4 u. Once
     * for the weights, once for their sum. */
    double n = span.end - span.first;
    double bound = 2 * (72 * largest + n + 4 * (n / 64 + 2) + 8) * 0x1p-24;
    for (size_t i = 0; i < d; i++)
        cr_expect_float_eq((double)out[at + i], want[i] / sum, size[i] / sum * bound,
                           "token %zu, head %zu, column %zu", t, head, i);
}

static void expect_all_close(const struct layer *l, const float *out)
{
    for (size_t t = 0; t < l->n_tokens; t++)
        for (size_t h = 0; h < l->a.n_heads; h++)
            expect_close(l, out, t, h);
}

static void expect_same(const struct layer *l, const float *got, const float *want,
                        const char *what)
{
    size_t n = l->n_tokens * l->a.n_heads * l->a.head_dim;

    cr_expect_arr_eq(got, want, n * sizeof(*got), "%s", what);
}

Test(attention, agrees_with_double_precision)
{
    static const struct {
        size_t heads, kv_heads, dim, cells, tokens;
        uint32_t first, window;
        float softcap;
    } cases[] = {
        {8, 1, 256, 200, 1, 150, 1000, 0},  {8, 2, 64, 300, 20, 100, 1000, 0},
        {4, 4, 8, 70, 9, 0, 1000, 0},       {16, 1, 512, 160, 7, 100, 64, 0},
        {6, 2, 40, 96, 30, 500, 64, 50.0f}, {32, 1, 16, 65, 3, 60, 1000, 0},
    };

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct layer l = make_layer(cases[c].heads, cases[c].kv_heads, cases[c].dim,
                                    cases[c].cells, cases[c].tokens);

        l.a.softcap = cases[c].softcap;
        set_window(&l, cases[c].first, cases[c].window);
        float *out = attend(kernels_best(), &l);
        expect_all_close(&l, out);
        free(out);
        free_layer(&l);
    }
}

Test(attention, every_table_and_thread_count_gives_the_bits_of_the_scalar_one)
{
    struct layer l = make_layer(8, 2, 72, 150, 21);

    set_window(&l, 180, 100);
    float *want = attend(table_at(0), &l);
    for (int table = 0; table < N_TABLES; table++) {
        const struct kernels *k = table_at(table);

        for (int threads = 1; k && threads <= 3; threads++) {
            parallel_set_threads(threads);
            float *got = attend(k, &l);
            expect_same(&l, got, want, kernels_name(k));
            free(got);
        }
    }
    free(want);
    free_layer(&l);
}

Test(attention, a_token_does_not_notice_its_neighbours)
{
    enum { N_TOKENS = 37 };
    struct layer l = make_layer(8, 1, 64, 333, N_TOKENS), one = l;
    size_t n = l.a.n_heads * l.a.head_dim;

    set_window(&l, 250, 77);
    float *all = attend(kernels_best(), &l);
    one.n_tokens = 1;
    for (size_t t = 0; t < N_TOKENS; t++) {
        one.q = l.q + t * n;
        one.spans = l.spans + t;
        float *got = attend(kernels_best(), &one);
        expect_same(&one, got, all + t * n, "one token");
        free(got);
    }
    free(all);
    free_layer(&l);
}

/* Cells are reused: the same positions in a longer cache must give the same result. */
Test(attention, a_ring_gives_what_a_long_cache_gives)
{
    struct layer ring = make_layer(4, 2, 32, 100, 5), flat = make_layer(4, 2, 32, 400, 5);

    set_window(&ring, 350, 90);
    set_window(&flat, 350, 90);
    memcpy(flat.q, ring.q, 5 * 4 * 32 * sizeof(float));
    for (size_t p = 256; p < 356; p++)
        memcpy(flat.cells + p * flat.a.stride, ring.cells + p % 100 * ring.a.stride,
               ring.a.stride * sizeof(float));
    float *a = attend(kernels_best(), &ring), *b = attend(kernels_best(), &flat);
    expect_same(&ring, a, b, "ring");
    free(a);
    free(b);
    free_layer(&ring);
    free_layer(&flat);
}

/* What lies outside every span is never used: it may be anything. */
Test(attention, cells_outside_the_spans_do_not_matter)
{
    struct layer l = make_layer(4, 1, 32, 128, 3);

    set_window(&l, 70, 20);
    float *want = attend(kernels_best(), &l);
    for (size_t p = 0; p < 128; p++)
        if (p < 51 || p > 72)
            memset(l.cells + p * l.a.stride, 0xff, l.a.stride * sizeof(float));
    float *got = attend(kernels_best(), &l);
    expect_same(&l, got, want, "poisoned cells");
    free(want);
    free(got);
    free_layer(&l);
}
