/*
 * equalizing.c - keys, sources and conversions for tests of equalization
 */
#include "tests/convert/equalizing.h"

#include <criterion/criterion.h>
#include <stdio.h>

void set_key(struct gguf_meta *meta, const char *input, const int8_t *k, size_t n)
{
    char key[96];
    struct error err = {0};

    snprintf(key, sizeof(key), "carat.equalize.%s", input);
    cr_assert_eq(gguf_set_array(meta, key, GGUF_I8, k, n, &err), OK, "%s", err.text);
}

struct model *open_source(const char *path, const struct gguf_meta *keys)
{
    const struct source_options options = {.equalize_from = keys};
    struct model *model = NULL;
    struct error err = {0};

    cr_assert_eq(convert_open_source(path, &options, &model, &err), OK, "%s", err.text);
    return model;
}

float *read_tensor(const struct model *model, const char *name)
{
    const int64_t at = model_find(model, name);
    struct error err = {0};
    float *x = NULL;

    cr_assert_geq(at, 0, "%s", name);
    cr_assert_eq(model_read_f32(model, (size_t)at, &x, &err), OK, "%s", err.text);
    return x;
}

struct place place_begin(void)
{
    struct place place;

    fixture_folder(place.folder);
    fixture_join(place.out, place.folder, "out.gguf");
    fixture_join(place.other, place.folder, "other.gguf");
    fixture_join(place.stats, place.folder, "stats.gguf");
    return place;
}

void convert(const char *source, const char *out, struct convert_options options,
             char sha256[65])
{
    struct convert_result result;
    struct error err = {0};

    options.force = options.ple_inline = true;
    cr_assert_eq(convert_run(source, out, &options, NULL, &result, &err), OK, "%s",
                 err.text);
    if (sha256)
        memcpy(sha256, result.files[0].sha256, 65);
    convert_result_free(&result);
}

struct model *open_file(const char *path)
{
    struct model *model = NULL;
    struct error err = {0};

    cr_assert_eq(model_open_gguf(path, &model, &err), OK, "%s", err.text);
    return model;
}

size_t count_keys(const struct model *model)
{
    size_t n = 0;

    for (size_t i = 0; i < gguf_meta_count(model->meta); i++)
        n += strncmp(gguf_meta_at(model->meta, i)->key, "carat.equalize.", 15) == 0;
    return n;
}
