/*
 * test_blocks.c - decoders against another implementation, halves against all their values
 *
 * data/vectors/blocks/decoded.tsv holds digests made by tests/reference/decode_blocks.py.
 */
#include "formats/blocks/blocks.h"
#include "formats/safetensors/safetensors.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_RANDOM = 96, RANDOM_SEED = 7 };

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

/* SHA-256 of the decoded floats, every NaN written as 0x7fc00000. */
static void digest(enum block_type type, const void *blocks, size_t n_bytes, char hex[65])
{
    const struct block_info *info = block_type_info(type);
    size_t n = n_bytes / info->bytes * info->weights;
    float *x = fixture_guarded(n * sizeof(*x));
    uint8_t sum[32];

    block_decode(type, blocks, x, n);
    for (size_t i = 0; i < n; i++)
        if (isnan(x[i]))
            x[i] = NAN;
    sha256_bytes(x, n * sizeof(*x), sum);
    sha256_hex(sum, hex);
    fixture_unguard(x, n * sizeof(*x));
}

static void digest_random(enum block_type type, char hex[65])
{
    size_t n = N_RANDOM * (size_t)block_type_info(type)->bytes;
    void *blocks = fixture_guarded(n);

    fixture_bytes(blocks, n, RANDOM_SEED);
    digest(type, blocks, n, hex);
    fixture_unguard(blocks, n);
}

static void digest_row(const struct safetensors *st, const char *name,
                       enum block_type type, char hex[65])
{
    const struct tensor *t = safetensors_find(st, name);
    uint8_t *blocks = malloc((size_t)t->n_bytes);
    struct error err;

    cr_assert_eq(
        file_read(safetensors_file(st), t->offset, blocks, (size_t)t->n_bytes, &err), OK,
        "%s", err.text);
    digest(type, blocks, (size_t)t->n_bytes, hex);
    free(blocks);
}

Test(blocks, decode_to_the_bits_of_gguf_py)
{
    FILE *f = fopen(CARAT_DATA "/vectors/blocks/decoded.tsv", "r");
    struct safetensors *st = NULL;
    char name[32], type_name[32], want[65], got[65];
    struct error err;
    int n = 0;

    cr_assert_not_null(f);
    cr_assert_eq(
        safetensors_open(CARAT_DATA "/vectors/quant/quantize.safetensors", &st, &err), OK,
        "%s", err.text);
    while (fscanf(f, "%31s %31s %64s", name, type_name, want) == 3) {
        enum block_type type;

        cr_assert(block_type_from_name(type_name, &type), "%s", type_name);
        if (strcmp(name, "random") == 0)
            digest_random(type, got);
        else
            digest_row(st, name, type, got);
        cr_expect_str_eq(got, want, "%s of %s", name, type_name);
        n++;
    }
    cr_assert_eq(n, 42);
    safetensors_close(st);
    fclose(f);
}

Test(blocks, have_a_name_that_finds_them_in_any_case)
{
    int n = 0;

    for (int i = 0; i < TYPE_COUNT; i++) {
        const struct block_info *info = block_type_info((enum block_type)i);
        enum block_type found;
        char lower[16];

        if (!info)
            continue;
        n++;
        for (size_t k = 0; k <= strlen(info->name); k++)
            lower[k] = (char)(info->name[k] >= 'A' && info->name[k] <= 'Z'
                                  ? info->name[k] + 'a' - 'A'
                                  : info->name[k]);
        cr_assert(block_type_from_name(lower, &found), "%s", lower);
        cr_assert_eq((int)found, i);
        cr_assert_eq(block_row_bytes(found, 3 * info->weights), 3 * info->bytes);
    }
    cr_assert_eq(n, 35);
    cr_assert_null(block_type_info((enum block_type)4));
    cr_assert_null(block_type_info((enum block_type)TYPE_COUNT));
    cr_assert_str_eq(block_type_name((enum block_type)200), "unknown type");
}

