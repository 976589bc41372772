/*
 * kernels.c - the choice of a table, and the row functions cut over threads
 */
#include "runtime/kernels/kernels.h"
#include "runtime/kernels/kernel_table.h"

enum { RANGE = 16384 }; /* numbers in one range of a parallel row function, about */

const struct kernels *kernels_at(enum cpu_level level)
{
    if (!cpu_can_run(level))
        return NULL;
    switch (level) {
    case CPU_SCALAR:
        return &kernels_scalar;
#if defined(CARAT_X86)
    case CPU_AVX2:
        return &kernels_avx2;
    case CPU_AVX512:
        return cpu_features()->avx512_vnni ? &kernels_avx512_vnni : &kernels_avx512;
#elif defined(CARAT_ARM)
    case CPU_NEON:
        if (cpu_features()->neon_dotprod && cpu_features()->neon_i8mm)
            return &kernels_neon_i8mm;
        return cpu_features()->neon_dotprod ? &kernels_neon_dotprod : &kernels_neon;
#endif
    default:
        return NULL;
    }
}

const struct kernels *kernels_best(void)
{
    const struct kernels *best = &kernels_scalar;

    for (int level = CPU_SCALAR; level <= (int)cpu_level(); level++) {
        const struct kernels *k = kernels_at((enum cpu_level)level);
        best = k ? k : best;
    }
    return best;
}

const char *kernels_name(const struct kernels *k)
{
    return k->name;
}

double kernels_token_price(const struct kernels *k)
{
    return k->token_price > 0.0 ? k->token_price : 0.5;
}

/* What the bodies below share; each uses what it needs. */
struct rows {
    const struct kernels *k;
    const float *x, *weight, *up, *cos, *sin;
    float *y;
    size_t n_cols, n_heads;
    float eps, factor;
};

static size_t rows_grain(size_t n_cols)
{
    return RANGE / (n_cols + 1) + 1;
}

static void norm_rows(void *arg, size_t begin, size_t end)
{
    const struct rows *j = arg;

    for (size_t r = begin; r < end; r++)
        j->k->rows->norm(j->x + r * j->n_cols, j->weight, j->n_cols, j->eps,
                         j->y + r * j->n_cols);
}

void kernels_rms_norm(const struct kernels *k, const float *x, const float *weight,
                      size_t n_rows, size_t n_cols, float eps, float *y)
{
    struct rows job = {
        .k = k, .x = x, .weight = weight, .y = y, .n_cols = n_cols, .eps = eps};

    parallel_for(n_rows, rows_grain(n_cols), norm_rows, &job);
}

static void rotate_tokens(void *arg, size_t begin, size_t end)
{
    const struct rows *j = arg;
    size_t half = j->n_cols / 2;

    for (size_t t = begin; t < end; t++)
        for (size_t h = 0; h < j->n_heads; h++)
            j->k->rows->rotate(j->y + (t * j->n_heads + h) * j->n_cols, half,
                               j->cos + t * half, j->sin + t * half);
}

void kernels_rope(const struct kernels *k, float *x, size_t n_tokens, size_t n_heads,
                  size_t head_dim, const float *cos, const float *sin)
{
    struct rows job = {
        .k = k, .y = x, .cos = cos, .sin = sin, .n_cols = head_dim, .n_heads = n_heads};

    parallel_for(n_tokens, rows_grain(n_heads * head_dim), rotate_tokens, &job);
}

static void gelu_part(void *arg, size_t begin, size_t end)
{
    const struct rows *j = arg;

    j->k->rows->gelu_mul(j->x + begin, j->up + begin, end - begin, j->y + begin);
}

void kernels_gelu_mul(const struct kernels *k, const float *gate, const float *up,
                      size_t n, float *y)
{
    struct rows job = {.k = k, .x = gate, .up = up, .y = y};

    parallel_for(n, RANGE, gelu_part, &job);
}

static void softcap_part(void *arg, size_t begin, size_t end)
{
    const struct rows *j = arg;

    j->k->rows->softcap(j->y + begin, end - begin, j->factor);
}

void kernels_softcap(const struct kernels *k, float *x, size_t n, float cap)
{
    struct rows job = {.k = k, .y = x, .factor = cap};

    parallel_for(n, RANGE, softcap_part, &job);
}

void kernels_softmax(const struct kernels *k, float *x, size_t n)
{
    float max = x[kernels_argmax(x, n)];
    float sum = k->rows->exp_sum(x, n, max);

    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

static void add_part(void *arg, size_t begin, size_t end)
{
    const struct rows *j = arg;

    j->k->rows->add(j->y + begin, j->x + begin, end - begin);
}

void kernels_add(const struct kernels *k, float *x, const float *y, size_t n)
{
    struct rows job = {.k = k, .y = x, .x = y};

    parallel_for(n, RANGE, add_part, &job);
}

static void mul_part(void *arg, size_t begin, size_t end)
{
    const struct rows *j = arg;

    j->k->rows->mul(j->y + begin, j->x + begin, end - begin);
}

void kernels_mul(const struct kernels *k, float *x, const float *y, size_t n)
{
    struct rows job = {.k = k, .y = x, .x = y};

    parallel_for(n, RANGE, mul_part, &job);
}

static void scale_part(void *arg, size_t begin, size_t end)
{
    const struct rows *j = arg;

    j->k->rows->scale(j->y + begin, j->factor, end - begin);
}

void kernels_scale(const struct kernels *k, float *x, float s, size_t n)
{
    struct rows job = {.k = k, .y = x, .factor = s};

    parallel_for(n, RANGE, scale_part, &job);
}

static void add_scaled_part(void *arg, size_t begin, size_t end)
{
    const struct rows *j = arg;

    j->k->rows->add_scaled(j->y + begin, j->x + begin, j->factor, end - begin);
}

void kernels_add_scaled(const struct kernels *k, float *x, const float *y, float s,
                        size_t n)
{
    struct rows job = {.k = k, .y = x, .x = y, .factor = s};

    parallel_for(n, RANGE, add_scaled_part, &job);
}

size_t kernels_argmax(const float *x, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}
