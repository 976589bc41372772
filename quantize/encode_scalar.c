/*
 * encode_scalar.c - the definition of every encoder, in plain C
 *
 * Written to be read beside docs/rounding.md. The order of every float operation is part of
 * the definition: it is the order of llama.cpp's reference functions, whose bits the plain
 * method promises.
 */
#include "quantize/encode_tables.h"

#include "formats/blocks/blocks.h"
#include "quantize/half.h"
#include "quantize/nearest.h"

#include <float.h>
#include <math.h>

static int nearest_within(float x, int lo, int hi)
{
    int q = nearest(x);

    return q < lo ? lo : q > hi ? hi : q;
}

/* A code cut from a float; what is no code (an infinite or undefined product) becomes 0. */
static int cut(float x, int top)
{
    if (!(x >= 0.0f && x < 128.0f))
        return 0;
    return (int)x < top ? (int)x : top;
}

static float inverse(float x)
{
    return x != 0.0f ? 1.0f / x : 0.0f;
}

/* ---- whole arrays ---- */

static void f16(const float *x, uint16_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f16_from_f32(x[i]);
}

static void bf16(const float *x, uint16_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_from_f32(x[i]);
}

/* The value of largest magnitude, the first of equals, with its sign; +0 for zeros. */
static float signed_extremum(const float *x, int n)
{
    float top = 0.0f, value = 0.0f;

    for (int i = 0; i < n; i++) {
        if (fabsf(x[i]) > top) {
            top = fabsf(x[i]);
            value = x[i];
        }
    }
    return value;
}

static void extremum(const float *x, struct coded *out, size_t n, int half)
{
    for (size_t b = 0; b < n; b++, x += 32) {
        float d = signed_extremum(x, 32) / (float)-half;
        float r = inverse(d);

        out[b].scale = d;
        out[b].offset = 0.0f;
        for (int i = 0; i < 32; i++)
            out[b].q[i] = (uint8_t)cut(x[i] * r + ((float)half + 0.5f), 2 * half - 1);
    }
}

static void range(const float *x, struct coded *out, size_t n, int top)
{
    for (size_t b = 0; b < n; b++, x += 32) {
        float lo = FLT_MAX, hi = -FLT_MAX;

        for (int i = 0; i < 32; i++) {
            lo = x[i] < lo ? x[i] : lo;
            hi = x[i] > hi ? x[i] : hi;
        }
        float d = (hi - lo) / (float)top;
        float r = inverse(d);

        out[b].scale = d;
        out[b].offset = -lo;
        for (int i = 0; i < 32; i++)
            out[b].q[i] = (uint8_t)cut((x[i] - lo) * r + 0.5f, top);
    }
}

static void symmetric8(const float *x, struct coded *out, size_t n)
{
    for (size_t b = 0; b < n; b++, x += 32) {
        float d = fabsf(signed_extremum(x, 32)) / 127.0f;
        float r = inverse(d);

        out[b].scale = d;
        out[b].offset = 0.0f;
        for (int i = 0; i < 32; i++) {
            float q = roundf(x[i] * r);
            out[b].q[i] = (uint8_t)(fabsf(q) <= 127.0f ? (int8_t)q : 0);
        }
    }
}

/* ---- in and out of a tile ---- */

static void gather(const float *const lanes[TILE_LANES], int n, float (*rows)[TILE_LANES])
{
    for (int b = 0; b < TILE_LANES; b++)
        for (int i = 0; i < n; i++)
            rows[i][b] = lanes[b][i];
}

static void take(const struct tile *tile, int n, int bias, uint8_t *out, size_t stride)
{
    for (int b = 0; b < TILE_LANES; b++)
        for (int i = 0; i < n; i++)
            out[stride * (size_t)b + (size_t)i] = (uint8_t)(tile->q[i][b] + bias);
}

/* ---- one lane of a tile ---- */

struct lane {
    float x[TILE_WEIGHTS], w[TILE_WEIGHTS];
};

static struct lane lane_of(const struct tile *tile, int b, int n)
{
    struct lane lane = {0};

