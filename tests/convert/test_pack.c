/*
 * test_pack.c - writing: the same bytes whatever happens on the way, and nothing half-written
 */
#include "convert/convert.h"
#include "formats/safetensors/safetensors.h"
#include "tests/convert/tiny.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char model_folder[] = CARAT_DATA "/models/tiny-e2b";

/* A folder for outputs, and the path of one. */
struct place {
    char folder[FIXTURE_PATH], out[FIXTURE_PATH];
};

static struct place place_begin(void)
{
    struct place place;

    fixture_folder(place.folder);
    fixture_join(place.out, place.folder, "out.gguf");
    return place;
}

/* The names in a folder but for "." and "..". */
static size_t count_files(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;

    cr_assert_not_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static struct convert_result run_source(const char *source, const char *out,
                                        const struct convert_options *options)
{
    struct convert_result result;
    struct error err = {0};

    cr_assert_eq(convert_run(source, out, options, NULL, &result, &err), OK, "%s",
                 err.text);
    return result;
}

static struct convert_result run(const struct place *place,
                                 const struct convert_options *options)
{
    return run_source(model_folder, place->out, options);
}

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

/* ---- interrupted ---- */

/* Convert with a limit on the size of files: what a full disk looks like from here. */
static enum status run_source_limited(const char *source, const struct place *place,
                                      const struct convert_options *options, rlim_t limit,
                                      struct error *err)
{
    struct rlimit old, now;
    struct convert_result result;

    (void)parallel_threads(); /* some OpenMP runtimes make a file when they start */
    interrupt_install();      /* the limit is an error, not a signal */
    getrlimit(RLIMIT_FSIZE, &old);
    now = old;
    now.rlim_cur = limit;
    setrlimit(RLIMIT_FSIZE, &now);
    const enum status st = convert_run(source, place->out, options, NULL, &result, err);
    setrlimit(RLIMIT_FSIZE, &old);
    if (st == OK)
        convert_result_free(&result);
    return st;
}

static enum status run_limited(const struct place *place,
                               const struct convert_options *options, rlim_t limit,
                               struct error *err)
{
    return run_source_limited(model_folder, place, options, limit, err);
}

static bool has_final_name(const struct place *place)
{
    char path[FIXTURE_PATH];

    fixture_join(path, place->folder, "out-00001-of-00002.gguf");
    if (file_exists(path))
        return true;
    fixture_join(path, place->folder, "out-00002-of-00002.gguf");
    return file_exists(path);
}

Test(pack, a_conversion_cut_short_anywhere_resumes_to_the_same_bytes)
{
    static const rlim_t limits[] = {300000, 700000, 1200000, 2000000, 3500000};
    const struct convert_options whole = {.type = "Q4_0", .force = true};
    const struct convert_options more = {.type = "Q4_0", .force = true, .resume = true};
    struct place place = place_begin();
    struct convert_result want = run(&place, &whole);

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct error err = {0};

        for (size_t f = 0; f < 2; f++)
            remove(want.files[f].path);
        cr_assert_eq(run_limited(&place, &whole, limits[i], &err), ERR_IO, "%s",
                     err.text);
        cr_expect_not(has_final_name(&place));
        cr_expect_not_null(strstr(err.text, "--resume"), "%s", err.text);
        struct convert_result r = run(&place, &more);
        for (size_t f = 0; f < 2; f++)
            cr_expect_str_eq(r.files[f].sha256, want.files[f].sha256, "limit %zu",
                             (size_t)limits[i]);
        cr_expect_eq(count_files(place.folder), 2, "the journal is gone");
        convert_result_free(&r);
    }
    convert_result_free(&want);
    fixture_remove(place.folder);
}

Test(pack, a_disk_that_is_full_from_the_start_keeps_nothing)
{
    struct place place = place_begin();
    struct error err = {0};

    cr_expect_eq(run_limited(&place, &(struct convert_options){.type = "Q4_0"}, 1, &err),
                 ERR_IO);
    cr_expect_eq(count_files(place.folder), 0);
    fixture_remove(place.folder);
}

