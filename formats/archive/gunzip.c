/*
 * gunzip.c - a gzipped text, inflated whole within a limit
 */
#include "formats/archive/archive.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

enum { FIRST_BYTES = 64 << 10 };

/* Text that grows as it is inflated. */
struct text {
    char *bytes; /* owned */
    size_t n, size;
};

static enum status grow(struct text *text, size_t max_bytes, struct error *err)
{
    size_t size = text->size ? 2 * text->size : FIRST_BYTES;
    char *bigger;

    if (text->n >= max_bytes)
        return fail(err, ERR_CORRUPT, "inflates to more than %zu bytes", max_bytes);
    bigger = realloc(text->bytes, size + 1);
    if (!bigger)
        return fail(err, ERR_NOMEM, "no memory to inflate it");
    text->bytes = bigger;
    text->size = size;
    return OK;
}

/* Inflate one or more gzip members that together are all of the input. */
static enum status run(z_stream *stream, struct text *text, size_t max_bytes,
                       struct error *err)
{
    for (;;) {
        enum status st = text->n == text->size ? grow(text, max_bytes, err) : OK;
        size_t room = text->size - text->n;
        int code;

        if (st != OK)
            return st;
        room = room < INT_MAX ? room : INT_MAX;
        stream->next_out = (unsigned char *)text->bytes + text->n;
        stream->avail_out = (uInt)room;
        code = inflate(stream, Z_NO_FLUSH);
        text->n += room - stream->avail_out;
        if (code == Z_STREAM_END && stream->avail_in == 0)
            return OK;
        if (code == Z_STREAM_END)
            code = inflateReset(stream);
        if (code == Z_BUF_ERROR && stream->avail_in == 0)
            return fail(err, ERR_CORRUPT, "the gzip data is truncated");
        if (code != Z_OK && code != Z_BUF_ERROR)
            return fail(err, ERR_CORRUPT, "the gzip data is damaged at byte %lu",
                        stream->total_in);
    }
}

static enum status gunzip(unsigned char *packed, size_t n, size_t max_bytes,
                          struct text *text, struct error *err)
{
    z_stream stream = {.next_in = packed, .avail_in = (uInt)n};
    enum status st;

    if (n > UINT_MAX)
        return fail(err, ERR_UNSUPPORTED, "%zu bytes of gzip", n);
    /* 16: a gzip header, and no other. */
    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
        return fail(err, ERR_NOMEM, "no memory to inflate it");
    st = run(&stream, text, max_bytes, err);
    inflateEnd(&stream);
    if (st == OK && text->n > max_bytes)
        st = fail(err, ERR_CORRUPT, "inflates to more than %zu bytes", max_bytes);
    return st;
}

enum status archive_read_gzip(const char *path, size_t max_bytes, char **out,
                              size_t *n_bytes, struct error *err)
{
    struct text text = {0};
    char *packed = NULL;
    size_t n = 0;
    enum status st = file_read_all(path, max_bytes, &packed, &n, err);

    if (st != OK)
        return st;
    st = gunzip((unsigned char *)packed, n, max_bytes, &text, err);
    free(packed);
    if (st != OK) {
        free(text.bytes);
        return fail_at(err, path);
    }
    text.bytes[text.n] = '\0';
    *out = text.bytes;
    *n_bytes = text.n;
    return OK;
}
