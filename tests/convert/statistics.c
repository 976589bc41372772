/*
 * statistics.c - a small checkpoint, texts, and conversions that gather statistics from them
 */
#include "tests/convert/statistics.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct tiny tiny;

void statistics_begin(void)
{
    tiny_begin(&tiny, TINY_E2B);
    tiny_write(&tiny);
}

void statistics_end(void)
{
    tiny_end(&tiny);
}

struct model *statistics_model(void)
{
    struct model *model = NULL;
    struct error err = {0};

    cr_assert_eq(convert_open_source(tiny.folder, NULL, &model, &err), OK, "%s",
                 err.text);
    return model;
}

/* n copies of a sentence. */
char *statistics_repeat(const char *sentence, size_t n)
{
    const size_t length = strlen(sentence);
    char *text = malloc(n * length + 1);

    cr_assert_not_null(text);
    for (size_t i = 0; i < n; i++)
        memcpy(text + i * length, sentence, length);
    text[n * length] = '\0';
    return text;
}

struct calibrate_document statistics_document(const char *name, const char *text)
{
    return (struct calibrate_document){name, text, strlen(text)};
}

struct convert_options statistics_asked(const struct calibrate_document *documents)
{
    return (struct convert_options){.type = "Q4_0",
                                    .ple_inline = true,
                                    .method = METHOD_COMPENSATE,
                                    .documents = documents,
                                    .n_documents = 1,
                                    .tokens = 1024,
                                    .force = true};
}

void statistics_convert(const char *name, const struct convert_options *options,
                        char sha256[65])
{
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH];

    fixture_join(out, tiny.folder, name);
    cr_assert_eq(convert_run(tiny.folder, out, options, NULL, &result, &err), OK, "%s",
                 err.text);
    memcpy(sha256, result.files[0].sha256, 65);
    convert_result_free(&result);
}

/* What a conversion would gather from a text, to the files these options name. */
void statistics_gather(const struct calibrate_options *options,
                       const struct calibrate_document *d)
{
    const struct calibrate_cut cut = {.tokens = 1024, .held_every = 8};
    struct model *model = statistics_model();
    struct calibrate_report report;
    struct calibrate_text text;
    struct error err = {0};

    cr_assert_eq(calibrate_text_make(model, d, 1, &cut, &text, &err), OK, "%s", err.text);
    cr_assert_eq(calibrate_run(model, &text, options, NULL, &report, &err), OK, "%s",
                 err.text);
    calibrate_text_free(&text);
    model_close(model);
}
