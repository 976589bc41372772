/*
 * encode_neon.c - the hot loops for AArch64 Advanced SIMD: four lanes
 */
#include <arm_neon.h>
#include <stdbool.h>

#define WIDTH 4

typedef float32x4_t vec;
typedef int32x4_t ivec;

static inline vec pick(ivec mask, vec yes, vec no)
{
    return vbslq_f32(vreinterpretq_u32_s32(mask), yes, no);
}

static inline ivec imin(ivec a, ivec b)
{
    return vminq_s32(a, b);
}

static inline ivec imax(ivec a, ivec b)
{
    return vmaxq_s32(a, b);
}

/* By comparison, not FMIN: which zero of two is kept must not depend on the machine. */
static inline vec vmin(vec a, vec b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

static inline vec vmax(vec a, vec b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline vec fma_of(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

static inline vec whole(vec v)
{
    return vrndnq_f32(v);
}

static inline vec root(vec v)
{
    return vsqrtq_f32(v);
}

static inline bool none(ivec mask)
{
    return vmaxvq_u32(vreinterpretq_u32_s32(mask)) == 0;
}

static inline vec interleave_low(vec a, vec b)
{
    return vzip1q_f32(a, b);
}

static inline vec interleave_high(vec a, vec b)
{
    return vzip2q_f32(a, b);
}

static inline float highest(vec v)
{
    return vmaxvq_f32(v);
}

static inline void halves(vec v, uint16_t *out)
{
    vst1_u16(out, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}

static inline vec half_of(vec v)
{
    return vcvt_f32_f16(vcvt_f16_f32(v));
}

static inline void narrow(ivec v, uint8_t *out)
{
    uint16x4_t pairs = vmovn_u32(vreinterpretq_u32_s32(v));
    uint8x8_t bytes = vmovn_u16(vcombine_u16(pairs, pairs));

    vst1_lane_u32((uint32_t *)(void *)out, vreinterpret_u32_u8(bytes), 0);
}

#include "quantize/encode_lanes.h"
#include "quantize/encode_lanes_search.h"
#include "quantize/encode_lanes_tile.h"

const struct encoders encode_neon = {
    .name = "neon",
    .f16 = f16,
    .bf16 = bf16,
    .extremum = extremum,
    .range = range,
    .symmetric8 = symmetric8,
    .gather = gather,
    .take = take,
    .weigh = weigh,
    .weigh_more = weigh_more,
    .peaks = peaks,
    .symmetric = symmetric,
    .asymmetric = asymmetric,
    .requantize = requantize,
    .scales = scales,
    .judge = judge,
    .spread = spread,
    .fit = fit,
};
