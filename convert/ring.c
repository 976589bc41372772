/*
 * ring.c - hand slots round between three threads
 */
#include "convert/ring.h"

#include <stdlib.h>

enum status ring_open(struct ring *ring, const struct slab_sizes *sizes,
                      struct error *err)
{
    bool ok = true;

    *ring = (struct ring){0};
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->moved, NULL);
    for (int i = 0; i < RING_SLOTS; i++) {
        ring->slots[i].raw = malloc(sizes->raw + 1);
        ring->slots[i].packed = malloc(sizes->packed + 1);
        ok = ok && ring->slots[i].raw && ring->slots[i].packed;
    }
    if (ok)
        return OK;
    ring_close(ring);
    return fail(err, ERR_NOMEM, "no memory for buffers of rows");
}

void ring_close(struct ring *ring)
{
    for (int i = 0; i < RING_SLOTS; i++) {
        free(ring->slots[i].raw);
        free(ring->slots[i].packed);
    }
    pthread_cond_destroy(&ring->moved);
    pthread_mutex_destroy(&ring->lock);
}

/* How many slots this stage may have taken by now. */
static uint64_t available(const struct ring *ring, enum ring_stage stage)
{
    return stage == RING_READ ? ring->done[RING_WRITE] + RING_SLOTS
                              : ring->done[stage - 1];
}

/* True when nothing will come any more. */
static bool is_over(const struct ring *ring, enum ring_stage stage)
{
    return ring->is_stopped || (stage != RING_READ && ring->is_last &&
                                ring->done[stage] == ring->done[RING_READ]);
}

struct ring_slot *ring_take(struct ring *ring, enum ring_stage stage)
{
    struct ring_slot *slot = NULL;

    pthread_mutex_lock(&ring->lock);
    while (!is_over(ring, stage) && available(ring, stage) == ring->done[stage])
        pthread_cond_wait(&ring->moved, &ring->lock);
    if (!is_over(ring, stage))
        slot = &ring->slots[ring->done[stage] % RING_SLOTS];
    pthread_mutex_unlock(&ring->lock);
    return slot;
}

void ring_pass(struct ring *ring, enum ring_stage stage)
{
    pthread_mutex_lock(&ring->lock);
    ring->done[stage]++;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}

void ring_finish(struct ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->is_last = true;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}

void ring_stop(struct ring *ring, const struct error *trouble)
{
    pthread_mutex_lock(&ring->lock);
    if (!ring->is_stopped)
        ring->trouble = *trouble;
    ring->is_stopped = true;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}
