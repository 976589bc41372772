/*
 * dots_avx2.c - rounding activations, and integer products straight from a file's rows
 *
 * Eight rows at a time: the products of a block are added up across the rows' registers, so that
 * a register holds the integers of 8 rows, and their f32 chains go on in its lanes.
 */
#include "runtime/kernels/codes.h"
#include "runtime/kernels/codes_avx2.h"
#include "runtime/kernels/kernels_avx2.h"

/* The largest of 32 absolute values. */
INLINE float max_abs(const __m256 v[4])
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 a = _mm256_max_ps(_mm256_andnot_ps(sign, v[0]), _mm256_andnot_ps(sign, v[1]));
    __m256 b = _mm256_max_ps(_mm256_andnot_ps(sign, v[2]), _mm256_andnot_ps(sign, v[3]));
    __m256 c = _mm256_max_ps(a, b);
    __m128 d = _mm_max_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1));

    d = _mm_max_ps(d, _mm_movehl_ps(d, d));
    d = _mm_max_ss(d, _mm_movehdup_ps(d));
    return _mm_cvtss_f32(d);
}

/* The sum of 16 int8. */
INLINE int sum_16(__m128i q)
{
    __m128i flipped = _mm_xor_si128(q, _mm_set1_epi8(-128));
    __m128i s = _mm_sad_epu8(flipped, _mm_setzero_si128());

    return _mm_cvtsi128_si32(s) + _mm_extract_epi16(s, 4) - 16 * 128;
}

/* As row_round_block() of row_math.h. */
void avx2_round(const float *x, size_t n_blocks, const struct rounded *out)
{
    const __m256i unzip = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256 most = _mm256_set1_ps(127.0f), least = _mm256_set1_ps(-127.0f);

    for (size_t b = 0; b < n_blocks; b++) {
        __m256 v[4];
        __m256i q[4];

        for (int i = 0; i < 4; i++)
            v[i] = _mm256_loadu_ps(x + b * BLOCK + LANES * i);
        float max = max_abs(v);
        float inverse = max > 0.0f ? 127.0f / max : 0.0f;
        inverse = inverse < 0x1p126f ? inverse : 0.0f;
        for (int i = 0; i < 4; i++) {
            __m256 scaled = _mm256_mul_ps(v[i], _mm256_set1_ps(inverse));
            scaled = _mm256_min_ps(_mm256_max_ps(scaled, least), most);
            q[i] = _mm256_cvtps_epi32(scaled);
        }

        /* Packing works within 128-bit lanes; `unzip` restores the order. */
        __m256i lo = _mm256_packs_epi32(q[0], q[1]);
        __m256i hi = _mm256_packs_epi32(q[2], q[3]);
        __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(lo, hi), unzip);
        int first = sum_16(_mm256_castsi256_si128(bytes));
        int last = sum_16(_mm256_extracti128_si256(bytes, 1));

        _mm256_storeu_si256((__m256i *)(out->q + b * BLOCK), bytes);
        out->d[b] = inverse > 0.0f ? max / 127.0f : 0.0f;
        out->dsum[b] = out->d[b] * (float)(first + last);
        out->halves[2 * b] = (int16_t)first;
        out->halves[2 * b + 1] = (int16_t)last;
    }
}

/* Lane r of the result is the sum of the lanes of v[r]. */
INLINE __m256i sum_rows(const __m256i v[8])
{
    __m256i a[4], b[2];

    for (int i = 0; i < 4; i++)
        a[i] = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    for (int i = 0; i < 2; i++)
        b[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(a[2 * i], a[2 * i + 1]),
                                _mm256_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(b[0], b[1], 0x20),
                            _mm256_permute2x128_si256(b[0], b[1], 0x31));
}

INLINE int block_sum(const struct rounded *x, size_t b)
{
    return x->halves[2 * b] + x->halves[2 * b + 1];
}

/* Products of codes with x, summed by fours. Unsigned codes below 128 cannot saturate the 16-bit
 * step; signed ones give their sign to x: 128 * 127 * 2 < 2^15. */
