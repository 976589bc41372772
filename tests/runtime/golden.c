/*
 * golden.c - the golden checkpoints, opened for tests
 */
#include "tests/runtime/golden.h"
#include "convert/convert.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *const members[N_MEMBERS] = {
    "e2b", "e4b", "12b", "26b-a4b", "31b", "gemma3-text", "gemma3-4b", "shieldgemma2"};

void golden_open_folder(struct golden *golden, const char *folder)
{
    struct error err = {0};
    char path[512];

    *golden = (struct golden){.member = folder};
    snprintf(path, sizeof(path), CARAT_DATA "/%s", folder);
    cr_assert_eq(
        convert_open_model(path, &(struct source_options){0}, &golden->model, &err), OK,
        "%s", err.text);
    snprintf(path, sizeof(path), CARAT_DATA "/%s/golden.safetensors", folder);
    cr_assert_eq(safetensors_open(path, &golden->file, &err), OK, "%s", err.text);
}

void golden_open(struct golden *golden, const char *member)
{
    char folder[64];

    snprintf(folder, sizeof(folder), "golden/%s", member);
    golden_open_folder(golden, folder);
    golden->member = member;
}

void golden_close(struct golden *golden)
{
    model_close(golden->model);
    safetensors_close(golden->file);
}

static void *read_bytes(const struct golden *golden, const struct tensor *t)
{
    struct error err = {0};
    void *bytes = malloc((size_t)t->n_bytes + 1);

    cr_assert_not_null(bytes);
    cr_assert_eq(file_read(safetensors_file(golden->file), t->offset, bytes,
                           (size_t)t->n_bytes, &err),
                 OK, "%s", err.text);
    return bytes;
}

float *golden_floats(const struct golden *golden, size_t *n, const char *fmt, ...)
{
    const struct tensor *t;
    char name[64];
    void *bytes;
    float *x;
    va_list args;

    va_start(args, fmt);
    vsnprintf(name, sizeof(name), fmt, args);
    va_end(args);
    t = safetensors_find(golden->file, name);
    if (!t)
        return NULL;
    *n = (size_t)tensor_elements(t);
    bytes = read_bytes(golden, t);
    x = malloc(*n * sizeof(*x) + 1);
    cr_assert_not_null(x);
    dtype_widen(t->dtype, bytes, x, *n);
    free(bytes);
    return x;
}

int32_t *golden_ints(const struct golden *golden, size_t *n, const char *fmt, ...)
{
    const struct tensor *t;
    char name[64];
    va_list args;

    va_start(args, fmt);
    vsnprintf(name, sizeof(name), fmt, args);
    va_end(args);
    t = safetensors_find(golden->file, name);
    cr_assert(t && t->dtype == DTYPE_I32, "%s: no %s", golden->member, name);
    *n = (size_t)tensor_elements(t);
    return read_bytes(golden, t);
}

double golden_error(const float *got, const float *want, size_t n)
{
    double square = 0.0, worst = 0.0;

    for (size_t i = 0; i < n; i++) {
        double e = fabs((double)got[i] - (double)want[i]);

        square += (double)want[i] * (double)want[i];
        worst = e > worst || isnan(e) ? e : worst;
    }
    return worst / sqrt(square / (double)n);
}

void golden_run(const struct model *model, const struct runtime_options *options,
                uint32_t n_ctx, struct runtime **rt, struct sequence **seq)
{
    struct error err = {0};

    cr_assert_eq(runtime_open(model, options, rt, &err), OK, "%s", err.text);
    cr_assert_eq(sequence_new(*rt, n_ctx, seq, &err), OK, "%s", err.text);
}

struct collected {
    float *x;
    size_t n_rows, n_vocab;
};

static void collect(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    struct collected *c = arg;

    (void)position;
    memcpy(c->x + c->n_rows * c->n_vocab, logits, n_rows * c->n_vocab * sizeof(*logits));
    c->n_rows += n_rows;
}

float *golden_logits(struct runtime *rt, struct sequence *seq, const int32_t *ids,
                     size_t n, uint32_t first)
{
    struct collected c = {.n_vocab = runtime_facts(rt)->n_vocab};
    uint32_t begin = sequence_length(seq), from = first > begin ? first : begin;
    struct error err = {0};

    c.x = calloc(begin + n - from + 1, c.n_vocab * sizeof(*c.x));
    cr_assert_not_null(c.x);
    cr_assert_eq(
        runtime_eval(rt, seq, ids, n,
                     &(struct logits_sink){.arg = &c, .first = first, .rows = collect},
                     &err),
        OK, "%s", err.text);
    cr_assert_eq(c.n_rows, begin + n - from);
    return c.x;
}
