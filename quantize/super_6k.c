/*
 * super_6k.c - the super-blocks of Q6_K, one to a tile
 *
 * Source: docs/rounding.md, "Q6_K"; ggml 0.25.1, quantize_row_q6_K_ref.
 */
#include "quantize/super_6k.h"

#include "quantize/nearest.h"

#include <math.h>

void super_6k_put(const struct rows_in *in, size_t super, struct tile *tile)
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

float super_6k_largest(const float scales[TILE_LANES])
{
    float top = 0.0f;

    for (int g = 0; g < TILE_LANES; g++)
        top = fabsf(scales[g]) > fabsf(top) ? scales[g] : top;
    return top;
}

bool super_6k_scales(const float found[TILE_LANES], struct coded_6k *out)
{
    const float top = super_6k_largest(found);

    out->d = 0;
    memset(out->sc, 0, sizeof(out->sc));
    if (fabsf(top) < 1e-15f)
        return false;

    const float inv = -128.0f / top;
    out->d = f16_from_f32(1.0f / inv);
    for (int g = 0; g < TILE_LANES; g++) {
        int code = nearest(inv * found[g]);
        out->sc[g] = (int8_t)(code < 127 ? code : 127);
    }
    return true;
}
