/*
 * test_pack.c - writing: the same bytes however they come about, and nothing half-written
 */
#include "tests/convert/packing.h"
#include "tests/convert/tiny.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- one SHA-256 ---- */

Test(pack, any_number_of_threads_writes_the_same_bytes)
{
    struct place place = place_begin();
    char first[2][65] = {"", ""};

    for (int threads = 1; threads <= 4; threads++) {
        parallel_set_threads(threads);
        struct convert_result r =
            run(&place, &(struct convert_options){.type = "Q4_K_M", .force = true});

        cr_assert_eq(r.n_files, 2);
        for (int i = 0; i < 2; i++) {
            if (threads == 1)
                memcpy(first[i], r.files[i].sha256, sizeof(first[i]));
            cr_expect_str_eq(r.files[i].sha256, first[i]);
        }
        convert_result_free(&r);
    }
    fixture_remove(place.folder);
}

Test(pack, the_hash_and_size_it_names_are_those_of_the_file)
{
    struct place place = place_begin();
    struct convert_result r = run(&place, &(struct convert_options){.type = "Q4_0"});
    struct error err = {0};

    for (size_t i = 0; i < r.n_files; i++) {
        uint8_t digest[32];
        char hex[65];
        struct file *file = NULL;

        cr_assert_eq(sha256_file(r.files[i].path, digest, &err), OK, "%s", err.text);
        sha256_hex(digest, hex);
        cr_expect_str_eq(hex, r.files[i].sha256);
        cr_assert_eq(file_open(r.files[i].path, &file, &err), OK, "%s", err.text);
        cr_expect_eq(file_size(file), r.files[i].bytes);
        file_close(file);
    }
    cr_expect_eq(count_files(place.folder), 2);
    convert_result_free(&r);
    fixture_remove(place.folder);
}

/* ---- one file or two ---- */

static uint8_t *read_tensor(const struct gguf *file, const struct gguf_tensor *t)
{
    uint8_t *bytes = malloc((size_t)t->n_bytes + 1);
    struct error err = {0};

    cr_assert_eq(
        file_read(gguf_file(file, t->file), t->offset, bytes, (size_t)t->n_bytes, &err),
        OK, "%s", err.text);
    return bytes;
}

static void expect_same_tensors(const char *path_a, const char *path_b)
{
    struct gguf *a = NULL, *b = NULL;
    struct error err = {0};

    cr_assert_eq(gguf_open(path_a, &a, &err), OK, "%s", err.text);
    cr_assert_eq(gguf_open(path_b, &b, &err), OK, "%s", err.text);
    cr_expect_eq(gguf_count(a), gguf_count(b));
    for (size_t i = 0; i < gguf_count(a); i++) {
        const struct gguf_tensor *x = gguf_at(a, i), *y = gguf_find(b, x->name);

        cr_assert_not_null(y, "%s", x->name);
        cr_assert_eq(x->type, y->type, "%s", x->name);
        uint8_t *xs = read_tensor(a, x), *ys = read_tensor(b, y);
        cr_expect_arr_eq(xs, ys, x->n_bytes, "%s", x->name);
        free(xs);
        free(ys);
    }
    gguf_close(a);
    gguf_close(b);
}

Test(pack, a_split_pair_holds_what_the_single_file_holds)
{
    struct place pair = place_begin(), one = place_begin();
    struct convert_result a = run(&pair, &(struct convert_options){.type = "Q4_K_M"});
    struct convert_result b =
        run(&one, &(struct convert_options){.type = "Q4_K_M", .ple_inline = true});
    struct gguf *file = NULL;
    struct error err = {0};

    cr_expect_eq(b.n_files, 1);
    expect_same_tensors(a.files[0].path, b.files[0].path);

    cr_assert_eq(gguf_open(a.files[0].path, &file, &err), OK, "%s", err.text);
    const struct gguf_tensor *table = gguf_find(file, "per_layer_token_embd.weight");
    cr_expect_eq(table->file, 1);
    cr_expect_eq(table->offset % 4096, 0,
                 "a row's page begins where a page of the file does");
    cr_expect_eq(gguf_alignment(file, 0), 32);
    cr_expect_eq(gguf_at(file, gguf_count(file) - 1), table, "alone in its file");
    gguf_close(file);

    cr_assert_eq(gguf_open(b.files[0].path, &file, &err), OK, "%s", err.text);
    cr_expect_str_eq(gguf_at(file, gguf_count(file) - 1)->name,
                     "per_layer_token_embd.weight");
    cr_expect_null(gguf_meta_find(gguf_metadata(file), "split.count"));
    gguf_close(file);
    convert_result_free(&a);
    convert_result_free(&b);
    fixture_remove(pair.folder);
    fixture_remove(one.folder);
}

