/*
 * synthetic.h - checkpoints of any size, made of seeded random numbers and of what little must be known
 *
 *     synthetic_add(&c, n_rows, n_cols, centre, scale, "model.layers.%d.x.weight", layer);
 *     synthetic_write(&c, folder, err);
 *     synthetic_free(&c);
 *
 * Values are BF16, bell-shaped around `centre` with deviation `scale`. What an item's members below say is
 * put over them. The same bytes for any number of threads.
 */
#ifndef BENCH_SYNTHETIC_H
#define BENCH_SYNTHETIC_H

#include "base/base.h"

/* One tensor: n_rows x n_cols (n_cols 0: a vector). */
struct synthetic_item {
    char name[128];
    int64_t n_rows, n_cols;
    float centre, scale;

    float
        diagonal; /* added to what stands at {i, i}; to all of a vector's first `n_raised` */
    int64_t n_raised;

    /* Row r holds the code of tokens[r], times code_scale, in columns first_code on: n_put of its
     * n_code columns. NULL: no codes. Borrowed. */
    const int32_t *tokens;
    int64_t first_code, n_code, n_put;
    float code_scale;

    const int32_t *ids; /* the tensor is these, I64, and nothing else; borrowed */
};

struct synthetic {
    struct synthetic_item *items;
    size_t n, n_room;
};

/* The new item, valid until the next call. Aborts without memory. */
__attribute__((format(printf, 6, 7))) struct synthetic_item *
synthetic_add(struct synthetic *c, int64_t n_rows, int64_t n_cols, float centre,
              float scale, const char *fmt, ...);

/* Write FOLDER/model.safetensors. ERR_IO, ERR_NOMEM. */
MUST_CHECK enum status synthetic_write(const struct synthetic *c, const char *folder,
                                       struct error *err);
void synthetic_free(struct synthetic *c);

/* Numbers of a configuration, by key; false when one is missing or not in 1 ... 2^24. */
struct synthetic_number {
    const char *key;
    int64_t *value;
};
bool synthetic_read_numbers(const json_t *object, const struct synthetic_number *numbers,
                            size_t n);

#endif
