/*
 * panels_avx2.c - integer products of many tokens: 16 rows, interleaved, by 2 or 4 tokens
 *
 * A register holds 4 columns of 8 rows. Products of codes with 4 broadcast columns of a token are
 * added up in 16 bits for as many steps as cannot overflow (two products of at most 127 a step):
 *
 *     codes to 15   8 steps of 3810     a whole block
 *     codes to 31   4 steps of 7874     half a block
 *     codes to 63   2 steps of 16002    a quarter
 *     signed codes  1 step of 32512     sign of the code given to the activation
 */
#include "runtime/kernels/codes.h"
#include "runtime/kernels/codes_avx2.h"
#include "runtime/kernels/kernels_avx2.h"

enum { GROUPS = PANEL_ROWS / 8 };

/* ---- packing ---- */

/* Store the codes of rows 8 g ... 8 g + 7 of block b. */
INLINE void store_codes(struct panel *panel, size_t b, int g, __m256i codes[8])
{
    transpose_avx2(codes);
    for (int i = 0; i < 8; i++)
        _mm256_store_si256((__m256i *)panel->q[b][i][8 * g], codes[i]);
}

INLINE void pack_small(enum block_type type, struct panel *panel,
                       const uint8_t *const *rows, size_t first)
{
    for (size_t b = 0; b < panel->n_blocks; b++) {
        size_t at = (first + b) * bytes_avx2(type);

        for (int g = 0; g < GROUPS; g++) {
            __m256i codes[8];

            for (int r = 0; r < 8; r++)
                codes[r] = codes_avx2(type, rows[8 * g + r] + at);
            store_codes(panel, b, g, codes);
            _mm256_store_ps(panel->s[b] + 8 * g, halves_avx2(rows + 8 * g, at));
            if (codes_has_minimum(type))
                _mm256_store_ps(panel->m[b] + 8 * g, halves_avx2(rows + 8 * g, at + 2));
        }
    }
}

INLINE void pack_k_factors(enum block_type type, struct panel *panel,
                           const uint8_t *const *rows, size_t at, size_t b, int g)
{
    __m256 s[8], m[8];

    if (type != TYPE_Q6_K) {
        k_factors_avx2(rows, at, s, m);
        for (size_t j = 0; j < 8; j++) {
            _mm256_store_ps(panel->s[b + j] + 8 * g, s[j]);
            _mm256_store_ps(panel->m[b + j] + 8 * g, m[j]);
        }
        return;
    }
    s[0] = halves_avx2(rows, at + offsetof(struct q6_k, d));
    for (size_t j = 0; j < 8; j++) {
        _mm256_store_ps(panel->s[b + j] + 8 * g, s[0]);
        for (int r = 0; r < 8; r++) {
            const uint8_t *scales = rows[r] + at + offsetof(struct q6_k, scales) + 2 * j;

            panel->halves[b + j][8 * g + r][0] = (int8_t)scales[0];
            panel->halves[b + j][8 * g + r][1] = (int8_t)scales[1];
        }
    }
}

INLINE void pack_k(enum block_type type, struct panel *panel, const uint8_t *const *rows,
                   size_t first)
{
    for (size_t b = 0; b < panel->n_blocks; b += 8) {
        size_t at = (first + b) / 8 * bytes_avx2(type);

        for (int g = 0; g < GROUPS; g++) {
            pack_k_factors(type, panel, rows + 8 * g, at, b, g);
            for (int j = 0; j < 8; j++) {
                __m256i codes[8];

                for (int r = 0; r < 8; r++)
                    codes[r] = codes_k_avx2(type, rows[8 * g + r] + at, j);
                store_codes(panel, b + (size_t)j, g, codes);
            }
        }
    }
}

void avx2_pack(struct panel *panel, const uint8_t *const rows[PANEL_ROWS], size_t first)
{
    switch (panel->type) {
    case TYPE_Q4_0:
        pack_small(TYPE_Q4_0, panel, rows, first);
        break;
    case TYPE_Q4_1:
        pack_small(TYPE_Q4_1, panel, rows, first);
        break;
    case TYPE_Q5_0:
        pack_small(TYPE_Q5_0, panel, rows, first);
        break;
    case TYPE_Q5_1:
        pack_small(TYPE_Q5_1, panel, rows, first);
        break;
    case TYPE_Q8_0:
        pack_small(TYPE_Q8_0, panel, rows, first);
        break;
    case TYPE_Q4_K:
        pack_k(TYPE_Q4_K, panel, rows, first);
        break;
    case TYPE_Q5_K:
        pack_k(TYPE_Q5_K, panel, rows, first);
        break;
    default:
        pack_k(TYPE_Q6_K, panel, rows, first);
        break;
    }
}

/* ---- products ---- */

/* A few tokens' activations, from the panel's first block on, and where their results are. */
struct tokens {
    const int8_t *q[PANEL_TOKENS];
    const int16_t *halves[PANEL_TOKENS];
    const float *d[PANEL_TOKENS], *dsum[PANEL_TOKENS];
    float *y[PANEL_TOKENS];
};

