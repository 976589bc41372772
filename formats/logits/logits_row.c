/*
 * logits_row.c - the softmax of one row, computed once and used for everything
 *
 * Weights are floats and their sum is a double, added in order of the ids, so a row means the
 * same number for whoever computes it from the same logits.
 */
#include "formats/logits/logits.h"

#include <math.h>
#include <stdlib.h>

bool logits_row_make(const float *z, size_t n, float *weights, struct logits_row *row)
{
    size_t best = 0;
    bool is_nan = false;

    for (size_t i = 0; i < n; i++) {
        is_nan |= isnan(z[i]);
        best = z[i] > z[best] ? i : best;
    }
    if (is_nan || isinf(z[best]))
        return false;

    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        weights[i] = expf(z[i] - z[best]);
        sum += (double)weights[i];
    }
    *row = (struct logits_row){
        .z = z,
        .weights = weights,
        .n = n,
        .sum = sum,
        .lse = (double)z[best] + log(sum),
        .argmax = (int32_t)best,
    };
    return true;
}

void logits_text_free(struct logits_text *text)
{
    free(text->chunk_tokens);
    free(text->tokens);
    free(text->scored);
    *text = (struct logits_text){0};
}
