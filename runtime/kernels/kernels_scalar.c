/*
 * kernels_scalar.c - the definition of every kernel, in plain C
 *
 * Written to be read beside kernels.h, not to be fast.
 */
#include "runtime/kernels/codes.h"
#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/row_math.h"

static void widen_f16(const void *in, float *x, size_t n)
{
    block_decode(TYPE_F16, in, x, n);
}

static void widen_bf16(const void *in, float *x, size_t n)
{
    block_decode(TYPE_BF16, in, x, n);
}

static float product(const float *w, const float *x, size_t n)
{
    float s[LANES] = {0};

    for (size_t i = 0; i < n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            s[l] = fmaf(w[i + l], x[i + l], s[l]);
    return math_lanes_sum(s);
}

static void tile(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
                 size_t n_tokens, size_t n, float out[][TILE_ROWS])
{
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t r = 0; r < TILE_ROWS; r++)
            out[t][r] = product(w[r], x + t * x_stride, n);
}

static int product_int(const int8_t *w, const int8_t *x)
{
    int sum = 0;

    for (int i = 0; i < 16; i++)
        sum += w[i] * x[i];
    return sum;
}

/* A minimum is added for every block of a type that has them, zero or not. */
static void dot(enum block_type type, const struct dot_rows *w, const struct rounded *x,
                float y[DOT_ROWS])
{
    codes_function *unpack = codes_by_type[type];
    bool has_minimum = codes_has_minimum(type);

    for (size_t r = 0; r < DOT_ROWS; r++) {
        for (size_t b = 0; b < x->n_blocks; b++) {
            const int8_t *q = x->q + b * BLOCK;
            struct codes c;

            unpack(w->row[r], b, &c);
            int sum = c.halves[0] * product_int(c.q, q) +
                      c.halves[1] * product_int(c.q + 16, q + 16);
            y[r] = fmaf(c.s * x->d[b], (float)sum, y[r]);
            if (has_minimum)
                y[r] = fmaf(c.m, x->dsum[b], y[r]);
        }
    }
}

static void dot_q8_0(const struct dot_rows *w, const struct rounded *x, float y[DOT_ROWS])
{
    dot(TYPE_Q8_0, w, x, y);
}

static void dot_q4_0(const struct dot_rows *w, const struct rounded *x, float y[DOT_ROWS])
{
    dot(TYPE_Q4_0, w, x, y);
}

static void dot_q4_1(const struct dot_rows *w, const struct rounded *x, float y[DOT_ROWS])
{
    dot(TYPE_Q4_1, w, x, y);
}

static void dot_q5_0(const struct dot_rows *w, const struct rounded *x, float y[DOT_ROWS])
{
    dot(TYPE_Q5_0, w, x, y);
}

static void dot_q5_1(const struct dot_rows *w, const struct rounded *x, float y[DOT_ROWS])
{
    dot(TYPE_Q5_1, w, x, y);
}

static void dot_q4_k(const struct dot_rows *w, const struct rounded *x, float y[DOT_ROWS])
{
    dot(TYPE_Q4_K, w, x, y);
}

static void dot_q5_k(const struct dot_rows *w, const struct rounded *x, float y[DOT_ROWS])
{
    dot(TYPE_Q5_K, w, x, y);
}

static void dot_q6_k(const struct dot_rows *w, const struct rounded *x, float y[DOT_ROWS])
{
    dot(TYPE_Q6_K, w, x, y);
}

static void add_values(const float *p, const float *carry, size_t n_rows,
                       const float *const *v, size_t n_cells, size_t n, float *acc)
{
    for (size_t r = 0; r < n_rows; r++, acc += n, p += ATTEND_CELLS) {
        for (size_t i = 0; i < n; i++)
            acc[i] *= carry[r];
        for (size_t j = 0; j < n_cells; j++)
            for (size_t i = 0; i < n; i++)
                acc[i] = fmaf(p[j], v[j][i], acc[i]);
    }
}

static double spin_f32(size_t n, float *sink)
{
    float s[LANES] = {0};

    for (size_t i = 0; i < n; i++)
        for (size_t l = 0; l < LANES; l++)
            s[l] = fmaf(s[l], 0.5f, 1.0f);
    *sink += math_lanes_sum(s);
    return (double)n * LANES;
}

static double spin_integer(size_t n, float *sink)
{
    uint32_t s[LANES] = {0};

    for (size_t i = 0; i < n; i++)
        for (uint32_t l = 0; l < LANES; l++)
            s[l] = s[l] * 5 + l;
    for (size_t l = 0; l < LANES; l++)
        *sink += (float)s[l];
    return (double)n * LANES;
}

static dot_function *const dots[TYPE_COUNT] = {
    [TYPE_Q8_0] = dot_q8_0, [TYPE_Q4_0] = dot_q4_0, [TYPE_Q4_1] = dot_q4_1,
    [TYPE_Q5_0] = dot_q5_0, [TYPE_Q5_1] = dot_q5_1, [TYPE_Q4_K] = dot_q4_k,
    [TYPE_Q5_K] = dot_q5_k, [TYPE_Q6_K] = dot_q6_k,
};

static const struct row_kernels rows = {
    .exp_sum = row_exp_sum,
    .norm = row_norm,
    .rotate = row_rotate,
    .gelu_mul = row_gelu_mul,
    .softcap = row_softcap,
    .add = row_add,
    .mul = row_mul,
    .scale = row_scale,
    .add_scaled = row_add_scaled,
};

const struct kernels kernels_scalar = {
    .name = "scalar",
    .rows = &rows,
    .widen_f16 = widen_f16,
    .widen_bf16 = widen_bf16,
    .tile = tile,
    .round = row_round,
    .dot = dots,
    .add_values = add_values,
    .spin_f32 = spin_f32,
    .spin_integer = spin_integer,
};