/* Flip one byte in the middle of the temporary of the first file. */
static void damage(const struct place *place)
{
    char path[FIXTURE_PATH];

    fixture_join(path, place->folder, ".out-00001-of-00002.gguf.partial");
    FILE *f = fopen(path, "r+b");
    cr_assert_not_null(f);
    fseek(f, 400000, SEEK_SET);
    const int byte = fgetc(f);
    fseek(f, 400000, SEEK_SET);
    fputc(byte ^ 1, f);
    fclose(f);
}

Test(pack, a_temporary_that_was_damaged_is_written_again)
{
    const struct convert_options options = {.type = "Q8_0"};
    struct place whole = place_begin(), place = place_begin();
    struct convert_result want = run(&whole, &options);
    struct error err = {0};

    cr_assert_eq(run_limited(&place, &options, 3000000, &err), ERR_IO, "%s", err.text);
    damage(&place);
    struct convert_result r =
        run(&place, &(struct convert_options){.type = "Q8_0", .resume = true});
    cr_expect_str_eq(r.files[0].sha256, want.files[0].sha256);
    convert_result_free(&r);
    convert_result_free(&want);
    fixture_remove(whole.folder);
    fixture_remove(place.folder);
}

Test(pack, resumes_only_what_it_began)
{
    struct place place = place_begin();
    struct convert_result result;
    struct error err = {0};

    cr_expect_eq(convert_run(model_folder, place.out,
                             &(struct convert_options){.type = "Q8_0", .resume = true},
                             NULL, &result, &err),
                 ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "no journal"), "%s", err.text);
    cr_assert_eq(
        run_limited(&place, &(struct convert_options){.type = "Q8_0"}, 3000000, &err),
        ERR_IO);
    cr_expect_eq(convert_run(model_folder, place.out,
                             &(struct convert_options){.type = "Q4_0", .resume = true},
                             NULL, &result, &err),
                 ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "another conversion"), "%s", err.text);
    fixture_remove(place.folder);
}

static uint64_t part_bytes(const struct place *place)
{
    char path[FIXTURE_PATH];
    struct file *file = NULL;
    struct error err = {0};

    fixture_join(path, place->folder, ".out-00001-of-00002.gguf.partial");
    if (file_open(path, &file, &err) != OK)
        return 0;
    const uint64_t n = file_size(file);
    file_close(file);
    return n;
}

Test(pack, a_resume_that_is_refused_leaves_what_was_done)
{
    struct place place = place_begin();
    const struct convert_options other = {.type = "Q4_0", .resume = true};
    struct convert_result result;
    struct error err = {0};

    cr_assert_eq(
        run_limited(&place, &(struct convert_options){.type = "Q8_0"}, 3000000, &err),
        ERR_IO);
    const uint64_t n = part_bytes(&place);
    cr_assert_gt(n, 1000000);
    cr_expect_eq(convert_run(model_folder, place.out, &other, NULL, &result, &err),
                 ERR_USAGE);
    cr_expect_eq(part_bytes(&place), n);
    struct convert_result r =
        run(&place, &(struct convert_options){.type = "Q8_0", .resume = true});
    cr_expect_eq(count_files(place.folder), 2);
    convert_result_free(&r);
    fixture_remove(place.folder);
}

Test(pack, a_link_in_the_place_of_the_journal_is_not_followed)
{
    struct place place = place_begin();
    char victim[FIXTURE_PATH], journal[FIXTURE_PATH];
    struct convert_result result;
    struct error err = {0};
    char *text = NULL;
    size_t n = 0;

    fixture_join(victim, place.folder, "victim");
    fixture_write(victim, "precious", 8);
    fixture_join(journal, place.folder, ".out-00001-of-00002.gguf.journal");
    cr_assert_eq(symlink(victim, journal), 0);
    cr_expect_eq(convert_run(model_folder, place.out,
                             &(struct convert_options){.type = "Q8_0"}, NULL, &result,
                             &err),
                 ERR_IO);
    cr_assert_eq(file_read_all(victim, 64, &text, &n, &err), OK);
    cr_expect_str_eq(text, "precious");
    cr_expect_eq(count_files(place.folder), 2, "the link and what it leads to");
    free(text);
    fixture_remove(place.folder);
}

