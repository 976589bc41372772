/*
 * fixture.h - what tests of every room need: seeded data, guarded memory, folders to write in
 */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

/* The next 64 bits of a fixed sequence; start with any seed. Source: Steele, Lea and Flood,
 * "Fast splittable pseudorandom number generators" (2014), SplitMix64. */
uint64_t fixture_random(uint64_t *state);

/* Uniform in [0, 1), a multiple of 2^-24. */
float fixture_uniform(uint64_t *state);

/* n weights like a model's, in groups of 32 that take turns being: bell-shaped of scale 0.02
 * (most of them), all zero, with one outlier a hundred times the rest, denormal, all one value,
 * on a grid with exact ties, of one sign, with negative zeros. All finite, |x| <= 8. */
void fixture_weights(float *x, size_t n, uint64_t seed);

/* n bell-shaped activations of scale 1, with one outlier of 40 in each 256. */
void fixture_activations(float *x, size_t n, uint64_t seed);

/* n bytes, all values. */
void fixture_bytes(void *bytes, size_t n, uint64_t seed);

/* n zeroed bytes that end where memory ends: touching the byte after them is a crash. Not
 * aligned unless n is. Never NULL. Release with the same n. */
void *fixture_guarded(size_t n);
void fixture_unguard(void *bytes, size_t n);

enum { FIXTURE_PATH = 256 };

/* Make a new empty folder and put its path into `path`; remove it and all in it. */
void fixture_folder(char path[FIXTURE_PATH]);
void fixture_remove(const char *path);

/* path = folder/name. */
void fixture_join(char path[FIXTURE_PATH], const char *folder, const char *name);

/* Write (or replace) a small file. */
void fixture_write(const char *path, const void *bytes, size_t n);

#endif
