/*
 * writeback.c - start writing to disk while more is being made
 *
 * A kernel lets hundreds of megabytes of dirty pages gather before it writes any; a file that is
 * synced at its end would then wait for the disk after all the work is done instead of during it.
 *
 * Source: Linux, sync_file_range(2): SYNC_FILE_RANGE_WRITE starts the write-out of dirty pages and
 * waits for none. It promises nothing about durability; fsync() at the end does.
 */
#define _GNU_SOURCE /* sync_file_range */
#include "base/writeback.h"

#include <fcntl.h>

enum { STRIDE = 16 << 20 };

void writeback_start(struct writeback *w, int fd, uint64_t offset, size_t n)
{
    if (offset != w->end) /* a new run */
        w->begin = offset;
    w->end = offset + n;
    if (w->end - w->begin < STRIDE)
        return;
#ifdef SYNC_FILE_RANGE_WRITE
    (void)sync_file_range(fd, (off_t)w->begin, (off_t)(w->end - w->begin),
                          SYNC_FILE_RANGE_WRITE);
#else
    (void)fd;
#endif
    w->begin = w->end;
}
