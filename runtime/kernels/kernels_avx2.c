/*
 * kernels_avx2.c - the AVX2 table (with FMA and F16C), and its row functions
 *
 * The row functions are the bodies of row_math.h, which the compiler turns into vector code.
 */
#include "runtime/kernels/kernels_avx2.h"
#include "runtime/kernels/row_math.h"

#include <immintrin.h>

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
double avx2_spin_integer(size_t n, float *sink)
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

const struct row_kernels rows_avx2 = {
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

const struct kernels kernels_avx2 = {
    .name = "avx2",
    .rows = &rows_avx2,
    .widen_f16 = avx2_widen_f16,
    .widen_bf16 = avx2_widen_bf16,
    .tile = avx2_tile,
    .round = avx2_round,
    .dot = avx2_dot,
    .few = avx2_few,
    .few_from = 2,
    .token_price = 0.24,
    .pack = avx2_pack,
    .panel = avx2_panel,
    .add_values = avx2_add_values,
    .spin_f32 = spin_f32,
    .spin_integer = avx2_spin_integer,
};
