/*
 * test_own_statistics.c - a conversion gathers its statistics from texts
 */
#include "convert/own_statistics.h"
#include "convert/slabs.h"
#include "tests/convert/statistics.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(own_statistics, .init = statistics_begin, .fini = statistics_end);

/* ---- conversions ---- */

static bool is_there(const char *name)
{
    char path[FIXTURE_PATH];

    fixture_join(path, tiny.folder, name);
    return file_exists(path);
}

/* One command gives what two give: `calibrate`, and `convert` with its file. */
Test(own_statistics, are_those_of_calibrate, .timeout = 300)
{
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    struct convert_options options = statistics_asked(&d);
    struct calibrate_options calibration = {.force = true};
    struct calibrate_report report;
    struct model *model = statistics_model();
    struct calibrate_text text;
    struct error err = {0};
    char moments[FIXTURE_PATH], one[65], two[65];

    statistics_convert("one.gguf", &options, one);
    cr_expect_not(is_there("one.gguf.moments"));

    fixture_join(moments, tiny.folder, "words.moments");
    calibration.moments = moments;
    cr_assert_eq(
        calibrate_text_make(model, &d, 1,
                            &(struct calibrate_cut){.tokens = 1024, .held_every = 8},
                            &text, &err),
        OK, "%s", err.text);
    cr_assert_eq(calibrate_run(model, &text, &calibration, NULL, &report, &err), OK, "%s",
                 err.text);
    options.n_documents = 0;
    options.moments = moments;
    statistics_convert("two.gguf", &options, two);
    cr_expect_str_eq(one, two);
    calibrate_text_free(&text);
    model_close(model);
    free(words);
}

/* True when a conversion of these options is not refused for the memory it takes. */
static bool fits_in(struct convert_options options, uint64_t max_memory)
{
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH];

    fixture_join(out, tiny.folder, "fits.gguf");
    options.force = true;
    options.max_memory = max_memory;
    if (convert_run(tiny.folder, out, &options, NULL, &result, &err) == OK) {
        convert_result_free(&result);
        return true;
    }
    cr_assert_not_null(strstr(err.text, "--max-memory"), "%s", err.text);
    return false;
}

/* Two squares of moments in f32, a metric in the making and the best one so far; and a slab's rows. */
Test(own_statistics, count_towards_the_memory_of_a_conversion, .timeout = 300)
{
    enum { SQUARE = 64 * 64 }; /* of the columns of the widest input */
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    char path[FIXTURE_PATH];
    struct convert_options options = {
        .type = "Q4_0", .method = METHOD_SEARCH, .moments = path};
    uint64_t low = 1 << 20, high = 1 << 28; /* what does not suffice, and what does */

    fixture_join(path, tiny.folder, "words.moments");
    statistics_gather(&(struct calibrate_options){.moments = path}, &d);
    while (high - low > SQUARE / 8) {
        const uint64_t middle = low + (high - low) / 2;

        *(fits_in(options, middle) ? &high : &low) = middle;
    }
    options.method = METHOD_COMPENSATE;
    low += 2 * sizeof(float) * SLAB_WEIGHTS;
    cr_expect_not(fits_in(options, low + 39 * SQUARE));
    cr_expect(fits_in(options, low + 41 * SQUARE));
    free(words);
}

static void interrupt(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    (void)total;
    if (done == *(const uint64_t *)arg)
        raise(SIGINT);
}

static void count_reports(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    (void)total;
    *(uint64_t *)arg = done;
}

static void put_a_file_there(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    if (done == total)
        fixture_write(arg, "here", 4);
}

/* In a process of its own, before the test computes anything: threads do not survive a fork.
 * Interrupted when `at` chunks of all steps are done. */
