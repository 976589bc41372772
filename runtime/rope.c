/*
 * rope.c - the angles of the rotary embedding
 *
 * Element i of a head of d rotates with element i + d / 2 by the angle p * f[i] at position p.
 * Frequencies, angles, cosines and sines are formed in f32, as the float32 reference does: at
 * positions beyond 1e5 an angle in f64 would be more accurate, and different.
 */
#include "runtime/pass.h"

#include <math.h>
#include <stdlib.h>

enum { ROW_GRAIN = 16 };

/* f[i] = base^(-2i/d) / factor / divisor[i]; a divisor of 1e30 stands for "does not rotate". */
static void frequencies(const struct rope_facts *facts, const float *divisors, float *f)
{
    uint32_t half = facts->n_dims / 2;

    for (uint32_t i = 0; i < half; i++) {
        float exponent = (float)(2 * i) / (float)facts->n_dims;

        f[i] = 1.0f / powf(facts->base, exponent) / facts->factor;
        if (divisors)
            f[i] /= divisors[i];
    }
}

enum status rope_open(struct runtime *rt, struct error *err)
{
    for (int kind = 0; kind < ROPE_KINDS; kind++) {
        const struct rope_facts *facts = &rt->config.rope[kind];

        rt->rope_freqs[kind] = calloc(facts->n_dims / 2, sizeof(float));
        if (!rt->rope_freqs[kind])
            return fail(err, ERR_NOMEM, "no memory for rotary frequencies");
        frequencies(facts, kind == ROPE_GLOBAL ? rt->weights.rope_freqs : NULL,
                    rt->rope_freqs[kind]);
    }
    return OK;
}

struct angles {
    const struct pass *p;
    enum rope_kind kind;
};

static void fill_rows(void *arg, size_t begin, size_t end)
{
    const struct angles *a = arg;
    const struct runtime *rt = a->p->rt;
    const float *f = rt->rope_freqs[a->kind];
    size_t half = rt->config.rope[a->kind].n_dims / 2;

    for (size_t t = begin; t < end; t++) {
        float *c = rt->scratch.cos[a->kind] + t * half,
              *s = rt->scratch.sin[a->kind] + t * half;
        float position = (float)(a->p->position + t);

        for (size_t i = 0; i < half; i++) {
            c[i] = cosf(position * f[i]);
            s[i] = sinf(position * f[i]);
        }
    }
}

void rope_fill(struct pass *p)
{
    for (int kind = 0; kind < ROPE_KINDS; kind++) {
        parallel_for(p->n, ROW_GRAIN, fill_rows,
                     &(struct angles){.p = p, .kind = (enum rope_kind)kind});
        p->cos[kind] = p->rt->scratch.cos[kind];
        p->sin[kind] = p->rt->scratch.sin[kind];
    }
}
