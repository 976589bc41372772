/*
 * agree.c - compare a table of encoders with the scalar one, entry by entry
 */
#include "tests/quantize/agree.h"

#include "tests/fixture.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { BLOCKS = 257, WEIGHTS = 32 * BLOCKS, TILES = 24 };

static float weights[WEIGHTS];

static bool same_arrays(const struct encoders *fast)
{
    static uint16_t want[WEIGHTS], got[WEIGHTS];

    /* An odd count, so that the tail after the last whole vector is seen too. */
    encode_scalar.f16(weights, want, WEIGHTS - 5);
    fast->f16(weights, got, WEIGHTS - 5);
    if (memcmp(want, got, sizeof(want)) != 0)
        return false;
    encode_scalar.bf16(weights, want, WEIGHTS - 5);
    fast->bf16(weights, got, WEIGHTS - 5);
    return memcmp(want, got, sizeof(want)) == 0;
}

static bool same_blocks(void (*want)(const float *, struct coded *, size_t, int),
                        void (*got)(const float *, struct coded *, size_t, int),
                        int levels)
{
    static struct coded a[BLOCKS], b[BLOCKS];

    want(weights, a, BLOCKS, levels);
    got(weights, b, BLOCKS, levels);
    return memcmp(a, b, sizeof(a)) == 0;
}

static bool same_bytes(const struct encoders *fast)
{
    static struct coded a[BLOCKS], b[BLOCKS];

    encode_scalar.symmetric8(weights, a, BLOCKS);
    fast->symmetric8(weights, b, BLOCKS);
    return memcmp(a, b, sizeof(a)) == 0;
}

/* Tile number t: sixteen blocks, with importance that is now and then zero. */
static struct tile tile_at(int t)
{
    struct tile tile = {0};
    uint64_t seed = (uint64_t)t;

    for (int b = 0; b < TILE_LANES; b++) {
        const float *x = weights + 32 * ((16 * t + b) % BLOCKS);
        const bool is_tiny = b % 8 == t % 16; /* its inverse scale overflows */

        for (int i = 0; i < 32; i++) {
            tile.x[i][b] = is_tiny ? x[i] * 1e-38f : x[i];
            float w = fixture_uniform(&seed);
            tile.w[i][b] = w < 0.1f ? 0.0f : w;
        }
    }
    return tile;
}

