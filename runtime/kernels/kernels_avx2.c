/*
 * kernels_avx2.c - the AVX2 table (with FMA and F16C), and its row functions
 *
 * The row functions are the bodies of row_math.h, which the compiler turns into vector code.
 */
#include "runtime/kernels/kernels_avx2.h"
#include "runtime/kernels/row_math.h"

static float exp_sum(float *x, size_t n, float max)
{
    return row_exp_sum(x, n, max);
}

static void norm(const float *x, const float *weight, size_t n, float eps, float *y)
{
    row_norm(x, weight, n, eps, y);
}

static void rotate(float *x, size_t half, const float *cos, const float *sin)
{
    row_rotate(x, half, cos, sin);
}

static void gelu_mul(const float *gate, const float *up, size_t n, float *y)
{
    row_gelu_mul(gate, up, n, y);
}

static void softcap(float *x, size_t n, float cap)
{
    row_softcap(x, n, cap);
}

static void add(float *x, const float *y, size_t n)
{
    row_add(x, y, n);
}

static void mul(float *x, const float *y, size_t n)
{
    row_mul(x, y, n);
}

static void scale(float *x, float s, size_t n)
{
    row_scale(x, s, n);
}

static void add_scaled(float *x, const float *y, float s, size_t n)
{
    row_add_scaled(x, y, s, n);
}

const struct kernels kernels_avx2 = {
    .name = "avx2",
    .widen_f16 = avx2_widen_f16,
    .widen_bf16 = avx2_widen_bf16,
    .tile = avx2_tile,
    .round = avx2_round,
    .dot = avx2_dot,
    .pack = avx2_pack,
    .panel = avx2_panel,
    .add_values = avx2_add_values,
    .exp_sum = exp_sum,
    .norm = norm,
    .rotate = rotate,
    .gelu_mul = gelu_mul,
    .softcap = softcap,
    .add = add,
    .mul = mul,
    .scale = scale,
    .add_scaled = add_scaled,
};
