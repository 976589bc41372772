/*
 * i8mm_neon.c - integer products of many tokens with SMMLA: 2 rows by 2 tokens an instruction
 *
 * A step of a panel holds 4 columns of 4 rows; zipped with the next step it gives 8 columns of 2
 * rows, what the instruction wants. Its result is {row 0 token 0, row 0 token 1, row 1 token 0,
 * row 1 token 1}, unzipped at the end of a half block.
 */
#include "runtime/kernels/codes_neon.h"

enum { GROUPS = PANEL_ROWS / 4 };

/* Two tokens' columns 8 i ... 8 i + 7 of a block. */
INLINE int8x16_t two_tokens(const int8_t *const *x, size_t at)
{
    return vcombine_s8(vld1_s8(x[0] + at), vld1_s8(x[1] + at));
}

/* sum[t] = 4 rows' products with 16 columns of tokens 0 and 1. */
INLINE void half_block(const struct panel *panel, const int8_t *const *x, size_t b,
                       int half, int g, int32x4_t sum[2])
{
    int32x4_t low = vdupq_n_s32(0), high = vdupq_n_s32(0);

    for (int i = 4 * half; i < 4 * half + 4; i += 2) {
        int32x4_t w0 = vld1q_s32((const int32_t *)(const void *)panel->q[b][i][4 * g]);
        int32x4_t w1 =
            vld1q_s32((const int32_t *)(const void *)panel->q[b][i + 1][4 * g]);
        int8x16_t in = two_tokens(x, b * BLOCK + 4 * (size_t)i);

        low = vmmlaq_s32(low, vreinterpretq_s8_s32(vzip1q_s32(w0, w1)), in);
        high = vmmlaq_s32(high, vreinterpretq_s8_s32(vzip2q_s32(w0, w1)), in);
    }
    sum[0] = vuzp1q_s32(low, high);
    sum[1] = vuzp2q_s32(low, high);
}

/* Tokens token and token + 1. */
INLINE void multiply_pair(const struct panel *panel, const struct rounded *x,
                          size_t first, size_t token, float y[][PANEL_ROWS])
{
    size_t at[2] = {token * x->n_blocks + first, (token + 1) * x->n_blocks + first};
    const int8_t *q[2] = {x->q + at[0] * BLOCK, x->q + at[1] * BLOCK};

    for (size_t b = 0; b < panel->n_blocks; b++) {
        for (int g = 0; g < GROUPS; g++) {
            int32x4_t sum[2][2];

            half_block(panel, q, b, 0, g, sum[0]);
            half_block(panel, q, b, 1, g, sum[1]);
            for (int t = 0; t < 2; t++)
                panel_gain_neon(panel, b, g, sum[0][t], sum[1][t], x->d[at[t] + b],
                                x->dsum[at[t] + b], y[token + (size_t)t] + 4 * g);
        }
    }
}

void i8mm_panel(const struct panel *panel, const struct rounded *x, size_t first,
                size_t n_tokens, float y[][PANEL_ROWS])
{
    size_t whole = n_tokens - n_tokens % 2;
    struct rounded last = *x;

    for (size_t t = 0; t < whole; t += 2)
        multiply_pair(panel, x, first, t, y);
    if (whole == n_tokens)
        return;
    last.q += whole * x->n_blocks * BLOCK;
    last.d += whole * x->n_blocks;
    last.dsum += whole * x->n_blocks;
    dotprod_panel(panel, &last, first, 1, y + whole);
}

enum { SPIN_CHAINS = 16 };

double i8mm_spin_integer(size_t n, float *sink)
{
    int8x16_t w = vdupq_n_s8(3), x = vdupq_n_s8(5);
    int32x4_t s[SPIN_CHAINS];

    for (int c = 0; c < SPIN_CHAINS; c++)
        s[c] = vdupq_n_s32(0);
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < SPIN_CHAINS; c++)
            s[c] = vmmlaq_s32(s[c], w, x);
    for (int c = 0; c < SPIN_CHAINS; c++)
        *sink += (float)vgetq_lane_s32(s[c], 0);
    return (double)n * SPIN_CHAINS * 32;
}
