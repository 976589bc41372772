/*
 * fake_source.c - a language model without weights: seeded logits that look like a model's
 */
#include "tests/verify/fake_source.h"

#include "tests/fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The sum of four uniforms, centred, of variance 1. */
static float bell(uint64_t *state)
{
    float sum = 0.0f;

    for (int i = 0; i < 4; i++)
        sum += fixture_uniform(state);
    return (sum - 2.0f) * 1.7320508f;
}

static void fill_row(const struct fake *fake, uint64_t state)
{
    uint64_t noise = state ^ fake->noise_seed;

    for (uint32_t i = 0; i < fake->n_vocab; i++)
        fake->row[i] = fake->spread * bell(&state);
    fake->row[fixture_random(&state) % fake->n_vocab] += 6.0f;
    for (uint32_t i = 0; i < fake->n_vocab && fake->noise > 0.0f; i++) {
        float e = bell(&noise);
        fake->row[i] += fake->noise * (0.7f * e + 0.2f * e * e * e);
    }
}

static enum status run(void *self, const int32_t *ids, size_t n,
                       const struct logits_sink *sink, struct error *err)
{
    const struct fake *fake = self;
    uint64_t state = 1;

    (void)err;
    for (size_t p = 0; p < n; p++) {
        state = (state + (uint64_t)ids[p]) * 0x9e3779b97f4a7c15u;
        if (p < sink->first)
            continue;
        fill_row(fake, state);
        sink->rows(sink->arg, (uint32_t)p, 1, fake->row);
    }
    return OK;
}

struct logits_source fake_source(struct fake *fake)
{
    return (struct logits_source){.self = fake, .n_vocab = fake->n_vocab, .run = run};
}

struct logits_text fake_text(uint32_t n_vocab, uint32_t n_ctx, uint32_t n_chunks)
{
    size_t n = (size_t)n_ctx * n_chunks;
    struct logits_text text = {
        .n_ctx = n_ctx,
        .n_chunks = n_chunks,
        .n_tokens = n,
        .n_scored = (uint64_t)n_chunks * (n_ctx - 1 - n_ctx / 2),
        .chunk_tokens = malloc(n_chunks * sizeof(*text.chunk_tokens)),
        .tokens = malloc(n * sizeof(*text.tokens)),
        .scored = calloc(n, 1),
    };
    uint64_t state = 20261124;

    if (!text.chunk_tokens || !text.tokens || !text.scored)
        abort();
    for (size_t i = 0; i < n; i++)
        text.tokens[i] = (int32_t)(fixture_random(&state) % n_vocab);
    for (uint32_t c = 0; c < n_chunks; c++) {
        text.chunk_tokens[c] = n_ctx;
        memset(text.scored + (size_t)c * n_ctx + n_ctx / 2 + 1, 1, n_ctx - 1 - n_ctx / 2);
    }
    memset(text.sha256, 0x5a, sizeof(text.sha256));
    return text;
}

static double log_sum(const float *z, uint32_t n)
{
    double sum = 0.0;

    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)z[i]);
    return log(sum);
}

static uint32_t top(const float *z, uint32_t n)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < n; i++)
        best = z[i] > z[best] ? i : best;
    return best;
}

static void add_row(struct full_figures *out, const struct fake *base,
                    const struct fake *model, int32_t target)
{
    const float *p = base->row, *q = model->row;
    double lse_p = log_sum(p, base->n_vocab), lse_q = log_sum(q, base->n_vocab);

    for (uint32_t i = 0; i < base->n_vocab; i++) {
        double log_p = (double)p[i] - lse_p;
        out->kld += exp(log_p) * (log_p - ((double)q[i] - lse_q));
    }
    out->nll_base += lse_p - (double)p[target];
    out->nll_model += lse_q - (double)q[target];
    out->same_top += top(p, base->n_vocab) == top(q, base->n_vocab);
    out->n++;
}

struct full_figures fake_full(struct fake *base, struct fake *model,
                              const struct logits_text *text)
{
    struct full_figures out = {0};
    uint64_t state = 1;

    for (size_t i = 0; i < text->n_tokens; i++) {
        if (i % text->n_ctx == 0)
            state = 1;
        state = (state + (uint64_t)text->tokens[i]) * 0x9e3779b97f4a7c15u;
        if (i + 1 == text->n_tokens || !text->scored[i + 1])
            continue;
        fill_row(base, state);
        fill_row(model, state);
        add_row(&out, base, model, text->tokens[i + 1]);
    }
    out.kld /= (double)out.n;
    out.nll_base /= (double)out.n;
    out.nll_model /= (double)out.n;
    out.same_top /= (double)out.n;
    return out;
}