static bool same_tiles(const struct tile *a, const struct tile *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Into a tile and out of it; two lanes share a block, as at the end of a row. */
static bool same_ways(const struct encoders *fast, int n)
{
    for (int t = 0; t < TILES; t++) {
        static uint8_t want[40 * TILE_LANES], got[40 * TILE_LANES];
        struct tile a = {0}, b;
        const float *lanes[TILE_LANES];

        for (int lane = 0; lane < TILE_LANES; lane++)
            lanes[lane] =
                weights + 32 * ((16 * t + (lane < 14 ? lane : 14)) % (BLOCKS - 1)) + 1;
        b = a;
        encode_scalar.gather(lanes, n, a.x);
        fast->gather(lanes, n, b.x);
        if (!same_tiles(&a, &b))
            return false;
        for (int i = 0; i < n; i++)
            for (int lane = 0; lane < TILE_LANES; lane++)
                a.q[i][lane] = (7 * i + 11 * lane + t) % 255 - 127;
        encode_scalar.take(&a, n, 5, want, 40);
        fast->take(&a, n, 5, got, 40);
        if (memcmp(want, got, sizeof(want)) != 0)
            return false;
    }
    return true;
}

static bool same_knowledge(const struct encoders *fast)
{
    for (int t = 0; t < TILES; t++) {
        struct tile a = tile_at(t), b = a;
        struct peaks peaks[2];

        encode_scalar.peaks(&a, t % 2 ? 16 : 32, &peaks[0]);
        fast->peaks(&a, t % 2 ? 16 : 32, &peaks[1]);
        encode_scalar.weigh_more(&a, peaks[0].w);
        fast->weigh_more(&b, peaks[0].w);
        if (!same_tiles(&a, &b))
            return false;
        encode_scalar.weigh(&a);
        fast->weigh(&b);
        if (!same_tiles(&a, &b) || memcmp(&peaks[0], &peaks[1], sizeof(peaks[0])) != 0)
            return false;
    }
    return true;
}

static bool same_symmetric(const struct encoders *fast, int n, int half)
{
    for (int t = 0; t < TILES; t++) {
        struct tile a[2] = {tile_at(t), tile_at(t + 1)}, b[2] = {a[0], a[1]};
        const int count = 1 + t % 2;

        encode_scalar.symmetric((struct tile *[]){&a[0], &a[1]}, count, n, half);
        fast->symmetric((struct tile *[]){&b[0], &b[1]}, count, n, half);
        if (memcmp(a, b, sizeof(a)) != 0)
            return false;
    }
    return true;
}

static bool same_asymmetric(const struct encoders *fast, int top)
{
    const struct ladder ladder = {
        .top = top, .first = -0.9f, .step = 0.05f, .n_steps = 36};

    for (int t = 0; t < TILES; t++) {
        struct tile a[2] = {tile_at(t), tile_at(t + 1)}, b[2] = {a[0], a[1]};
        const int count = 1 + t % 2;

        encode_scalar.asymmetric((struct tile *[]){&a[0], &a[1]}, count, &ladder);
        fast->asymmetric((struct tile *[]){&b[0], &b[1]}, count, &ladder);
        if (memcmp(a, b, sizeof(a)) != 0)
            return false;
    }
    return true;
}

enum { LIST = 11 };

/* Candidates from far too large to zero and a little beyond the extremum, so that some are hopeless
 * from the first and some tie. */
static void list_candidates(const struct tile *tile, const struct codes *codes,
                            struct candidate list[LIST])
{
    memset(list, 0, LIST * sizeof(*list));
    for (int k = 0; k < LIST; k++) {
        for (int b = 0; b < TILE_LANES; b++) {
            list[k].scale[b] = tile->scale[b] * (float)(k % 9) / 4.0f;
            if (codes->lo == 0 && k % 2 == 0)
                list[k].offset[b] = tile->offset[b];
        }
    }
}

/* Lists of every length up to LIST, each judged after what the last one left. */
static bool same_best(const struct encoders *fast, const struct tile *tile,
                      const struct codes *codes, const struct candidate list[LIST],
                      const struct peaks *peaks)
{
    struct best a = {0}, b;

    for (int i = 0; i < TILE_LANES; i++)
        a.loss[i] = INFINITY;
    b = a;
    for (int n = 1; n <= LIST; n++) {
        encode_scalar.judge(tile, codes, NULL, list + LIST - n, n, &a);
        fast->judge(tile, codes, peaks, list + LIST - n, n, &b);
        if (memcmp(&a, &b, sizeof(a)) != 0)
            return false;
    }
    return true;
}

/* One value a lane, so that its part is the whole loss, and candidates that clip it less and less:
 * each is better than the last by little, and none is hopeless. */
static bool same_lone_values(const struct encoders *fast)
{
    const struct codes codes = {.n = 16, .lo = -32, .hi = 31};

    for (int t = 0; t < TILES; t++) {
        struct tile tile = {0};
        struct candidate list[LIST] = {0};
        struct peaks peaks;

        for (int b = 0; b < TILE_LANES; b++) {
            const float x = (float)(b - 8) + 0.25f;

            tile.x[t % 16][b] = x;
            tile.w[t % 16][b] = 1.0f + (float)b;
            for (int k = 0; k < LIST; k++)
                list[k].scale[b] = x / (0.1f * (float)k - 40.0f);
        }
        encode_scalar.peaks(&tile, codes.n, &peaks);
        struct best a = {0}, b;
        for (int i = 0; i < TILE_LANES; i++)
            a.loss[i] = INFINITY;
        b = a;
        encode_scalar.judge(&tile, &codes, NULL, list, LIST, &a);
        fast->judge(&tile, &codes, &peaks, list, LIST, &b);
        if (memcmp(&a, &b, sizeof(a)) != 0)
            return false;
    }
    return true;
}

/* What follows a search: candidates judged, the best one's moments, codes anew. */
static bool same_judgement(const struct encoders *fast, struct codes codes)
{
    const struct ladder ladder = {.top = 15, .first = -1.0f, .step = 0.1f, .n_steps = 3};

    for (int t = 0; t < TILES; t++) {
        struct tile a = tile_at(t);
        struct candidate list[LIST];
        struct peaks peaks;
        struct moments fit[2];

        encode_scalar.asymmetric((struct tile *[]){&a}, 1, &ladder);
        encode_scalar.peaks(&a, codes.n, &peaks);
        list_candidates(&a, &codes, list);
        encode_scalar.fit(&a, &codes, &list[4], &fit[0]);
        fast->fit(&a, &codes, &list[4], &fit[1]);
        if (!same_best(fast, &a, &codes, list, NULL) ||
            !same_best(fast, &a, &codes, list, &peaks) ||
            memcmp(&fit[0], &fit[1], sizeof(fit[0])) != 0)
            return false;

        struct tile b = a;
        encode_scalar.requantize(&a, &codes);
        fast->requantize(&b, &codes);
        if (!same_tiles(&a, &b))
            return false;
    }
    return true;
}

/* Values of a tile's lanes over steps of which some are zero, small or infinite halves. */
static bool same_spread(const struct encoders *fast)
{
    const struct divisors down = {-122.0f, -0.5f, 17, -128, 127};
    const struct divisors up = {55.0f, 0.5f, 25, 0, 63};

    for (int t = 0; t < TILES; t++) {
        const struct tile tile = tile_at(t);

        for (int i = 0; i < 32; i++) {
            const struct divisors *divisors = i % 2 ? &down : &up;
            const int n = i % 2 ? 16 : 8;
            const float top = ldexpf(tile.x[i][i % 16], i - 16);
            float want = encode_scalar.spread(tile.x[i], tile.w[i], n, top, divisors);
            float got = fast->spread(tile.x[i], tile.w[i], n, top, divisors);

            if (memcmp(&want, &got, sizeof(want)) != 0)
                return false;
        }
    }
    return true;
}

/* Values around every power of two that a half can hold, and beyond. */
static bool same_scales(const struct encoders *fast)
{
    for (int exponent = -27; exponent <= 17; exponent++) {
        const float ratios[] = {1.0f, 1.0009765f, 1.0004883f, 0.33333334f, -1.9995117f};
        struct candidate a[5], b[5];
        float value[TILE_LANES];

        for (int i = 0; i < TILE_LANES; i++)
            value[i] = ldexpf(1.0f + (float)i / 1024.0f, exponent);
        encode_scalar.scales(value, ratios, 5, a);
        fast->scales(value, ratios, 5, b);
        if (memcmp(a, b, sizeof(a)) != 0)
            return false;
    }
    return true;
}

/* The last two blocks: zeros of both signs, each sign once in front. */
static void mix_zeros(void)
{
    float *x = weights + WEIGHTS - 64;

    for (int i = 0; i < 64; i++)
        x[i] = i % 3 == i / 32 ? -0.0f : 0.0f;
}

const char *tables_disagree(const struct encoders *fast)
{
    fixture_weights(weights, WEIGHTS, 20260401);
    mix_zeros();
    if (!same_arrays(fast))
        return "f16 or bf16";
    if (!same_blocks(encode_scalar.extremum, fast->extremum, 8) ||
        !same_blocks(encode_scalar.extremum, fast->extremum, 16))
        return "extremum";
    if (!same_blocks(encode_scalar.range, fast->range, 15) ||
        !same_blocks(encode_scalar.range, fast->range, 31))
        return "range";
    if (!same_bytes(fast))
        return "symmetric8";
    if (!same_ways(fast, 32) || !same_ways(fast, 16))
        return "gather or take";
    if (!same_knowledge(fast))
        return "weigh or peaks";
    if (!same_symmetric(fast, 32, 8) || !same_symmetric(fast, 16, 32))
        return "symmetric";
    if (!same_asymmetric(fast, 15) || !same_asymmetric(fast, 31))
        return "asymmetric";
    if (!same_scales(fast))
        return "scales";
    if (!same_spread(fast))
        return "spread";
    if (!same_lone_values(fast))
        return "judge of what a peak costs";
    if (!same_judgement(fast, (struct codes){.n = 32, .lo = 0, .hi = 15}) ||
        !same_judgement(fast, (struct codes){.n = 16, .lo = -32, .hi = 31}))
        return "requantize, judge or fit";
    return NULL;
}
