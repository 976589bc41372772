/*
 * blocks.h - the byte layouts of tensor types, as they lie in a GGUF file
 *
 * This header is the specification the rest of the code is tested against: if a comment
 * here and a function elsewhere disagree, the function is wrong.
 *
 * A row is a whole number of blocks; blocks have no padding and no alignment. All integers
 * are little-endian. d, dmin and m are halves (f16). Every decoder forms its products in
 * f32 in the order written here, each rounded once, so the same bytes give the same floats
 * everywhere.
 *
 * Bounds are those of plain rounding. D is the scale before it is stored, d = f16(D), and
 * e(D) = max(2^-11 |D|, 2^-25) is what storing may change it by (normal and subnormal halves).
 * A search or error feedback may leave them on purpose; the layouts do not change.
 *
 * Sources: the GGUF specification (ggml docs/gguf.md, tensor types); ggml 0.25.1 for the
 * order of products. Type numbers are GGUF's.
 */
#ifndef FORMATS_BLOCKS_BLOCKS_H
#define FORMATS_BLOCKS_BLOCKS_H

#include "formats/formats.h"

#include <assert.h>

/* Tensor types by their number in a GGUF file. Those without a decoder here can be named
 * and measured (block_type_info), not read. Numbers between them are retired. */
enum block_type {
    TYPE_F32 = 0,
    TYPE_F16 = 1,
    TYPE_Q4_0 = 2,
    TYPE_Q4_1 = 3,
    TYPE_Q5_0 = 6,
    TYPE_Q5_1 = 7,
    TYPE_Q8_0 = 8,
    TYPE_Q8_1 = 9, /* activations; not met in files */
    TYPE_Q2_K = 10,
    TYPE_Q3_K = 11,
    TYPE_Q4_K = 12,
    TYPE_Q5_K = 13,
    TYPE_Q6_K = 14,
    TYPE_Q8_K = 15, /* activations; not met in files */
    TYPE_IQ2_XXS = 16,
    TYPE_IQ2_XS = 17,
    TYPE_IQ3_XXS = 18,
    TYPE_IQ1_S = 19,
    TYPE_IQ4_NL = 20,
    TYPE_IQ3_S = 21,
    TYPE_IQ2_S = 22,
    TYPE_IQ4_XS = 23,
    TYPE_I8 = 24,
    TYPE_I16 = 25,
    TYPE_I32 = 26,
    TYPE_I64 = 27,
    TYPE_F64 = 28,
    TYPE_IQ1_M = 29,
    TYPE_BF16 = 30,
    TYPE_TQ1_0 = 34,
    TYPE_TQ2_0 = 35,
    TYPE_MXFP4 = 39,
    TYPE_NVFP4 = 40,
    TYPE_Q1_0 = 41,
    TYPE_Q2_0 = 42,
    TYPE_COUNT = 43,
};

struct block_info {
    const char *name;  /* "Q4_K" */
    uint32_t weights;  /* elements a block */
    uint32_t bytes;    /* bytes a block */
    bool is_quantized; /* false for F32, F16, BF16, F64 and the integers */
    /* Decode n blocks to n * weights floats; any alignment of `in`. NULL: cannot be read. */
    void (*decode)(const void *in, float *x, size_t n);
};

/* NULL for a number that is retired or unknown. */
const struct block_info *block_type_info(enum block_type type);
const char *block_type_name(enum block_type type); /* "unknown type" when there is none */
bool block_type_from_name(const char *name, enum block_type *out); /* any case */

/* Bytes of a row of n_cols weights; n_cols must be a multiple of the block. */
size_t block_row_bytes(enum block_type type, uint64_t n_cols);

/* Decode n_weights (whole blocks) at `in`. The type must have a decoder. */
void block_decode(enum block_type type, const void *in, float *x, size_t n_weights);

/* ---- halves ---- */

/* Exact, subnormals and infinities included. A NaN keeps its sign and payload and becomes
 * quiet, as the F16C instructions do it.
 *
 * The bits are moved to f32's places, where they mean 2^-112 times the value; the
 * multiplication puts that right, for subnormal halves too. */