Test(pack, a_gguf_is_a_source_like_its_checkpoint)
{
    struct place wide = place_begin(), there = place_begin(), here = place_begin();
    struct convert_result a = run(&wide, &(struct convert_options){.type = "BF16"});
    struct convert_result b = run_source(a.files[0].path, there.out,
                                         &(struct convert_options){.type = "Q4_K_M"});
    struct convert_result c = run(&here, &(struct convert_options){.type = "Q4_K_M"});

    expect_same_tensors(b.files[0].path, c.files[0].path);
    convert_result_free(&a);
    convert_result_free(&b);
    convert_result_free(&c);
    fixture_remove(wide.folder);
    fixture_remove(there.folder);
    fixture_remove(here.folder);
}

Test(pack, a_gguf_takes_the_template_it_is_given)
{
    static const char text[] = "{{ messages[0].content }}";
    struct place wide = place_begin(), here = place_begin();
    struct convert_result a =
        run(&wide, &(struct convert_options){.type = "Q8_0", .ple_inline = true});
    struct gguf *file = NULL;
    struct gguf_str found = {0};
    char path[FIXTURE_PATH];
    struct error err = {0};

    fixture_join(path, here.folder, "template.jinja");
    fixture_write(path, text, strlen(text));
    const struct convert_options options = {
        .type = "Q4_0", .ple_inline = true, .source = {.chat_template = path}};
    struct convert_result b = run_source(a.files[0].path, here.out, &options);

    cr_assert_eq(gguf_open(b.files[0].path, &file, &err), OK, "%s", err.text);
    cr_expect(gguf_get_str(gguf_metadata(file), "tokenizer.chat_template", &found));
    cr_expect_str_eq(found.text, text);
    gguf_close(file);
    convert_result_free(&a);
    convert_result_free(&b);
    fixture_remove(wide.folder);
    fixture_remove(here.folder);
}

/* ---- refused ---- */

Test(pack, bad_numbers_leave_no_file_at_all)
{
    struct place place = place_begin();
    struct convert_result result;
    struct tiny tiny;
    struct error err = {0};

    tiny_begin(&tiny, TINY_E2B);
    tiny_tensor(&tiny, "layers.3.mlp.down_proj.weight")->bf16[2 * 64 + 7] = 0xff80;
    tiny_write(&tiny);
    cr_expect_eq(convert_run(tiny.folder, place.out,
                             &(struct convert_options){.type = "Q4_0"}, NULL, &result,
                             &err),
                 ERR_CORRUPT);
    cr_expect_not_null(
        strstr(err.text, "layers.3.mlp.down_proj.weight: row 2, column 7 is infinite"),
        "%s", err.text);
    cr_expect_eq(count_files(place.folder), 0);
    tiny_end(&tiny);
    fixture_remove(place.folder);
}

Test(pack, an_existing_file_is_replaced_only_when_forced)
{
    struct place place = place_begin();
    const struct convert_options options = {.type = "Q4_0"};
    struct convert_result r = run(&place, &options), again;
    struct error err = {0};

    cr_expect_eq(convert_run(TRAINED, place.out, &options, NULL, &again, &err),
                 ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "exists"), "%s", err.text);
    cr_expect_eq(count_files(place.folder), 2);
    again = run(&place, &(struct convert_options){.type = "Q8_0", .force = true});
    cr_expect_str_neq(again.files[0].sha256, r.files[0].sha256);
    convert_result_free(&again);
    convert_result_free(&r);
    fixture_remove(place.folder);
}

Test(pack, too_little_memory_is_said_before_any_work)
{
    struct place place = place_begin();
    struct convert_result result;
    struct error err = {0};

    cr_expect_eq(
        convert_run(TRAINED, place.out,
                    &(struct convert_options){.type = "Q4_0", .max_memory = 1 << 20},
                    NULL, &result, &err),
        ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "--max-memory"), "%s", err.text);
    cr_expect_eq(count_files(place.folder), 0);
    fixture_remove(place.folder);
}

/* ---- numbers no scale can hold ---- */

Test(pack, a_tensor_whose_scale_f16_cannot_hold_stays_unquantized)
{
    static const char *const types[] = {"Q4_0", "Q4_1",   "Q5_0", "Q5_1",
                                        "Q8_0", "Q4_K_M", "Q6_K", "F16"};
    struct place place = place_begin();
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    tiny_tensor(&tiny, "layers.0.self_attn.q_proj.weight")->bf16[5] = 0x7de2; /* 3.8e37 */
    tiny_write(&tiny);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct convert_result r =
            run_source(tiny.folder, place.out,
                       &(struct convert_options){
                           .type = types[i], .ple_inline = true, .force = true});
        struct model *model = NULL;
        struct error err = {0};
        float *x = NULL;

        cr_assert_eq(model_open_gguf(r.files[0].path, &model, &err), OK, "%s", err.text);
        const size_t at = (size_t)model_find(model, "blk.0.attn_q.weight");
        cr_expect_eq(model->tensors[at].type, TYPE_BF16, "%s", types[i]);
        cr_assert_eq(model_read_f32(model, at, &x, &err), OK, "%s", err.text);
        cr_expect_eq(x[5], f32_from_bf16(0x7de2), "%s", types[i]);
        free(x);
        model_close(model);
        convert_result_free(&r);
    }
    tiny_end(&tiny);
    fixture_remove(place.folder);
}
