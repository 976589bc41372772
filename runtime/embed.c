/*
 * embed.c - an encoder's answer: one vector a text
 *
 *     mean over the tokens of the final norm's output; through the dense heads the model has;
 *     divided by its Euclidean length
 *
 * Several passages of one text may be pooled at a time, each by itself: that is how statistics of the
 * heads' inputs get more than one row a text (walk.c).
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

/* The pooled rows, p->n of them, become head times rows, when the model has it; returns the width. */
static size_t apply_head(const struct pass *p, const struct linear *head,
                         const char *what, size_t width)
{
    struct scratch *s = &p->rt->scratch;
    const size_t n_out = head->matrix.n_rows;

    if (!head->matrix.data)
        return width;
    pass_multiply(p, -1, head, s->pooled, s->pooled_out);
    memcpy(s->pooled, s->pooled_out, p->n * n_out * sizeof(*s->pooled));
    tap_rows(p, what, -1, n_out, s->pooled);
    return n_out;
}

size_t pool_passages(struct pass *p, const float *rows, size_t n_rows)
{
    const struct weights *w = &p->rt->weights;
    float *pooled = p->rt->scratch.pooled;
    size_t width = p->rt->config.n_embd;

    for (size_t i = 0; i < p->n; i++) {
        const size_t first = n_rows * i / p->n, end = n_rows * (i + 1) / p->n;

        mean(rows + first * width, end - first, width, pooled + i * width);
    }
    tap_rows(p, "pooled", -1, width, pooled);
    width = apply_head(p, &w->dense_2, "dense2", width);
    return apply_head(p, &w->dense_3, "dense3", width);
}

enum status runtime_embed(struct runtime *rt, struct sequence *seq, const int32_t *ids,
                          size_t n, float *out, struct error *err)
{
    size_t width;
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
    width = pool_passages(&p, sequence_hidden(seq, 0), n);
    memcpy(out, rt->scratch.pooled, width * sizeof(*out));
    normalize(out, width);
    return OK;
}
