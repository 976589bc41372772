/*
 * equalizing.h - what tests of equalization share: keys, sources with and without them, conversions
 *
 * What goes wrong in here fails the test that called.
 */
#ifndef TESTS_CONVERT_EQUALIZING_H
#define TESTS_CONVERT_EQUALIZING_H

#include "convert/convert.h"
#include "tests/fixture.h"

#define TRAINED CARAT_DATA "/models/tiny-e2b"

/* An input and how many factors it has. */
struct input {
    const char *name;
    size_t n;
};

/* Set the key of an input: n factors in sixteenths of an octave. */
void set_key(struct gguf_meta *meta, const char *input, const int8_t *k, size_t n);

/* A source, rewritten as `keys` say; NULL: as it is. */
struct model *open_source(const char *path, const struct gguf_meta *keys);

/* A tensor's numbers; owned by the caller. */
float *read_tensor(const struct model *model, const char *name);

/* A folder of one's own, and names in it. */
struct place {
    char folder[FIXTURE_PATH], out[FIXTURE_PATH], other[FIXTURE_PATH],
        stats[FIXTURE_PATH];
};

struct place place_begin(void);

/* Into one file, over whatever is there. Its hash, unless that is NULL. */
void convert(const char *source, const char *out, struct convert_options options,
             char sha256[65]);

struct model *open_file(const char *path);

/* How many inputs the file says were equalized. */
size_t count_keys(const struct model *model);

#endif
