/*
 * fuzz_gzip.c - a gzipped text is inflated to its end within the limit, or refused
 */
#include "formats/archive/archive.h"
#include "tests/fuzz/fuzz_folder.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

enum { TEXT_MOST = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct error err = {.text = ""};
    char *text = NULL;
    size_t n = 0;

    if (archive_read_gzip(scratch_file(bytes, n_bytes), TEXT_MOST, &text, &n, &err) !=
        OK) {
        expect(err.code != OK && err.text[0] != '\0');
        return 0;
    }
    expect(n <= TEXT_MOST && text[n] == '\0');
    free(text);
    return 0;
}
