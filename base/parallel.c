/*
 * parallel.c - the one place where threads are made for computation
 */
#include "base/parallel.h"
#include "base/cores.h"

#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* 0: nobody chose, use the default. */
static atomic_int chosen;

static int default_threads(void)
{
    static atomic_int found;
    int n = atomic_load(&found);

    if (n == 0) {
        int cores = cores_usable(), most = omp_get_max_threads();

        n = cores < most ? cores : most;
        atomic_store(&found, n);
    }
    return n;
}

void parallel_set_threads(int n)
{
    atomic_store(&chosen, n < 1 ? 0 : n);
}

int parallel_threads(void)
{
    int n = atomic_load(&chosen);

    return n > 0 ? n : default_threads();
}

/* The index of a thread of parallel_for_once(); -1 in others. */
static _Thread_local int own_index = -1;

static bool is_inside(void)
{
    return omp_in_parallel() || own_index >= 0;
}

static size_t range_end(size_t begin, size_t grain, size_t n)
{
    return n - begin < grain ? n : begin + grain;
}

void parallel_for(size_t n, size_t grain,
                  void (*body)(void *arg, size_t begin, size_t end), void *arg)
{
    const int threads = parallel_threads();

    if (n == 0)
        return;
    if (grain == 0)
        grain = 1;
    const size_t n_ranges = (n - 1) / grain + 1;

    if (threads == 1 || n_ranges == 1 || is_inside()) {
        for (size_t i = 0; i < n_ranges; i++)
            body(arg, i * grain, range_end(i * grain, grain, n));
        return;
    }
    /* Always the same team: runtimes pay dearly for one that changes its size. */
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (size_t i = 0; i < n_ranges; i++)
        body(arg, i * grain, range_end(i * grain, grain, n));
}

/* ---- threads for one call ---- */

struct job {
    size_t n, grain, n_ranges;
    void (*body)(void *arg, size_t begin, size_t end);
    void *arg;
    atomic_size_t next;
};

enum { MAX_WORKERS = 256 };

struct worker {
    struct job *job;
    int index;
    pthread_t thread;
};

static void *work(void *arg)
{
    const struct worker *worker = arg;
    struct job *job = worker->job;

    own_index = worker->index;
    for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->n_ranges;)
        job->body(job->arg, i * job->grain,
                  range_end(i * job->grain, job->grain, job->n));
    own_index = -1;
    return NULL;
}

void parallel_for_once(size_t n, size_t grain,
                       void (*body)(void *arg, size_t begin, size_t end), void *arg)
{
    struct job job = {.n = n, .grain = grain ? grain : 1, .body = body, .arg = arg};
    struct worker workers[MAX_WORKERS] = {{.job = &job}};
    const int threads = is_inside() ? 1 : parallel_threads();
    int n_workers = 1;

    if (n == 0)
        return;
    job.n_ranges = (n - 1) / job.grain + 1;
    if (threads == 1 || job.n_ranges == 1) {
        parallel_for(n, grain, body, arg);
        return;
    }
    for (; n_workers < threads && n_workers < MAX_WORKERS; n_workers++) {
        struct worker *worker = &workers[n_workers];

        *worker = (struct worker){.job = &job, .index = n_workers};
        if (pthread_create(&worker->thread, NULL, work, worker) != 0)
            break; /* with fewer threads the others do more */
    }
    work(&workers[0]);
    while (--n_workers > 0)
        pthread_join(workers[n_workers].thread, NULL);
}

int parallel_index(void)
{
    return own_index >= 0 ? own_index : omp_get_thread_num();
}