INLINE __m256i multiply_codes(enum block_type type, __m256i codes, __m256i x)
{
    const __m256i ones = _mm256_set1_epi16(1);

    if (type == TYPE_Q8_0)
        return _mm256_madd_epi16(
            _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes)),
            ones);
    return _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), ones);
}

/* y + s d i, and the minimum's share. */
INLINE __m256 gain(__m256 y, __m256 s, __m256i i, float d)
{
    return _mm256_fmadd_ps(_mm256_mul_ps(s, _mm256_set1_ps(d)), _mm256_cvtepi32_ps(i), y);
}

/* Ask for the bytes of the next 8 rows, about once a cache line. */
INLINE void prefetch_rows(const struct dot_rows *w, size_t at)
{
    size_t ahead = DOT_ROWS * (size_t)(w->row[1] - w->row[0]);

    for (int r = 0; r < DOT_ROWS; r++)
        _mm_prefetch((const char *)((uintptr_t)w->row[r] + at + ahead), _MM_HINT_T0);
}

INLINE void dot_small(enum block_type type, const struct dot_rows *w,
                      const struct rounded *x, float *y)
{
    const size_t bytes = bytes_avx2(type);
    __m256 sum = _mm256_loadu_ps(y);

    for (size_t b = 0; b < x->n_blocks; b++) {
        __m256i in = load_256(x->q + b * BLOCK), v[DOT_ROWS];
        size_t at = b * bytes;

        if (type == TYPE_Q8_0 || b % 2 == 0)
            prefetch_rows(w, at);
        for (int r = 0; r < DOT_ROWS; r++)
            v[r] = multiply_codes(type, codes_avx2(type, w->row[r] + at), in);
        __m256i i = sum_rows(v);
        if (offset_avx2(type))
            i = _mm256_sub_epi32(i,
                                 _mm256_set1_epi32(offset_avx2(type) * block_sum(x, b)));
        sum = gain(sum, halves_avx2(w->row, at), i, x->d[b]);
        if (codes_has_minimum(type))
            sum = _mm256_fmadd_ps(halves_avx2(w->row, at + 2), _mm256_set1_ps(x->dsum[b]),
                                  sum);
    }
    _mm256_storeu_ps(y, sum);
}

/* What a sub-block step works on: 8 rows at byte `at`, and x from block b on. */
struct k_step {
    const struct dot_rows *w;
    const struct rounded *x;
    size_t at, b;
    __m256 s[8], m[8];            /* Q6_K: s[0] alone */
    int16_t scales[DOT_ROWS][16]; /* Q6_K: of 16 columns each */
};

/* Sub-block j, a constant, so that shifts are. */
INLINE __m256 k_step(enum block_type type, const struct k_step *k, int j, __m256 sum)
{
    size_t b = k->b + (size_t)j;
    __m256i in = load_256(k->x->q + b * BLOCK), v[DOT_ROWS];

    if (j % 3 == 0)
        prefetch_rows(k->w, k->at + 64 * (size_t)j / 3);
    for (int r = 0; r < DOT_ROWS; r++)
        v[r] = multiply_codes(type, codes_k_avx2(type, k->w->row[r] + k->at, j), in);
    sum = gain(sum, k->s[j], sum_rows(v), k->x->d[b]);
    return _mm256_fmadd_ps(k->m[j], _mm256_set1_ps(k->x->dsum[b]), sum);
}

INLINE void dot_k(enum block_type type, const struct dot_rows *w, const struct rounded *x,
                  float *y)
{
    struct k_step k = {.w = w, .x = x};
    __m256 sum = _mm256_loadu_ps(y);

    for (; k.b < x->n_blocks; k.b += 8, k.at += bytes_avx2(type)) {
        k_factors_avx2(w->row, k.at, k.s, k.m);
        sum = k_step(type, &k, 0, sum);
        sum = k_step(type, &k, 1, sum);
        sum = k_step(type, &k, 2, sum);
        sum = k_step(type, &k, 3, sum);
        sum = k_step(type, &k, 4, sum);
        sum = k_step(type, &k, 5, sum);
        sum = k_step(type, &k, 6, sum);
        sum = k_step(type, &k, 7, sum);
    }
    _mm256_storeu_ps(y, sum);
}

