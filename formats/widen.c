/*
 * widen.c - elements of any whole-byte type to f32, in plain loops a compiler can vectorize
 *
 * Floats narrower than f32 are widened by moving their exponent and mantissa to f32's places
 * and multiplying by a power of two: exact for normal and subnormal values alike.
 */
#include "formats/blocks/blocks.h"
#include "formats/formats.h"

static float f32_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static void widen_u8(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)src[i];
}

static void widen_i8(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(int8_t)src[i];
}

static void widen_bool(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = src[i] ? 1.0f : 0.0f;
}

/* E5M2 is the upper byte of a half. */
static void widen_e5m2(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = f32_from_f16((uint16_t)(src[i] << 8));
}

static void widen_e4m3(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float magnitude = f32_from_bits((uint32_t)(src[i] & 0x7f) << 20) * 0x1p120f;
        float value = (src[i] & 0x80) ? -magnitude : magnitude;

        x[i] = (src[i] & 0x7f) == 0x7f ? f32_from_bits(0x7fc00000) : value;
    }
}

/* A power of two alone: 2^(e - 127), whose smallest is a subnormal f32. */
static void widen_e8m0(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = src[i] == 0 ? 0x00400000u : (uint32_t)src[i] << 23;

        x[i] = f32_from_bits(src[i] == 0xff ? 0x7fc00000u : bits);
    }
}

/* "fnuz": no infinity, no minus zero; 0x80 is the only NaN. */
static void widen_e4m3fnuz(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float magnitude = f32_from_bits((uint32_t)(src[i] & 0x7f) << 20) * 0x1p119f;
        float value = (src[i] & 0x80) ? -magnitude : magnitude;

        x[i] = src[i] == 0x80 ? f32_from_bits(0x7fc00000) : value;
    }
}

static void widen_e5m2fnuz(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float magnitude = f32_from_bits((uint32_t)(src[i] & 0x7f) << 21) * 0x1p111f;
        float value = (src[i] & 0x80) ? -magnitude : magnitude;

        x[i] = src[i] == 0x80 ? f32_from_bits(0x7fc00000) : value;
    }
}

static void widen_i16(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(int16_t)load_u16(src + 2 * i);
}

static void widen_u16(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)load_u16(src + 2 * i);
}

static void widen_f16(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = f32_from_f16(load_u16(src + 2 * i));
}

static void widen_bf16(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = f32_from_bf16(load_u16(src + 2 * i));
}

static void widen_i32(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(int32_t)load_u32(src + 4 * i);
}

static void widen_u32(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)load_u32(src + 4 * i);
}

static void widen_f32(const uint8_t *src, float *x, size_t n)
{
    if (n > 0)
        memcpy(x, src, n * sizeof(*x));
}

static void widen_f64(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double v;

        memcpy(&v, src + 8 * i, sizeof(v));
        x[i] = (float)v;
    }
}

static void widen_i64(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(int64_t)load_u64(src + 8 * i);
}

static void widen_u64(const uint8_t *src, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)load_u64(src + 8 * i);
}

static void (*const wideners[DTYPE_COUNT])(const uint8_t *, float *, size_t) = {
    [DTYPE_BOOL] = widen_bool,
    [DTYPE_U8] = widen_u8,
    [DTYPE_I8] = widen_i8,
    [DTYPE_F8_E5M2] = widen_e5m2,
    [DTYPE_F8_E4M3] = widen_e4m3,
    [DTYPE_F8_E8M0] = widen_e8m0,
    [DTYPE_F8_E4M3FNUZ] = widen_e4m3fnuz,
    [DTYPE_F8_E5M2FNUZ] = widen_e5m2fnuz,
    [DTYPE_I16] = widen_i16,
    [DTYPE_U16] = widen_u16,
    [DTYPE_F16] = widen_f16,
    [DTYPE_BF16] = widen_bf16,
    [DTYPE_I32] = widen_i32,
    [DTYPE_U32] = widen_u32,
    [DTYPE_F32] = widen_f32,
    [DTYPE_F64] = widen_f64,
    [DTYPE_I64] = widen_i64,
    [DTYPE_U64] = widen_u64,
};

void dtype_widen(enum dtype dtype, const void *src, float *x, size_t n)
{
    assert(wideners[dtype] && "the type has whole bytes and real values");
    wideners[dtype](src, x, n);
}
