/*
 * kernels_avx2.c - the AVX2 table (with FMA and F16C), and its row functions
 *
 * The row functions are the bodies of row_math.h, which the compiler turns into vector code.
 */
#include "runtime/kernels/kernels_avx2.h"
#include "runtime/kernels/row_math.h"

#include <immintrin.h>

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

/* Chains in flight: latency times throughput of an FMA, and fewer for one-cycle additions. */
enum { SPIN_CHAINS = 12, SPIN_SUMS = 8 };

static double spin_f32(size_t n, float *sink)
{
    const __m256 half = _mm256_set1_ps(0.5f), one = _mm256_set1_ps(1.0f);
    __m256 s[SPIN_CHAINS];

    for (int c = 0; c < SPIN_CHAINS; c++)
        s[c] = _mm256_set1_ps((float)c);
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < SPIN_CHAINS; c++)
            s[c] = _mm256_fmadd_ps(s[c], half, one);
    for (int c = 0; c < SPIN_CHAINS; c++)
        *sink += _mm256_cvtss_f32(s[c]);
    return (double)n * SPIN_CHAINS * LANES;
}

/* vpmaddubsw and vpaddw. The empty asm makes the operand new each time: nothing to hoist. */
static double spin_integer(size_t n, float *sink)
{
    __m256i s[SPIN_SUMS], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(5);

    for (int c = 0; c < SPIN_SUMS; c++)
        s[c] = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i++) {
        for (int c = 0; c < SPIN_SUMS; c++) {
            __asm__("" : "+x"(w));
            s[c] = _mm256_add_epi16(s[c], _mm256_maddubs_epi16(w, x));
        }
    }
    for (int c = 0; c < SPIN_SUMS; c++)
        *sink += (float)_mm256_extract_epi16(s[c], 0);
    return (double)n * SPIN_SUMS * 32;
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
    .spin_f32 = spin_f32,
    .spin_integer = spin_integer,
};