/* A rank-2 adapter of one matrix; `path` becomes that of its weights. */
static void write_adapter(const char *folder, char path[FIXTURE_PATH])
{
    static const char config[] = "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4}";
    const float a[2 * 32] = {1, 0.25f}, b[32 * 2] = {0.5f};
    const struct safetensors_item items[] = {
        {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight",
         DTYPE_F32,
         2,
         {2, 32},
         a},
        {"base_model.model.model.layers.0.mlp.up_proj.lora_B.weight",
         DTYPE_F32,
         2,
         {32, 2},
         b}};
    struct error err = {0};

    fixture_join(path, folder, "adapter_config.json");
    fixture_write(path, config, strlen(config));
    fixture_join(path, folder, "adapter_model.safetensors");
    cr_assert_eq(safetensors_write(path, items, 2, NULL, true, &err), OK, "%s", err.text);
}

/* What is written over in place changes neither its folder nor its name. */
Test(pack, resumes_only_with_the_adapter_and_configuration_it_began_with)
{
    char adapter[FIXTURE_PATH], weights[FIXTURE_PATH], config[FIXTURE_PATH];
    struct place place = place_begin();
    struct convert_result result;
    struct tiny tiny;
    struct error err = {0};

    fixture_folder(adapter);
    write_adapter(adapter, weights);
    tiny_begin(&tiny, TINY_E2B);
    tiny_write(&tiny);
    fixture_join(config, tiny.folder, "config.json");
    const struct convert_lora lora = {adapter, 1};
    struct convert_options options = {.type = "Q8_0",
                                      .source = {.loras = &lora, .n_loras = 1}};

    for (int what = 0; what < 2; what++) {
        options.resume = false;
        cr_assert_eq(run_source_limited(tiny.folder, &place, &options, 250000, &err),
                     ERR_IO, "%s", err.text);
        if (what == 0)
            cr_assert_eq(file_overwrite(weights, 8, "{", 1, &err), OK, "%s", err.text);
        else
            cr_assert_eq(file_overwrite(config, 0, "{", 1, &err), OK, "%s", err.text);
        options.resume = true;
        cr_expect_eq(convert_run(tiny.folder, place.out, &options, NULL, &result, &err),
                     ERR_USAGE);
        cr_expect_not_null(strstr(err.text, "another conversion"), "%s", err.text);
    }
    tiny_end(&tiny);
    fixture_remove(adapter);
    fixture_remove(place.folder);
}

static void press_ctrl_c(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)arg, (void)what;
    if (done > total / 2)
        raise(SIGINT);
}

Test(pack, ctrl_c_leaves_nothing_under_the_final_name)
{
    struct place place = place_begin();
    const pid_t child = fork(); /* a signal that is pending stays so for the process */

    if (child == 0) {
        const struct progress progress = {.report = press_ctrl_c};
        struct convert_result result;
        struct error err = {0};

        interrupt_install();
        _exit((int)convert_run(model_folder, place.out,
                               &(struct convert_options){.type = "Q4_0"}, &progress,
                               &result, &err));
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    cr_expect_eq(WEXITSTATUS(status), ERR_INTERRUPTED);
    cr_expect_not(has_final_name(&place));

    struct convert_result r =
        run(&place, &(struct convert_options){.type = "Q4_0", .resume = true});
    struct place whole = place_begin();
    struct convert_result want = run(&whole, &(struct convert_options){.type = "Q4_0"});
    cr_expect_str_eq(r.files[0].sha256, want.files[0].sha256);
    cr_expect_str_eq(r.files[1].sha256, want.files[1].sha256);
    convert_result_free(&r);
    convert_result_free(&want);
    fixture_remove(place.folder);
    fixture_remove(whole.folder);
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

    cr_expect_eq(convert_run(model_folder, place.out, &options, NULL, &again, &err),
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
        convert_run(model_folder, place.out,
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
