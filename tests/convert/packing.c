/*
 * packing.c - folders and conversions for tests of writing
 */
#include "tests/convert/packing.h"

#include <criterion/criterion.h>
#include <dirent.h>

struct place place_begin(void)
{
    struct place place;

    fixture_folder(place.folder);
    fixture_join(place.out, place.folder, "out.gguf");
    return place;
}

size_t count_files(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;

    cr_assert_not_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}

struct convert_result run_source(const char *source, const char *out,
                                 const struct convert_options *options)
{
    struct convert_result result;
    struct error err = {0};

    cr_assert_eq(convert_run(source, out, options, NULL, &result, &err), OK, "%s",
                 err.text);
    return result;
}

struct convert_result run(const struct place *place,
                          const struct convert_options *options)
{
    return run_source(TRAINED, place->out, options);
}