Test(blocks, scale_pairs_survive_packing)
{
    uint8_t sc[8], mn[8], sc_back[8], mn_back[8], packed[12];

    for (unsigned v = 0; v < 64; v++) {
        for (unsigned s = 0; s < 8; s++) {
            sc[s] = (uint8_t)((v + 11 * s) & 63);
            mn[s] = (uint8_t)((v * 5 + 3 * s) & 63);
        }
        k_scales_pack(sc, mn, packed);
        k_scales_unpack(packed, sc_back, mn_back);
        cr_assert_arr_eq(sc, sc_back, sizeof(sc));
        cr_assert_arr_eq(mn, mn_back, sizeof(mn));
    }
}

/* ---- halves ---- */

static float half_by_definition(unsigned h)
{
    float sign = h & 0x8000 ? -1.0f : 1.0f;
    int exponent = (int)(h >> 10) & 31;
    float mantissa = (float)(h & 0x3ff);

    if (exponent == 31)
        return h & 0x3ff ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexpf(mantissa, -24);
    return sign * ldexpf(1024.0f + mantissa, exponent - 25);
}

Test(halves, mean_what_their_bits_say)
{
    for (unsigned h = 0; h < 0x10000; h++) {
        float got = f32_from_f16((uint16_t)h), want = half_by_definition(h);

        if (isnan(want))
            cr_assert(isnan(got), "half %04x", h);
        else
            cr_assert_eq(bits_of(got), bits_of(want), "half %04x", h);
    }
}

Test(halves, survive_a_round_trip)
{
    for (unsigned h = 0; h < 0x10000; h++) {
        bool is_nan = (h & 0x7c00) == 0x7c00 && (h & 0x3ff) != 0;
        unsigned want = is_nan ? h | 0x200 : h;

        cr_assert_eq(f16_from_f32(f32_from_f16((uint16_t)h)), want, "half %04x", h);
    }
}

/* Between two neighbours the nearer wins, and half-way the even one. */
Test(halves, are_rounded_to_nearest_even)
{
    for (unsigned h = 0; h < 0x7bff; h++) {
        float low = f32_from_f16((uint16_t)h), high = f32_from_f16((uint16_t)(h + 1));
        float middle = low + (high - low) * 0.5f;

        cr_assert_eq(f16_from_f32(middle), h & 1 ? h + 1 : h, "above %04x", h);
        cr_assert_eq(f16_from_f32(nextafterf(middle, 0.0f)), h);
        cr_assert_eq(f16_from_f32(-nextafterf(middle, INFINITY)), 0x8000 | (h + 1));
    }
    cr_assert_eq(f16_from_f32(65519.996f), 0x7bff);
    cr_assert_eq(f16_from_f32(65520.0f), 0x7c00, "half-way to 2^16 becomes infinity");
    cr_assert_eq(f16_from_f32(0x1p-149f), 0);
    cr_assert_eq(f16_from_f32(-0.0f), 0x8000);
}

Test(halves, of_the_bf16_kind_are_rounded_to_nearest_even)
{
    for (unsigned h = 0; h < 0x7f80; h++) {
        uint32_t tie = (uint32_t)h << 16 | 0x8000;
        float x;

        memcpy(&x, &tie, sizeof(x));
        cr_assert_eq(bf16_from_f32(x), h & 1 ? h + 1 : h);
        cr_assert_eq(bf16_from_f32(-f32_from_bf16((uint16_t)h)), 0x8000 | h);
    }
    cr_assert(isnan(f32_from_bf16(bf16_from_f32(NAN))));
}

/* ---- element types ---- */

/* The value of a one-byte float of n_mantissa bits by its definition, without its NaNs. */
static double small_by_definition(unsigned byte, int n_mantissa, int bias)
{
    double sign = byte & 0x80 ? -1.0 : 1.0;
    int exponent = (int)(byte & 0x7f) >> n_mantissa;
    int mantissa = (int)byte & ((1 << n_mantissa) - 1);

    if (exponent == 0)
        return sign * ldexp(mantissa, 1 - bias - n_mantissa);
    return sign * ldexp((1 << n_mantissa) + mantissa, exponent - bias - n_mantissa);
}

static float widened(enum dtype dtype, unsigned byte)
{
    uint8_t b = (uint8_t)byte;
    float x;

    dtype_widen(dtype, &b, &x, 1);
    return x;
}

