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

INLINE void pack_small(enum block_type type, struct panel *panel, const uint8_t *const *rows,
                       size_t first)
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

/* The 4 columns at step i of block b of token t, in every lane. */
INLINE __m256i columns(const int8_t *const *x, int t, size_t b, int i)
{
    return _mm256_set1_epi32((int)load_u32(x[t] + b * BLOCK + 4 * i));
}

INLINE __m256i codes_at(const struct panel *panel, size_t b, int i, int g)
{
    return _mm256_load_si256((const __m256i *)panel->q[b][i][8 * g]);
}

/* sum[g][t] = products of steps first ... first + n_steps - 1, in 16 bits. */
INLINE void steps(const struct panel *panel, const int8_t *const *x, size_t b, int first,
                  int n_steps, int n_tokens, __m256i sum[GROUPS][PANEL_TOKENS])
{
    for (int i = first; i < first + n_steps; i++) {
        for (int t = 0; t < n_tokens; t++) {
            __m256i in = columns(x, t, b, i);

            for (int g = 0; g < GROUPS; g++) {
                __m256i p = _mm256_maddubs_epi16(codes_at(panel, b, i, g), in);
                sum[g][t] = i == first ? p : _mm256_add_epi16(sum[g][t], p);
            }
        }
    }
}

/* sum[g][t] = a whole block's integer, before the offset. */
INLINE void block_unsigned(const struct panel *panel, const int8_t *const *x, size_t b,
                           int n_steps, int n_tokens, __m256i sum[GROUPS][PANEL_TOKENS])
{
    const __m256i ones = _mm256_set1_epi16(1);

    for (int first = 0; first < 8; first += n_steps) {
        __m256i p[GROUPS][PANEL_TOKENS];

        steps(panel, x, b, first, n_steps, n_tokens, p);
        for (int g = 0; g < GROUPS; g++) {
            for (int t = 0; t < n_tokens; t++) {
                __m256i q = _mm256_madd_epi16(p[g][t], ones);
                sum[g][t] = first == 0 ? q : _mm256_add_epi32(sum[g][t], q);
            }
        }
    }
}

INLINE void block_signed(const struct panel *panel, const int8_t *const *x, size_t b,
                         int n_tokens, __m256i sum[GROUPS][PANEL_TOKENS])
{
    const __m256i ones = _mm256_set1_epi16(1);

    for (int i = 0; i < 8; i++) {
        for (int g = 0; g < GROUPS; g++) {
            __m256i w = codes_at(panel, b, i, g), a = _mm256_abs_epi8(w);

            for (int t = 0; t < n_tokens; t++) {
                __m256i in = _mm256_sign_epi8(columns(x, t, b, i), w);
                __m256i q = _mm256_madd_epi16(_mm256_maddubs_epi16(a, in), ones);
                sum[g][t] = i == 0 ? q : _mm256_add_epi32(sum[g][t], q);
            }
        }
    }
}

/* Q6_K: the halves' scales take the place of the ones; offset included. */
INLINE void block_halves(const struct panel *panel, const int8_t *const *x,
                         const int16_t *const *x_halves, size_t b, int n_tokens,
                         __m256i sum[GROUPS][PANEL_TOKENS])
{
    const __m256i first_word = _mm256_set1_epi32(0x01000100);
    const __m256i lanes = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404,
                                            0x08080808, 0x0c0c0c0c);
    const __m256i second_word = _mm256_set1_epi32(0x03020302);

    for (int g = 0; g < GROUPS; g++) {
        __m256i pairs = load_256(panel->halves[b][8 * g]);

        for (int t = 0; t < n_tokens; t++) {
            __m256i in = _mm256_set1_epi32((int)load_u32(x_halves[t] + 2 * b));
            __m256i extra = _mm256_slli_epi32(_mm256_madd_epi16(pairs, in), 5);
            sum[g][t] = _mm256_sub_epi32(_mm256_setzero_si256(), extra);
        }
    }
    for (int first = 0; first < 8; first += 2) {
        __m256i word = _mm256_add_epi8(lanes, first < 4 ? first_word : second_word);
        __m256i p[GROUPS][PANEL_TOKENS];

        steps(panel, x, b, first, 2, n_tokens, p);
        for (int g = 0; g < GROUPS; g++) {
            __m256i scale = _mm256_shuffle_epi8(load_256(panel->halves[b][8 * g]), word);

            for (int t = 0; t < n_tokens; t++)
                sum[g][t] = _mm256_add_epi32(sum[g][t], _mm256_madd_epi16(p[g][t], scale));
        }
    }
}

