/*
 * pack_blocks.c - codes and scales into the bytes of a block
 */
#include "quantize/pack_blocks.h"

/* Element i in the low nibble of byte i, element i + 16 in the high one. */
static void nibbles(const uint8_t q[32], uint8_t out[16])
{
    for (int i = 0; i < 16; i++)
        out[i] = (uint8_t)((q[i] & 15) | q[i + 16] << 4);
}

/* Bit i is the fifth bit of element i. Eight at a time: the product moves bit 0 of byte k to
 * bit 56 + k, and no two of its terms meet. */
static uint32_t fifth_bits(const uint8_t q[32])
{
    uint32_t bits = 0;

    for (int g = 0; g < 4; g++) {
        uint64_t fifth = load_u64(q + 8 * g) >> 4 & 0x0101010101010101u;
        bits |= (uint32_t)(fifth * 0x0102040810204080u >> 56) << 8 * g;
    }
    return bits;
}

static void *pack_q4_0(const struct coded *in, void *out, size_t n)
{
    struct q4_0 *block = out;

    for (size_t b = 0; b < n; b++) {
        block[b].d = f16_from_f32(in[b].scale);
        nibbles(in[b].q, block[b].q);
    }
    return block + n;
}

static void *pack_q4_1(const struct coded *in, void *out, size_t n)
{
    struct q4_1 *block = out;

    for (size_t b = 0; b < n; b++) {
        block[b].d = f16_from_f32(in[b].scale);
        block[b].m = f16_from_f32(-in[b].offset);
        nibbles(in[b].q, block[b].q);
    }
    return block + n;
}

static void *pack_q5_0(const struct coded *in, void *out, size_t n)
{
    struct q5_0 *block = out;

    for (size_t b = 0; b < n; b++) {
        block[b].d = f16_from_f32(in[b].scale);
        store_u32(block[b].h, fifth_bits(in[b].q));
        nibbles(in[b].q, block[b].q);
    }
    return block + n;
}

static void *pack_q5_1(const struct coded *in, void *out, size_t n)
{
    struct q5_1 *block = out;

    for (size_t b = 0; b < n; b++) {
        block[b].d = f16_from_f32(in[b].scale);
        block[b].m = f16_from_f32(-in[b].offset);
        store_u32(block[b].h, fifth_bits(in[b].q));
        nibbles(in[b].q, block[b].q);
    }
    return block + n;
}

static void *pack_q8_0(const struct coded *in, void *out, size_t n)
{
    struct q8_0 *block = out;

    for (size_t b = 0; b < n; b++) {
        block[b].d = f16_from_f32(in[b].scale);
        memcpy(block[b].q, in[b].q, sizeof(block[b].q));
    }
    return block + n;
}

static void *(*const packers[TYPE_COUNT])(const struct coded *, void *, size_t) = {
    [TYPE_Q4_0] = pack_q4_0, [TYPE_Q4_1] = pack_q4_1, [TYPE_Q5_0] = pack_q5_0,
    [TYPE_Q5_1] = pack_q5_1, [TYPE_Q8_0] = pack_q8_0,
};

bool pack_is_small(enum block_type type)
{
    return (unsigned)type < TYPE_COUNT && packers[type];
}

void *pack_small(enum block_type type, const struct coded *in, void *out, size_t n)
{
    return packers[type](in, out, n);
}

/* Each 32 bytes hold two sub-blocks: the even one in the low nibbles, the odd in the high. */
static void nibbles_k(const uint8_t q[256], uint8_t out[128])
{
    for (int g = 0; g < 4; g++)
        for (int i = 0; i < 32; i++)
            out[32 * g + i] = (uint8_t)((q[64 * g + i] & 15) | q[64 * g + 32 + i] << 4);
}

void pack_q4_k(const struct coded_k *in, struct q4_k *out)
{
    out->d = in->d;
    out->dmin = in->dmin;
    k_scales_pack(in->sc, in->mn, out->scales);
    nibbles_k(in->q, out->q);
}

void pack_q5_k(const struct coded_k *in, struct q5_k *out)
{
    out->d = in->d;
    out->dmin = in->dmin;
    k_scales_pack(in->sc, in->mn, out->scales);
    nibbles_k(in->q, out->q);
    memset(out->h, 0, sizeof(out->h));
    for (int g = 0; g < 8; g++)
        for (int i = 0; i < 32; i++)
            out->h[i] = (uint8_t)(out->h[i] | (in->q[32 * g + i] >> 4 & 1) << g);
}

void pack_q6_k(const struct coded_6k *in, struct q6_k *out)
{
    out->d = in->d;
    memcpy(out->scales, in->sc, sizeof(out->scales));
    for (int half = 0; half < 2; half++) {
        const uint8_t *q = in->q + 128 * half;
        uint8_t *low = out->ql + 64 * half, *high = out->qh + 32 * half;

        for (int i = 0; i < 32; i++) {
            low[i] = (uint8_t)((q[i] & 15) | q[i + 64] << 4);
            low[i + 32] = (uint8_t)((q[i + 32] & 15) | q[i + 96] << 4);
            high[i] = (uint8_t)(q[i] >> 4 | (q[i + 32] >> 4) << 2 |
                                (q[i + 64] >> 4) << 4 | (q[i + 96] >> 4) << 6);
        }
    }
}
