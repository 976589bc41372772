/*
 * tiles_neon.c - products in f32: eight lanes in two registers, 4 rows by 2 tokens
 */
#include "runtime/kernels/kernels_neon.h"

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))

enum { STEP_TOKENS = 2 };

void neon_widen_f16(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;
    size_t whole = n - n % 4;

    for (size_t i = 0; i < whole; i += 4) {
        float16x4_t h = vreinterpret_f16_u8(vld1_u8(p + 2 * i));
        vst1q_f32(x + i, vcvt_f32_f16(h));
    }
    for (size_t i = whole; i < n; i++)
        x[i] = f32_from_f16(load_u16(p + 2 * i));
}

void neon_widen_bf16(const void *in, float *x, size_t n)
{
    const uint8_t *p = in;

    for (size_t i = 0; i < n; i++)
        x[i] = f32_from_bf16(load_u16(p + 2 * i));
}

/* [h0 + h2, h1 + h3] of the halves' sum: the lanes' tree but for its last step. */
INLINE float32x2_t half_sum(const float32x4_t a[2])
{
    float32x4_t h = vaddq_f32(a[0], a[1]);

    return vadd_f32(vget_low_f32(h), vget_high_f32(h));
}

INLINE void step(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
                 size_t n, float out[][TILE_ROWS], int n_tokens)
{
    float32x4_t acc[STEP_TOKENS][TILE_ROWS][2];

    for (int t = 0; t < n_tokens; t++)
        for (int r = 0; r < TILE_ROWS; r++)
            acc[t][r][0] = acc[t][r][1] = vdupq_n_f32(0.0f);
    for (size_t i = 0; i < n; i += LANES) {
        for (int half = 0; half < 2; half++) {
            float32x4_t in[STEP_TOKENS];

            for (int t = 0; t < n_tokens; t++)
                in[t] = vld1q_f32(x + (size_t)t * x_stride + i + 4 * half);
            for (int r = 0; r < TILE_ROWS; r++) {
                float32x4_t row = vld1q_f32(w[r] + i + 4 * half);

                for (int t = 0; t < n_tokens; t++)
                    acc[t][r][half] = vfmaq_f32(acc[t][r][half], row, in[t]);
            }
        }
    }
    for (int t = 0; t < n_tokens; t++) {
        vst1_f32(out[t], vpadd_f32(half_sum(acc[t][0]), half_sum(acc[t][1])));
        vst1_f32(out[t] + 2, vpadd_f32(half_sum(acc[t][2]), half_sum(acc[t][3])));
    }
}

void neon_tile(const float *const w[TILE_ROWS], const float *x, size_t x_stride,
               size_t n_tokens, size_t n, float out[][TILE_ROWS])
{
    size_t t = 0;

    for (; t + STEP_TOKENS <= n_tokens; t += STEP_TOKENS)
        step(w, x + t * x_stride, x_stride, n, out + t, STEP_TOKENS);
    if (t < n_tokens)
        step(w, x + t * x_stride, x_stride, n, out + t, 1);
}

enum { VALUE_ROWS = 4 };

/* n_rows rows of acc at columns i ... i + 7. */
INLINE void values(const float *p, const float *carry, const float *const *v,
                   size_t n_cells, size_t n, size_t i, float *acc, int n_rows)
{
    float32x4_t a[VALUE_ROWS][2];

    for (int r = 0; r < n_rows; r++)
        for (int k = 0; k < 2; k++)
            a[r][k] = vmulq_n_f32(vld1q_f32(acc + (size_t)r * n + i + 4 * k), carry[r]);
    for (size_t j = 0; j < n_cells; j++) {
        float32x4_t in[2] = {vld1q_f32(v[j] + i), vld1q_f32(v[j] + i + 4)};

        for (int r = 0; r < n_rows; r++)
            for (int k = 0; k < 2; k++)
                a[r][k] = vfmaq_n_f32(a[r][k], in[k], p[(size_t)r * ATTEND_CELLS + j]);
    }
    for (int r = 0; r < n_rows; r++)
        for (int k = 0; k < 2; k++)
            vst1q_f32(acc + (size_t)r * n + i + 4 * k, a[r][k]);
}

void neon_add_values(const float *p, const float *carry, size_t n_rows,
                     const float *const *v, size_t n_cells, size_t n, float *acc)
{
    size_t r = 0;

    for (; r + VALUE_ROWS <= n_rows; r += VALUE_ROWS)
        for (size_t i = 0; i < n; i += LANES)
            values(p + r * ATTEND_CELLS, carry + r, v, n_cells, n, i, acc + r * n,
                   VALUE_ROWS);
    for (; r < n_rows; r++)
        for (size_t i = 0; i < n; i += LANES)
            values(p + r * ATTEND_CELLS, carry + r, v, n_cells, n, i, acc + r * n, 1);
}

enum { SPIN_CHAINS = 16 };

double neon_spin_f32(size_t n, float *sink)
{
    const float32x4_t half = vdupq_n_f32(0.5f), one = vdupq_n_f32(1.0f);
    float32x4_t s[SPIN_CHAINS];

    for (int c = 0; c < SPIN_CHAINS; c++)
        s[c] = vdupq_n_f32((float)c);
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < SPIN_CHAINS; c++)
            s[c] = vfmaq_f32(one, s[c], half);
    for (int c = 0; c < SPIN_CHAINS; c++)
        *sink += vgetq_lane_f32(s[c], 0);
    return (double)n * SPIN_CHAINS * 4;
}
