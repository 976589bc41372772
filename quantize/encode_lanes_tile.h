/*
 * encode_lanes_tile.h - the tiles of encode_scalar.c, WIDTH lanes at a time: filled, judged, read
 *
 * Included by encode_<isa>.c after encode_lanes.h, whose operations it is written in.
 */
#ifndef QUANTIZE_ENCODE_LANES_TILE_H
#define QUANTIZE_ENCODE_LANES_TILE_H

#include "quantize/encode_lanes.h"

/* ---- in and out ---- */

/* Each pass moves the lowest bit of the row's number to the lane's: after log2(WIDTH) passes rows
 * and lanes have changed places. */
static inline void transpose(vec v[WIDTH])
{
    for (int pass = 1; pass < WIDTH; pass *= 2) {
        vec next[WIDTH];

        for (int i = 0; i < WIDTH / 2; i++) {
            next[2 * i] = interleave_low(v[i], v[i + WIDTH / 2]);
            next[2 * i + 1] = interleave_high(v[i], v[i + WIDTH / 2]);
        }
        memcpy(v, next, sizeof(next));
    }
}

static void gather(const float *const lanes[TILE_LANES], int n, float (*rows)[TILE_LANES])
{
    for (int b = 0; b < TILE_LANES; b += WIDTH) {
        for (int i = 0; i < n; i += WIDTH) {
            vec v[WIDTH];

            for (int l = 0; l < WIDTH; l++)
                v[l] = load(lanes[b + l] + i);
            transpose(v);
            for (int l = 0; l < WIDTH; l++)
                store(&rows[i + l][b], v[l]);
        }
    }
}

static inline ivec load_codes(const int32_t *q)
{
    ivec v;
    memcpy(&v, q, sizeof(v));
    return v;
}

/* Four codes of a lane become one word, so that only words are scattered. */
static void take(const struct tile *tile, int n, int bias, uint8_t *out, size_t stride)
{
    _Alignas(64) int32_t words[TILE_WEIGHTS / 4][TILE_LANES];

    for (int i = 0; i < n; i += 4) {
        for (int b = 0; b < TILE_LANES; b += WIDTH) {
            ivec word = {0};

            for (int byte = 3; byte >= 0; byte--)
                word = word << 8 | ((load_codes(&tile->q[i + byte][b]) + bias) & 255);
            memcpy(&words[i / 4][b], &word, sizeof(word));
        }
    }
    for (int b = 0; b < TILE_LANES; b++, out += stride)
        for (int i = 0; i < n / 4; i++)
            memcpy(out + 4 * i, &words[i][b], 4); /* both machines are little-endian */
}

/* ---- what is known of a lane ---- */

static void weigh(struct tile *tile)
{
    for (int b = 0; b < TILE_LANES; b += WIDTH) {
        vec r[32], top = {0}, mean = {0};

        for (int i = 0; i < 32; i++)
            top = vmax(magnitude(load(&tile->x[i][b])), top);
        for (int i = 0; i < 32; i++) {
            r[i] = magnitude(load(&tile->x[i][b])) / top;
            r[i] *= r[i];
            mean += r[i];
        }
        mean /= 32.0f;
        for (int i = 0; i < 32; i++)
            store(&tile->w[i][b], pick(top > 0.0f, root(1.0f + r[i] / mean), all(1.0f)));
    }
}

static void weigh_more(struct tile *tile, const float variance[TILE_LANES])
{
    for (int b = 0; b < TILE_LANES; b += WIDTH) {
        const vec mean = load(variance + b);

        for (int i = 0; i < 32; i++) {
            vec x = load(&tile->x[i][b]);
            store(&tile->w[i][b], load(&tile->w[i][b]) * root(mean + x * x));
        }
    }
}