    for (int i = 0; i < n; i++) {
        lane.x[i] = tile->x[i][b];
        lane.w[i] = tile->w[i][b];
    }
    return lane;
}

static void weigh(struct tile *tile)
{
    for (int b = 0; b < TILE_LANES; b++) {
        float r[32], top = 0.0f, mean = 0.0f;

        for (int i = 0; i < 32; i++)
            top = fabsf(tile->x[i][b]) > top ? fabsf(tile->x[i][b]) : top;
        for (int i = 0; i < 32 && top > 0.0f; i++) {
            r[i] = fabsf(tile->x[i][b]) / top; /* by the largest: no square overflows */
            r[i] *= r[i];
            mean += r[i];
        }
        mean /= 32.0f;
        for (int i = 0; i < 32; i++)
            tile->w[i][b] = top > 0.0f ? sqrtf(1.0f + r[i] / mean) : 1.0f;
    }
}

static void weigh_more(struct tile *tile, const float variance[TILE_LANES])
{
    for (int i = 0; i < 32; i++)
        for (int b = 0; b < TILE_LANES; b++)
            tile->w[i][b] *= sqrtf(variance[b] + tile->x[i][b] * tile->x[i][b]);
}

static void peaks(const struct tile *tile, int n, struct peaks *out)
{
    for (int b = 0; b < TILE_LANES; b++) {
        float top = 0.0f, high = 0.0f;

        out->x[b] = out->w[b] = 0.0f;
        for (int i = 0; i < n; i++) {
            float x = tile->x[i][b];

            high = x > high ? x : high;
            if (fabsf(x) > top) {
                top = fabsf(x);
                out->x[b] = x;
                out->w[b] = tile->w[i][b];
            }
        }
        out->positive[b] = high == top ? high : out->x[b];
    }
}

/* sums[0] = sum of (w x) l, sums[1] = sum of (w l) l, l the codes of an inverse scale. */
static void symmetric_sums(const struct lane *lane, int n, int half, float inv,
                           float sums[2])
{
    sums[0] = sums[1] = 0.0f;
    for (int i = 0; i < n; i++) {
        float l = (float)nearest_within(inv * lane->x[i], -half, half - 1);

        sums[0] += lane->w[i] * lane->x[i] * l;
        sums[1] += lane->w[i] * l * l;
    }
}

/* The magnitude below which a block counts as zero. */
#define TINY 1e-15f

static float symmetric_lane(const struct lane *lane, int n, int half, int32_t *q)
{
    float top = signed_extremum(lane->x, n);
    float sums[2];

    for (int i = 0; i < n; i++)
        q[i] = 0;
    if (fabsf(top) < TINY)
        return 0.0f;

    float inv = (float)-half / top;
    symmetric_sums(lane, n, half, inv, sums);
    float scale = sums[1] != 0.0f ? sums[0] / sums[1] : 0.0f;
    float best = scale * sums[0];

    for (int k = -9; k <= 9; k++) {
        float candidate = -((float)half + 0.1f * (float)k) / top;

        if (k == 0)
            continue;
        symmetric_sums(lane, n, half, candidate, sums);
        if (sums[1] > 0.0f && sums[0] * sums[0] > best * sums[1]) {
            scale = sums[0] / sums[1];
            best = scale * sums[0];
            inv = candidate;
        }
    }
    for (int i = 0; i < n; i++)
        q[i] = nearest_within(inv * lane->x[i], -half, half - 1) + half;
    return scale;
}

static void symmetric_tile(struct tile *tile, int n, int half)
{
    for (int b = 0; b < TILE_LANES; b++) {
        struct lane lane = lane_of(tile, b, n);
        int32_t q[TILE_WEIGHTS];

        tile->scale[b] = symmetric_lane(&lane, n, half, q);
        for (int i = 0; i < n; i++)
            tile->q[i][b] = q[i];
    }
}

static void symmetric(struct tile *const *tiles, int n_tiles, int n, int half)
{
    for (int t = 0; t < n_tiles; t++)
        symmetric_tile(tiles[t], n, half);
}

