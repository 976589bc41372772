/*
 * zip_members.h - the members of a zip file, and where their bytes lie
 *
 * Private to this folder. The central directory is the authority; every local header must
 * agree with it in name and method. Stored and deflated members only: encrypted files, several
 * disks, names that lead outside and names that stand twice are refused. Zip64 is read.
 *
 * Source: APPNOTE.TXT 6.3.10, sections 4.3 (structure), 4.4 (fields), 4.5.3 (zip64).
 */
#ifndef FORMATS_ARCHIVE_ZIP_MEMBERS_H
#define FORMATS_ARCHIVE_ZIP_MEMBERS_H

#include "base/base.h"
#include "formats/names/names.h"

enum { METHOD_STORED = 0, METHOD_DEFLATED = 8 };

struct member {
    const char *name; /* in the arena */
    uint64_t offset;  /* of its data in the file */
    uint64_t packed;  /* bytes there */
    uint64_t size;    /* bytes inflated; as many where it is stored */
    unsigned method;
    uint32_t crc;    /* CRC-32 of the inflated bytes */
    uint64_t header; /* of its local header in the file */
};

/* Starts as `= {0}`. */
struct members {
    struct arena arena;
    struct member *list; /* owned; in the directory's order, folders left out */
    size_t n;
    struct name_index index;
};

/* True when the file begins as a zip does. */
bool members_look_like_zip(const uint8_t *start, size_t n);

/* Read and check the directory. ERR_CORRUPT, ERR_UNSUPPORTED, ERR_IO, ERR_NOMEM; sentences
 * without the file's name. */
MUST_CHECK enum status members_read(const struct file *file, struct members *members,
                                    struct error *err);

/* The member of that name, or NULL. */
const struct member *members_find(const struct members *members, const char *name);

void members_free(struct members *members);

#endif
