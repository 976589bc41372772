/*
 * insert.c - room at the front of a large file, made by its file system
 *
 * Linux's ext4 and XFS can move all of a file's blocks by some of them without touching their
 * contents; other systems say no, and the caller copies.
 */
#define _GNU_SOURCE /* fallocate */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__

static enum status put(int fd, const char *path, const void *bytes, size_t n,
                       struct error *err)
{
    const uint8_t *at = bytes;

    for (size_t done = 0; done < n;) {
        const ssize_t some = pwrite(fd, at + done, n - done, (off_t)done);

        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return fail(err, ERR_IO, "%s: %s", path, strerror(errno));
        done += (size_t)some;
    }
    return fsync(fd) == 0 ? OK : fail(err, ERR_IO, "%s: %s", path, strerror(errno));
}

enum status file_insert(const char *path, uint64_t n_inserted, const void *bytes,
                        size_t n, bool *done, struct error *err)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    enum status st;

    *done = false;
    if (fd < 0)
        return fail(err, ERR_USAGE, "%s: %s", path, strerror(errno));
    if (fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, (off_t)n_inserted) != 0) {
        close(fd);
        return OK;
    }
    st = put(fd, path, bytes, n, err);
    if (st != OK) /* as it was, but for what of the old front was written over */
        (void)fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, (off_t)n_inserted);
    if (close(fd) != 0 && st == OK)
        st = fail(err, ERR_IO, "%s: %s", path, strerror(errno));
    *done = st == OK;
    return st;
}

#else

enum status file_insert(const char *path, uint64_t n_inserted, const void *bytes,
                        size_t n, bool *done, struct error *err)
{
    (void)path, (void)n_inserted, (void)bytes, (void)n, (void)err;
    *done = false;
    return OK;
}

#endif
