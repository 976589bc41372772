/*
 * walk.h - the file that a walk keeps between its steps (private to runtime/)
 *
 *     header    64 bytes: "carat walk 1\n" and zeros to 16; the identity, 32; steps done, u64;
 *               bytes, u64
 *     state     the caller's
 *     stream    two halves of n_tokens rows of n_embd: a step reads one and writes the other
 *     keys      for every layer whose keys and values later layers read: n_tokens rows of keys, as
 *               many of values
 *     slices    for every layer: n_unique rows of n_ple, one an id that occurs
 *
 * All numbers are the machine's own: the file does not outlive the work.
 */
#ifndef RUNTIME_WALK_H
#define RUNTIME_WALK_H

#include "runtime/pass.h"

struct spill {
    struct output *file; /* owned */
    uint64_t n_tokens, n_unique;
    uint64_t state, stream, slices; /* where they begin */
    uint64_t *keys;                 /* of each layer; 0: nobody shares them; owned */
    uint64_t n_bytes;
    uint32_t n_embd, n_ple;
    const struct layer_facts *layers; /* borrowed */
};

/* Lay the file out and create it, or (resume) open it: *done becomes the steps it has. */
MUST_CHECK enum status spill_open(struct spill *spill, const struct config *config,
                                  const struct walk_options *options, uint64_t n_tokens,
                                  uint64_t n_unique, uint32_t *done, struct error *err);
/* Everything so far is on the device, and then the count of steps. */
MUST_CHECK enum status spill_mark(struct spill *spill, uint32_t done, struct error *err);
void spill_close(struct spill *spill, bool keep);

enum direction { READ, WRITE };

/* Rows [token, token + n) of the stream in `half`. */
MUST_CHECK enum status spill_stream(struct spill *spill, enum direction direction,
                                    uint32_t half, uint64_t token, size_t n, float *x,
                                    struct error *err);
/* Keys and values of a layer that has some. */
MUST_CHECK enum status spill_keys(struct spill *spill, enum direction direction,
                                  uint32_t layer, uint64_t token, size_t n, float *k,
                                  float *v, struct error *err);
/* Slices of a layer for the ids number [first, first + n). */
MUST_CHECK enum status spill_slices(struct spill *spill, enum direction direction,
                                    uint32_t layer, uint64_t first, size_t n, float *x,
                                    struct error *err);

#endif