/* The state of an asymmetric search; `low` moves with the best candidate, `high` never. */
struct affine {
    float w, x; /* sums of w and of w x */
    float low, high, scale;
    float error;
    float inv, base; /* the best codes are nearest(inv * (x - base)) */
};

static struct affine affine_start(const struct lane *lane)
{
    struct affine a = {.w = lane->w[0],
                       .x = lane->w[0] * lane->x[0],
                       .low = lane->x[0],
                       .high = lane->x[0]};

    for (int i = 1; i < 32; i++) {
        a.low = lane->x[i] < a.low ? lane->x[i] : a.low;
        a.high = lane->x[i] > a.high ? lane->x[i] : a.high;
        a.w += lane->w[i];
        a.x += lane->w[i] * lane->x[i];
    }
    if (a.low > 0.0f)
        a.low = 0.0f;
    return a;
}

/* The squared error of codes l under scale and minimum. */
static float affine_error(const struct lane *lane, const float *l, float scale, float low)
{
    float error = 0.0f;

    for (int i = 0; i < 32; i++) {
        float diff = scale * l[i] + low - lane->x[i];
        error += lane->w[i] * (diff * diff);
    }
    return error;
}

static void affine_codes(const struct lane *lane, float inv, float base, int top,
                         float *l)
{
    for (int i = 0; i < 32; i++)
        l[i] = (float)nearest_within(inv * (lane->x[i] - base), 0, top);
}

static void affine_try(const struct lane *lane, struct affine *a, float inv, int top)
{
    float l[32], sl = 0.0f, sll = 0.0f, sxl = 0.0f;

    affine_codes(lane, inv, a->low, top, l);
    for (int i = 0; i < 32; i++) {
        float wl = lane->w[i] * l[i];

        sl += wl;
        sll += wl * l[i];
        sxl += wl * lane->x[i];
    }
    float det = a->w * sll - sl * sl;
    if (!(det > 0.0f))
        return;

    float scale = (a->w * sxl - a->x * sl) / det;
    float low = (sll * a->x - sl * sxl) / det;
    if (low > 0.0f) {
        low = 0.0f;
        scale = sxl / sll;
    }
    float error = affine_error(lane, l, scale, low);
    if (error < a->error) {
        a->error = error;
        a->inv = inv;
        a->base = a->low;
        a->scale = scale;
        a->low = low;
    }
}

static void asymmetric_tile(struct tile *tile, const struct ladder *ladder)
{
    for (int b = 0; b < TILE_LANES; b++) {
        struct lane lane = lane_of(tile, b, 32);
        struct affine a = affine_start(&lane);
        float l[32] = {0};

        if (a.high > a.low) {
            a.base = a.low;
            a.inv = (float)ladder->top / (a.high - a.low);
            a.scale = 1.0f / a.inv;
            affine_codes(&lane, a.inv, a.base, ladder->top, l);
            a.error = affine_error(&lane, l, a.scale, a.low);
            for (int k = 0; k <= ladder->n_steps; k++) {
                float levels =
                    ladder->first + ladder->step * (float)k + (float)ladder->top;
                affine_try(&lane, &a, levels / (a.high - a.low), ladder->top);
            }
            affine_codes(&lane, a.inv, a.base, ladder->top, l);
        }
        tile->scale[b] = a.scale;
        tile->offset[b] = -a.low;
        for (int i = 0; i < 32; i++)
            tile->q[i][b] = (int32_t)l[i];
    }
}

static void asymmetric(struct tile *const *tiles, int n_tiles,
                       const struct ladder *ladder)
{
    for (int t = 0; t < n_tiles; t++)
        asymmetric_tile(tiles[t], ladder);
}

static void requantize(struct tile *tile, const struct codes *codes)
{
    for (int i = 0; i < codes->n; i++) {
        for (int b = 0; b < TILE_LANES; b++) {
            float v = tile->x[i][b] + tile->offset[b];

            if (tile->scale[b] != 0.0f)
                tile->q[i][b] = nearest_within(v / tile->scale[b], codes->lo, codes->hi);
        }
    }
}