static void convert_and_stop(const char *name, struct convert_options options,
                             uint64_t at)
{
    const pid_t child = fork();
    int status = 0;

    if (child == 0) {
        const struct progress stop = {.arg = &at, .report = interrupt};
        struct convert_result result;
        struct error err = {0};
        char out[FIXTURE_PATH];

        interrupt_install();
        fixture_join(out, tiny.folder, name);
        options.calibration_progress = &stop;
        const enum status st =
            convert_run(tiny.folder, out, &options, NULL, &result, &err);
        _exit(st == ERR_INTERRUPTED ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "at %" PRIu64, at);
}

Test(own_statistics, a_conversion_goes_on_wherever_it_was_interrupted, .timeout = 300)
{
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    struct convert_options options = statistics_asked(&d);
    char one[65], two[65];

    convert_and_stop("one.gguf", options, 5); /* two chunks a step: in layer 1 */
    cr_expect(is_there(".one.gguf.moments.layers.partial"));
    options.resume = true;
    convert_and_stop("one.gguf", options, 12); /* all six steps are done */
    cr_expect(is_there("one.gguf.moments"));
    cr_expect_not(is_there(".one.gguf.moments.layers.partial"));
    statistics_convert("one.gguf", &options, one);
    cr_expect_not(is_there("one.gguf.moments"));
    cr_expect_not(is_there(".one.gguf.journal"));
    options.resume = false;
    statistics_convert("two.gguf", &options, two);
    cr_expect_str_eq(one, two);
    free(words);
}

/* The importance matrix that an interrupted run left is taken up with its own texts only. */
Test(own_statistics, of_other_texts_are_not_taken_up, .timeout = 300)
{
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    char *others = statistics_repeat("int main(void) { return 0; } /* nothing */ ", 300);
    const struct calibrate_document d = statistics_document("words", words),
                                    e = statistics_document("words", others);
    struct convert_options options = statistics_asked(&d);
    struct convert_result result;
    struct error err = {0};
    char whole[65], resumed[65], out[FIXTURE_PATH];

    options.method = METHOD_SEARCH;
    statistics_convert("whole.gguf", &options, whole);
    fixture_join(out, tiny.folder, "left.gguf.imatrix");
    statistics_gather(&(struct calibrate_options){.imatrix = out}, &d);
    fixture_join(out, tiny.folder, "left.gguf");
    options.resume = true;
    options.documents = &e;
    cr_expect_eq(convert_run(tiny.folder, out, &options, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "other texts"), "%s", err.text);

    options.documents = &d;
    statistics_convert("left.gguf", &options, resumed);
    cr_expect_str_eq(resumed, whole);
    free(words);
    free(others);
}

/* The journal lies beside the first file, which has another name where there are two. */
Test(own_statistics, go_with_a_conversion_that_was_begun_in_one_file_or_two,
     .timeout = 300)
{
    static const char *const begun[] = {".out-00001-of-00002.gguf.journal",
                                        ".out.gguf.journal"};
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    char out[FIXTURE_PATH], stats[FIXTURE_PATH], journal[FIXTURE_PATH];

    fixture_join(out, tiny.folder, "out.gguf");
    fixture_join(stats, tiny.folder, "out.gguf.imatrix");
    statistics_gather(&(struct calibrate_options){.imatrix = stats}, &d);
    for (int is_inline = 0; is_inline < 2; is_inline++)
        for (int is_begun = 0; is_begun < 2; is_begun++) {
            struct convert_options how = statistics_asked(&d);
            struct own_statistics own = {0};
            struct error err = {0};

            how.method = METHOD_SEARCH;
            how.ple_inline = is_inline;
            how.resume = true;
            fixture_join(journal, tiny.folder, begun[is_inline]);
            if (is_begun)
                fixture_write(journal, "", 0);
            cr_assert_eq(own_statistics_name(&own, out, &how, &err), OK, "%s", err.text);
            cr_assert_eq(own_statistics_gather(&own, tiny.folder, out, &how, &err), OK,
                         "%s", err.text);
            cr_expect_eq(how.resume, is_begun, "inline %d", is_inline);
            own_statistics_close(&own, ERR_IO);
            remove(journal);
        }
    free(words);
}

Test(own_statistics, are_not_gathered_beside_a_file_of_them)
{
    const struct calibrate_document d = statistics_document("words", "words");
    struct convert_options options = statistics_asked(&d);
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH];

    options.moments = "there.moments";
    fixture_join(out, tiny.folder, "out.gguf");
    cr_expect_eq(convert_run(tiny.folder, out, &options, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "--text"), "%s", err.text);
}

