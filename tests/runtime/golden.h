/*
 * golden.h - a member of data/golden: its checkpoint as a model, and what must come out
 */
#ifndef TESTS_RUNTIME_GOLDEN_H
#define TESTS_RUNTIME_GOLDEN_H

#include "formats/model/model.h"
#include "formats/safetensors/safetensors.h"
#include "runtime/runtime.h"

#include <stdbool.h>

enum { N_MEMBERS = 8, N_PROMPTS = 3 };
/* Those that generate text. */
extern const char *const members[N_MEMBERS];

struct golden {
    const char *member;
    struct model *model;
    struct safetensors *file;
};

/* Open data/golden/MEMBER; anything wrong fails the test. */
void golden_open(struct golden *golden, const char *member);
/* The same for data/FOLDER. */
void golden_open_folder(struct golden *golden, const char *folder);
void golden_close(struct golden *golden);

/* The tensor of that formatted name as floats (integers are converted), or NULL when there is
 * none; owned by the caller. */
__attribute__((format(printf, 3, 4))) float *
golden_floats(const struct golden *golden, size_t *n, const char *fmt, ...);
/* As int32; fails the test when there is none. */
__attribute__((format(printf, 3, 4))) int32_t *
golden_ints(const struct golden *golden, size_t *n, const char *fmt, ...);

/* The largest difference, in units of the root mean square of `want`. */
double golden_error(const float *got, const float *want, size_t n);

/* Open for exact arithmetic, with a context of n_ctx. */
void golden_run(const struct model *model, const struct runtime_options *options,
                uint32_t n_ctx, struct runtime **rt, struct sequence **seq);

/* Logits of every position from `first` on, n_vocab floats each; owned by the caller. */
float *golden_logits(struct runtime *rt, struct sequence *seq, const int32_t *ids,
                     size_t n, uint32_t first);

#endif
