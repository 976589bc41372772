/*
 * packing.h - what tests of writing share: a folder for outputs, and conversions that succeed
 *
 * What goes wrong in here fails the test that called.
 */
#ifndef TESTS_CONVERT_PACKING_H
#define TESTS_CONVERT_PACKING_H

#include "convert/convert.h"
#include "tests/fixture.h"

#define TRAINED CARAT_DATA "/models/tiny-e2b"

/* A folder for outputs, and the path of one. */
struct place {
    char folder[FIXTURE_PATH], out[FIXTURE_PATH];
};

struct place place_begin(void);

/* The names in a folder but for "." and "..". */
size_t count_files(const char *folder);

struct convert_result run_source(const char *source, const char *out,
                                 const struct convert_options *options);
/* Of the trained model, to the place's path. */
struct convert_result run(const struct place *place,
                          const struct convert_options *options);

#endif
