/*
 * gguf_source.c - bytes in order, a window at a time
 */
#include "formats/gguf/gguf_source.h"

#include <inttypes.h>
#include <stdlib.h>

enum { WINDOW_BYTES = 1 << 20 };

enum status gguf_source_open(struct gguf_source *src, const struct file *file,
                             struct error *err)
{
    *src = (struct gguf_source){.file = file, .size = file_size(file)};
    src->buffer = malloc(WINDOW_BYTES);
    if (!src->buffer)
        return fail(err, ERR_NOMEM, "no memory to read the header");
    src->window = src->buffer;
    return OK;
}

void gguf_source_memory(struct gguf_source *src, const uint8_t *bytes, size_t n_bytes)
{
    *src = (struct gguf_source){.size = n_bytes, .window = bytes, .n_window = n_bytes};
}

uint64_t gguf_source_left(const struct gguf_source *src)
{
    return src->size - src->at;
}

/* Bring src->at into the window; it is before the end. */
static enum status refill(struct gguf_source *src, struct error *err)
{
    uint64_t left = gguf_source_left(src);
    size_t n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
    enum status st = file_read(src->file, src->at, src->buffer, n, err);

    src->window_at = src->at;
    src->n_window = st == OK ? n : 0;
    return st;
}

enum status gguf_source_take(struct gguf_source *src, void *dst, size_t n,
                             struct error *err)
{
    uint8_t *out = dst;

    if (n > gguf_source_left(src))
        return fail(err, ERR_CORRUPT, "ends inside the header, at byte %" PRIu64,
                    src->size);
    while (n > 0) {
        uint64_t skip = src->at - src->window_at;
        size_t run;

        if (skip >= src->n_window) {
            enum status st = refill(src, err);

            if (st != OK)
                return st;
            skip = 0;
        }
        run = src->n_window - (size_t)skip;
        run = run < n ? run : n;
        memcpy(out, src->window + skip, run);
        out += run;
        src->at += run;
        n -= run;
    }
    return OK;
}

enum status gguf_source_u32(struct gguf_source *src, uint32_t *out, struct error *err)
{
    uint8_t bytes[4];
    enum status st = gguf_source_take(src, bytes, sizeof(bytes), err);

    if (st == OK)
        *out = load_u32(bytes);
    return st;
}

enum status gguf_source_u64(struct gguf_source *src, uint64_t *out, struct error *err)
{
    uint8_t bytes[8];
    enum status st = gguf_source_take(src, bytes, sizeof(bytes), err);

    if (st == OK)
        *out = load_u64(bytes);
    return st;
}

void gguf_source_close(struct gguf_source *src)
{
    free(src->buffer);
    *src = (struct gguf_source){0};
}