static inline float f32_from_f16(uint16_t h)
{
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    uint32_t bits;
    float x;

    memcpy(&x, &magnitude, sizeof(x));
    x *= 0x1p112f;
    memcpy(&bits, &x, sizeof(bits));
    bits |= magnitude >= 0x0f800000u ? 0x7f800000u | (magnitude & 0x007fffffu) : 0;
    bits |= magnitude > 0x0f800000u ? 0x00400000u : 0;
    bits |= (uint32_t)(h & 0x8000) << 16;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

uint16_t f16_from_f32(float x); /* nearest even; overflow to infinity; NaN stays NaN */

static inline float f32_from_bf16(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

uint16_t bf16_from_f32(float x); /* nearest even; NaN is kept quiet */

/* ---- blocks of 32 ---- */

/*
 * Q8_0    32 weights in 34 bytes, 8.5 bits a weight
 *
 *     byte    0      2                              34
 *             +------+------------------------------+
 *             | d    |  q[0] ... q[31]  int8 each   |
 *             +------+------------------------------+
 *
 *     weight[i] = d * q[i]                          -127 <= q[i] <= 127
 *
 *     D = max|weight| / 127, so the error is at most D/2 + 127 e(D). A block of zeros has
 *     d = 0 and q = 0.
 */
struct q8_0 {
    uint16_t d;
    int8_t q[32];
};
static_assert(sizeof(struct q8_0) == 34, "Q8_0 is a file layout");

/*
 * Q4_0    32 weights in 18 bytes, 4.5 bits a weight
 *
 *     byte    0      2                              18
 *             +------+------------------------------+
 *             | d    |  q[0] ... q[15]  two a byte  |
 *             +------+------------------------------+
 *
 *     code[i] = low nibble of q[i] for i < 16, high nibble of q[i - 16] from there
 *     weight[i] = d * (code[i] - 8)                 d may be negative
 *
 *     D = v / -8, where v is the weight of largest magnitude, which is met exactly but for
 *     e(D). The other end of the range is only 7 steps away and weights beyond it are
 *     clamped, so the error is at most |D| + 8 e(D), and |D|/2 + 8 e(D) where no clamp acts.
 */
struct q4_0 {
    uint16_t d;
    uint8_t q[16];
};
static_assert(sizeof(struct q4_0) == 18, "Q4_0 is a file layout");

/*
 * Q4_1    32 weights in 20 bytes, 5 bits a weight: d, m, then q[16] as in Q4_0
 *
 *     weight[i] = d * code[i] + m
 *
 *     D = (max - min) / 15 and M = min: the error is at most D/2 + 15 e(D) + e(M).
 */
struct q4_1 {
    uint16_t d, m;
    uint8_t q[16];
};
static_assert(sizeof(struct q4_1) == 20, "Q4_1 is a file layout");

/*
 * Q5_0    32 weights in 22 bytes, 5.5 bits a weight: d, h[4], then q[16] as in Q4_0
 *
 *     h is a u32 whose bit i is the fifth bit of code[i]
 *     weight[i] = d * (code[i] - 16)                d may be negative
 *
 *     D = v / -16 as in Q4_0: the error is at most |D| + 16 e(D).
 */
struct q5_0 {
    uint16_t d;
    uint8_t h[4];
    uint8_t q[16];
};
static_assert(sizeof(struct q5_0) == 22, "Q5_0 is a file layout");

/*
 * Q5_1    32 weights in 24 bytes, 6 bits a weight: d, m, h[4], q[16]
 *
 *     weight[i] = d * code[i] + m
 *
 *     D = (max - min) / 31 and M = min: the error is at most D/2 + 31 e(D) + e(M).
 */
struct q5_1 {
    uint16_t d, m;
    uint8_t h[4];
    uint8_t q[16];
};
static_assert(sizeof(struct q5_1) == 24, "Q5_1 is a file layout");

/*
 * IQ4_NL  32 weights in 18 bytes, 4.5 bits a weight: d, then q[16] as in Q4_0
 *
 *     weight[i] = d * iq4_levels[code[i]]           d may be negative
 *
 *     Codes are the nearest level. The widest gap between levels is 24, so a weight between
 *     the outer levels is at most 12 |d| away; d comes from a search, and what lies beyond an
 *     outer level takes that level.
 */
struct iq4_nl {
    uint16_t d;
    uint8_t q[16];
};
static_assert(sizeof(struct iq4_nl) == 18, "IQ4_NL is a file layout");

/* The sixteen levels of IQ4_NL and IQ4_XS, rising. */
extern const int8_t iq4_levels[16];

/*
 * MXFP4   32 weights in 17 bytes, 4.25 bits a weight: e, then q[16] as in Q4_0
 *
 *     weight[i] = fp4_doubled[code[i]] * 2^(e - 128)
 *
 *     The exponent byte is that of the OCP Microscaling format (2^(e - 127)); the levels here
 *     are doubled to be integers. e = 255, NaN there, is 2^127 in ggml and here.
 *     e = floor(log2 max|weight|) - 2 + 127, so the largest weight lies in [4, 8) in units of
 *     u = 2^(e - 127), where the levels reach 6: the error is at most u for |weight| <= 6 u,
 *     half the gap from 4 to 6, and below 2 u beyond.
 */
struct mxfp4 {
    uint8_t e;
    uint8_t q[16];
};
static_assert(sizeof(struct mxfp4) == 17, "MXFP4 is a file layout");

/* Twice the values of FP4 (E2M1): 0 1 2 3 4 6 8 12 and their negatives; both zeros are +0. */
extern const int8_t fp4_doubled[16];

/*
 * NVFP4   64 weights in 36 bytes, 4.5 bits a weight
 *
 *     byte    0          4                             36
 *             +----------+------------------------------+
 *             | d[4]     |  q[0] ... q[31]  two a byte  |
 *             +----------+------------------------------+
 *
 *     d[g] scales weights 16 g ... 16 g + 15: unsigned E4M3 (bias 7); 0x7f is 0
 *     code[16 g + j] = low nibble of q[8 g + j] for j < 8, high nibble of q[8 g + j - 8]
 *     weight[i] = fp4_doubled[code[i]] * (d[g] / 2)
 *
 *     D = max|weight| / 6 rounded to E4M3 (relative 2^-4, smallest step 2^-9): the error is
 *     at most D + 6 * |d - D|. A tensor may have a further factor, `<tensor>.scale`, that is
 *     applied after the multiplication by the matrix.
 */
struct nvfp4 {
    uint8_t d[4];
    uint8_t q[32];
};
static_assert(sizeof(struct nvfp4) == 36, "NVFP4 is a file layout");

/* d[g] / 2 of NVFP4; bit 7 is ignored. */
float nvfp4_half_scale(uint8_t d);

/* ---- super-blocks of 256 ----
 *
 * A search chooses scales and minima; codes are then rounded to the scales as stored. So a
 * weight within the range that its sub-block can express is at most half a step away, and a
 * weight outside takes the nearest end.
 */

/*
 * Q2_K    256 weights in 84 bytes, 2.625 bits a weight: scales[16], q[64], d, dmin
 *
 *     sub-block s = i / 16 has sc = low nibble and mn = high nibble of scales[s]
 *     code[i] = 2 bits of q[32 (i / 128) + i % 32] at 2 ((i / 32) % 4)
 *     weight[i] = (d * sc) * code[i] - (dmin * mn)        step d * sc
 */
struct q2_k {
    uint8_t scales[16];
    uint8_t q[64];
    uint16_t d, dmin;
};
static_assert(sizeof(struct q2_k) == 84, "Q2_K is a file layout");

/*
 * Q3_K    256 weights in 110 bytes, 3.4375 bits a weight: h[32], q[64], scales[12], d
 *
 *     sub-block s = i / 16 has the 6-bit scale sc[s]: low four bits are a nibble of
 *     scales[s % 8] (high one for s >= 8), high two bits are bits 2 (s / 4) of scales[8 + s % 4]
 *     code[i] = 2 bits of q as in Q2_K, less 4 unless bit i / 32 of h[i % 32] is set
 *     weight[i] = (d * (sc - 32)) * code[i]               step |d * (sc - 32)|
 */
struct q3_k {
    uint8_t h[32];
    uint8_t q[64];
    uint8_t scales[12];
    uint16_t d;
};
static_assert(sizeof(struct q3_k) == 110, "Q3_K is a file layout");

/*
 * Q4_K    256 weights in 144 bytes, 4.5 bits a weight
 *
 *     byte    0    2      4             16                          144
 *             +----+------+-------------+---------------------------+
 *             | d  | dmin | scales[12]  | q[0] ... q[127]           |
 *             +----+------+-------------+---------------------------+
 *
 *     sub-block s = i / 32 has a 6-bit scale sc[s] and a 6-bit minimum mn[s], packed as
 *     k_scales_unpack() reads them:
 *         s < 4    sc = low 6 bits of scales[s], mn = low 6 bits of scales[s + 4]
 *         s >= 4   sc = low nibble of scales[s + 4] | top 2 bits of scales[s - 4] << 4
 *                  mn = high nibble of scales[s + 4] | top 2 bits of scales[s] << 4
 *     code[i] = nibble of q[32 (s / 2) + i % 32], the low one for even s
 *     weight[i] = (d * sc) * code[i] - (dmin * mn)        step d * sc
 */
struct q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t q[128];
};
static_assert(sizeof(struct q4_k) == 144, "Q4_K is a file layout");

/*
 * Q5_K    256 weights in 176 bytes, 5.5 bits a weight: d, dmin, scales[12], h[32], q[128]
 *
 *     as Q4_K, with bit s of h[i % 32] as the fifth bit of code[i]
 */
struct q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t h[32];
    uint8_t q[128];
};
static_assert(sizeof(struct q5_k) == 176, "Q5_K is a file layout");

