/*
 * super.c - the super-blocks of Q4_K and Q5_K, two to a tile
 */
#include "quantize/super.h"

#include "quantize/nearest.h"

#include <math.h>

struct super_walk super_begin(const struct rows_in *in)
{
    return (struct super_walk){.in = in, .n = in->n_rows * (in->n_cols / 256)};
}

int super_next(struct super_walk *walk, struct tile *tile)
{
    const struct rows_in *in = walk->in;
    const float *x[TILE_LANES], *importance[TILE_LANES];
    size_t left = walk->n - walk->next;
    int n = left < 2 ? (int)left : 2;

    if (n == 0)
        return 0;
    for (int b = 0; b < TILE_LANES; b++) {
        size_t super = walk->next + (b / 8 < n ? (size_t)b / 8 : 0);
        size_t at = 256 * super + 32 * (size_t)(b % 8);

        x[b] = in->x + at;
        importance[b] = in->importance ? in->importance + at % in->n_cols : NULL;
    }
    in->encode->gather(x, 32, tile->x);
    if (in->importance)
        in->encode->gather(importance, 32, tile->w);
    walk->x[0] = x[0];
    walk->x[1] = x[8];
    walk->next += (size_t)n;
    return n;
}

static uint8_t nearest_63(float x)
{
    int l = nearest(x);

    return (uint8_t)(l < 63 ? l : 63);
}

/* The inverse scale, among nine around 63 / top, of least weighted squared error. */
static float best_inverse(const float *x, const float *w, float top)
{
    float best = 63.0f / top, least = 0.0f;

    for (int g = 0; g < 8; g++) {
        float e = x[g] - 1.0f / best * (float)(uint8_t)nearest(best * x[g]);
        least += w[g] * e * e;
    }
    for (int k = -4; k <= 4; k++) {
        float inv = (0.1f * (float)k + 63.0f) / top, scale = 1.0f / inv, error = 0.0f;

        if (k == 0)
            continue;
        for (int g = 0; g < 8; g++) {
            int l = nearest(inv * x[g]);
            float e = x[g] - scale * (float)(l < 63 ? l : 63);
            error += w[g] * e * e;
        }
        if (error < least) {
            least = error;
            best = inv;
        }
    }
    return best;
}

/* One pass of coordinate descent over the codes; true when one changed. */
static bool improve(const float *x, const float *w, uint8_t codes[8], float *xl,
                    float *ll)
{
    bool changed = false;

    for (int g = 0; g < 8; g++) {
        float l = codes[g];
        float a = *xl - w[g] * x[g] * l;
        float b = *ll - w[g] * l * l;

        if (!(a > 0.0f && b > 0.0f))
            continue;
        int next = nearest(x[g] * b / a);
        next = next < 63 ? next : 63;
        if (next == codes[g])
            continue;
        a += w[g] * x[g] * (float)next;
        b += w[g] * (float)next * (float)next;
        if (a * a * *ll > *xl * *xl * b) {
            codes[g] = (uint8_t)next;
            *xl = a;
            *ll = b;
            changed = true;
        }
    }
    return changed;
}

float super_fit(const float *x, const float *w, uint8_t codes[8])
{
    float top = 0.0f, xl = 0.0f, ll = 0.0f;

    for (int g = 0; g < 8; g++)
        top = x[g] > top ? x[g] : top;
    memset(codes, 0, 8);
    if (top < 1e-15f)
        return 0.0f;

    float inv = best_inverse(x, w, top);
    for (int g = 0; g < 8; g++) {
        float l = codes[g] = nearest_63(inv * x[g]);

        xl += w[g] * x[g] * l;
        ll += w[g] * l * l;
    }
    for (int pass = 0; pass < 5; pass++)
        if (!improve(x, w, codes, &xl, &ll))
            break;
    return ll > 0.0f ? xl / ll : 0.0f;
}

void super_scales(const struct coded_k supers[2], float scale[TILE_LANES],
                  float offset[TILE_LANES])
{
    for (int p = 0; p < 2; p++) {
        const float d = f32_from_f16(supers[p].d), dmin = f32_from_f16(supers[p].dmin);

        for (int g = 0; g < 8; g++) {
            scale[8 * p + g] = d * (float)supers[p].sc[g];
            offset[8 * p + g] = dmin * (float)supers[p].mn[g];
        }
    }
}

void super_take(const struct encoders *encode, const struct tile *tile,
                struct coded_k supers[2])
{
    uint8_t q[2][256];

    encode->take(tile, 32, 0, q[0], 32);
    for (int p = 0; p < 2; p++)
        memcpy(supers[p].q, q[p], sizeof(q[p]));
}

void *super_pack(enum block_type type, const struct coded_k *supers, int n, void *out)
{
    uint8_t *at = out;

    for (int s = 0; s < n; s++) {
        if (type == TYPE_Q4_K) {
            struct q4_k block;
            pack_q4_k(&supers[s], &block);
            memcpy(at, &block, sizeof(block));
            at += sizeof(block);
        } else {
            struct q5_k block;
            pack_q5_k(&supers[s], &block);
            memcpy(at, &block, sizeof(block));
            at += sizeof(block);
        }
    }
    return at;
}
