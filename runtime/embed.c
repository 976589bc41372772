/*
 * embed.c - an encoder's answer: one vector a text
 *
 *     mean over the tokens of the final norm's output; through the dense heads the model has;
 *     divided by its Euclidean length
 */
#include "runtime/pass.h"

#include <math.h>

/* out = mean of n rows, summed in f64 in their order. */
static void mean(const float *rows, size_t n, size_t width, float *out)
{
    for (size_t i = 0; i < width; i++) {
        double sum = 0.0;

        for (size_t t = 0; t < n; t++)
            sum += (double)rows[t * width + i];
        out[i] = (float)(sum / (double)n);
    }
}

static void normalize(float *x, size_t n)
{
    double square = 0.0;

    for (size_t i = 0; i < n; i++)
        square += (double)x[i] * (double)x[i];
    for (size_t i = 0; i < n && square > 0.0; i++)
        x[i] = (float)((double)x[i] / sqrt(square));
}

/* x = head x, when the model has it; returns the width. */
static size_t apply_head(const struct pass *p, const struct linear *head,
                         const char *what, float *x, size_t width)
{
    float *y = p->rt->scratch.pooled_out;

    if (!head->matrix.data)
        return width;
    pass_multiply(p, -1, head, x, y);
    memcpy(x, y, head->matrix.n_rows * sizeof(*x));
    tap_rows(p, what, -1, head->matrix.n_rows, x);
    return head->matrix.n_rows;
}

enum status runtime_embed(struct runtime *rt, struct sequence *seq, const int32_t *ids,
                          size_t n, float *out, struct error *err)
{
    const struct weights *w = &rt->weights;
    size_t width = rt->config.n_embd;
    struct pass p = {.rt = rt, .seq = seq, .n = 1};
    enum status st;

    if (rt->config.family->is_causal)
        return fail(err, ERR_USAGE, "a %s model generates; it has no embedding of a text",
                    rt->config.family->architecture);
    if (n == 0)
        return fail(err, ERR_USAGE, "a text without tokens has no embedding");
    sequence_reset(seq);
    st = runtime_eval(rt, seq, ids, n, NULL, err);
    if (st != OK)
        return st;
    mean(sequence_hidden(seq, 0), n, width, rt->scratch.pooled);
    tap_rows(&p, "pooled", -1, width, rt->scratch.pooled);
    width = apply_head(&p, &w->dense_2, "dense2", rt->scratch.pooled, width);
    width = apply_head(&p, &w->dense_3, "dense3", rt->scratch.pooled, width);
    memcpy(out, rt->scratch.pooled, width * sizeof(*out));
    normalize(out, width);
    return OK;
}