/* As above for Q6_K: 8-bit scales of 16 columns multiply the integers, and the offset of the codes
 * goes off before. */
INLINE __m256 q6_step(const struct k_step *k, int j, __m256 sum)
{
    const __m256i pick =
        _mm256_setr_m128i(_mm_set1_epi16(0x0100), _mm_set1_epi16(0x0302));
    size_t b = k->b + (size_t)j;
    __m256i in = load_256(k->x->q + b * BLOCK), v[DOT_ROWS];
    /* 32 times the sums of pairs: what the offset adds to the products. */
    __m256i extra = _mm256_maddubs_epi16(_mm256_set1_epi8(32), in);

    if (j % 2 == 0)
        prefetch_rows(k->w, k->at + 52 * (size_t)j / 2);
    for (int r = 0; r < DOT_ROWS; r++) {
        __m256i p =
            _mm256_maddubs_epi16(codes_k_avx2(TYPE_Q6_K, k->w->row[r] + k->at, j), in);
        __m256i both = _mm256_set1_epi32((int)load_u32(k->scales[r] + 2 * j));

        v[r] = _mm256_madd_epi16(_mm256_sub_epi16(p, extra),
                                 _mm256_shuffle_epi8(both, pick));
    }
    return gain(sum, k->s[0], sum_rows(v), k->x->d[b]);
}

static void dot_q6_k(const struct dot_rows *w, const struct rounded *x, float *y)
{
    struct k_step k = {.w = w, .x = x};
    __m256 sum = _mm256_loadu_ps(y);

    for (; k.b < x->n_blocks; k.b += 8, k.at += sizeof(struct q6_k)) {
        k.s[0] = halves_avx2(w->row, k.at + offsetof(struct q6_k, d));
        for (int r = 0; r < DOT_ROWS; r++) {
            __m128i bytes = load_128(w->row[r] + k.at + offsetof(struct q6_k, scales));
            _mm256_storeu_si256((__m256i *)k.scales[r], _mm256_cvtepi8_epi16(bytes));
        }
        sum = q6_step(&k, 0, sum);
        sum = q6_step(&k, 1, sum);
        sum = q6_step(&k, 2, sum);
        sum = q6_step(&k, 3, sum);
        sum = q6_step(&k, 4, sum);
        sum = q6_step(&k, 5, sum);
        sum = q6_step(&k, 6, sum);
        sum = q6_step(&k, 7, sum);
    }
    _mm256_storeu_ps(y, sum);
}

static void dot_q8_0(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_small(TYPE_Q8_0, w, x, y);
}

static void dot_q4_0(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_small(TYPE_Q4_0, w, x, y);
}

static void dot_q4_1(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_small(TYPE_Q4_1, w, x, y);
}

static void dot_q5_0(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_small(TYPE_Q5_0, w, x, y);
}

static void dot_q5_1(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_small(TYPE_Q5_1, w, x, y);
}

static void dot_q4_k(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_k(TYPE_Q4_K, w, x, y);
}

static void dot_q5_k(const struct dot_rows *w, const struct rounded *x, float *y)
{
    dot_k(TYPE_Q5_K, w, x, y);
}

dot_function *const avx2_dot[TYPE_COUNT] = {
    [TYPE_Q8_0] = dot_q8_0, [TYPE_Q4_0] = dot_q4_0, [TYPE_Q4_1] = dot_q4_1,
    [TYPE_Q5_0] = dot_q5_0, [TYPE_Q5_1] = dot_q5_1, [TYPE_Q4_K] = dot_q4_k,
    [TYPE_Q5_K] = dot_q5_k, [TYPE_Q6_K] = dot_q6_k,
};
