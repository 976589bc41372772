/*
 * round_6k.c - plain rounding of Q6_K: sixteen sub-blocks of 16 with 8-bit scales
 *
 * A super-block fills a tile. Source: docs/rounding.md, "Q6_K"; ggml 0.25.1,
 * quantize_row_q6_K_ref.
 */
#include "quantize/super_6k.h"

/* Code a super-block whose sub-blocks have been searched. */
static void code_super(const struct encoders *encode, struct tile *tile,
                       struct coded_6k *out)
{
    const struct codes codes = {.n = 16, .lo = -32, .hi = 31};

    if (!super_6k_scales(tile->scale, out)) {
        memset(out->q, 0, sizeof(out->q));
        return;
    }
    for (int g = 0; g < TILE_LANES; g++) {
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
            super_6k_put(in, first + (size_t)t, tiles[t]);
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