/*
 * Q6_K    256 weights in 210 bytes, 6.5625 bits a weight: ql[128], qh[64], scales[16], d
 *
 *     In each half of 128 weights, with its 64 bytes of ql and 32 of qh, for l = 0 ... 31:
 *         code[l]      = low nibble of ql[l],       bits 0-1 of qh[l] above it
 *         code[l + 32] = low nibble of ql[l + 32],  bits 2-3
 *         code[l + 64] = high nibble of ql[l],      bits 4-5
 *         code[l + 96] = high nibble of ql[l + 32], bits 6-7
 *     weight[i] = (d * scales[i / 16]) * (code[i] - 32)   step |d * scales[i / 16]|
 */
struct q6_k {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
};
static_assert(sizeof(struct q6_k) == 210, "Q6_K is a file layout");

/*
 * IQ4_XS  256 weights in 136 bytes, 4.25 bits a weight: d, scales_h, scales_l[4], q[128]
 *
 *     sub-block s = i / 32 has ls = nibble s % 2 of scales_l[s / 2] (the low one first),
 *     with 2 bits of scales_h at 2 s above it
 *     code[i] = low nibble of q[16 s + i % 32] for i % 32 < 16, else the high nibble of
 *     q[16 s + i % 32 - 16]
 *     weight[i] = (d * (ls - 32)) * iq4_levels[code[i]]   widest gap 24 |d * (ls - 32)|
 */
struct iq4_xs {
    uint16_t d, scales_h;
    uint8_t scales_l[4];
    uint8_t q[128];
};
static_assert(sizeof(struct iq4_xs) == 136, "IQ4_XS is a file layout");

/* Unpack / pack the eight 6-bit (scale, minimum) pairs of Q4_K and Q5_K. */
void k_scales_unpack(const uint8_t packed[12], uint8_t sc[8], uint8_t mn[8]);
void k_scales_pack(const uint8_t sc[8], const uint8_t mn[8], uint8_t packed[12]);

#endif
