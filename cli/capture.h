/*
 * capture.h - what a forward pass shows, gathered into named arrays and written as safetensors
 *
 * The names are those of golden files: "logits", "embed", "ple", "hidden.0" ..., "final_norm",
 * "greedy". Everything is held in memory until it is written.
 */
#ifndef CLI_CAPTURE_H
#define CLI_CAPTURE_H

#include "runtime/runtime.h"

struct capture_array {
    char name[32];
    size_t n_rows, n_cols;
    float *x; /* owned */
};

struct capture {
    size_t n_positions;
    struct capture_array *arrays; /* owned */
    size_t n_arrays, room;
    int32_t *greedy; /* owned; NULL: none */
    size_t n_greedy;
    bool is_short; /* an allocation failed on the way */
};

/* Put n_rows of `name` at `position`; made on first sight, n_positions long. */
void capture_rows(struct capture *capture, const char *name, uint32_t position,
                  size_t n_rows, size_t n_cols, const float *x);

/* A tap: keeps embed, ple, every hidden and final_norm. */
void capture_event(void *capture, const struct tap_event *event);

/* The array of that name, or NULL. */
const struct capture_array *capture_find(const struct capture *capture, const char *name);

/* Write all arrays; "ple" as {positions, layers, width} for a width of n_ple. */
MUST_CHECK enum status capture_write(const struct capture *capture, const char *path,
                                     size_t n_ple, bool force, struct error *err);
void capture_free(struct capture *capture);

#endif