INLINE struct tokens tokens_at(const struct rounded *x, size_t first, size_t token, int n,
                               float y[][PANEL_ROWS])
{
    struct tokens out;

    for (int t = 0; t < n; t++) {
        size_t at = (token + (size_t)t) * x->n_blocks + first;

        out.q[t] = x->q + at * BLOCK;
        out.halves[t] = x->halves + 2 * at;
        out.d[t] = x->d + at;
        out.dsum[t] = x->dsum + at;
        out.y[t] = y[token + (size_t)t];
    }
    return out;
}

/* The 4 columns at step i of a block of token t, in every lane. */
INLINE __m256i columns(const struct tokens *x, int t, size_t b, int i)
{
    return _mm256_set1_epi32((int)load_u32(x->q[t] + b * BLOCK + 4 * i));
}

INLINE __m256i codes_at(const struct panel *panel, size_t b, int i, int g)
{
    return _mm256_load_si256((const __m256i *)panel->q[b][i][8 * g]);
}

INLINE void clear(__m256i sum[GROUPS][PANEL_TOKENS], int n)
{
    for (int g = 0; g < GROUPS; g++)
        for (int t = 0; t < n; t++)
            sum[g][t] = _mm256_setzero_si256();
}

/* Emits nothing; stops the compiler from putting the additions off, which costs it registers. */
INLINE void settle(__m256i *v)
{
    __asm__("" : "+x"(*v));
}

/* sum[g][t] = products of steps first ... end - 1, in 16 bits. */
INLINE void steps(const struct panel *panel, const struct tokens *x, size_t b, int first,
                  int end, int n, __m256i sum[GROUPS][PANEL_TOKENS])
{
    clear(sum, n);
    for (int i = first; i < end; i++) {
        __m256i w0 = codes_at(panel, b, i, 0), w1 = codes_at(panel, b, i, 1);

        for (int t = 0; t < n; t++) {
            __m256i in = columns(x, t, b, i);

            sum[0][t] = _mm256_add_epi16(sum[0][t], _mm256_maddubs_epi16(w0, in));
            sum[1][t] = _mm256_add_epi16(sum[1][t], _mm256_maddubs_epi16(w1, in));
            settle(&sum[0][t]);
            settle(&sum[1][t]);
        }
    }
}

/* sum[g][t] = a whole block's integer, before the offset: codes to 15. */
INLINE void block_nibbles(const struct panel *panel, const struct tokens *x, size_t b,
                          int n, __m256i sum[GROUPS][PANEL_TOKENS])
{
    steps(panel, x, b, 0, panel->n_steps, n, sum);
    for (int g = 0; g < GROUPS; g++)
        for (int t = 0; t < n; t++)
            sum[g][t] = _mm256_madd_epi16(sum[g][t], _mm256_set1_epi16(1));
}

/* Codes to 31. */
INLINE void block_fives(const struct panel *panel, const struct tokens *x, size_t b,
                        int n, __m256i sum[GROUPS][PANEL_TOKENS])
{
    __m256i last[GROUPS][PANEL_TOKENS];

    steps(panel, x, b, 0, 4, n, sum);
    steps(panel, x, b, 4, 8, n, last);
    for (int g = 0; g < GROUPS; g++)
        for (int t = 0; t < n; t++)
            sum[g][t] =
                _mm256_add_epi32(_mm256_madd_epi16(sum[g][t], _mm256_set1_epi16(1)),
                                 _mm256_madd_epi16(last[g][t], _mm256_set1_epi16(1)));
}

INLINE void block_signed(const struct panel *panel, const struct tokens *x, size_t b,
                         int n, __m256i sum[GROUPS][PANEL_TOKENS])
{
    const __m256i ones = _mm256_set1_epi16(1);

    clear(sum, n);
    for (int i = 0; i < panel->n_steps; i++) {
        for (int g = 0; g < GROUPS; g++) {
            __m256i w = codes_at(panel, b, i, g), a = _mm256_abs_epi8(w);

            for (int t = 0; t < n; t++) {
                __m256i in = _mm256_sign_epi8(columns(x, t, b, i), w);
                __m256i p = _mm256_madd_epi16(_mm256_maddubs_epi16(a, in), ones);
                sum[g][t] = _mm256_add_epi32(sum[g][t], p);
            }
        }
    }
}

/* Q6_K: the halves' scales take the place of the ones. */
INLINE void block_halves(const struct panel *panel, const struct tokens *x, size_t b,
                         int n, __m256i sum[GROUPS][PANEL_TOKENS])
{
    const __m256i lanes = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0,
                                            0x04040404, 0x08080808, 0x0c0c0c0c);

    clear(sum, n);
    for (int first = 0; first < panel->n_steps; first += 2) {
        __m256i word = _mm256_set1_epi32(first < 4 ? 0x01000100 : 0x03020302);
        __m256i p[GROUPS][PANEL_TOKENS];

        word = _mm256_add_epi8(lanes, word);
        steps(panel, x, b, first, first + 2, n, p);
        for (int g = 0; g < GROUPS; g++) {
            __m256i scale = _mm256_shuffle_epi8(load_256(panel->halves[b][8 * g]), word);

            for (int t = 0; t < n; t++)
                sum[g][t] =
                    _mm256_add_epi32(sum[g][t], _mm256_madd_epi16(p[g][t], scale));
        }
    }
}

