/*
 * output.c - write files that are whole or not there
 *
 * The bytes go to `.NAME.partial` beside the target, which is locked while it grows: two
 * processes with the same target do not mix their bytes.
 */
#include "base/file.h"
#include "base/reads.h"
#include "base/writeback.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { WRITE_MOST = 1 << 30 };

struct output {
    int fd;
    bool force, replaces_source;
    bool is_renamed,
        has_replaced; /* it has its final name; it took another file's place */
    char *path, *temporary, *folder; /* owned */
    struct writeback writeback;
};

static void release(struct output *dst)
{
    if (!dst)
        return;
    if (dst->fd >= 0)
        close(dst->fd);
    free(dst->path);
    free(dst->temporary);
    free(dst->folder);
    free(dst);
}

/* "dir/name" to "dir/" and "dir/.name.partial"; without a slash the folder is ".". */
static enum status name_parts(struct output *dst, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const size_t n_folder = (size_t)(name - path), n = strlen(path) + sizeof("..partial");

    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return fail(err, ERR_USAGE, "%s: not the name of a file", path);
    dst->path = strdup(path);
    dst->folder = n_folder ? strndup(path, n_folder) : strdup(".");
    dst->temporary = malloc(n);
    if (!dst->path || !dst->folder || !dst->temporary)
        return fail(err, ERR_NOMEM, "%s: no memory to write it", path);
    snprintf(dst->temporary, n, "%.*s.%s.partial", (int)n_folder, path, name);
    return OK;
}

/* The name must be free, or a regular file that may be replaced: never a device, never a
 * folder. */
static enum status check_target(const struct output *dst, struct error *err)
{
    struct stat info;

    if (strcmp(dst->path, "-") == 0)
        return fail(err, ERR_USAGE,
                    "-: written to a file, not to standard output (./- is a file)");
    if (stat(dst->path, &info) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return OK;
        return fail(err, ERR_USAGE, "%s: %s", dst->path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode))
        return fail(err, ERR_USAGE, "%s: exists and is not a regular file", dst->path);
    if (!dst->force)
        return fail(err, ERR_USAGE, "%s: exists already (--force replaces it)",
                    dst->path);
    if (!dst->replaces_source && reads_has(&info))
        return fail(err, ERR_USAGE,
                    "%s: it is what is read here; the result needs a name of its own",
                    dst->path);
    return OK;
}

/* True when the name still leads to the file that is open: nobody renamed or removed it
 * between our open and our lock. */
static bool is_still_ours(const struct output *dst)
{
    struct stat by_name, by_fd;

    return lstat(dst->temporary, &by_name) == 0 && fstat(dst->fd, &by_fd) == 0 &&
           by_name.st_dev == by_fd.st_dev && by_name.st_ino == by_fd.st_ino;
}

