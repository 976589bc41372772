/*
 * round_6k.c - plain rounding of Q6_K: sixteen sub-blocks of 16 with 8-bit scales
 *
 * A super-block fills a tile. Source: docs/rounding.md, "Q6_K"; ggml 0.25.1,
 * quantize_row_q6_K_ref.
 */
#include "quantize/codec.h"
#include "quantize/nearest.h"
#include "quantize/pack_blocks.h"

#include <math.h>

/* Fill the tile; without importance the weight is x^2. */
static void put_super(struct tile *tile, const float *x, const float *importance)
{
    for (int g = 0; g < 16; g++) {
        tile_put(tile->x, g, x + 16 * g, 16);
        if (importance)
            tile_put(tile->w, g, importance + 16 * g, 16);
    }
    if (importance)
        return;
    for (int i = 0; i < 16; i++)
        for (int b = 0; b < TILE_LANES; b++)
            tile->w[i][b] = tile->x[i][b] * tile->x[i][b];
}

/* The signed scale of largest magnitude, the first of equals. */
static float largest(const float scales[16])
{
    float top = 0.0f;

    for (int g = 0; g < 16; g++)
        top = fabsf(scales[g]) > fabsf(top) ? scales[g] : top;
    return top;
}

static void code_super(const struct encoders *encode, struct tile *tile,
                       struct coded_6k *out)
{
    const struct codes codes = {.n = 16, .lo = -32, .hi = 31};

    encode->symmetric((struct tile *[]){tile}, 1, 16, 32);
    float top = largest(tile->scale);
    if (fabsf(top) < 1e-15f) {
        *out = (struct coded_6k){0};
        return;
    }
    float inv = -128.0f / top;
    out->d = f16_from_f32(1.0f / inv);
    for (int g = 0; g < 16; g++) {
        int code = nearest(inv * tile->scale[g]);

        out->sc[g] = (int8_t)(code < 127 ? code : 127);
        tile->scale[g] = f32_from_f16(out->d) * (float)out->sc[g];
        tile->offset[g] = 0.0f;
    }
    /* A sub-block whose stored scale is zero keeps the search's codes, made signed here. */
    for (int i = 0; i < 16; i++)
        for (int b = 0; b < TILE_LANES; b++)
            tile->q[i][b] -= 32;
    encode->requantize(tile, &codes);
    for (int g = 0; g < 16; g++)
        tile_take(tile, g, 32, out->q + 16 * g, 16);
}

void round_6k(const struct rows_in *in, void *out)
{
    size_t n_supers = in->n_rows * (in->n_cols / 256);
    uint8_t *at = out;
    struct tile tile;

    for (size_t s = 0; s < n_supers; s++) {
        const float *importance =
            in->importance ? in->importance + 256 * s % in->n_cols : NULL;
        struct coded_6k coded;
        struct q6_k block;

        put_super(&tile, in->x + 256 * s, importance);
        code_super(in->encode, &tile, &coded);
        pack_q6_k(&coded, &block);
        memcpy(at + s * sizeof(block), &block, sizeof(block));
    }
}
