/*
 * dotprod_neon.c - integer products with SDOT: 8 rows from a file, or panels of 16 rows by 4 tokens
 *
 * Panels keep signed codes. A register holds 4 columns of 4 rows; a token's 4 columns are one
 * lane of the register that holds 16 of them.
 */
#include "runtime/kernels/codes_neon.h"

INLINE int32x4_t multiply(int8x16_t codes, int8x16_t x)
{
    return vdotq_s32(vdupq_n_s32(0), codes, x);
}

static void dot_q8_0(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q8_0, multiply, w, x, y);
}

static void dot_q4_0(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q4_0, multiply, w, x, y);
}

static void dot_q4_1(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q4_1, multiply, w, x, y);
}

static void dot_q5_0(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q5_0, multiply, w, x, y);
}

static void dot_q5_1(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q5_1, multiply, w, x, y);
}

static void dot_q4_k(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q4_K, multiply, w, x, y);
}

static void dot_q5_k(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q5_K, multiply, w, x, y);
}

static void dot_q6_k(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_rows_neon(TYPE_Q6_K, multiply, w, x, y);
}

dot_function *const dotprod_dot[TYPE_COUNT] = {
    [TYPE_Q8_0] = dot_q8_0, [TYPE_Q4_0] = dot_q4_0, [TYPE_Q4_1] = dot_q4_1,
    [TYPE_Q5_0] = dot_q5_0, [TYPE_Q5_1] = dot_q5_1, [TYPE_Q4_K] = dot_q4_k,
    [TYPE_Q5_K] = dot_q5_k, [TYPE_Q6_K] = dot_q6_k,
};

void dotprod_pack(struct panel *panel, const uint8_t *const rows[PANEL_ROWS],
                  size_t first)
{
    codes_function *unpack = codes_by_type[panel->type];

    for (size_t b = 0; b < panel->n_blocks; b++) {
        for (int r = 0; r < PANEL_ROWS; r++) {
            struct codes c;

            unpack(rows[r], first + b, &c);
            for (int i = 0; i < BLOCK / 4; i++)
                memcpy(panel->q[b][i][r], c.q + 4 * i, 4);
            panel->s[b][r] = c.s;
            panel->m[b][r] = c.m;
            panel->halves[b][r][0] = c.halves[0];
            panel->halves[b][r][1] = c.halves[1];
        }
    }
}

enum { GROUPS = PANEL_ROWS / 4, WIDTH = 4 };

/* sum[g][t] = products of columns 16 half ... 16 half + 15 of block b. */
INLINE void half_block(const struct panel *panel, const int8_t *const *x, size_t b,
                       int half, int n, int32x4_t sum[GROUPS][WIDTH])
{
    for (int t = 0; t < n; t++) {
        int8x16_t in = vld1q_s8(x[t] + b * BLOCK + 16 * half);

        for (int g = 0; g < GROUPS; g++) {
            const int8_t *q = (const int8_t *)panel->q[b][4 * half][4 * g];
            int32x4_t s = vdotq_laneq_s32(vdupq_n_s32(0), vld1q_s8(q), in, 0);

            s = vdotq_laneq_s32(s, vld1q_s8(q + 4 * PANEL_ROWS), in, 1);
            s = vdotq_laneq_s32(s, vld1q_s8(q + 8 * PANEL_ROWS), in, 2);
            sum[g][t] = vdotq_laneq_s32(s, vld1q_s8(q + 12 * PANEL_ROWS), in, 3);
        }
    }
}

/* Tokens token ... token + n - 1. */
INLINE void multiply_panel(const struct panel *panel, const struct rounded *x,
                           size_t first, size_t token, int n, float y[][PANEL_ROWS])
{
    const int8_t *q[WIDTH];
    size_t at[WIDTH];

    for (int t = 0; t < n; t++) {
        at[t] = (token + (size_t)t) * x->n_blocks + first;
        q[t] = x->q + at[t] * BLOCK;
    }
    for (size_t b = 0; b < panel->n_blocks; b++) {
        int32x4_t sum[2][GROUPS][WIDTH];

        half_block(panel, q, b, 0, n, sum[0]);
        half_block(panel, q, b, 1, n, sum[1]);
        for (int t = 0; t < n; t++)
            for (int g = 0; g < GROUPS; g++)
                panel_gain_neon(panel, b, g, sum[0][g][t], sum[1][g][t], x->d[at[t] + b],
                                x->dsum[at[t] + b], y[token + (size_t)t] + 4 * g);
    }
}

void dotprod_panel(const struct panel *panel, const struct rounded *x, size_t first,
                   size_t n_tokens, float y[][PANEL_ROWS])
{
    size_t t = 0;

    for (; t + WIDTH <= n_tokens; t += WIDTH)
        multiply_panel(panel, x, first, t, WIDTH, y);
    for (; t < n_tokens; t++)
        multiply_panel(panel, x, first, t, 1, y);
}

enum { SPIN_CHAINS = 16 };

double dotprod_spin_integer(size_t n, float *sink)
{
    int8x16_t w = vdupq_n_s8(3), x = vdupq_n_s8(5);
    int32x4_t s[SPIN_CHAINS];

    for (int c = 0; c < SPIN_CHAINS; c++)
        s[c] = vdupq_n_s32(0);
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < SPIN_CHAINS; c++)
            s[c] = vdotq_s32(s[c], w, x);
    for (int c = 0; c < SPIN_CHAINS; c++)
        *sink += (float)vgetq_lane_s32(s[c], 0);
    return (double)n * SPIN_CHAINS * 16;
}
