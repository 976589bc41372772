/*
 * fixture.c - seeded data, guarded memory, folders to write in
 *
 * What goes wrong in here is not what a test is about: it aborts.
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "tests/fixture.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t fixture_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

float fixture_uniform(uint64_t *state)
{
    return (float)(fixture_random(state) >> 40) * 0x1p-24f;
}

/* Nearly normal, variance 1, |x| <= 6: the sum of twelve uniform numbers. No libm, so the same
 * everywhere. */
static float bell(uint64_t *state)
{
    float sum = -6.0f;

    for (int i = 0; i < 12; i++)
        sum += fixture_uniform(state);
    return sum;
}

enum { GROUP = 32 };

static void fill_group(float *x, size_t n, unsigned kind, uint64_t *state)
{
    const size_t pick = fixture_random(state) % n;
    const float value = 0.02f * bell(state);

    for (size_t i = 0; i < n; i++)
        x[i] = 0.02f * bell(state);
    switch (kind) {
    case 0:
        memset(x, 0, n * sizeof(*x));
        break;
    case 1:
        x[pick] = fixture_random(state) & 1 ? 2.0f : -2.0f;
        break;
    case 2:
        for (size_t i = 0; i < n; i++)
            x[i] *= 0x1p-125f;
        break;
    case 3:
        for (size_t i = 0; i < n; i++)
            x[i] = value;
        break;
    case 4: /* halves, the largest of them 8: exact ties for every power-of-two step */
        for (size_t i = 0; i < n; i++)
            x[i] = 0.5f * (float)((int)(fixture_random(state) % 33) - 16);
        x[pick] = -8.0f;
        break;
    case 5:
        for (size_t i = 0; i < n; i++)
            x[i] = copysignf(x[i], value);
        break;
    case 6:
        for (size_t i = 0; i < n; i += 3)
            x[i] = -0.0f;
        break;
    default:
        break; /* a bell */
    }
}

void fixture_weights(float *x, size_t n, uint64_t seed)
{
    uint64_t state = seed;

    for (size_t i = 0; i < n; i += GROUP)
        fill_group(x + i, n - i < GROUP ? n - i : GROUP, fixture_random(&state) % 16,
                   &state);
}

void fixture_activations(float *x, size_t n, uint64_t seed)
{
    uint64_t state = seed;

    for (size_t i = 0; i < n; i++)
        x[i] = bell(&state);
    for (size_t i = 0; i + 256 <= n; i += 256)
        x[i + fixture_random(&state) % 256] = 40.0f;
}

void fixture_bytes(void *bytes, size_t n, uint64_t seed)
{
    unsigned char *at = bytes;
    uint64_t state = seed;

    for (size_t i = 0; i < n; i++)
        at[i] = (unsigned char)(fixture_random(&state) >> 56);
}

/* ---- guarded memory ---- */

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Bytes of whole pages for n, without the guard. */
static size_t whole_pages(size_t n)
{
    const size_t page = page_bytes();

    return (n + page - 1) / page * page;
}

void *fixture_guarded(size_t n)
{
    const size_t size = whole_pages(n), page = page_bytes();
    unsigned char *base = mmap(NULL, size + page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED || mprotect(base + size, page, PROT_NONE) != 0)
        abort();
    return base + size - n;
}

void fixture_unguard(void *bytes, size_t n)
{
    const size_t size = whole_pages(n);

    if (munmap((unsigned char *)bytes + n - size, size + page_bytes()) != 0)
        abort();
}

/* ---- folders ---- */

void fixture_folder(char path[FIXTURE_PATH])
{
    const char *where = getenv("TMPDIR");

    snprintf(path, FIXTURE_PATH, "%s/carat-test-XXXXXX",
             where && *where ? where : P_tmpdir);
    if (!mkdtemp(path))
        abort();
}

static int remove_one(const char *path, const struct stat *info, int kind,
                      struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void fixture_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fixture_join(char path[FIXTURE_PATH], const char *folder, const char *name)
{
    if (snprintf(path, FIXTURE_PATH, "%s/%s", folder, name) >= FIXTURE_PATH)
        abort();
}

void fixture_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wbe");

    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        abort();
}
