/*
 * fuzz_folder.h - several files out of one fuzzed input, for parsers that open files by name
 *
 * The input is text: a line ">>> NAME" begins the file of that name, which holds what follows up to
 * the next such line. Only names the target lists are written; the others, and what stands before
 * the first, are left out. A name that ends in ".safetensors" is written as a whole and valid file
 * from a list of its tensors, so that changes meet the reader of tensors, not that of headers:
 *
 *     layers.0.mlp.up_proj.weight BF16 32 16          made-up numbers, finite and small
 *     layers.0.mlp.up_proj.g_idx I32 16 =0000000001   bytes in hexadecimal, over and over
 *     layers.0.mlp.up_proj.state U8 '{"a": 1}         the text as bytes: its length is the shape
 *
 * Lines that are not so are left out; a tensor has 64 KiB at most, a file 256 KiB.
 */
#ifndef TESTS_FUZZ_FUZZ_FOLDER_H
#define TESTS_FUZZ_FUZZ_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCRATCH_PATH = 256, SCRATCH_FILES = 16 };

/* Files in a folder of this process's own, which is removed when it ends. Starts as `= {0}`, static:
 * what did not change since the input before is not written again. */
struct scratch {
    const char *const
        *names; /* relative; folders in them are made; NULL behind the last */
    char folder[SCRATCH_PATH];
    uint64_t hash[SCRATCH_FILES]; /* of what each file holds; 0: it is not there */
};

/* Make the folder hold what the input says and nothing else. */
void scratch_fill(struct scratch *scratch, const uint8_t *bytes, size_t n_bytes);

/* folder/name, in a buffer of its own until the next call. */
const char *scratch_path(const struct scratch *scratch, const char *name);

/* The input as one file that has no name once this process ends: a path to open it by. */
const char *scratch_file(const uint8_t *bytes, size_t n_bytes);

/* A promise that was not kept ends the process. */
void expect(bool is_true);

#endif
