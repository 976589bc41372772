/*
 * fuzz_moments.c - every entry of a file of second moments that opens can be found, and read or refused
 */
#include "formats/moments/moments.h"
#include "tests/fuzz/fuzz_folder.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

enum { SIDE_MOST = 256 };

/* Only a number that is not finite may stand in the way. */
static void expect_read(enum status st, const struct error *err)
{
    expect(st == OK || (st == ERR_CORRUPT && strstr(err->text, "is not finite")));
}

static void read_entry(const struct moments *moments, const struct moments_entry *e)
{
    float *h = malloc(SIDE_MOST * SIDE_MOST * sizeof(*h));
    struct error err = {.text = ""};

    expect(h != NULL);
    for (int held = 0; held < 2; held++)
        expect_read(moments_read(moments, e, held, h, &err), &err);
    expect_read(moments_diagonal(moments, e, h, &err), &err);
    expect_read(
        moments_read_square(moments, e, false, e->n / 2, e->n - e->n / 2, h, &err), &err);
    free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char *const inputs[] = {"blk.0.attn_in", "blk.0.exps_in.1", "output_in",
                                         "a", ""};
    struct moments *moments = NULL;
    struct moments_entry entry;
    struct error err = {.text = ""};

    if (moments_open(scratch_file(bytes, n_bytes), &moments, &err) != OK) {
        expect(err.code != OK && err.text[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++)
        if (moments_find(moments, inputs[i], &entry) && entry.n <= SIDE_MOST)
            read_entry(moments, &entry);
    moments_close(moments);
    return 0;
}