static enum status open_temporary(struct output *dst, bool resume, struct error *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat info;

    /* Asked before there is one: a new file may get the inode of one that is gone. */
    if (!resume && lstat(dst->temporary, &info) == 0 && reads_has(&info))
        return fail(err, ERR_USAGE,
                    "%s: it is what is read here, and %s would be written there first",
                    dst->temporary, dst->path);
    dst->fd = open(dst->temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                   0666);
    if (dst->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return fail(err, ERR_USAGE, "%s: there is no folder %s", dst->path, dst->folder);
    if (dst->fd < 0 && (errno == EACCES || errno == EROFS || errno == ENAMETOOLONG))
        return fail(err, ERR_USAGE, "%s: %s", dst->path, strerror(errno));
    if (dst->fd < 0 || fstat(dst->fd, &info) != 0)
        return fail(err, ERR_IO, "%s: %s", dst->temporary, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return fail(err, ERR_USAGE, "%s: not a regular file", dst->temporary);
    /* File systems without locks say ENOLCK or EINVAL; they are written to all the same. */
    if (fcntl(dst->fd, F_SETLK, &whole) != 0 && (errno == EACCES || errno == EAGAIN))
        return fail(err, ERR_USAGE, "%s: another process is writing it", dst->path);
    if (!is_still_ours(dst))
        return fail(err, ERR_USAGE, "%s: another process has just written it", dst->path);
    if (!resume && ftruncate(dst->fd, 0) != 0)
        return fail(err, ERR_IO, "%s: %s", dst->temporary, strerror(errno));
    return OK;
}

enum status output_check(const char *path, bool force, struct error *err)
{
    const struct output probe = {.path = (char *)(uintptr_t)path, .force = force};

    return check_target(&probe, err);
}

enum status output_open(const char *path, const struct output_options *options,
                        struct output **out, struct error *err)
{
    struct output *dst = calloc(1, sizeof(*dst));
    enum status st;

    if (!dst)
        return fail(err, ERR_NOMEM, "%s: no memory to write it", path);
    dst->fd = -1;
    dst->force = options->force;
    dst->replaces_source = options->replaces_source;
    st = name_parts(dst, path, err);
    if (st == OK)
        st = check_target(dst, err);
    if (st == OK)
        st = open_temporary(dst, options->resume, err);
    if (st == OK)
        *out = dst;
    else
        release(dst);
    return st;
}

static enum status write_at(int fd, const char *path, uint64_t offset, const void *buf,
                            size_t n, struct error *err)
{
    const unsigned char *at = buf;

    if (offset > INT64_MAX || n > INT64_MAX - offset)
        return fail(err, ERR_IO, "%s: %s", path, strerror(EFBIG));
    while (n > 0) {
        ssize_t put = pwrite(fd, at, n < WRITE_MOST ? n : WRITE_MOST, (off_t)offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return fail(err, ERR_IO, "%s: %s at byte %" PRIu64, path,
                        strerror(put < 0 ? errno : ENOSPC), offset);
        at += put;
        offset += (uint64_t)put;
        n -= (size_t)put;
    }
    return OK;
}

enum status output_write(struct output *dst, uint64_t offset, const void *buf, size_t n,
                         struct error *err)
{
    const enum status st = write_at(dst->fd, dst->path, offset, buf, n, err);

    if (st == OK)
        writeback_start(&dst->writeback, dst->fd, offset, n);
    return st;
}

enum status output_read(struct output *dst, uint64_t offset, void *buf, size_t n,
                        struct error *err)
{
    unsigned char *at = buf;

    if (offset > INT64_MAX || n > INT64_MAX - offset)
        return fail(err, ERR_IO, "%s: ends before byte %" PRIu64, dst->temporary, offset);
    while (n > 0) {
        ssize_t got = pread(dst->fd, at, n < WRITE_MOST ? n : WRITE_MOST, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail(err, ERR_IO, "%s: %s at byte %" PRIu64, dst->temporary,
                        got < 0 ? strerror(errno) : "ends too early", offset);
        at += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return OK;
}

enum status output_fits(const struct output *dst, uint64_t n_bytes, struct error *err)
{
    struct statvfs system;
    struct stat info;

    if (fstatvfs(dst->fd, &system) != 0 || fstat(dst->fd, &info) != 0)
        return OK;
    const uint64_t room = (uint64_t)system.f_bavail * system.f_frsize;
    const uint64_t has = (uint64_t)info.st_blocks * 512;

    if (n_bytes <= has || n_bytes - has <= room)
        return OK;
    return fail(err, ERR_IO,
                "%s: takes %" PRIu64 " MiB of disk, of which %" PRIu64 " MiB are free",
                dst->path, (n_bytes - has) >> 20, room >> 20);
}

enum status output_sync(struct output *dst, struct error *err)
{
    if (fsync(dst->fd) != 0)
        return fail(err, ERR_IO, "%s: %s", dst->temporary, strerror(errno));
    return OK;
}

uint64_t output_size(const struct output *dst)
{
    struct stat info;

    return fstat(dst->fd, &info) == 0 ? (uint64_t)info.st_size : 0;
}

const char *output_path(const struct output *dst)
{
    return dst->path;
}

const char *output_temporary(const struct output *dst)
{
    return dst->temporary;
}

/* Make the new name itself durable. Some file systems cannot sync a folder; then there is
 * nothing more to do. */
static void sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

enum status output_seal(struct output *dst, uint64_t n_bytes, struct error *err)
{
    if (ftruncate(dst->fd, (off_t)n_bytes) != 0 || fsync(dst->fd) != 0)
        return fail(err, ERR_IO, "%s: %s", dst->path, strerror(errno));
    return check_target(dst, err);
}

enum status output_rename(struct output *dst, struct error *err)
{
    struct stat info;

    dst->has_replaced = lstat(dst->path, &info) == 0;
    if (rename(dst->temporary, dst->path) != 0)
        return fail(err, ERR_IO, "%s: %s", dst->path, strerror(errno));
    dst->is_renamed = true;
    sync_folder(dst->folder);
    return OK;
}

void output_withdraw(struct output *dst)
{
    if (!dst->is_renamed || dst->has_replaced || rename(dst->path, dst->temporary) != 0)
        return;
    dst->is_renamed = false;
    sync_folder(dst->folder);
}

enum status output_commit(struct output *dst, uint64_t n_bytes, struct error *err)
{
    enum status st = output_seal(dst, n_bytes, err);

    if (st == OK)
        st = output_rename(dst, err);
    output_discard(dst);
    return st;
}

/* Once it is renamed, the temporary's name is nobody's, or another process's. */
void output_discard(struct output *dst)
{
    if (dst && !dst->is_renamed)
        (void)unlink(dst->temporary);
    release(dst);
}

void output_keep(struct output *dst)
{
    release(dst);
}

enum status file_write_all(const char *path, const void *bytes, size_t n, bool force,
                           struct error *err)
{
    const struct output_options options = {.force = force};
    struct output *dst = NULL;
    enum status st = output_open(path, &options, &dst, err);

    if (st != OK)
        return st;
    st = output_write(dst, 0, bytes, n, err);
    if (st != OK) {
        output_discard(dst);
        return st;
    }
    return output_commit(dst, n, err);
}

enum status file_overwrite(const char *path, uint64_t offset, const void *bytes, size_t n,
                           struct error *err)
{
    struct stat info;
    enum status st = OK;
    const int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &info) != 0)
        st = fail(err, ERR_USAGE, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode) || offset > (uint64_t)info.st_size ||
             n > (uint64_t)info.st_size - offset)
        st = fail(err, ERR_USAGE, "%s: not a file that has byte %" PRIu64, path,
                  offset + n);
    if (st == OK)
        st = write_at(fd, path, offset, bytes, n, err);
    if (st == OK && fsync(fd) != 0)
        st = fail(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (fd >= 0 && close(fd) != 0 && st == OK)
        st = fail(err, ERR_IO, "%s: %s", path, strerror(errno));
    return st;
}
