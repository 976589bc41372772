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

/* Fill a tile; without importance the weight is x^2. */
static void put_super(struct tile *tile, const struct rows_in *in, size_t super)
{
    const float *x[TILE_LANES], *importance[TILE_LANES];

    for (int g = 0; g < TILE_LANES; g++) {
        const size_t at = 256 * super + 16 * (size_t)g;

        x[g] = in->x + at;
        importance[g] = in->importance ? in->importance + at % in->n_cols : NULL;
    }
    in->encode->gather(x, 16, tile->x);
    if (in->importance)
        in->encode->gather(importance, 16, tile->w);
    for (int i = 0; i < 16 && !in->importance; i++)
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

/* Code a super-block whose sub-blocks have been searched. */
static void code_super(const struct encoders *encode, struct tile *tile,
                       struct coded_6k *out)
{
    const struct codes codes = {.n = 16, .lo = -32, .hi = 31};

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
    encode->take(tile, 16, 32, out->q, 16);
}

void round_6k(const struct rows_in *in, void *out)
{
    size_t n_supers = in->n_rows * (in->n_cols / 256);
    struct tile pair[2], *const tiles[] = {&pair[0],
                                           &pair[1]}; /* searched side by side */
    uint8_t *at = out;

    for (size_t first = 0; first < n_supers; first += 2) {
        const int n = n_supers - first < 2 ? 1 : 2;

        for (int t = 0; t < n; t++)
            put_super(tiles[t], in, first + (size_t)t);
        in->encode->symmetric(tiles, n, 16, 32);
        for (int t = 0; t < n; t++, at += sizeof(struct q6_k)) {
            struct coded_6k coded;
            struct q6_k block;

            code_super(in->encode, tiles[t], &coded);
            pack_q6_k(&coded, &block);
            memcpy(at, &block, sizeof(block));
        }
    }
}
