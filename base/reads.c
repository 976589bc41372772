/*
 * reads.c - a list of devices and inodes
 */
#include "base/reads.h"

#include "base/file.h"

#include <pthread.h>
#include <stdlib.h>

static struct {
    pthread_mutex_t lock;
    struct {
        dev_t device;
        ino_t inode;
    } * files;
    size_t n, room;
    bool is_on;
} reads = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_listed(const struct stat *info)
{
    for (size_t i = reads.n; i-- > 0;)
        if (reads.files[i].device == info->st_dev && reads.files[i].inode == info->st_ino)
            return true;
    return false;
}

static bool has_room(void)
{
    const size_t more = reads.room ? 2 * reads.room : 64;
    void *bigger;

    if (reads.n < reads.room)
        return true;
    bigger = realloc(reads.files, more * sizeof(*reads.files));
    if (!bigger)
        return false;
    reads.files = bigger;
    reads.room = more;
    return true;
}

void file_guard_sources(void)
{
    pthread_mutex_lock(&reads.lock);
    reads.is_on = true;
    pthread_mutex_unlock(&reads.lock);
}

enum status reads_add(const struct stat *info, struct error *err)
{
    enum status st = OK;

    pthread_mutex_lock(&reads.lock);
    if (reads.is_on && !is_listed(info)) {
        if (!has_room()) {
            st = fail(err, ERR_NOMEM, "no memory for a list of files");
        } else {
            reads.files[reads.n].device = info->st_dev;
            reads.files[reads.n].inode = info->st_ino;
            reads.n++;
        }
    }
    pthread_mutex_unlock(&reads.lock);
    return st;
}

bool reads_has(const struct stat *info)
{
    pthread_mutex_lock(&reads.lock);
    const bool has = is_listed(info);
    pthread_mutex_unlock(&reads.lock);
    return has;
}

void file_release(const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return;
    pthread_mutex_lock(&reads.lock);
    for (size_t i = 0; i < reads.n; i++)
        if (reads.files[i].device == info.st_dev && reads.files[i].inode == info.st_ino)
            reads.files[i] = reads.files[--reads.n];
    pthread_mutex_unlock(&reads.lock);
}
