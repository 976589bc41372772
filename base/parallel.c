/*
 * parallel.c - the one place where threads are made for computation
 */
#include "base/parallel.h"
#include "base/cores.h"

#include <omp.h>
#include <stdatomic.h>

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

    if (threads == 1 || n_ranges == 1 || omp_in_parallel()) {
        for (size_t i = 0; i < n_ranges; i++)
            body(arg, i * grain, range_end(i * grain, grain, n));
        return;
    }
    /* Always the same team: runtimes pay dearly for one that changes its size. */
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (size_t i = 0; i < n_ranges; i++)
        body(arg, i * grain, range_end(i * grain, grain, n));
}

int parallel_index(void)
{
    return omp_get_thread_num();
}
