/*
 * adapters.c - an adapter to order beside a small checkpoint, and the two merged
 */
#include "tests/convert/adapters.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

/* One more tensor, filled from its place; its numbers. */
const float *adapters_add(struct adapter_files *ad, const char *name, uint64_t a,
                          uint64_t b, uint64_t c)
{
    struct safetensors_item *item = &ad->items[ad->n];
    const size_t n = (size_t)(a * b * (c ? c : 1));
    uint64_t state = ad->n + 1;
    float *x = malloc(n * sizeof(*x));

    cr_assert(x && ad->n < MOST_FACTORS);
    for (size_t i = 0; i < n; i++)
        x[i] = fixture_uniform(&state) - 0.5f;
    snprintf(ad->names[ad->n], TINY_NAME, "%s", name);
    *item = (struct safetensors_item){.name = ad->names[ad->n],
                                      .dtype = DTYPE_F32,
                                      .n_dims = c ? 3 : 2,
                                      .dims = {a, b, c},
                                      .data = x};
    ad->n++;
    return x;
}

void adapters_write(const struct adapter_files *ad, const char *config)
{
    char path[FIXTURE_PATH];
    struct error err = {0};

    fixture_join(path, ad->folder, "adapter_config.json");
    fixture_write(path, config, strlen(config));
    fixture_join(path, ad->folder, "adapter_model.safetensors");
    cr_assert_eq(safetensors_write(path, ad->items, ad->n, NULL, true, &err), OK, "%s",
                 err.text);
}

void adapters_begin(struct tiny *tiny, struct adapter_files *ad, enum tiny_kind kind)
{
    tiny_begin(tiny, kind);
    *ad = (struct adapter_files){0};
    fixture_folder(ad->folder);
}

void adapters_end(struct tiny *tiny, struct adapter_files *ad)
{
    for (size_t i = 0; i < ad->n; i++)
        free((void *)(uintptr_t)ad->items[i].data);
    fixture_remove(ad->folder);
    tiny_end(tiny);
}

/* ---- a base with the adapter merged ---- */

enum status adapters_open(const struct tiny *tiny, const char *adapter,
                          struct model **out, struct error *err)
{
    const struct convert_lora lora = {.path = adapter, .scale = 1};
    const struct source_options options = {.loras = &lora, .n_loras = 1};

    tiny_write(tiny);
    return convert_open_source(tiny->folder, &options, out, err);
}

struct model *adapters_merged(const struct tiny *tiny, const struct adapter_files *ad)
{
    struct model *model = NULL;
    struct error err = {0};

    cr_assert_eq(adapters_open(tiny, ad->folder, &model, &err), OK, "%s", err.text);
    return model;
}

void adapters_refused(const struct tiny *tiny, const char *adapter, const char *says)
{
    struct model *model = NULL;
    struct error err = {0};

    cr_expect_neq(adapters_open(tiny, adapter, &model, &err), OK, "%s", says);
    cr_expect_not_null(strstr(err.text, says), "%s: %s", says, err.text);
    model_close(model);
}

/* The place of a tensor; n_tensors when there is none. */
size_t adapters_place(const struct model *model, const char *name)
{
    size_t i = 0;

    while (i < model->n_tensors && strcmp(model->tensors[i].name, name) != 0)
        i++;
    return i;
}

/* A tensor as doubles; freed by the caller. */
double *adapters_numbers(const struct model *model, const char *name, size_t *n)
{
    struct error err = {0};
    const size_t i = adapters_place(model, name);

    cr_assert_lt(i, model->n_tensors, "%s", name);
    const struct gguf_tensor *t = &model->tensors[i];
    uint8_t *bytes = malloc((size_t)t->n_bytes);
    float *x;

    *n = (size_t)(gguf_tensor_rows(t) * t->ne[0]);
    x = malloc(*n * sizeof(*x));
    double *wide = malloc(*n * sizeof(*wide));
    cr_assert(bytes && x && wide);
    cr_assert_eq(model_read_rows(model, i, 0, gguf_tensor_rows(t), bytes, &err), OK, "%s",
                 err.text);
    block_decode(t->type, bytes, x, *n);
    for (size_t k = 0; k < *n; k++)
        wide[k] = (double)x[k];
    free(bytes);
    free(x);
    return wide;
}

/* Every element of the tensor is within the f32 products' rounding of what is wanted. */
void adapters_expect(const struct model *model, const char *name, const double *want,
                     size_t n_want)
{
    size_t n;
    double *x = adapters_numbers(model, name, &n), far = 0;

    cr_assert_eq(n, n_want, "%s", name);
    for (size_t i = 0; i < n; i++)
        far = fmax(far, fabs(x[i] - want[i]));
    cr_expect_leq(far, (RANK + 1) * 0x1p-23 * 4, "%s: %g", name, far);
    free(x);
}

/* The base's own numbers. */
double *adapters_stored(struct tiny *tiny, const char *name)
{
    const struct tiny_tensor *t = tiny_tensor(tiny, name);
    const size_t n = (size_t)tiny_elements(t);
    double *x = malloc(n * sizeof(*x));

    cr_assert_not_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)f32_from_bf16(t->bf16[i]);
    return x;
}

/* w {out, in} += SCALE b {out, RANK} a {RANK, in} */
void adapters_product(double *w, const float *b, const float *a, size_t out, size_t in)
{
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t k = 0; k < RANK; k++)
                w[o * in + i] += SCALE * (double)b[o * RANK + k] * (double)a[k * in + i];
}

void adapters_finish(struct tiny *tiny, struct adapter_files *ad, const char *name,
                     double *want, size_t n_want)
{
    struct model *model = adapters_merged(tiny, ad);

    adapters_expect(model, name, want, n_want);
    model_close(model);
    free(want);
    adapters_end(tiny, ad);
}
