/*
 * tiles_avx512.c - products in f32: two rows of eight lanes a register, 4 rows by 6 tokens
 *
 * The two halves of a register belong to two rows, so the order of additions is that of 8 lanes,
 * as everywhere.
 */
#include "runtime/kernels/kernels_avx512.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum { STEP_TOKENS = 6, PAIRS = TILE_ROWS / 2 };

/* The lanes' trees of four rows, side by side. */
INLINE __m128 sums(const __m512 a[PAIRS])
{
    __m128 h[TILE_ROWS];

    for (int p = 0; p < PAIRS; p++) {
        __m256 even = _mm512_castps512_ps256(a[p]), odd = _mm512_extractf32x8_ps(a[p], 1);

        h[2 * p] =
            _mm_add_ps(_mm256_castps256_ps128(even), _mm256_extractf128_ps(even, 1));
        h[2 * p + 1] =
            _mm_add_ps(_mm256_castps256_ps128(odd), _mm256_extractf128_ps(odd, 1));
    }
    _MM_TRANSPOSE4_PS(h[0], h[1], h[2], h[3]);
    return _mm_add_ps(_mm_add_ps(h[0], h[2]), _mm_add_ps(h[1], h[3]));
}

INLINE void step(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
                 size_t n, float out[][TILE_ROWS], int n_tokens)
{
    __m512 acc[STEP_TOKENS][PAIRS];

    for (int t = 0; t < n_tokens; t++)
        for (int p = 0; p < PAIRS; p++)
            acc[t][p] = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += LANES) {
        __m512 rows[PAIRS];

        for (int p = 0; p < PAIRS; p++)
            rows[p] =
                _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(w[2 * p] + i)),
                                   _mm256_loadu_ps(w[2 * p + 1] + i), 1);
        for (int t = 0; t < n_tokens; t++) {
            __m512 in =
                _mm512_broadcast_f32x8(_mm256_loadu_ps(x + (size_t)t * x_stride + i));

            for (int p = 0; p < PAIRS; p++)
                acc[t][p] = _mm512_fmadd_ps(rows[p], in, acc[t][p]);
        }
    }
    for (int t = 0; t < n_tokens; t++)
        _mm_storeu_ps(out[t], sums(acc[t]));
}

void avx512_tile(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
                 size_t n_tokens, size_t n, float out[][TILE_ROWS])
{
    size_t t = 0;

    for (; t + STEP_TOKENS <= n_tokens; t += STEP_TOKENS)
        step(w, x + t * x_stride, x_stride, n, out + t, STEP_TOKENS);
    for (; t + 2 <= n_tokens; t += 2)
        step(w, x + t * x_stride, x_stride, n, out + t, 2);
    if (t < n_tokens)
        step(w, x + t * x_stride, x_stride, n, out + t, 1);
}

enum { SPIN_CHAINS = 16 };

double avx512_spin_f32(size_t n, float *sink)
{
    const __m512 half = _mm512_set1_ps(0.5f), one = _mm512_set1_ps(1.0f);
    __m512 s[SPIN_CHAINS];

    for (int c = 0; c < SPIN_CHAINS; c++)
        s[c] = _mm512_set1_ps((float)c);
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < SPIN_CHAINS; c++)
            s[c] = _mm512_fmadd_ps(s[c], half, one);
    for (int c = 0; c < SPIN_CHAINS; c++)
        *sink += _mm_cvtss_f32(_mm512_castps512_ps128(s[c]));
    return (double)n * SPIN_CHAINS * 16;
}
