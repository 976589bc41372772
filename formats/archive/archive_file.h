/*
 * archive_file.h - the inside of an open archive; private to this folder
 */
#ifndef FORMATS_ARCHIVE_ARCHIVE_FILE_H
#define FORMATS_ARCHIVE_ARCHIVE_FILE_H

#include "formats/archive/archive.h"
#include "formats/archive/zip_members.h"

/* A deflated member, read from front to back; deflated.c. */
struct deflated;

struct archive_entry {
    struct archive_tensor public; /* what callers see */
    uint64_t first;               /* byte in the file of element 0, when it is strided */
    uint64_t strides[TENSOR_MAX_DIMS]; /* in elements */
    struct deflated *deflated;         /* owned; NULL where the bytes stand as they are */
    uint64_t deflated_skip;            /* inflated bytes before the tensor's */
};

struct archive {
    struct file **files; /* owned */
    size_t n_files;
    struct archive_entry *entries; /* owned */
    size_t n, capacity;
    struct name_index index;
    struct arena arena; /* names */
};

/* Open one more file and add its tensors. */
MUST_CHECK enum status archive_add_file(struct archive *archive, const char *path,
                                        struct error *err);

/* Add a tensor, whose name is copied; is_plain and the offset are set from its strides. Its
 * deflated stream, if any, belongs to the archive on OK. ERR_CORRUPT for a name that is there
 * already. */
MUST_CHECK enum status archive_add(struct archive *archive,
                                   const struct archive_entry *entry, struct error *err);

/* torch.c and npy.c: add the tensors of that file. Sentences without the path. */
MUST_CHECK enum status torch_add(struct archive *archive, const struct file *file, int no,
                                 const struct members *members, struct error *err);
MUST_CHECK enum status npz_add(struct archive *archive, const struct file *file, int no,
                               const struct members *members, struct error *err);
MUST_CHECK enum status npy_add(struct archive *archive, const struct file *file, int no,
                               struct error *err);

/* gather.c: bytes [at, at + n) of the row-major tensor that a strided view stands for. */
MUST_CHECK enum status gather_bytes(const struct archive_entry *entry,
                                    const struct file *file, uint64_t at, size_t n,
                                    void *dst, struct error *err);

/* ---- deflated.c ---- */

MUST_CHECK enum status deflated_open(const struct file *file, const struct member *member,
                                     struct deflated **out, struct error *err);
/* Inflate bytes [offset, offset + n) of the member: forward from the last read, else anew from
 * its beginning. One thread at a time; others wait. */
MUST_CHECK enum status deflated_read(struct deflated *deflated, uint64_t offset,
                                     void *dst, size_t n, struct error *err);
void deflated_close(struct deflated *deflated); /* NULL is fine */

#endif
