/*
 * ring.h - slabs on their way: one reader, one packer, one writer, three buffers
 *
 *     reader ──fetched──► packer ──packed──► writer ──free──► reader
 *
 * Each stage takes slots in order. A stage that fails stops all of them; the first trouble is kept.
 */
#ifndef CONVERT_RING_H
#define CONVERT_RING_H

#include "convert/slabs.h"

#include <pthread.h>

enum { RING_SLOTS = 3 };

enum ring_stage { RING_READ, RING_PACK, RING_WRITE, RING_STAGES };

struct ring_slot {
    struct slab slab;
    void *raw, *packed; /* owned by the ring */
};

struct ring {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    struct ring_slot slots[RING_SLOTS];
    uint64_t done[RING_STAGES]; /* slots each stage has passed on */
    bool is_last;               /* the reader has no more */
    bool is_stopped;
    struct error trouble;
};

/* Buffers of the sizes slabs_sizes() gives. */
MUST_CHECK enum status ring_open(struct ring *ring, const struct slab_sizes *sizes,
                                 struct error *err);
void ring_close(struct ring *ring);

/* Wait for this stage's next slot. NULL: there is no more, or everything stopped. */
struct ring_slot *ring_take(struct ring *ring, enum ring_stage stage);
/* Hand the slot just taken to the next stage. */
void ring_pass(struct ring *ring, enum ring_stage stage);
/* The reader has passed its last slot. */
void ring_finish(struct ring *ring);
/* Stop every stage; the first call's sentence stays. */
void ring_stop(struct ring *ring, const struct error *trouble);

#endif
