/*
 * parallel.h - the one place where threads are made for computation
 */
#ifndef BASE_PARALLEL_H
#define BASE_PARALLEL_H

#include <stddef.h>

/* Threads that parallel_for may use; default: the physical cores this process may use,
 * capped by OMP_NUM_THREADS. n < 1 restores the default. */
void parallel_set_threads(int n);
int parallel_threads(void);

/* Call body(arg, begin, end) on disjoint ranges that together cover [0, n).
 *
 * Ranges are whole multiples of `grain` (the last may be short) and depend on n and grain
 * only, never on the number of threads: results are the same on any machine. Ranges may run
 * in any order and are handed out dynamically. Bodies must not fail; gather trouble in `arg`
 * and look at it after the call. A call from inside a body runs serially. */
void parallel_for(size_t n, size_t grain,
                  void (*body)(void *arg, size_t begin, size_t end), void *arg);

/* The same for a caller that waits between calls for something slower, such as a disk. The threads
 * of parallel_for() spin for milliseconds until the next call, taking the cores from whoever makes
 * it come; these end with the call, and cost some tens of microseconds to start. */
void parallel_for_once(size_t n, size_t grain,
                       void (*body)(void *arg, size_t begin, size_t end), void *arg);

/* 0 <= index < parallel_threads() of the calling thread inside a body: for scratch memory a
 * thread owns. Must never influence results. */
int parallel_index(void);

#endif
