/*
 * pack_codes.c - codes and scales in visiting order to blocks in file order
 */
#include "quantize/compensate/pack_codes.h"

#include <math.h>

/* One super-block of one row, back in file order. */
struct codes {
    uint8_t q[256]; /* code - code_min: what the file stores, but Q8_0's are signed */
    float scale[16], offset[16];
    uint8_t mn[8];
    int sc[16];
    float d, dmin;
};

static void pack_nibbles(const uint8_t *q, uint8_t *out)
{
    for (int i = 0; i < 16; i++)
        out[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

static void pack_fifth_bits(const uint8_t *q, uint8_t out[4])
{
    uint32_t bits = 0;

    for (int i = 0; i < 32; i++)
        bits |= (uint32_t)(q[i] >> 4 & 1) << i;
    store_u32(out, bits);
}

static void pack_q4_0(const struct codes *in, void *out)
{
    struct q4_0 block = {.d = f16_from_f32(in->scale[0])};

    pack_nibbles(in->q, block.q);
    memcpy(out, &block, sizeof(block));
}

static void pack_q5_0(const struct codes *in, void *out)
{
    struct q5_0 block = {.d = f16_from_f32(in->scale[0])};

    pack_nibbles(in->q, block.q);
    pack_fifth_bits(in->q, block.h);
    memcpy(out, &block, sizeof(block));
}

static void pack_q8_0(const struct codes *in, void *out)
{
    struct q8_0 block = {.d = f16_from_f32(in->scale[0])};

    for (int i = 0; i < 32; i++)
        block.q[i] = (int8_t)((int)in->q[i] - 127);
    memcpy(out, &block, sizeof(block));
}

static void pack_q4_1(const struct codes *in, void *out)
{
    struct q4_1 block = {.d = f16_from_f32(in->scale[0]),
                         .m = f16_from_f32(-in->offset[0])};

    pack_nibbles(in->q, block.q);
    memcpy(out, &block, sizeof(block));
}

static void pack_q5_1(const struct codes *in, void *out)
{
    struct q5_1 block = {.d = f16_from_f32(in->scale[0]),
                         .m = f16_from_f32(-in->offset[0])};

    pack_nibbles(in->q, block.q);
    pack_fifth_bits(in->q, block.h);
    memcpy(out, &block, sizeof(block));
}

/* 64 codes a group: sub-block 2g in the low nibbles of 32 bytes, 2g + 1 in the high ones. */
static void pack_k_nibbles(const uint8_t *q, uint8_t *out)
{
    for (int g = 0; g < 4; g++)
        for (int i = 0; i < 32; i++)
            out[32 * g + i] =
                (uint8_t)((q[64 * g + i] & 15) | (q[64 * g + 32 + i] & 15) << 4);
}

static void pack_k_scales(const struct codes *in, uint8_t out[12])
{
    uint8_t sc[8];

    for (int g = 0; g < 8; g++)
        sc[g] = (uint8_t)in->sc[g];
    k_scales_pack(sc, in->mn, out);
}

static void pack_q4_k(const struct codes *in, void *out)
{
    struct q4_k block = {.d = f16_from_f32(in->d), .dmin = f16_from_f32(in->dmin)};

    pack_k_scales(in, block.scales);
    pack_k_nibbles(in->q, block.q);
    memcpy(out, &block, sizeof(block));
}

static void pack_q5_k(const struct codes *in, void *out)
{
    struct q5_k block = {.d = f16_from_f32(in->d), .dmin = f16_from_f32(in->dmin)};

    pack_k_scales(in, block.scales);
    pack_k_nibbles(in->q, block.q);
    for (int g = 0; g < 4; g++)
        for (int i = 0; i < 32; i++)
            block.h[i] = (uint8_t)(block.h[i] | (in->q[64 * g + i] >> 4) << (2 * g) |
                                   (in->q[64 * g + 32 + i] >> 4) << (2 * g + 1));
    memcpy(out, &block, sizeof(block));
}

static void pack_q6_k(const struct codes *in, void *out)
{
    struct q6_k block = {.d = f16_from_f32(in->d)};

    for (int g = 0; g < 16; g++)
        block.scales[g] = (int8_t)in->sc[g];
    for (int half = 0; half < 2; half++) {
        const uint8_t *q = in->q + 128 * half;

        for (int i = 0; i < 32; i++) {
            block.ql[64 * half + i] = (uint8_t)((q[i] & 15) | (q[i + 64] & 15) << 4);
            block.ql[64 * half + 32 + i] =
                (uint8_t)((q[i + 32] & 15) | (q[i + 96] & 15) << 4);
            block.qh[32 * half + i] =
                (uint8_t)(q[i] >> 4 | (q[i + 32] >> 4) << 2 | (q[i + 64] >> 4) << 4 |
                          (q[i + 96] >> 4) << 6);
        }
    }
    memcpy(out, &block, sizeof(block));
}

static const struct {
    enum block_type type;
    void (*pack)(const struct codes *in, void *out);
} packers[] = {
    {TYPE_Q4_0, pack_q4_0}, {TYPE_Q5_0, pack_q5_0}, {TYPE_Q8_0, pack_q8_0},
    {TYPE_Q4_1, pack_q4_1}, {TYPE_Q5_1, pack_q5_1}, {TYPE_Q4_K, pack_q4_k},
    {TYPE_Q5_K, pack_q5_k}, {TYPE_Q6_K, pack_q6_k},
};

/* Positions [first, first + super) of row r, put back in file order. */
static void gather(const struct metric *m, const struct tile *tile, size_t r,
                   size_t first, struct codes *codes)
{
    const struct geometry *shape = &m->geometry;

    for (size_t k = first; k < first + shape->super; k++)
        codes->q[m->order[k] % shape->super] =
            (uint8_t)((int)tile->code[k].v[r] - shape->code_min);
    for (size_t at = first; at < first + shape->super; at += shape->sub) {
        size_t b = at / shape->sub, g = m->order[at] % shape->super / shape->sub;

        codes->scale[g] = tile->scale[b].v[r];
        codes->offset[g] = tile->offset[b].v[r];
        codes->sc[g] = (int)tile->sc[b].v[r];
        if (g < 8)
            codes->mn[g] = (uint8_t)tile->mn[b].v[r];
    }
    codes->d = tile->d[first / shape->super].v[r];
    codes->dmin = tile->dmin[first / shape->super].v[r];
}

void pack_row(const struct metric *metric, const struct tile *tile, size_t r,
              uint8_t *out)
{
    const struct geometry *shape = &metric->geometry;
    size_t block_bytes = block_type_info(shape->type)->bytes;

    for (size_t i = 0; i < sizeof(packers) / sizeof(packers[0]); i++) {
        if (packers[i].type != shape->type)
            continue;
        for (size_t first = 0; first < metric->n; first += shape->super) {
            struct codes codes = {.d = 0};

            gather(metric, tile, r, first, &codes);
            packers[i].pack(&codes,
                            out + metric->order[first] / shape->super * block_bytes);
        }
    }
}
