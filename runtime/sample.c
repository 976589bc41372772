/*
 * sample.c - the next token from a row of logits
 *
 * The order is that of the Gemma model card's own examples: temperature, then top-k, top-p and
 * min-p, each on what the one before left. Only values are sorted; an id is looked up at the end,
 * so one array of scratch is enough.
 */
#include "runtime/runtime.h"

#include <math.h>
#include <stdlib.h>

/* Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): SplitMix64. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, 1), 53 bits. */
static double next_uniform(uint64_t *state)
{
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

static int32_t greedy(const float *logits, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best] || isnan(logits[best]))
            best = i;
    return (int32_t)best;
}

static int descending(const void *a, const void *b)
{
    float x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x < y) - (x > y);
}

static void swap(float *a, float *b)
{
    float t = *a;

    *a = *b;
    *b = t;
}

/* Move the k largest of n values to the front, in any order; 0 < k <= n. */
static void select_largest(float *x, size_t n, size_t k)
{
    size_t low = 0, high = n - 1;

    while (low < high) {
        float pivot = x[low + (high - low) / 2];
        size_t i = low, j = high;

        for (;;) {
            while (x[i] > pivot)
                i++;
            while (x[j] < pivot)
                j--;
            if (i >= j)
                break;
            swap(&x[i++], &x[j--]);
        }
        if (k - 1 <= j)
            high = j;
        else
            low = j + 1;
    }
}

static double weight(const struct sampler *sampler, float z, float top)
{
    return exp(((double)z - (double)top) / (double)sampler->temperature);
}

/* How many of the n sorted values top-p and min-p keep, and their total weight. */
static size_t cut(const struct sampler *sampler, const float *z, size_t n, double *total)
{
    double all = 0.0, sum = 0.0;
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        all += weight(sampler, z[i], z[0]);
    while (kept < n) {
        double w = weight(sampler, z[kept], z[0]);

        if (kept > 0 &&
            (sum >= (double)sampler->top_p * all || w < (double)sampler->min_p))
            break;
        sum += w;
        kept++;
    }
    *total = sum;
    return kept;
}

/* Place in the sorted values of a draw: each with the probability of its weight. */
static size_t draw(struct sampler *sampler, const float *z, size_t kept, double total)
{
    double left = next_uniform(&sampler->state) * total;
    size_t i = 0;

    while (i + 1 < kept && (left -= weight(sampler, z[i], z[0])) >= 0.0)
        i++;
    return i;
}

/* The id whose logit stands at `place` of the sorted values; equals are taken in order of id. */
static int32_t id_at(const float *logits, size_t n, const float *z, size_t place)
{
    size_t same = 0, last = 0;

    while (same < place && z[place - same - 1] == z[place])
        same++;
    for (size_t i = 0; i < n; i++) {
        if (logits[i] != z[place])
            continue;
        last = i;
        if (same-- == 0)
            break;
    }
    return (int32_t)last;
}

int32_t sampler_draw(struct sampler *sampler, const float *logits, size_t n_vocab,
                     float *scratch)
{
    size_t n = n_vocab, kept;
    double total;

    if (sampler->temperature <= 0.0f)
        return greedy(logits, n_vocab);
    for (size_t i = 0; i < n_vocab; i++)
        scratch[i] = isnan(logits[i]) ? -INFINITY : logits[i];
    if (sampler->top_k > 0 && sampler->top_k < n) {
        n = sampler->top_k;
        select_largest(scratch, n_vocab, n);
    }
    qsort(scratch, n, sizeof(*scratch), descending);
    kept = cut(sampler, scratch, n, &total);
    return id_at(logits, n_vocab, scratch, draw(sampler, scratch, kept, total));
}
