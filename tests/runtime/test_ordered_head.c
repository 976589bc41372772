/*
 * test_ordered_head.c - keys of an ordered head that cannot be true are refused, by name
 */
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { N_VOCAB = 4096, N_EMBD = 64 }; /* of golden e2b-assistant */

static struct gguf_meta *meta_of(const struct golden *g)
{
    return (struct gguf_meta *)(uintptr_t)g->model->meta;
}

/* The drafter's head is opened with its target's runtime at hand. */
static enum status open_drafter(const struct golden *target, const struct golden *drafter,
                                struct error *err)
{
    struct runtime *rt = NULL, *draft_rt = NULL;
    struct drafter *d = NULL;
    struct error other = {0};
    enum status st = runtime_open(target->model, &(struct runtime_options){0}, &rt, err);

    cr_assert_eq(st, OK, "%s", err->text);
    st = runtime_open(drafter->model, &(struct runtime_options){0}, &draft_rt, &other);
    cr_assert_eq(st, OK, "%s", other.text);
    st = drafter_new(draft_rt, rt, &d, err);
    drafter_free(d);
    runtime_close(draft_rt);
    runtime_close(rt);
    return st;
}

static enum status set_u32(struct gguf_meta *meta, const char *key, uint32_t v,
                           struct error *err)
{
    return gguf_set_u32(meta, key, v, err);
}

static enum status set_text(struct gguf_meta *meta, const char *key, uint32_t v,
                            struct error *err)
{
    (void)v;
    gguf_unset(meta, key);
    return gguf_set_str(meta, key, "4", 1, err);
}

static enum status unset(struct gguf_meta *meta, const char *key, uint32_t v,
                         struct error *err)
{
    (void)v, (void)err;
    gguf_unset(meta, key);
    return OK;
}

static enum status set_floats(struct gguf_meta *meta, const char *key, uint32_t n,
                              struct error *err)
{
    float *x = calloc(n + 1, sizeof(*x));
    enum status st = gguf_set_array(meta, key, GGUF_F32, x, n, err);

    free(x);
    return st;
}

static enum status set_zeros(struct gguf_meta *meta, const char *key, uint32_t n,
                             struct error *err)
{
    int32_t *ids = calloc(n + 1, sizeof(*ids));
    enum status st = gguf_set_array(meta, key, GGUF_I32, ids, n, err);

    free(ids);
    return st;
}

/* N_VOCAB ids, the last of which is `last`. */
static enum status set_last(struct gguf_meta *meta, const char *key, uint32_t last,
                            struct error *err)
{
    int32_t *ids = calloc(N_VOCAB, sizeof(*ids));
    enum status st;

    ids[N_VOCAB - 1] = (int32_t)last;
    st = gguf_set_array(meta, key, GGUF_I32, ids, N_VOCAB, err);
    free(ids);
    return st;
}

Test(ordered_head, refuses_keys_that_cannot_be_true)
{
    static const struct {
        const char *key;
        enum status (*set)(struct gguf_meta *, const char *, uint32_t, struct error *);
        uint32_t v;
        const char *says;
    } cases[] = {
        {ORDERED_HEAD_CHOSEN, unset, 0, "missing, or no u32"},
        {ORDERED_HEAD_CHOSEN, set_text, 0, "missing, or no u32"},
        {ORDERED_HEAD_CHOSEN, set_u32, 0, "0 is not in 1 .. 64"},
        {ORDERED_HEAD_CHOSEN, set_u32, 65, "65 is not in 1 .. 64"},
        {ORDERED_HEAD_CENTROIDS, unset, 0, "not centroids of width 64"},
        {ORDERED_HEAD_CENTROIDS, set_u32, 4, "not centroids of width 64"},
        {ORDERED_HEAD_CENTROIDS, set_zeros, 64 * N_EMBD, "not centroids of width 64"},
        {ORDERED_HEAD_CENTROIDS, set_floats, 0, "not centroids of width 64"},
        {ORDERED_HEAD_CENTROIDS, set_floats, 64 * N_EMBD - 1,
         "not centroids of width 64 for 4096 pieces"},
        {ORDERED_HEAD_CENTROIDS, set_floats, 63 * N_EMBD,
         "not centroids of width 64 for 4096 pieces"},
        {ORDERED_HEAD_TOKENS, unset, 0, "not an array of 4096 ids"},
        {ORDERED_HEAD_TOKENS, set_floats, N_VOCAB, "not an array of 4096 ids"},
        {ORDERED_HEAD_TOKENS, set_zeros, N_VOCAB - 1, "not an array of 4096 ids"},
        {ORDERED_HEAD_TOKENS, set_last, N_VOCAB, "4096 is no id of 4096"},
        {ORDERED_HEAD_TOKENS, set_last, UINT32_MAX, "-1 is no id of 4096"},
    };
    struct golden target;

    golden_open(&target, "e2b");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {0};
        struct golden drafter;

        golden_open(&drafter, "e2b-assistant");
        cr_assert_eq(cases[i].set(meta_of(&drafter), cases[i].key, cases[i].v, &err), OK,
                     "%s", err.text);
        cr_expect_eq(open_drafter(&target, &drafter, &err), ERR_CORRUPT, "case %zu", i);
        cr_expect_not_null(strstr(err.text, cases[i].key), "case %zu: %s", i, err.text);
        cr_expect_not_null(strstr(err.text, cases[i].says), "case %zu: %s", i, err.text);
        cr_expect_not_null(strstr(err.text, drafter.model->path), "%s", err.text);
        golden_close(&drafter);
    }
    golden_close(&target);
}

Test(ordered_head, a_drafter_without_any_of_the_keys_looks_through_its_whole_embedding)
{
    struct golden target, drafter;
    struct error err = {0};

    golden_open(&target, "e2b");
    golden_open(&drafter, "e2b-assistant");
    gguf_unset(meta_of(&drafter), ORDERED_HEAD_CHOSEN);
    gguf_unset(meta_of(&drafter), ORDERED_HEAD_CENTROIDS);
    gguf_unset(meta_of(&drafter), ORDERED_HEAD_TOKENS);
    cr_expect_eq(open_drafter(&target, &drafter, &err), OK, "%s", err.text);
    golden_close(&drafter);
    golden_close(&target);
}