static void peaks(const struct tile *tile, int n, struct peaks *out)
{
    for (int b = 0; b < TILE_LANES; b += WIDTH) {
        vec top = {0}, high = {0}, x = {0}, w = {0};

        for (int i = 0; i < n; i++) {
            vec value = load(&tile->x[i][b]), size = magnitude(value);
            ivec larger = size > top;

            high = vmax(value, high);
            x = pick(larger, value, x);
            w = pick(larger, load(&tile->w[i][b]), w);
            top = pick(larger, size, top);
        }
        store(&out->x[b], x);
        store(&out->w[b], w);
        store(&out->positive[b], pick(high == top, high, x));
    }
}

static void requantize(struct tile *tile, const struct codes *codes)
{
    for (int b = 0; b < TILE_LANES; b += WIDTH) {
        vec scale = load(&tile->scale[b]), offset = load(&tile->offset[b]);
        ivec keep = scale == 0.0f;

        for (int i = 0; i < codes->n; i++) {
            vec v = (load(&tile->x[i][b]) + offset) / scale;
            vec q = nearest_lanes(v, codes->lo, codes->hi);
            ivec code = __builtin_convertvector(q, ivec);

            code = (keep & load_codes(&tile->q[i][b])) | (~keep & code);
            memcpy(&tile->q[i][b], &code, sizeof(code));
        }
    }
}

/* ---- judging a scale and an offset ---- */

static inline vec inverse_lanes(vec x)
{
    return pick(x != 0.0f, 1.0f / x, all(0.0f));
}

/* Zeros may have another sign than code_of() of the definition gives them; no sum sees it. */
static inline vec code_of(vec v, vec inv, vec lo, vec hi)
{
    return whole(vmin(vmax(v * inv, lo), hi));
}

static void scales(const float value[TILE_LANES], const float *ratios, int n,
                   struct candidate *out)
{
    for (int k = 0; k < n; k++) {
        for (int b = 0; b < TILE_LANES; b += WIDTH) {
            store(&out[k].scale[b], half_of(load(value + b) * ratios[k]));
            store(&out[k].offset[b], (vec){0});
        }
    }
}

/* The losses of `count` candidates side by side: a sum waits for its last addition, and several
 * sums wait together. */
static inline __attribute__((always_inline)) void
lane_losses(const struct tile *tile, const struct codes *codes, int b,
            const struct candidate *const *list, const int count, const bool has_offset,
            vec *loss)
{
    const vec lo = all((float)codes->lo), hi = all((float)codes->hi);
    vec scale[4], offset[4], inv[4], sum[4];

    for (int k = 0; k < count; k++) {
        scale[k] = load(&list[k]->scale[b]);
        offset[k] = load(&list[k]->offset[b]);
        inv[k] = inverse_lanes(scale[k]);
        sum[k] = (vec){0};
    }
    for (int i = 0; i < codes->n; i++) {
        vec x = load(&tile->x[i][b]), w = load(&tile->w[i][b]);

        for (int k = 0; k < count; k++) {
            vec v = has_offset ? x + offset[k] : x;
            vec e = fma_of(-scale[k], code_of(v, inv[k], lo, hi), v);

            sum[k] = fma_of(w * e, e, sum[k]);
        }
    }
    for (int k = 0; k < count; k++)
        loss[k] = sum[k];
}

/* Of one to four candidates. A missing one repeats the first, which is never better than itself. */
static void some_losses(const struct tile *tile, const struct codes *codes, int b,
                        const struct candidate **list, int n, vec loss[4])
{
    const bool has_offset = codes->lo == 0;

    for (int k = n; k < 4; k++)
        list[k] = list[0];
    if (n == 1 && has_offset)
        lane_losses(tile, codes, b, list, 1, true, loss);
    else if (n == 1)
        lane_losses(tile, codes, b, list, 1, false, loss);
    else if (has_offset)
        lane_losses(tile, codes, b, list, 4, true, loss);
    else
        lane_losses(tile, codes, b, list, 4, false, loss);
}

/* True when the peak alone costs every lane at least what the best costs: its part of the sum, all
 * of whose parts are non-negative, rounded as there. */