Test(dtypes, of_eight_bits_widen_by_their_definitions)
{
    for (unsigned b = 0; b < 256; b++) {
        float e4m3 = widened(DTYPE_F8_E4M3, b), e5m2 = widened(DTYPE_F8_E5M2, b);
        float e4m3z = widened(DTYPE_F8_E4M3FNUZ, b),
              e5m2z = widened(DTYPE_F8_E5M2FNUZ, b);
        float e8m0 = widened(DTYPE_F8_E8M0, b);

        if ((b & 0x7f) == 0x7f)
            cr_assert(isnan(e4m3));
        else
            cr_assert_eq((double)e4m3, small_by_definition(b, 3, 7), "E4M3 %02x", b);
        if ((b & 0x7f) > 0x7c)
            cr_assert(isnan(e5m2));
        else if ((b & 0x7f) == 0x7c)
            cr_assert(isinf(e5m2));
        else
            cr_assert_eq((double)e5m2, small_by_definition(b, 2, 15), "E5M2 %02x", b);
        if (b == 0x80) {
            cr_assert(isnan(e4m3z) && isnan(e5m2z));
        } else {
            cr_assert_eq((double)e4m3z, small_by_definition(b, 3, 8), "E4M3FNUZ %02x", b);
            cr_assert_eq((double)e5m2z, small_by_definition(b, 2, 16), "E5M2FNUZ %02x",
                         b);
        }
        if (b == 0xff)
            cr_assert(isnan(e8m0));
        else
            cr_assert_eq((double)e8m0, ldexp(1.0, (int)b - 127), "E8M0 %02x", b);
        cr_assert_eq(widened(DTYPE_I8, b), (float)(int8_t)b);
        cr_assert_eq(widened(DTYPE_U8, b), (float)b);
        cr_assert_eq(widened(DTYPE_BOOL, b), b ? 1.0f : 0.0f);
    }
}

Test(dtypes, wider_than_f32_round_to_nearest_even)
{
    const double f64[] = {1.0 + 0x1p-24, 1.0 + 0x3p-24, -0x1p-150, 0x1.fffffffp127, 0.1};
    const float want[] = {1.0f, 1.0f + 0x1p-22f, -0.0f, INFINITY, 0.1f};
    const int64_t i64[] = {16777217, -16777219, INT64_MIN};
    const uint64_t u64[] = {UINT64_MAX, 16777219};
    float x[5];

    dtype_widen(DTYPE_F64, f64, x, 5);
    cr_assert_arr_eq(x, want, sizeof(want));
    dtype_widen(DTYPE_I64, i64, x, 3);
    cr_assert(x[0] == 16777216.0f && x[1] == -16777220.0f && x[2] == -0x1p63f);
    dtype_widen(DTYPE_U64, u64, x, 2);
    cr_assert(x[0] == 0x1p64f && x[1] == 16777220.0f);
}

Test(dtypes, are_found_by_the_name_they_have)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        enum dtype found;

        cr_assert(dtype_from_name(dtype_name((enum dtype)i), &found));
        cr_assert_eq((int)found, i);
    }
}

Test(tensors, are_measured_without_overflow)
{
    static const struct {
        enum dtype dtype;
        int n_dims;
        uint64_t dims[3];
        enum status want;
        uint64_t n_bytes;
    } cases[] = {
        {DTYPE_BF16, 2, {3, 5}, OK, 30},
        {DTYPE_F32, 0, {0}, OK, 4},
        {DTYPE_F64, 2, {0, 7}, OK, 0},
        {DTYPE_F4, 2, {1, 4}, OK, 2},
        {DTYPE_F4, 2, {1, 3}, ERR_CORRUPT, 0},
        {DTYPE_F32, 3, {1u << 31, 1u << 31, 8}, ERR_CORRUPT, 0},
        {DTYPE_F32, 2, {1u << 31, 1ull << 30}, ERR_CORRUPT, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t n_bytes = 0;
        struct error err;

        cr_expect_eq(tensor_measure(cases[i].dtype, cases[i].dims, cases[i].n_dims,
                                    &n_bytes, &err),
                     cases[i].want, "case %zu", i);
        cr_expect_eq(n_bytes, cases[i].n_bytes, "case %zu", i);
    }
}