/* What the offset of the codes added to the block's integer. */
INLINE __m256i excess(enum block_type type, const struct panel *panel,
                      const struct tokens *x, size_t b, int g, int t)
{
    __m256i halves = _mm256_set1_epi32((int)load_u32(x->halves[t] + 2 * b));

    if (type == TYPE_Q6_K)
        return _mm256_slli_epi32(
            _mm256_madd_epi16(load_256(panel->halves[b][8 * g]), halves), 5);
    return _mm256_madd_epi16(halves, _mm256_set1_epi16((short)offset_avx2(type)));
}

/* Put the block's integers at the end of the chains in y. */
INLINE void gain(enum block_type type, const struct panel *panel, const struct tokens *x,
                 size_t b, int n, __m256i sum[GROUPS][PANEL_TOKENS],
                 __m256 y[GROUPS][PANEL_TOKENS])
{
    for (int g = 0; g < GROUPS; g++) {
        __m256 s = _mm256_load_ps(panel->s[b] + 8 * g);

        for (int t = 0; t < n; t++) {
            __m256 scale = _mm256_mul_ps(s, _mm256_set1_ps(x->d[t][b]));
            __m256i i = sum[g][t];

            if (offset_avx2(type))
                i = _mm256_sub_epi32(i, excess(type, panel, x, b, g, t));
            y[g][t] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(i), y[g][t]);
            if (codes_has_minimum(type))
                y[g][t] = _mm256_fmadd_ps(_mm256_load_ps(panel->m[b] + 8 * g),
                                          _mm256_set1_ps(x->dsum[t][b]), y[g][t]);
        }
    }
}

INLINE void multiply(enum block_type type, const struct panel *panel,
                     const struct tokens *x, int n)
{
    __m256 y[GROUPS][PANEL_TOKENS];

    for (int t = 0; t < n; t++)
        for (int g = 0; g < GROUPS; g++)
            y[g][t] = _mm256_loadu_ps(x->y[t] + 8 * g);
    for (size_t b = 0; b < panel->n_blocks; b++) {
        __m256i sum[GROUPS][PANEL_TOKENS];

        if (type == TYPE_Q8_0)
            block_signed(panel, x, b, n, sum);
        else if (type == TYPE_Q6_K)
            block_halves(panel, x, b, n, sum);
        else if (type == TYPE_Q5_0 || type == TYPE_Q5_K)
            block_fives(panel, x, b, n, sum);
        else
            block_nibbles(panel, x, b, n, sum);
        gain(type, panel, x, b, n, sum, y);
    }
    for (int t = 0; t < n; t++)
        for (int g = 0; g < GROUPS; g++)
            _mm256_storeu_ps(x->y[t] + 8 * g, y[g][t]);
}

/* `width` tokens at a time: as many as registers allow for the type. */
INLINE void multiply_all(enum block_type type, const struct panel *panel,
                         const struct rounded *x, size_t first, size_t n_tokens,
                         int width, float y[][PANEL_ROWS])
{
    size_t t = 0;

    for (; t + (size_t)width <= n_tokens; t += (size_t)width) {
        struct tokens tokens = tokens_at(x, first, t, width, y);
        multiply(type, panel, &tokens, width);
    }
    for (; t < n_tokens; t++) {
        struct tokens tokens = tokens_at(x, first, t, 1, y);
        multiply(type, panel, &tokens, 1);
    }
}

void avx2_panel(const struct panel *panel, const struct rounded *x, size_t first,
                size_t n_tokens, float y[][PANEL_ROWS])
{
    switch (panel->type) {
    case TYPE_Q4_0:
        multiply_all(TYPE_Q4_0, panel, x, first, n_tokens, 4, y);
        break;
    case TYPE_Q4_1:
    case TYPE_Q4_K:
        multiply_all(TYPE_Q4_K, panel, x, first, n_tokens, 4, y);
        break;
    case TYPE_Q5_0:
        multiply_all(TYPE_Q5_0, panel, x, first, n_tokens, 2, y);
        break;
    case TYPE_Q5_1:
    case TYPE_Q5_K:
        multiply_all(TYPE_Q5_K, panel, x, first, n_tokens, 2, y);
        break;
    case TYPE_Q8_0:
        multiply_all(TYPE_Q8_0, panel, x, first, n_tokens, 4, y);
        break;
    default:
        multiply_all(TYPE_Q6_K, panel, x, first, n_tokens, 2, y);
        break;
    }
}
