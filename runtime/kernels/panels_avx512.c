/*
 * panels_avx512.c - integer products of many tokens with VNNI: 16 rows by 8 tokens
 */
#include "runtime/kernels/codes.h"
#include "runtime/kernels/kernels_avx512.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* What the instruction, which takes unsigned codes, still has to be corrected by: panels keep
 * the codes of Q8_0 signed, and flipping their top bit adds 128. */
INLINE int offset(enum block_type type)
{
    switch (type) {
    case TYPE_Q8_0:
        return 128;
    case TYPE_Q6_K:
        return 32;
    case TYPE_Q5_0:
        return 16;
    case TYPE_Q4_0:
        return 8;
    default:
        return 0;
    }
}

/* The integers of steps first ... end - 1 of block b of one token. */
INLINE __m512i steps(enum block_type type, const struct panel *panel, const int8_t *x,
                     size_t b, int first, int end)
{
    __m512i sum = _mm512_setzero_si512();

    for (int i = first; i < end; i++) {
        __m512i w = _mm512_load_si512((const void *)panel->q[b][i]);

        if (type == TYPE_Q8_0)
            w = _mm512_xor_si512(w, _mm512_set1_epi32((int)0x80808080u));
        sum = _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32((int)load_u32(x + 4 * i)));
    }
    return sum;
}

/* The integer of block b, offset taken off. `halves` are the sums of x's halves, side by side. */
INLINE __m512i block(enum block_type type, const struct panel *panel, const int8_t *x,
                     size_t b, __m512i halves)
{
    if (type != TYPE_Q6_K) {
        __m512i sum = steps(type, panel, x, b, 0, 8);

        if (offset(type))
            sum = _mm512_sub_epi32(
                sum, _mm512_madd_epi16(halves, _mm512_set1_epi16((short)offset(type))));
        return sum;
    }

    __m512i scales = _mm512_loadu_si512((const void *)panel->halves[b]);
    __m512i excess = _mm512_slli_epi32(_mm512_madd_epi16(scales, halves), 5);
    __m512i first = _mm512_srai_epi32(_mm512_slli_epi32(scales, 16), 16);
    __m512i last = _mm512_srai_epi32(scales, 16);
    __m512i sum =
        _mm512_add_epi32(_mm512_mullo_epi32(first, steps(type, panel, x, b, 0, 4)),
                         _mm512_mullo_epi32(last, steps(type, panel, x, b, 4, 8)));

    return _mm512_sub_epi32(sum, excess);
}

INLINE void multiply(enum block_type type, const struct panel *panel,
                     const struct rounded *x, size_t first, size_t token, int n,
                     float y[][PANEL_ROWS])
{
    __m512 sum[PANEL_TOKENS];

    for (int t = 0; t < n; t++)
        sum[t] = _mm512_loadu_ps(y[token + (size_t)t]);
    for (size_t b = 0; b < panel->n_blocks; b++) {
        __m512 s = _mm512_load_ps(panel->s[b]);

        for (int t = 0; t < n; t++) {
            size_t at = (token + (size_t)t) * x->n_blocks + first + b;
            __m512i halves = _mm512_set1_epi32((int)load_u32(x->halves + 2 * at));
            __m512i i = block(type, panel, x->q + at * BLOCK, b, halves);

            sum[t] = _mm512_fmadd_ps(_mm512_mul_ps(s, _mm512_set1_ps(x->d[at])),
                                     _mm512_cvtepi32_ps(i), sum[t]);
            if (codes_has_minimum(type))
                sum[t] = _mm512_fmadd_ps(_mm512_load_ps(panel->m[b]),
                                         _mm512_set1_ps(x->dsum[at]), sum[t]);
        }
    }
    for (int t = 0; t < n; t++)
        _mm512_storeu_ps(y[token + (size_t)t], sum[t]);
}

INLINE void multiply_all(enum block_type type, const struct panel *panel,
                         const struct rounded *x, size_t first, size_t n_tokens,
                         float y[][PANEL_ROWS])
{
    size_t t = 0;

    for (; t + PANEL_TOKENS <= n_tokens; t += PANEL_TOKENS)
        multiply(type, panel, x, first, t, PANEL_TOKENS, y);
    for (; t < n_tokens; t++)
        multiply(type, panel, x, first, t, 1, y);
}

void avx512_panel_vnni(const struct panel *panel, const struct rounded *x, size_t first,
                       size_t n_tokens, float y[][PANEL_ROWS])
{
    switch (panel->type) {
    case TYPE_Q4_0:
        multiply_all(TYPE_Q4_0, panel, x, first, n_tokens, y);
        break;
    case TYPE_Q5_0:
        multiply_all(TYPE_Q5_0, panel, x, first, n_tokens, y);
        break;
    case TYPE_Q8_0:
        multiply_all(TYPE_Q8_0, panel, x, first, n_tokens, y);
        break;
    case TYPE_Q6_K:
        multiply_all(TYPE_Q6_K, panel, x, first, n_tokens, y);
        break;
    default: /* unsigned codes, a scale and a minimum */
        multiply_all(TYPE_Q4_K, panel, x, first, n_tokens, y);
        break;
    }
}

enum { SPIN_CHAINS = 16 };

double avx512_spin_vnni(size_t n, float *sink)
{
    const __m512i w = _mm512_set1_epi32(0x03030303), x = _mm512_set1_epi32(0x05050505);
    __m512i s[SPIN_CHAINS];

    for (int c = 0; c < SPIN_CHAINS; c++)
        s[c] = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < SPIN_CHAINS; c++)
            s[c] = _mm512_dpbusd_epi32(s[c], w, x);
    for (int c = 0; c < SPIN_CHAINS; c++)
        *sink += (float)_mm_cvtsi128_si32(_mm512_castsi512_si128(s[c]));
    return (double)n * SPIN_CHAINS * 64;
}