static inline bool is_hopeless(const struct peaks *peaks, const struct codes *codes,
                               int b, const struct candidate *candidate, vec least)
{
    const vec lo = all((float)codes->lo), hi = all((float)codes->hi);
    vec scale = load(&candidate->scale[b]);
    vec v = load(&peaks->x[b]) + load(&candidate->offset[b]);
    vec e = fma_of(-scale, code_of(v, inverse_lanes(scale), lo, hi), v);

    return none(~(load(&peaks->w[b]) * e * e >= least));
}

static void judge_lanes(const struct tile *tile, const struct codes *codes,
                        const struct peaks *peaks, int b,
                        const struct candidate *candidates, int n, struct best *best)
{
    vec least = load(&best->loss[b]), scale = load(&best->at.scale[b]);
    vec offset = load(&best->at.offset[b]), loss[4];
    ivec which = iall(-1);

    for (int k = 0; k < n;) {
        const struct candidate *list[4];
        int some = 0;

        for (; k < n && some < 4; k++)
            if (!peaks || !is_hopeless(peaks, codes, b, &candidates[k], least))
                list[some++] = &candidates[k];
        if (some == 0)
            break;
        some_losses(tile, codes, b, list, some, loss);
        for (int i = 0; i < some; i++) {
            ivec better = loss[i] < least;
            ivec index = iall((int)(list[i] - candidates));

            least = pick(better, loss[i], least);
            scale = pick(better, load(&list[i]->scale[b]), scale);
            offset = pick(better, load(&list[i]->offset[b]), offset);
            which = (better & index) | (~better & which);
        }
    }
    store(&best->loss[b], least);
    store(&best->at.scale[b], scale);
    store(&best->at.offset[b], offset);
    memcpy(&best->which[b], &which, sizeof(which));
}

static void judge(const struct tile *tile, const struct codes *codes,
                  const struct peaks *peaks, const struct candidate *candidates,
                  int n_candidates, struct best *best)
{
    for (int b = 0; b < TILE_LANES; b += WIDTH)
        judge_lanes(tile, codes, peaks, b, candidates, n_candidates, best);
}

/* A lane is a step here. */
static inline vec step_errors(const float *values, const float *weights, int n, vec step,
                              const struct divisors *divisors)
{
    const vec lo = all((float)divisors->lo), hi = all((float)divisors->hi);
    vec error = {0};

    for (int g = 0; g < n; g++) {
        vec code = vmin(vmax(whole(values[g] / step), lo), hi);
        vec e = values[g] - step * code;

        error += weights[g] * (e * e);
    }
    return pick(step != 0.0f, error, all(INFINITY));
}

static float spread(const float *values, const float *weights, int n, float top,
                    const struct divisors *divisors)
{
    float least = INFINITY, best = 0.0f;
    vec number = {0};

    for (int i = 0; i < WIDTH; i++)
        number[i] = (float)i;
    for (int k = 0; k < divisors->n; k += WIDTH) {
        vec step =
            half_of(top / (divisors->first + divisors->step * (number + (float)k)));
        vec error = step_errors(values, weights, n, step, divisors);

        for (int i = 0; i < WIDTH && k + i < divisors->n; i++) {
            if (error[i] < least) {
                least = error[i];
                best = step[i];
            }
        }
    }
    return best;
}

static void fit(const struct tile *tile, const struct codes *codes,
                const struct candidate *candidate, struct moments *out)
{
    const vec lo = all((float)codes->lo), hi = all((float)codes->hi);

    for (int b = 0; b < TILE_LANES; b += WIDTH) {
        vec inv = inverse_lanes(load(&candidate->scale[b]));
        vec offset = load(&candidate->offset[b]);
        vec wc = {0}, wcc = {0}, wxc = {0};

        for (int i = 0; i < codes->n; i++) {
            vec x = load(&tile->x[i][b]);
            vec c = code_of(x + offset, inv, lo, hi);
            vec w = load(&tile->w[i][b]) * c;

            wc += w;
            wcc = fma_of(w, c, wcc);
            wxc = fma_of(w, x, wxc);
        }
        store(out->wc + b, wc);
        store(out->wcc + b, wcc);
        store(out->wxc + b, wxc);
    }
}

#endif