/* ---- judging a scale and an offset ---- */

/* Clamped first, so that the shift by 1.5 * 2^23 rounds exactly. */
static float code_of(float v, float inv, float lo, float hi)
{
    float q = v * inv;

    q = q > lo ? q : lo;
    q = q < hi ? q : hi;
    return (q + 12582912.0f) - 12582912.0f;
}

static void scales(const float value[TILE_LANES], const float *ratios, int n,
                   struct candidate *out)
{
    for (int k = 0; k < n; k++) {
        for (int b = 0; b < TILE_LANES; b++) {
            out[k].scale[b] = half_round(value[b] * ratios[k]);
            out[k].offset[b] = 0.0f;
        }
    }
}

static float lane_loss(const struct tile *tile, const struct codes *codes,
                       const struct candidate *candidate, int b)
{
    const float lo = (float)codes->lo, hi = (float)codes->hi;
    float scale = candidate->scale[b], inv = inverse(scale), sum = 0.0f;

    for (int i = 0; i < codes->n; i++) {
        float v = tile->x[i][b] + candidate->offset[b];
        float e = fmaf(-scale, code_of(v, inv, lo, hi), v);

        sum = fmaf(tile->w[i][b] * e, e, sum);
    }
    return sum;
}

/* No loss is smaller than the peak's own part of it: every further part is added to it, none is
 * negative, and rounding keeps the order. The definition judges every candidate nevertheless. */
static void judge(const struct tile *tile, const struct codes *codes,
                  const struct peaks *peaks, const struct candidate *candidates,
                  int n_candidates, struct best *best)
{
    (void)peaks;
    for (int b = 0; b < TILE_LANES; b++) {
        best->which[b] = -1;
        for (int k = 0; k < n_candidates; k++) {
            float loss = lane_loss(tile, codes, &candidates[k], b);

            if (!(loss < best->loss[b]))
                continue;
            best->loss[b] = loss;
            best->which[b] = k;
            best->at.scale[b] = candidates[k].scale[b];
            best->at.offset[b] = candidates[k].offset[b];
        }
    }
}

/* What it costs to code values by a step; NaN where the step is infinite. */
static float step_error(const float *values, const float *weights, int n, float step,
                        const struct divisors *divisors)
{
    const float lo = (float)divisors->lo, hi = (float)divisors->hi;
    float error = 0.0f;

    for (int g = 0; g < n; g++) {
        float code = nearbyintf(values[g] / step);

        code = code > lo ? code : lo;
        code = code < hi ? code : hi;
        float e = values[g] - step * code;
        error += weights[g] * (e * e);
    }
    return error;
}

static float spread(const float *values, const float *weights, int n, float top,
                    const struct divisors *divisors)
{
    float least = INFINITY, best = 0.0f;

    for (int k = 0; k < divisors->n; k++) {
        float step = half_round(top / (divisors->first + divisors->step * (float)k));
        float error = step_error(values, weights, n, step, divisors);

        if (step != 0.0f && error < least) {
            least = error;
            best = step;
        }
    }
    return best;
}

static void fit(const struct tile *tile, const struct codes *codes,
                const struct candidate *candidate, struct moments *out)
{
    const float lo = (float)codes->lo, hi = (float)codes->hi;

    for (int b = 0; b < TILE_LANES; b++) {
        float inv = inverse(candidate->scale[b]), wc = 0.0f, wcc = 0.0f, wxc = 0.0f;

        for (int i = 0; i < codes->n; i++) {
            float c = code_of(tile->x[i][b] + candidate->offset[b], inv, lo, hi);
            float w = tile->w[i][b] * c;

            wc += w;
            wcc = fmaf(w, c, wcc);
            wxc = fmaf(w, tile->x[i][b], wxc);
        }
        out->wc[b] = wc;
        out->wcc[b] = wcc;
        out->wxc[b] = wxc;
    }
}

const struct encoders encode_scalar = {
    .name = "scalar",
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
