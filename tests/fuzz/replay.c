/*
 * replay.c FOLDER - drive a fuzz target without a fuzzer, always the same way
 *
 * Every seed as it is, cut at every length, and with seeded changes of one to four bytes: 2000, or
 * fewer where there are many seeds. Each input lies in memory of its own size, so that the sanitizers see one byte too far.
 */
#include "tests/fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

enum { SEED_MOST = 1 << 20, CUTS_MOST = 4096, CHANGES_MOST = 2000, CHANGES_ALL = 12000 };

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

static void try_changes(uint8_t *bytes, size_t n, int n_changes)
{
    uint64_t state = n;

    for (int i = 0; i < n_changes && n > 0; i++) {
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

static void try_seed(const char *path, int n_changes)
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
    try_changes(bytes, n, n_changes);
}

/* Call fn for every seed; returns how many there are, or -1. */
static int each_seed(const char *folder, int n_changes, void (*fn)(const char *, int))
{
    char path[FIXTURE_PATH];
    struct dirent *entry;
    DIR *dir = opendir(folder);
    int n_seeds = 0;

    if (!dir)
        return -1;
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        fixture_join(path, folder, entry->d_name);
        if (fn)
            fn(path, n_changes);
        n_seeds++;
    }
    closedir(dir);
    return n_seeds;
}

int main(int argc, char **argv)
{
    const int n_seeds = argc == 2 ? each_seed(argv[1], 0, NULL) : -1;
    const int share = n_seeds > 0 ? CHANGES_ALL / n_seeds : 0;

    if (n_seeds < 0)
        return 2;
    each_seed(argv[1], share < CHANGES_MOST ? share : CHANGES_MOST, try_seed);
    printf("%d seeds\n", n_seeds);
    return n_seeds > 0 ? 0 : 1;
}