/* Nor removed when the conversion fails for it: they may have taken days. */
Test(own_statistics, do_not_replace_those_that_are_there)
{
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    struct convert_options options = statistics_asked(&d);
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH], there[FIXTURE_PATH];

    fixture_join(out, tiny.folder, "out.gguf");
    fixture_join(there, tiny.folder, "out.gguf.moments");
    fixture_write(there, "days", 4);
    for (int resume = 0; resume < 2; resume++) {
        options.force = !resume;
        options.resume = resume;
        cr_expect_neq(convert_run(tiny.folder, out, &options, NULL, &result, &err), OK);
        cr_expect(strstr(err.text, "out.gguf.moments"), "%s", err.text);
        cr_expect(is_there("out.gguf.moments"));
    }
    free(words);
}

/* ---- before and after ---- */

static void must_refuse(const struct convert_options *options, const char *why)
{
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH];

    fixture_join(out, tiny.folder, "out.gguf");
    cr_expect_eq(convert_run(tiny.folder, out, options, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, why), "%s", err.text);
}

/* Hours of calibration come after everything that can be refused without them. */
Test(own_statistics, are_not_gathered_for_what_is_refused_anyway)
{
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    uint64_t never = UINT64_MAX;
    const struct progress watch = {.arg = &never, .report = count_reports};
    struct convert_options options = statistics_asked(&d);
    char out[FIXTURE_PATH];

    options.calibration_progress = &watch;
    fixture_join(out, tiny.folder, "out.gguf");
    fixture_write(out, "here", 4);
    options.force = false;
    must_refuse(&options, "exists");
    options.force = true;
    options.max_memory = 48 << 20; /* less than the program's share */
    must_refuse(&options, "--max-memory");
    options.max_memory = 0;
    options.type = "Q4_9";
    must_refuse(&options, "no such type");
    cr_expect_eq(never, UINT64_MAX, "%" PRIu64 " chunks were run", never);
    cr_expect_not(is_there("out.gguf.moments"));
    free(words);
}

/* What the memory bound says of moments to come is what it says of those that are there. */
Test(own_statistics, are_bounded_before_they_are_there, .timeout = 300)
{
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    struct convert_options there = statistics_asked(&d), to_come = statistics_asked(&d);
    struct convert_result result;
    struct error err = {0};
    char path[FIXTURE_PATH], out[FIXTURE_PATH];
    uint64_t low = 1 << 20, high = 1 << 28;

    fixture_join(path, tiny.folder, "words.moments");
    statistics_gather(&(struct calibrate_options){.moments = path}, &d);
    there.n_documents = 0;
    there.moments = path;
    there.equalize = EQUALIZE_OFF;
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;

        *(fits_in(there, middle) ? &high : &low) = middle;
    }
    to_come.equalize = EQUALIZE_OFF;
    fixture_join(out, tiny.folder, "to_come.gguf");
    to_come.max_memory = low - 4096; /* the header names no texts yet */
    cr_expect_eq(convert_run(tiny.folder, out, &to_come, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "converting it takes"), "%s", err.text);
    to_come.max_memory = high;
    cr_expect_eq(convert_run(tiny.folder, out, &to_come, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "calibrating it takes"), "%s", err.text);
    free(words);
}

/* A conversion that fails after its statistics were gathered leaves them. */
Test(own_statistics, outlive_a_conversion_that_fails, .timeout = 300)
{
    char *words =
        statistics_repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = statistics_document("words", words);
    struct convert_options options = statistics_asked(&d);
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH], one[65], two[65];
    const struct progress spoil = {.arg = out, .report = put_a_file_there};

    fixture_join(out, tiny.folder, "one.gguf");
    options.force = false;
    options.calibration_progress = &spoil;
    cr_expect_eq(convert_run(tiny.folder, out, &options, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "exists"), "%s", err.text);
    cr_expect(is_there("one.gguf.moments"));

    options.calibration_progress = NULL;
    options.force = options.resume = true;
    statistics_convert("one.gguf", &options, one);
    cr_expect_not(is_there("one.gguf.moments"));
    options.resume = false;
    statistics_convert("two.gguf", &options, two);
    cr_expect_str_eq(one, two);
    free(words);
}
