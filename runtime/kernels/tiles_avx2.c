/*
 * tiles_avx2.c - products in f32: eight lanes along the columns, 4 rows by 3 tokens in registers
 */
#include "runtime/kernels/codes_avx2.h"
#include "runtime/kernels/kernels_avx2.h"

enum { STEP_TOKENS = 3 };

void avx2_widen_f16(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;
    size_t whole = n - n % LANES;

    for (size_t i = 0; i < whole; i += LANES)
        _mm256_storeu_ps(x + i, _mm256_cvtph_ps(load_128(p + 2 * i)));
    for (size_t i = whole; i < n; i++)
        x[i] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(load_u16(p + 2 * i))));
}

void avx2_widen_bf16(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;
    size_t whole = n - n % LANES;

    for (size_t i = 0; i < whole; i += LANES) {
        __m256i wide = _mm256_cvtepu16_epi32(load_128(p + 2 * i));
        _mm256_storeu_ps(x + i, _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
    }
    for (size_t i = whole; i < n; i++)
        x[i] = f32_from_bf16(load_u16(p + 2 * i));
}

/* The lanes' trees of four accumulators, side by side. */
INLINE __m128 sums(const __m256 a[TILE_ROWS])
{
    __m128 h[TILE_ROWS];

    for (int r = 0; r < TILE_ROWS; r++)
        h[r] = _mm_add_ps(_mm256_castps256_ps128(a[r]), _mm256_extractf128_ps(a[r], 1));
    _MM_TRANSPOSE4_PS(h[0], h[1], h[2], h[3]);
    return _mm_add_ps(_mm_add_ps(h[0], h[2]), _mm_add_ps(h[1], h[3]));
}

INLINE void step(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
                 size_t n, float out[][TILE_ROWS], int n_tokens)
{
    __m256 acc[STEP_TOKENS][TILE_ROWS];

    for (int t = 0; t < n_tokens; t++)
        for (int r = 0; r < TILE_ROWS; r++)
            acc[t][r] = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += LANES) {
        __m256 in[STEP_TOKENS];

        for (int t = 0; t < n_tokens; t++)
            in[t] = _mm256_loadu_ps(x + (size_t)t * x_stride + i);
        for (int r = 0; r < TILE_ROWS; r++) {
            __m256 row = _mm256_loadu_ps(w[r] + i);

            for (int t = 0; t < n_tokens; t++)
                acc[t][r] = _mm256_fmadd_ps(row, in[t], acc[t][r]);
        }
    }
    for (int t = 0; t < n_tokens; t++)
        _mm_storeu_ps(out[t], sums(acc[t]));
}

void avx2_tile(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
               size_t n_tokens, size_t n, float out[][TILE_ROWS])
{
    size_t t = 0;

    for (; t + STEP_TOKENS <= n_tokens; t += STEP_TOKENS)
        step(w, x + t * x_stride, x_stride, n, out + t, STEP_TOKENS);
    if (n_tokens - t == 2)
        step(w, x + t * x_stride, x_stride, n, out + t, 2);
    else if (n_tokens - t == 1)
        step(w, x + t * x_stride, x_stride, n, out + t, 1);
}

enum { VALUE_ROWS = 4 };

/* n_rows rows of acc at columns i ... i + 8 * n_vectors - 1. */
INLINE void values(const float *p, const float *carry, const float *const *v,
                   size_t n_cells, size_t n, size_t i, float *acc, int n_rows,
                   int n_vectors)
{
    __m256 a[VALUE_ROWS][2];

    for (int r = 0; r < n_rows; r++)
        for (int k = 0; k < n_vectors; k++)
            a[r][k] = _mm256_mul_ps(_mm256_loadu_ps(acc + (size_t)r * n + i + LANES * k),
                                    _mm256_set1_ps(carry[r]));
    for (size_t j = 0; j < n_cells; j++) {
        __m256 in[2];

        for (int k = 0; k < n_vectors; k++)
            in[k] = _mm256_loadu_ps(v[j] + i + LANES * k);
        for (int r = 0; r < n_rows; r++) {
            __m256 weight = _mm256_set1_ps(p[(size_t)r * ATTEND_CELLS + j]);

            for (int k = 0; k < n_vectors; k++)
                a[r][k] = _mm256_fmadd_ps(weight, in[k], a[r][k]);
        }
    }
    for (int r = 0; r < n_rows; r++)
        for (int k = 0; k < n_vectors; k++)
            _mm256_storeu_ps(acc + (size_t)r * n + i + LANES * k, a[r][k]);
}

INLINE void value_rows(const float *p, const float *carry, const float *const *v,
                       size_t n_cells, size_t n, float *acc, int n_rows)
{
    size_t i = 0;

    for (; i + 2 * LANES <= n; i += 2 * LANES)
        values(p, carry, v, n_cells, n, i, acc, n_rows, 2);
    if (i < n)
        values(p, carry, v, n_cells, n, i, acc, n_rows, 1);
}

void avx2_add_values(const float *p, const float *carry, size_t n_rows,
                     const float *const *v, size_t n_cells, size_t n, float *acc)
{
    size_t r = 0;

    for (; r + VALUE_ROWS <= n_rows; r += VALUE_ROWS)
        value_rows(p + r * ATTEND_CELLS, carry + r, v, n_cells, n, acc + r * n,
                   VALUE_ROWS);
    for (; r < n_rows; r++)
        value_rows(p + r * ATTEND_CELLS, carry + r, v, n_cells, n, acc + r * n, 1);
}