/* n_tokens tokens from row `t` of x on. */
INLINE void multiply(enum block_type type, const struct panel *panel, const struct rounded *x,
                     size_t first, size_t token, int n_tokens, float y[][PANEL_ROWS])
{
    const int8_t *q[PANEL_TOKENS];
    const int16_t *halves[PANEL_TOKENS];
    const float *d[PANEL_TOKENS], *dsum[PANEL_TOKENS];
    __m256 acc[GROUPS][PANEL_TOKENS];

    for (int t = 0; t < n_tokens; t++) {
        size_t at = (token + (size_t)t) * x->n_blocks + first;

        q[t] = x->q + at * BLOCK;
        halves[t] = x->halves + 2 * at;
        d[t] = x->d + at;
        dsum[t] = x->dsum + at;
        for (int g = 0; g < GROUPS; g++)
            acc[g][t] = _mm256_loadu_ps(y[token + (size_t)t] + 8 * g);
    }
    for (size_t b = 0; b < panel->n_blocks; b++) {
        __m256i sum[GROUPS][PANEL_TOKENS];

        if (type == TYPE_Q8_0)
            block_signed(panel, q, b, n_tokens, sum);
        else if (type == TYPE_Q6_K)
            block_halves(panel, q, halves, b, n_tokens, sum);
        else if (type == TYPE_Q5_0 || type == TYPE_Q5_1 || type == TYPE_Q5_K)
            block_unsigned(panel, q, b, 4, n_tokens, sum);
        else
            block_unsigned(panel, q, b, 8, n_tokens, sum);
        for (int g = 0; g < GROUPS; g++) {
            __m256 s = _mm256_load_ps(panel->s[b] + 8 * g);
            __m256 m = codes_has_minimum(type) ? _mm256_load_ps(panel->m[b] + 8 * g) : s;

            for (int t = 0; t < n_tokens; t++) {
                __m256i i = sum[g][t];

                if (type == TYPE_Q4_0 || type == TYPE_Q5_0)
                    i = _mm256_sub_epi32(i, _mm256_set1_epi32(offset_avx2(type) *
                                                              (halves[t][2 * b] +
                                                               halves[t][2 * b + 1])));
                acc[g][t] = _mm256_fmadd_ps(_mm256_mul_ps(s, _mm256_set1_ps(d[t][b])),
                                            _mm256_cvtepi32_ps(i), acc[g][t]);
                if (codes_has_minimum(type))
                    acc[g][t] = _mm256_fmadd_ps(m, _mm256_set1_ps(dsum[t][b]), acc[g][t]);
            }
        }
    }
    for (int t = 0; t < n_tokens; t++)
        for (int g = 0; g < GROUPS; g++)
            _mm256_storeu_ps(y[token + (size_t)t] + 8 * g, acc[g][t]);
}

/* `width` tokens at a time: as many as registers allow for the type. */
INLINE void multiply_all(enum block_type type, const struct panel *panel,
                         const struct rounded *x, size_t first, size_t n_tokens, int width,
                         float y[][PANEL_ROWS])
{
    size_t t = 0;

    for (; t + (size_t)width <= n_tokens; t += (size_t)width)
        multiply(type, panel, x, first, t, width, y);
    for (; t < n_tokens; t++)
        multiply(type, panel, x, first, t, 1, y);
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
