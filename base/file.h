/*
 * file.h - read files at offsets, and write files that are whole or not there
 *
 * Reading never maps unless asked, so a model larger than memory costs no resident pages.
 * Writing goes to a temporary beside the target (`.NAME.partial`), is synced, and is
 * renamed last: a file with the right name is always whole.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file;

/* Open a regular file (links are followed). ERR_USAGE when it is missing, not readable, or
 * not a regular file (a FIFO or device never blocks us); ERR_NOMEM. Sentences begin with
 * the path. */
MUST_CHECK enum status file_open(const char *path, struct file **out, struct error *err);

uint64_t file_size(const struct file *file);
const char *file_path(const struct file *file); /* borrowed until close */

/* Read exactly n bytes at `offset`. Safe from several threads at once. ERR_CORRUPT when the
 * file ends before; ERR_IO when the system fails. Sentences begin with the path. */
MUST_CHECK enum status file_read(const struct file *file, uint64_t offset, void *buf,
                                 size_t n, struct error *err);

/* ERR_IO when device, inode, size or mtime differ from what they were at file_open():
 * somebody changed the file while it was read. */
MUST_CHECK enum status file_unchanged(const struct file *file, struct error *err);

/* Tell the kernel that [offset, offset + n) is wanted soon / no longer. Advice only. */
void file_will_need(const struct file *file, uint64_t offset, uint64_t n);
void file_wont_need(const struct file *file, uint64_t offset, uint64_t n);

/* Map the whole file read-only (once; later calls give the same address). Borrowed until
 * close. An empty file maps to a non-NULL address. */
MUST_CHECK enum status file_map(struct file *file, const uint8_t **out,
                                struct error *err);

void file_close(struct file *file); /* NULL is fine */

/* The whole of a small file, NUL-terminated (the NUL is not counted), owned by the caller:
 * free(*out). ERR_CORRUPT when it is longer than max_bytes. */
MUST_CHECK enum status file_read_all(const char *path, size_t max_bytes, char **out,
                                     size_t *n_bytes, struct error *err);

/* True when the first n bytes of a file are those of a git-lfs pointer: the file itself was not
 * downloaded. */
bool file_is_pointer(const void *start, size_t n);

bool file_exists(const char *path);    /* a regular file, after links */
bool file_is_folder(const char *path); /* a directory, after links */

/* ---- writing ---- */

/* From now on this process writes over no file that it opens, by whatever name: for a program that
 * does one thing and ends. */
void file_guard_sources(void);

/* But over this one it does: its own record of what it has done so far, which it read to go on. */
void file_release(const char *path);

struct output;

struct output_options {
    bool force;  /* replace an existing target at commit */
    bool resume; /* keep and reopen an existing temporary instead of starting anew */
    bool replaces_source; /* the target may be a file that was read here: an edit of it */
};

/* Create (or with `resume` reopen) the temporary for `path`. ERR_USAGE when the target
 * exists and `force` is off, or its folder is missing; and, whatever `force` says, when the target
 * is a source under file_guard_sources(). ERR_IO. */
MUST_CHECK enum status output_open(const char *path, const struct output_options *options,
                                   struct output **out, struct error *err);

/* What output_open() would say of the target, before hours are spent on what goes there. */
MUST_CHECK enum status output_check(const char *path, bool force, struct error *err);

/* Write n bytes at `offset`; any order. ERR_IO with the system's reason (disk full, file too
 * large); the temporary is kept for the caller to discard or resume. */
MUST_CHECK enum status output_write(struct output *dst, uint64_t offset, const void *buf,
                                    size_t n, struct error *err);

/* Read back what was written, for a resumed hash. */
MUST_CHECK enum status output_read(struct output *dst, uint64_t offset, void *buf,
                                   size_t n, struct error *err);

/* ERR_IO when the temporary's file system has not the room for it to become n_bytes long: said before
 * hours are spent on it. OK where the system does not know. */
MUST_CHECK enum status output_fits(const struct output *dst, uint64_t n_bytes,
                                   struct error *err);

/* Wait until what was written is on the device. ERR_IO. */
MUST_CHECK enum status output_sync(struct output *dst, struct error *err);

uint64_t output_size(const struct output *dst);    /* present size of the temporary */
const char *output_path(const struct output *dst); /* the final name */
const char *output_temporary(const struct output *dst); /* where the bytes are now */

/* Seal, rename, and free dst on every outcome. On failure the temporary is removed. */
MUST_CHECK enum status output_commit(struct output *dst, uint64_t n_bytes,
                                     struct error *err);

/* The same in steps, for files of which one is no use without the others: seal all, then rename all.
 * Seal: truncate to `n_bytes`, fsync, and look at the target once more, as output_open() does. What
 * fails after that is the machine. ERR_IO; dst stays open, to be kept or discarded. */
MUST_CHECK enum status output_seal(struct output *dst, uint64_t n_bytes,
                                   struct error *err);

/* Give it its final name and fsync the folder. ERR_IO; dst stays open, and is freed by either of
 * keep and discard, which leave a file that has its name. */
MUST_CHECK enum status output_rename(struct output *dst, struct error *err);

/* Make it a temporary again, because another of them could not be renamed. What replaced a file stays:
 * that one is gone, and there would be none. */
void output_withdraw(struct output *dst);

/* Close and remove the temporary / close and keep it for a later resume. NULL is fine. */
void output_discard(struct output *dst);
void output_keep(struct output *dst);

/* Write a small file whole: temporary, fsync, rename. */
MUST_CHECK enum status file_write_all(const char *path, const void *bytes, size_t n,
                                      bool force, struct error *err);

/* Write n bytes over those at `offset` of a file that is there and long enough, and sync them. Not
 * whole or nothing: for the few writers that must not copy the rest. ERR_USAGE when it cannot be
 * opened or is shorter; ERR_IO. */
MUST_CHECK enum status file_overwrite(const char *path, uint64_t offset,
                                      const void *bytes, size_t n, struct error *err);

/* Put n_inserted bytes before the first one and write n over the front of what results, without
 * moving what follows; n_inserted is a whole number of the file system's blocks. *done is false, and
 * the file as it was, where the system cannot do that. Not whole or nothing either. ERR_USAGE,
 * ERR_IO. */
MUST_CHECK enum status file_insert(const char *path, uint64_t n_inserted,
                                   const void *bytes, size_t n, bool *done,
                                   struct error *err);

#endif
