/*
 * writeback.h - start writing to disk while more is being made (private to output.c)
 */
#ifndef BASE_WRITEBACK_H
#define BASE_WRITEBACK_H

#include <stddef.h>
#include <stdint.h>

/* The run of bytes written last and not yet handed to the disk. Starts zeroed. */
struct writeback {
    uint64_t begin, end;
};

/* Told of n bytes written at `offset`; every so often asks the system to start on them. Never
 * fails: where it cannot be asked for, nothing happens. */
void writeback_start(struct writeback *w, int fd, uint64_t offset, size_t n);

#endif
