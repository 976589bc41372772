/*
 * file.c - read files at offsets
 */
#include "base/file.h"
#include "base/reads.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
    int fd;
    char *path; /* owned */
    struct stat at_open;
    pthread_mutex_t map_lock;
    void *map; /* owned; NULL until asked for */
};

/* Linux moves at most 2 GiB - 4 KiB a call; a round number below that. */
enum { READ_MOST = 1 << 30 };

static enum status open_refused(const char *path, struct error *err)
{
    const int reason = errno;

    switch (reason) {
    case ENOMEM:
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    case EIO:
    case EMFILE:
    case ENFILE:
    case EINTR:
        return fail(err, ERR_IO, "%s: %s", path, strerror(reason));
    default:
        return fail(err, ERR_USAGE, "%s: %s", path, strerror(reason));
    }
}

static enum status check_regular(const char *path, const struct stat *info,
                                 struct error *err)
{
    if (S_ISDIR(info->st_mode))
        return fail(err, ERR_USAGE, "%s: a folder, not a file", path);
    if (!S_ISREG(info->st_mode))
        return fail(err, ERR_USAGE, "%s: not a regular file", path);
    return OK;
}

/* Look before opening: opening a device can have effects, opening a FIFO can block. Look again
 * afterwards: the name may have changed hands in between. */
static enum status open_regular(const char *path, int *fd, struct stat *info,
                                struct error *err)
{
    enum status st;

    if (stat(path, info) != 0)
        return open_refused(path, err);
    st = check_regular(path, info, err);
    if (st != OK)
        return st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0 || fstat(*fd, info) != 0)
        return open_refused(path, err);
    return check_regular(path, info, err);
}

enum status file_open(const char *path, struct file **out, struct error *err)
{
    struct file *file = calloc(1, sizeof(*file));
    enum status st;

    if (!file)
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    file->fd = -1;
    pthread_mutex_init(&file->map_lock, NULL);
    file->path = strdup(path);
    if (!file->path) {
        st = fail(err, ERR_NOMEM, "%s: no memory to open it", path);
        goto out;
    }
    st = open_regular(path, &file->fd, &file->at_open, err);
    if (st == OK)
        st = reads_add(&file->at_open, err);

out:
    if (st == OK)
        *out = file;
    else
        file_close(file);
    return st;
}

uint64_t file_size(const struct file *file)
{
    return (uint64_t)file->at_open.st_size;
}

const char *file_path(const struct file *file)
{
    return file->path;
}

enum status file_read(const struct file *file, uint64_t offset, void *buf, size_t n,
                      struct error *err)
{
    unsigned char *at = buf;

    if (offset > INT64_MAX || n > INT64_MAX - offset)
        return fail(err, ERR_CORRUPT, "%s: ends before byte %" PRIu64, file->path,
                    offset);
    while (n > 0) {
        ssize_t got = pread(file->fd, at, n < READ_MOST ? n : READ_MOST, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(err, ERR_IO, "%s: %s at byte %" PRIu64, file->path,
                        strerror(errno), offset);
        if (got == 0)
            return fail(err, ERR_CORRUPT,
                        "%s: ends at byte %" PRIu64 ", %zu bytes too early", file->path,
                        offset, n);
        at += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return OK;
}

enum status file_unchanged(const struct file *file, struct error *err)
{
    const struct stat *was = &file->at_open;
    struct stat now;

    if (stat(file->path, &now) != 0)
        return fail(err, ERR_IO, "%s: %s while it was read", file->path, strerror(errno));
    if (now.st_dev != was->st_dev || now.st_ino != was->st_ino ||
        now.st_size != was->st_size || now.st_mtim.tv_sec != was->st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != was->st_mtim.tv_nsec)
        return fail(err, ERR_IO, "%s: changed while it was read", file->path);
    return OK;
}

static void advise(const struct file *file, uint64_t offset, uint64_t n, int advice)
{
    if (offset <= INT64_MAX && n <= INT64_MAX - offset)
        (void)posix_fadvise(file->fd, (off_t)offset, (off_t)n, advice);
}

void file_will_need(const struct file *file, uint64_t offset, uint64_t n)
{
    advise(file, offset, n, POSIX_FADV_WILLNEED);
}

void file_wont_need(const struct file *file, uint64_t offset, uint64_t n)
{
    advise(file, offset, n, POSIX_FADV_DONTNEED);
}

enum status file_map(struct file *file, const uint8_t **out, struct error *err)
{
    static const uint8_t nothing[1];
    enum status st = OK;

    if (file_size(file) == 0) {
        *out = nothing;
        return OK;
    }
    pthread_mutex_lock(&file->map_lock);
    if (!file->map) {
        void *map =
            mmap(NULL, (size_t)file_size(file), PROT_READ, MAP_PRIVATE, file->fd, 0);

        if (map == MAP_FAILED)
            st = fail(err, errno == ENOMEM ? ERR_NOMEM : ERR_IO,
                      "%s: cannot be mapped: %s", file->path, strerror(errno));
        else
            file->map = map;
    }
    if (st == OK)
        *out = file->map;
    pthread_mutex_unlock(&file->map_lock);
    return st;
}

void file_close(struct file *file)
{
    if (!file)
        return;
    if (file->map)
        munmap(file->map, (size_t)file_size(file));
    if (file->fd >= 0)
        close(file->fd);
    pthread_mutex_destroy(&file->map_lock);
    free(file->path);
    free(file);
}

enum status file_read_all(const char *path, size_t max_bytes, char **out, size_t *n_bytes,
                          struct error *err)
{
    struct file *file = NULL;
    char *text = NULL;
    size_t n;
    enum status st = file_open(path, &file, err);

    if (st != OK)
        return st;
    if (file_size(file) > max_bytes || file_size(file) == SIZE_MAX) {
        st = fail(err, ERR_CORRUPT,
                  "%s: %" PRIu64 " bytes, more than the %zu expected at most", path,
                  file_size(file), max_bytes);
        goto out;
    }
    n = (size_t)file_size(file);
    text = malloc(n + 1);
    if (!text) {
        st = fail(err, ERR_NOMEM, "%s: no memory for its %zu bytes", path, n);
        goto out;
    }
    st = file_read(file, 0, text, n, err);
    if (st != OK)
        goto out;
    text[n] = '\0';
    *out = text;
    *n_bytes = n;
    text = NULL;

out:
    free(text);
    file_close(file);
    return st;
}

bool file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool file_is_pointer(const void *start, size_t n)
{
    static const char head[] = "version https://git-lfs";

    return n >= sizeof(head) - 1 && memcmp(start, head, sizeof(head) - 1) == 0;
}

bool file_is_folder(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}
