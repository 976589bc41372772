/*
 * test_resume.c - conversions that are cut short, and what --resume makes of what they left
 */
#include "convert/journal.h"
#include "formats/safetensors/safetensors.h"
#include "tests/convert/packing.h"
#include "tests/convert/tiny.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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
    return run_source_limited(TRAINED, place, options, limit, err);
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

Test(resume, a_conversion_cut_short_anywhere_resumes_to_the_same_bytes)
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

Test(resume, a_disk_that_is_full_from_the_start_keeps_nothing)
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

Test(resume, a_temporary_that_was_damaged_is_written_again)
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

Test(resume, resumes_only_what_it_began)
{
    struct place place = place_begin();
    struct convert_result result;
    struct error err = {0};

    cr_expect_eq(convert_run(TRAINED, place.out,
                             &(struct convert_options){.type = "Q8_0", .resume = true},
                             NULL, &result, &err),
                 ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "no journal"), "%s", err.text);
    cr_assert_eq(
        run_limited(&place, &(struct convert_options){.type = "Q8_0"}, 3000000, &err),
        ERR_IO);
    cr_expect_eq(convert_run(TRAINED, place.out,
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

Test(resume, a_resume_that_is_refused_leaves_what_was_done)
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
    cr_expect_eq(convert_run(TRAINED, place.out, &other, NULL, &result, &err), ERR_USAGE);
    cr_expect_eq(part_bytes(&place), n);
    struct convert_result r =
        run(&place, &(struct convert_options){.type = "Q8_0", .resume = true});
    cr_expect_eq(count_files(place.folder), 2);
    convert_result_free(&r);
    fixture_remove(place.folder);
}

Test(resume, a_link_in_the_place_of_the_journal_is_not_followed)
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
    cr_expect_eq(convert_run(TRAINED, place.out,
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
Test(resume, resumes_only_with_the_adapter_and_configuration_it_began_with)
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

Test(resume, ctrl_c_leaves_nothing_under_the_final_name)
{
    struct place place = place_begin();
    const pid_t child = fork(); /* a signal that is pending stays so for the process */

    if (child == 0) {
        const struct progress progress = {.report = press_ctrl_c};
        struct convert_result result;
        struct error err = {0};

        interrupt_install();
        _exit((int)convert_run(TRAINED, place.out,
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

/* Near the end, what was the old main file is a folder. */
static void put_folder(void *arg, const char *what, uint64_t done, uint64_t total)
{
    const struct place *place = arg;
    char path[FIXTURE_PATH], aside[FIXTURE_PATH];

    (void)what;
    fixture_join(path, place->folder, "out-00001-of-00002.gguf");
    fixture_join(aside, place->folder, "aside");
    if (done > total / 2 && !file_exists(aside)) {
        cr_assert_eq(rename(path, aside), 0);
        cr_assert_eq(mkdir(path, 0777), 0);
    }
}

Test(resume, an_old_model_is_not_halved_by_one_that_cannot_replace_it)
{
    struct place place = place_begin();
    struct convert_result old = run(&place, &(struct convert_options){.type = "Q8_0"});
    const struct progress progress = {.report = put_folder, .arg = &place};
    const struct convert_options options = {.type = "Q4_0", .force = true};
    struct convert_result result;
    struct error err = {0};
    uint8_t digest[32];
    char hex[65];

    cr_expect_eq(convert_run(TRAINED, place.out, &options, &progress, &result, &err),
                 ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "not a regular file"), "%s", err.text);
    cr_assert_eq(sha256_file(old.files[1].path, digest, &err), OK, "%s", err.text);
    sha256_hex(digest, hex);
    cr_expect_str_eq(hex, old.files[1].sha256);
    convert_result_free(&old);
    fixture_remove(place.folder);
}

/* ---- tensors that had to stay wider ---- */

/* The first try ends at such a tensor, and the third, which keeps both, with the last bytes. */
Test(resume, resumes_when_a_tensor_had_to_stay_wider)
{
    struct place place = place_begin(), other = place_begin();
    const struct convert_options options = {.type = "Q4_0"};
    char path[FIXTURE_PATH], *journal = NULL;
    struct tiny tiny;
    struct error err = {0};
    size_t n = 0;

    tiny_begin(&tiny, TINY_E2B);
    tiny_tensor(&tiny, "layers.0.self_attn.q_proj.weight")->bf16[5] = 0x4974; /* 1e6 */
    tiny_tensor(&tiny, "layers.1.mlp.up_proj.weight")->bf16[7] = 0x4974;
    tiny_write(&tiny);
    struct convert_result want = run_source(tiny.folder, other.out, &options);
    cr_assert_eq(
        run_source_limited(tiny.folder, &place, &options, want.files[0].bytes - 1, &err),
        ERR_IO, "%s", err.text);
    cr_expect_not_null(strstr(err.text, "--resume"), "%s", err.text);
    fixture_join(path, place.folder, ".out-00001-of-00002.gguf.journal");
    cr_assert_eq(file_read_all(path, 1 << 20, &journal, &n, &err), OK, "%s", err.text);
    cr_assert_not_null(strstr(journal, "\nwide "), "%s", journal);
    cr_expect_not_null(strstr(strstr(journal, "\nwide ") + 1, "\n"), "a slab: %s",
                       journal);
    free(journal);
    struct convert_result r =
        run_source(tiny.folder, place.out,
                   &(struct convert_options){.type = "Q4_0", .resume = true});
    for (size_t f = 0; f < 2; f++)
        cr_expect_str_eq(r.files[f].sha256, want.files[f].sha256);
    cr_expect_eq(count_files(place.folder), 2, "the journal is gone");
    convert_result_free(&r);
    convert_result_free(&want);
    tiny_end(&tiny);
    fixture_remove(place.folder);
    fixture_remove(other.folder);
}

Test(resume, of_a_journal_that_is_none_no_position_is_taken)
{
    static const struct {
        const char *second; /* line of the journal */
        size_t n;
    } cases[] = {
        {"wide 3 0\n", 2},
        {"wide 3 3\n0123456789abcdef\n", 1},
        {"wide\n", 0},
        {"wide 3", 0},
        {"wide 3 4\n", 0},
        {"wide 3 18446744073709551619\n", 0},
        {"wide 3 -1\n", 0},
        {"wide 3  1\n", 0},
        {"wide 3 \n", 0},
        {"wider 3\n", 0},
        {"0123456789abcdef\n", 0},
        {"", 0},
    };
    struct place place = place_begin();
    char path[FIXTURE_PATH], text[256];

    fixture_join(path, place.folder, ".out.gguf.journal");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool at[5] = {false};
        struct error err = {0};
        size_t n = 9, n_set = 0;

        snprintf(text, sizeof(text), "carat journal 1 %064d\n%s", 0, cases[i].second);
        fixture_write(path, text, strlen(text));
        cr_assert_eq(journal_wide(place.out, at, 4, &n, &err), OK, "%s", err.text);
        for (size_t k = 0; k < 5; k++)
            n_set += at[k];
        cr_expect_eq(n, cases[i].n, "case %zu", i);
        cr_expect_eq(n_set, cases[i].n, "case %zu", i);
    }
    fixture_remove(place.folder);
}
