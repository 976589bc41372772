/*
 * test_ple_file.c - a packed model whose table lies in a file of its own
 */
#include "convert/convert.h"
#include "tests/fixture.h"
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { N_CONTEXT = 64 };

static char folder[FIXTURE_PATH], out[FIXTURE_PATH], first[FIXTURE_PATH],
    second[FIXTURE_PATH];

static void pack(const char *type)
{
    const struct convert_options options = {.type = type, .force = true};
    struct convert_result result = {0};
    struct error err = {0};

    cr_assert_eq(
        convert_run(CARAT_DATA "/golden/e2b", out, &options, NULL, &result, &err), OK,
        "%s", err.text);
    cr_assert_eq(result.n_files, 2);
    convert_result_free(&result);
}

static void set_up(void)
{
    fixture_folder(folder);
    fixture_join(out, folder, "e2b.gguf");
    fixture_join(first, folder, "e2b-00001-of-00002.gguf");
    fixture_join(second, folder, "e2b-00002-of-00002.gguf");
}

static void tear_down(void)
{
    fixture_remove(folder);
}

TestSuite(ple_file, .init = set_up, .fini = tear_down);

struct opened {
    struct golden golden;
    struct model *model;
    struct runtime *rt;
    struct sequence *seq;
    int32_t *ids;
    size_t n_ids;
};

static void open_packed(struct opened *o, const struct runtime_options *options)
{
    struct error err = {0};

    *o = (struct opened){0};
    golden_open(&o->golden, "e2b");
    cr_assert_eq(model_open_gguf(first, &o->model, &err), OK, "%s", err.text);
    golden_run(o->model, options, N_CONTEXT, &o->rt, &o->seq);
    o->ids = golden_ints(&o->golden, &o->n_ids, "p0.input_ids");
}

static void close_packed(struct opened *o)
{
    free(o->ids);
    sequence_free(o->seq);
    runtime_close(o->rt);
    model_close(o->model);
    golden_close(&o->golden);
}

static float *logits_with(const struct runtime_options *options, size_t *n)
{
    struct opened o;

    open_packed(&o, options);
    float *logits = golden_logits(o.rt, o.seq, o.ids, o.n_ids, 0);
    *n = o.n_ids * runtime_facts(o.rt)->n_vocab;
    close_packed(&o);
    return logits;
}

Test(ple_file, logits_of_an_exact_file_equal_the_golden)
{
    size_t n, n_want;
    struct golden g;

    pack("F32");
    golden_open(&g, "e2b");
    float *got = logits_with(&(struct runtime_options){.arithmetic = ARITH_F32}, &n);
    float *want = golden_floats(&g, &n_want, "p0.logits");
    cr_assert_eq(n, n_want);
    cr_expect_leq(golden_error(got, want, n), 2e-4);
    free(got);
    free(want);
    golden_close(&g);
}

Test(ple_file, disk_cache_and_memory_give_the_same_bits)
{
    static const char *const types[] = {"Q8_0", "Q4_0"};

    for (size_t t = 0; t < 2; t++) {
        size_t n;

        pack(types[t]);
        float *disk = logits_with(&(struct runtime_options){.ple_cache_bytes = 1}, &n);
        float *cached = logits_with(&(struct runtime_options){0}, &n);
        float *memory = logits_with(&(struct runtime_options){.ple_in_memory = true}, &n);
        cr_expect_arr_eq(disk, cached, n * sizeof(*disk), "%s", types[t]);
        cr_expect_arr_eq(disk, memory, n * sizeof(*disk), "%s", types[t]);
        free(disk);
        free(cached);
        free(memory);
    }
}

Test(ple_file, a_table_cut_short_after_opening_is_told)
{
    struct error err = {0};
    struct opened o;

    pack("Q8_0");
    open_packed(&o, &(struct runtime_options){0});
    cr_assert_eq(truncate(second, 100), 0);
    cr_expect_eq(runtime_eval(o.rt, o.seq, o.ids, o.n_ids, NULL, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "e2b-00002-of-00002.gguf"), "%s", err.text);
    cr_expect_not_null(strstr(err.text, "per_layer_token_embd.weight"), "%s", err.text);
    close_packed(&o);
}

Test(ple_file, a_table_changed_after_opening_is_told)
{
    struct error err = {0};
    struct opened o;
    FILE *f;

    pack("Q8_0");
    open_packed(&o, &(struct runtime_options){0});
    f = fopen(second, "ab");
    cr_assert_not_null(f);
    cr_assert_eq(fputc(0, f), 0);
    fclose(f);
    cr_expect_eq(runtime_eval(o.rt, o.seq, o.ids, o.n_ids, NULL, &err), ERR_IO);
    cr_expect_not_null(strstr(err.text, "e2b-00002-of-00002.gguf"), "%s", err.text);
    close_packed(&o);
}
