#include "runtime/kernels/codes.h"

#include <stddef.h>

static void nibbles(const uint8_t *in, int offset, int8_t *q)
{
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)((in[i] & 15) - offset);
        q[i + 16] = (int8_t)((in[i] >> 4) - offset);
    }
}

/* Put bit i of `high` on top of nibble q[i], then subtract the offset. */
static void fifth_bits(uint32_t high, int offset, int8_t *q)
{
    for (int i = 0; i < 32; i++)
        q[i] = (int8_t)(q[i] + (int)((high >> i & 1) << 4) - offset);
}

static void finish(struct codes *out, float s, float m)
{
    out->halves[0] = out->halves[1] = 1;
    out->s = s;
    out->m = m;
}

static float half_at(const uint8_t *p)
{
    return f32_from_f16(load_u16(p));
}

static void q8_0(const uint8_t *row, size_t i, struct codes *out)
{
    const uint8_t *b = row + i * sizeof(struct q8_0);

    memcpy(out->q, b + offsetof(struct q8_0, q), sizeof(out->q));
    finish(out, half_at(b), 0.0f);
}

static void q4_0(const uint8_t *row, size_t i, struct codes *out)
{
    const uint8_t *b = row + i * sizeof(struct q4_0);

    nibbles(b + offsetof(struct q4_0, q), 8, out->q);
    finish(out, half_at(b), 0.0f);
}

static void q4_1(const uint8_t *row, size_t i, struct codes *out)
{
    const uint8_t *b = row + i * sizeof(struct q4_1);

    nibbles(b + offsetof(struct q4_1, q), 0, out->q);
    finish(out, half_at(b), half_at(b + offsetof(struct q4_1, m)));
}

static void q5_0(const uint8_t *row, size_t i, struct codes *out)
{
    const uint8_t *b = row + i * sizeof(struct q5_0);

    nibbles(b + offsetof(struct q5_0, q), 0, out->q);
    fifth_bits(load_u32(b + offsetof(struct q5_0, h)), 16, out->q);
    finish(out, half_at(b), 0.0f);
}

static void q5_1(const uint8_t *row, size_t i, struct codes *out)
{
    const uint8_t *b = row + i * sizeof(struct q5_1);

    nibbles(b + offsetof(struct q5_1, q), 0, out->q);
    fifth_bits(load_u32(b + offsetof(struct q5_1, h)), 0, out->q);
    finish(out, half_at(b), half_at(b + offsetof(struct q5_1, m)));
}

/* Scale and minimum of sub-block j of a Q4_K or Q5_K block, whose first 16 bytes are alike. */
static void k_scales(const uint8_t *b, size_t j, struct codes *out)
{
    uint8_t sc[8], mn[8];

    k_scales_unpack(b + offsetof(struct q4_k, scales), sc, mn);
    finish(out, half_at(b) * (float)sc[j],
           -(half_at(b + offsetof(struct q4_k, dmin)) * (float)mn[j]));
}

/* Sub-blocks 2 g and 2 g + 1 are the low and the high nibbles of bytes 32 g ... 32 g + 31. */
static void k_nibbles(const uint8_t *q, size_t j, int8_t *out)
{
    const uint8_t *in = q + 32 * (j / 2);
    int shift = j % 2 ? 4 : 0;

    for (int i = 0; i < 32; i++)
        out[i] = (int8_t)(in[i] >> shift & 15);
}

static void q4_k(const uint8_t *row, size_t i, struct codes *out)
{
    const uint8_t *b = row + i / 8 * sizeof(struct q4_k);

    k_nibbles(b + offsetof(struct q4_k, q), i % 8, out->q);
    k_scales(b, i % 8, out);
}

static void q5_k(const uint8_t *row, size_t i, struct codes *out)
{
    const uint8_t *b = row + i / 8 * sizeof(struct q5_k);
    const uint8_t *high = b + offsetof(struct q5_k, h);
    int j = (int)(i % 8);

    k_nibbles(b + offsetof(struct q5_k, q), i % 8, out->q);
    for (int e = 0; e < 32; e++)
        out->q[e] = (int8_t)(out->q[e] | (high[e] >> j & 1) << 4);
    k_scales(b, i % 8, out);
}

/* Each half of 128 weights: quarter c of 32 takes nibble c / 2 of ql[32 (c % 2) ...] and two bits
 * at 2 c of qh. */
static void q6_k(const uint8_t *row, size_t i, struct codes *out)
{
    const uint8_t *b = row + i / 8 * sizeof(struct q6_k);
    size_t half = i % 8 / 4, c = i % 4;
    const uint8_t *low = b + 64 * half + 32 * (c % 2);
    const uint8_t *high = b + offsetof(struct q6_k, qh) + 32 * half;
    const int8_t *scales =
        (const int8_t *)(b + offsetof(struct q6_k, scales)) + 2 * (i % 8);
    int low_shift = c < 2 ? 0 : 4, high_shift = (int)(2 * c);

    for (int e = 0; e < 32; e++) {
        int q = (low[e] >> low_shift & 15) | (high[e] >> high_shift & 3) << 4;
        out->q[e] = (int8_t)(q - 32);
    }
    out->halves[0] = scales[0];
    out->halves[1] = scales[1];
    out->s = half_at(b + offsetof(struct q6_k, d));
    out->m = 0.0f;
}

codes_function *const codes_by_type[TYPE_COUNT] = {
    [TYPE_Q8_0] = q8_0, [TYPE_Q4_0] = q4_0, [TYPE_Q4_1] = q4_1, [TYPE_Q5_0] = q5_0,
    [TYPE_Q5_1] = q5_1, [TYPE_Q4_K] = q4_k, [TYPE_Q5_K] = q5_k, [TYPE_Q6_K] = q6_k,
};
