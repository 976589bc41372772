/*
 * test_weights.c - a tensor that is missing, misshapen or too much is named
 */
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A view of a golden model with a table of tensors of its own. */
struct altered {
    struct model model;
    struct gguf_tensor tensors[256];
    size_t source[256]; /* where each lies in the original */
    const struct model *original;
};

static enum status read_rows(void *self, size_t i, uint64_t first, uint64_t n, void *dst,
                             struct error *err)
{
    const struct altered *a = self;

    return model_read_rows(a->original, a->source[i], first, n, dst, err);
}

static void close_nothing(void *self)
{
    (void)self; /* the original owns what there is */
}

static const struct model_ops ops = {.read_rows = read_rows, .close = close_nothing};

/* Everything of the original but `without` (NULL: all). */
static void copy(struct altered *a, const struct model *original, const char *without)
{
    *a = (struct altered){.model = *original, .original = original};
    a->model.tensors = a->tensors;
    a->model.n_tensors = 0;
    a->model.ops = &ops;
    a->model.self = a;
    for (size_t i = 0; i < original->n_tensors; i++) {
        if (without && strcmp(original->tensors[i].name, without) == 0)
            continue;
        a->source[a->model.n_tensors] = i;
        a->tensors[a->model.n_tensors++] = original->tensors[i];
    }
}

static enum status try(struct altered *a, struct error *err)
{
    struct model *model = malloc(sizeof(*model));
    struct runtime *rt = NULL;
    enum status st;

    cr_assert_not_null(model);
    *err = (struct error){0};
    *model = a->model;
    cr_assert_eq(model_index(model, err), OK, "%s", err->text);
    st = runtime_open(model, &(struct runtime_options){0}, &rt, err);
    runtime_close(rt);
    model_close(model);
    return st;
}

/* Tensors a model of its kind runs without: global layers may take keys for values, and layers
 * that share read none of their own. */
static bool is_optional(const char *member, const char *name)
{
    static const char *const of_e2b[] = {"blk.2.attn_v", "blk.3.attn_k", "blk.3.attn_v",
                                         "blk.4.attn_k", "blk.4.attn_v", "blk.5.attn_k",
                                         "blk.5.attn_v"};

    for (size_t i = 0; i < sizeof(of_e2b) / sizeof(of_e2b[0]); i++)
        if (strcmp(member, "e2b") == 0 && strstr(name, of_e2b[i]))
            return true;
    return false;
}

static struct altered altered;

Test(weights, every_missing_tensor_is_named)
{
    static const char *const some[] = {"e2b", "26b-a4b"};

    for (size_t m = 0; m < 2; m++) {
        struct error err;
        struct golden g;

        golden_open(&g, some[m]);
        for (size_t i = 0; i < g.model->n_tensors; i++) {
            const char *name = g.model->tensors[i].name;

            copy(&altered, g.model, name);
            if (is_optional(g.member, name)) {
                cr_expect_eq(try(&altered, &err), OK, "%s: %s", name, err.text);
                continue;
            }
            cr_expect_eq(try(&altered, &err), ERR_SHAPE, "%s", name);
            if (!strstr(name, "gate_up_exps")) /* a part of it is what is missed */
                cr_expect_not_null(strstr(err.text, name), "%s: %s", name, err.text);
        }
        golden_close(&g);
    }
}

Test(weights, every_misshapen_tensor_is_named)
{
    struct error err;
    struct golden g;

    golden_open(&g, "e2b");
    for (size_t i = 0; i < g.model->n_tensors; i++) {
        copy(&altered, g.model, NULL);
        altered.tensors[i].ne[0] *= 2;
        if (is_optional(g.member, altered.tensors[i].name))
            continue;
        cr_expect_eq(try(&altered, &err), ERR_SHAPE, "%s", altered.tensors[i].name);
        cr_expect_not_null(strstr(err.text, altered.tensors[i].name), "%s", err.text);
    }
    golden_close(&g);
}

Test(weights, a_tensor_too_much_is_named)
{
    struct error err;
    struct golden g;

    golden_open(&g, "31b");
    copy(&altered, g.model, NULL);
    altered.tensors[altered.model.n_tensors] = altered.tensors[0];
    altered.tensors[altered.model.n_tensors++].name = "blk.0.attn_q.bias";
    cr_expect_eq(try(&altered, &err), ERR_SHAPE);
    cr_expect_not_null(strstr(err.text, "blk.0.attn_q.bias"), "%s", err.text);
    golden_close(&g);
}
