/*
 * few_avx512.c - integer products of one to 8 tokens with VNNI, straight from a file's rows
 *
 * 16 rows at a time.
 */
#include "runtime/kernels/codes_avx2.h"
#include "runtime/kernels/kernels_avx512.h"

enum { ROWS = PANEL_ROWS };

typedef __m512i ivec;
typedef __m512 fvec;
typedef unsigned shift_count;

#define V(op) _mm512_##op

#define FEW(name, function, type)                                        \
    static void name(const uint8_t *const *row, const struct rounded *x, \
                     size_t n_tokens, float y[][PANEL_ROWS])             \
    {                                                                    \
        if (n_tokens == 1)                                               \
            function(type, row, x, 1, y);                                \
        else                                                             \
            function(type, row, x, n_tokens, y);                         \
    }

#include "runtime/kernels/few_body.h"

/* ---- what a block holds ---- */

INLINE void quarters(const uint8_t *const *row, size_t at, __m512i a[4])
{
    for (int i = 0; i < 4; i++) {
        a[i] = _mm512_castsi128_si512(load_128(row[i] + at));
        a[i] = _mm512_inserti32x4(a[i], load_128(row[4 + i] + at), 1);
        a[i] = _mm512_inserti32x4(a[i], load_128(row[8 + i] + at), 2);
        a[i] = _mm512_inserti32x4(a[i], load_128(row[12 + i] + at), 3);
    }
}

INLINE __m512i both(__m256i low, __m256i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

INLINE __m512 both_ps(__m256 low, __m256 high)
{
    return _mm512_castsi512_ps(both(_mm256_castps_si256(low), _mm256_castps_si256(high)));
}

INLINE __m512 halves(const uint8_t *const *row, size_t at)
{
    return both_ps(halves_avx2(row, at), halves_avx2(row + 8, at));
}

INLINE void k_factors(const uint8_t *const *row, size_t at, __m512 s[K_BLOCKS],
                      __m512 m[K_BLOCKS])
{
    __m256 s8[2][K_BLOCKS], m8[2][K_BLOCKS];

    k_factors_avx2(row, at, s8[0], m8[0]);
    k_factors_avx2(row + 8, at, s8[1], m8[1]);
    for (int j = 0; j < K_BLOCKS; j++) {
        s[j] = both_ps(s8[0][j], s8[1][j]);
        m[j] = both_ps(m8[0][j], m8[1][j]);
    }
}

INLINE void q6_scales(const uint8_t *const *row, size_t at, __m512i out[K_BLOCKS])
{
    __m256i low[K_BLOCKS], high[K_BLOCKS];

    q6_scales_avx2(row, at, low);
    q6_scales_avx2(row + 8, at, high);
    for (int j = 0; j < K_BLOCKS; j++)
        out[j] = both(low[j], high[j]);
}

/* The 32-bit number at byte `at` of every row. */
INLINE __m512i dwords(const uint8_t *const *row, size_t at)
{
    uint32_t x[PANEL_ROWS];

    for (int r = 0; r < PANEL_ROWS; r++)
        x[r] = load_u32(row[r] + at);
    return _mm512_loadu_si512(x);
}

INLINE void add_fifth_bits(const uint8_t *const *row, size_t at, __m512i codes[STEPS])
{
    const __m512i spread = _mm512_setr_epi32(
        0x00000000, 0x00000010, 0x00001000, 0x00001010, 0x00100000, 0x00100010,
        0x00101000, 0x00101010, 0x10000000, 0x10000010, 0x10001000, 0x10001010,
        0x10100000, 0x10100010, 0x10101000, 0x10101010);
    __m512i bits = dwords(row, at);

    for (int i = 0; i < STEPS; i++) {
        codes[i] = _mm512_or_si512(codes[i], _mm512_permutexvar_epi32(bits, spread));
        bits = _mm512_srli_epi32(bits, 4);
    }
}

INLINE void ready_bytes(__m512i codes[STEPS])
{
    for (int i = 0; i < STEPS; i++) /* unsigned, 128 too many */
        codes[i] = _mm512_xor_si512(codes[i], _mm512_set1_epi8(-128));
}

/* ---- products ---- */

/* What multiplying unsigned codes adds to each of them. */
INLINE int offset(enum block_type type)
{
    return type == TYPE_Q8_0 ? 128 : offset_avx2(type);
}

INLINE __m512i integers(enum block_type type, const struct turned *w, const int8_t *q,
                        const int16_t *halves)
{
    const __m512i sums = _mm512_set1_epi32((int)load_u32(halves));
    __m512i half[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};

    for (int i = 0; i < STEPS / 2; i++) {
        half[0] = _mm512_dpbusd_epi32(half[0], w->codes[i], columns(q, i));
        half[1] = _mm512_dpbusd_epi32(half[1], w->codes[i + 4], columns(q, i + 4));
    }
    if (type == TYPE_Q6_K) {
        __m512i excess = _mm512_slli_epi32(_mm512_madd_epi16(w->halves, sums), 5);
        __m512i first = _mm512_srai_epi32(_mm512_slli_epi32(w->halves, 16), 16);
        __m512i last = _mm512_srai_epi32(w->halves, 16);

        return _mm512_sub_epi32(_mm512_add_epi32(_mm512_mullo_epi32(first, half[0]),
                                                 _mm512_mullo_epi32(last, half[1])),
                                excess);
    }
    __m512i sum = _mm512_add_epi32(half[0], half[1]);
    if (!offset(type))
        return sum;
    return _mm512_sub_epi32(sum,
                            _mm512_set1_epi32(offset(type) * (halves[0] + halves[1])));
}

few_function *const avx512_few_vnni[TYPE_COUNT] = FEW_TABLE;
