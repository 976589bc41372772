/*
 * replay.c FOLDER - drive a fuzz target without a fuzzer, always the same way
 *
 * Every seed as it is, cut at every length, and with seeded changes of one to four bytes. Each
 * input lies in memory of its own size, so that the sanitizers see one byte too far.
 */
#include "tests/fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

enum { SEED_MOST = 1 << 20, CUTS_MOST = 4096, CHANGES = 2000 };

static void try_copy(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n);

    if (!copy && n > 0)
        abort();
    if (n > 0)
        memcpy(copy, bytes, n);
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void try_changes(uint8_t *bytes, size_t n)
{
    uint64_t state = n;

    for (int i = 0; i < CHANGES && n > 0; i++) {
        uint8_t was[4];
        size_t at[4];
        const size_t count = 1 + fixture_random(&state) % 4;

        for (size_t k = 0; k < count; k++) {
            at[k] = fixture_random(&state) % n;
            was[k] = bytes[at[k]];
            bytes[at[k]] = (uint8_t)fixture_random(&state);
        }
        try_copy(bytes, n);
        for (size_t k = count; k-- > 0;)
            bytes[at[k]] = was[k];
    }
}

static void try_seed(const char *path)
{
    static uint8_t bytes[SEED_MOST];
    FILE *f = fopen(path, "rbe");
    size_t n;

    if (!f) {
        perror(path);
        exit(1);
    }
    n = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    try_copy(bytes, n);
    for (size_t cut = 0; cut < n && cut < CUTS_MOST; cut++)
        try_copy(bytes, cut);
    try_changes(bytes, n);
}

int main(int argc, char **argv)
{
    char path[FIXTURE_PATH];
    struct dirent *entry;
    int n_seeds = 0;
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;

    if (!dir)
        return 2;
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        fixture_join(path, argv[1], entry->d_name);
        try_seed(path);
        n_seeds++;
    }
    closedir(dir);
    printf("%d seeds\n", n_seeds);
    return n_seeds > 0 ? 0 : 1;
}
