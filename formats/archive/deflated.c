/*
 * deflated.c - inflate a zip member a window at a time
 */
#include "formats/archive/archive_file.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <zlib.h>

enum { INPUT_BYTES = 64 << 10, SKIP_BYTES = 64 << 10 };

struct deflated {
    const struct file *file;
    uint64_t offset, packed, size; /* of the member */
    pthread_mutex_t lock;
    z_stream stream;
    bool has_stream;
    uint64_t taken;         /* packed bytes read from the file */
    uint64_t at;            /* inflated bytes given so far */
    uint32_t want_crc, crc; /* of all of it; of what was given so far */
    uint8_t input[INPUT_BYTES];
};

enum status deflated_open(const struct file *file, const struct member *member,
                          struct deflated **out, struct error *err)
{
    struct deflated *d = calloc(1, sizeof(*d));

    if (!d)
        return fail(err, ERR_NOMEM, "%s: no memory to inflate it", member->name);
    d->file = file;
    d->offset = member->offset;
    d->packed = member->packed;
    d->size = member->size;
    d->want_crc = member->crc;
    pthread_mutex_init(&d->lock, NULL);
    *out = d;
    return OK;
}

void deflated_close(struct deflated *d)
{
    if (!d)
        return;
    if (d->has_stream)
        inflateEnd(&d->stream);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static enum status restart(struct deflated *d, struct error *err)
{
    if (d->has_stream)
        inflateEnd(&d->stream);
    d->stream = (z_stream){0};
    d->taken = 0;
    d->at = 0;
    d->crc = 0;
    /* Negative: a bare stream, as zip has it, without zlib's own header. */
    d->has_stream = inflateInit2(&d->stream, -MAX_WBITS) == Z_OK;
    return d->has_stream ? OK : fail(err, ERR_NOMEM, "no memory to inflate");
}

static enum status feed(struct deflated *d, struct error *err)
{
    uint64_t left = d->packed - d->taken;
    size_t n = left < INPUT_BYTES ? (size_t)left : INPUT_BYTES;
    enum status st;

    if (n == 0)
        return fail(err, ERR_CORRUPT, "the deflated data ends too early");
    st = file_read(d->file, d->offset + d->taken, d->input, n, err);
    d->stream.next_in = d->input;
    d->stream.avail_in = (uInt)n;
    d->taken += n;
    return st;
}

/* The next n bytes. */
static enum status forward(struct deflated *d, uint8_t *dst, size_t n, struct error *err)
{
    while (n > 0) {
        size_t most = n < INT32_MAX ? n : INT32_MAX;
        int code;

        if (d->stream.avail_in == 0) {
            enum status st = feed(d, err);

            if (st != OK)
                return st;
        }
        d->stream.next_out = dst;
        d->stream.avail_out = (uInt)most;
        code = inflate(&d->stream, Z_NO_FLUSH);
        most -= d->stream.avail_out;
        d->crc = (uint32_t)crc32(d->crc, dst, (uInt)most);
        dst += most;
        d->at += most;
        n -= most;
        if (code != Z_OK && !(code == Z_STREAM_END && n == 0))
            return fail(err, ERR_CORRUPT,
                        "the deflated data is damaged at inflated byte %" PRIu64, d->at);
    }
    if (d->at == d->size && d->crc != d->want_crc)
        return fail(err, ERR_CORRUPT,
                    "the inflated data have another checksum than the zip says");
    return OK;
}

static enum status skip_to(struct deflated *d, uint64_t offset, struct error *err)
{
    uint8_t scrap[SKIP_BYTES];
    enum status st = OK;

    if (!d->has_stream || d->at > offset)
        st = restart(d, err);
    while (st == OK && d->at < offset) {
        uint64_t left = offset - d->at;

        st = forward(d, scrap, left < SKIP_BYTES ? (size_t)left : SKIP_BYTES, err);
    }
    return st;
}

enum status deflated_read(struct deflated *d, uint64_t offset, void *dst, size_t n,
                          struct error *err)
{
    enum status st;

    if (offset > d->size || n > d->size - offset)
        return fail(err, ERR_CORRUPT, "ends at inflated byte %" PRIu64, d->size);
    pthread_mutex_lock(&d->lock);
    st = skip_to(d, offset, err);
    if (st == OK)
        st = forward(d, dst, n, err);
    pthread_mutex_unlock(&d->lock);
    return st;
}
