/*
 * grid.c - Q4_0 blocks of weights that were trained on a 4-bit grid
 *
 * Such a weight is d * code, rounded to the checkpoint's precision. Every weight with a code
 * other than 0 confines d to an interval; where the 32 intervals of a block meet, any half
 * within gives back the block exactly. The extremum's code is not known: -8 is usual, but
 * training also ends with others, so all are tried.
 *
 * Source: docs/rounding.md, "Grids".
 */
#include "quantize/codec.h"
#include "quantize/pack_blocks.h"

#include <math.h>

/* How a block's values were stored: the mantissa bits that may be set. */
static uint32_t spare_bits(const float *x)
{
    uint32_t used = 0;

    for (int i = 0; i < 32; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof(bits));
        used |= bits;
    }
    return used & 0xffff ? used & 0x1fff ? 0 : 13 : 16;
}

/* Round to a float whose last `spare` bits are zero, ties to even. */
static float round_to(float x, uint32_t spare)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    if (spare > 0) {
        bits += (1u << (spare - 1)) - 1 + (bits >> spare & 1);
        bits &= ~((1u << spare) - 1);
    }
    memcpy(&x, &bits, sizeof(x));
    return x;
}

struct interval {
    double low, high;
};

/* What may have been rounded to |x|, x != 0: half a unit to either side. */
static struct interval before_rounding(float x, uint32_t spare)
{
    int exponent;
    frexp((double)fabsf(x), &exponent);
    double unit = ldexp(1.0, exponent - 24 + (int)spare);

    return (struct interval){fabs((double)x) - 0.5 * unit, fabs((double)x) + 0.5 * unit};
}

/* The codes under d, and the d's for which they give x back; false when none does. */
static bool confine(const float *x, double d, uint32_t spare, int8_t codes[32],
                    struct interval *all)
{
    *all = (struct interval){0.0, HUGE_VAL};
    for (int i = 0; i < 32; i++) {
        double code = nearbyint((double)x[i] / d);

        if (!(code >= -8.0 && code <= 7.0) || (code == 0.0) != (x[i] == 0.0f))
            return false;
        codes[i] = (int8_t)code;
        if (code == 0.0)
            continue;
        struct interval one = before_rounding(x[i], spare);
        all->low = fmax(all->low, one.low / fabs(code));
        all->high = fmin(all->high, one.high / fabs(code));
        if (all->low > all->high)
            return false;
    }
    return true;
}

static bool gives_back(const float *x, float d, uint32_t spare, const int8_t codes[32])
{
    for (int i = 0; i < 32; i++)
        if (round_to(d * (float)codes[i], spare) != x[i])
            return false;
    return true;
}

/* The half of fewest significant bits within the interval that gives the block back: training
 * keeps scales in bfloat16 or half, so the simplest number is the likely one. 0: none. */
static float simplest(const float *x, struct interval d, float sign, uint32_t spare,
                      const int8_t codes[32])
{
    int exponent;
    frexp(d.high, &exponent);

    for (int bits = 1; bits <= 11; bits++) {
        double unit = ldexp(1.0, exponent - bits);
        double first = ceil(d.low / unit);

        for (int k = 0; k < 2 && (first + k) * unit <= d.high; k++) {
            float scale = sign * (float)((first + k) * unit);
            bool is_half = f32_from_f16(f16_from_f32(scale)) == scale;

            if (is_half && scale != 0.0f && gives_back(x, scale, spare, codes))
                return scale;
        }
    }
    return 0.0f;
}

/* A negative scale decodes code 0 to -0: true when that is what the weights have. */
static bool zeros_agree(const float *x, float scale, const int8_t codes[32])
{
    for (int i = 0; i < 32; i++)
        if (codes[i] == 0 && !signbit(x[i]) != !signbit(scale))
            return false;
    return true;
}

/* Find scale and codes of a block on a grid, to the bit where the sign of zeros allows. A block of
 * zeros is on one, of scale 0. */
static bool fit_grid(const float *x, float *scale, int8_t codes[32])
{
    static const int extremum[] = {-8, -7, -6, -5, -4, -3, -2, -1, 7, 6, 5, 4, 3, 2, 1};
    const uint32_t spare = spare_bits(x);
    float top = 0.0f;

    for (int i = 0; i < 32; i++)
        top = fabsf(x[i]) > fabsf(top) ? x[i] : top;
    *scale = 0.0f;
    memset(codes, 0, 32);
    if (top == 0.0f)
        return true;
    for (size_t k = 0; k < sizeof(extremum) / sizeof(extremum[0]); k++) {
        double d = (double)top / extremum[k];
        struct interval interval;
        int8_t found[32];
        float s;

        if (!confine(x, d, spare, found, &interval))
            continue;
        s = simplest(x, interval, d < 0.0 ? -1.0f : 1.0f, spare, found);
        if (s == 0.0f || (*scale != 0.0f && !zeros_agree(x, s, found)))
            continue;
        *scale = s;
        memcpy(codes, found, sizeof(found));
        if (zeros_agree(x, s, found))
            return true;
    }
    return *scale != 0.0f;
}

size_t quantize_count_grid(const float *x, size_t n_rows, size_t n_cols)
{
    const size_t n_blocks = n_rows * (n_cols / 32);
    size_t n_exact = 0;

    for (size_t b = 0; b < n_blocks; b++) {
        float scale;
        int8_t codes[32];
        n_exact += fit_grid(x + 32 * b, &scale, codes);
    }
    return n_exact;
}

size_t quantize_on_grid(const float *x, size_t n_rows, size_t n_cols, void *out)
{
    const size_t n_blocks = n_rows * (n_cols / 32);
    struct q4_0 *blocks = out;
    size_t n_exact = 0;

    quantize_rows(TYPE_Q4_0, METHOD_PLAIN, x, n_rows, n_cols, NULL, out);
    for (size_t b = 0; b < n_blocks; b++) {
        struct coded coded = {0};
        int8_t codes[32];

        if (!fit_grid(x + 32 * b, &coded.scale, codes))
            continue;
        n_exact++;
        if (coded.scale == 0.0f)
            continue;
        for (int i = 0; i < 32; i++)
            coded.q[i] = (uint8_t)(codes[i] + 8);
        pack_small(TYPE_Q4_0, &coded, &blocks[b], 1);
    }
    return n_exact;
}

void grid_rows(const struct rows_in *in, void *out)
{
    quantize_on_grid(in->x, in->n_rows, in->n_cols, out);
}
