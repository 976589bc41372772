/*
 * tiny.h - small checkpoints to order: a Gemma 4 of a few hundred kilobytes, changed as a test likes
 *
 *     tiny_begin(&tiny, TINY_E2B);
 *     tiny_drop(&tiny, "norm.weight");          or rename, add, change numbers and config
 *     tiny_write(&tiny);                        the folder is tiny.folder
 *     ...
 *     tiny_end(&tiny);
 *
 * What goes wrong in here is not what a test is about: it aborts.
 */
#ifndef TESTS_CONVERT_TINY_H
#define TESTS_CONVERT_TINY_H

#include "base/base.h"
#include "formats/formats.h"
#include "tests/fixture.h"

enum tiny_kind {
    TINY_E2B, /* 4 layers, the last 2 share keys and values (dead ones stored); per-layer table */
    TINY_MOE,    /* 2 layers, 4 experts; values are keys on the full layer */
    TINY_GEMMA3, /* 2 layers, 4 query and 2 key heads; values without a norm */
};

enum { TINY_MAX_TENSORS = 128, TINY_NAME = 128 };

struct tiny_tensor {
    char name[TINY_NAME];
    int n_dims;
    uint64_t dims[3];
    enum dtype
        dtype;      /* BF16, unless a test has put other numbers in the place of these */
    uint16_t *bf16; /* owned; malloc'd */
};

struct tiny {
    struct tiny_tensor tensors[TINY_MAX_TENSORS];
    size_t n;
    json_t *config; /* what config.json will hold: text_config inside */
    json_t *text;   /* text_config, borrowed from it */
    char folder[FIXTURE_PATH];
};

void tiny_begin(struct tiny *tiny, enum tiny_kind kind);

/* The tensor of that name; aborts when there is none. */
struct tiny_tensor *tiny_tensor(struct tiny *tiny, const char *name);
/* One more, filled from its name. n_dims <= 3. */
struct tiny_tensor *tiny_add(struct tiny *tiny, const char *name, int n_dims, uint64_t a,
                             uint64_t b, uint64_t c);
/* A copy of another's numbers. */
struct tiny_tensor *tiny_copy(struct tiny *tiny, const char *name, const char *from);
void tiny_drop(struct tiny *tiny, const char *name);
/* Put `prefix` in front of every name. */
void tiny_prefix(struct tiny *tiny, const char *prefix);

uint64_t tiny_elements(const struct tiny_tensor *t);

/* Write model.safetensors, config.json and the tokenizer into the folder, anew each time. */
void tiny_write(const struct tiny *tiny);

void tiny_end(struct tiny *tiny);

#endif
