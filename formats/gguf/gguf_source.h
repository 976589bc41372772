/*
 * gguf_source.h - a header's bytes in order, from a file through a window or from memory
 *
 * Private to this folder. Everything read is checked against the end, and nothing is allocated
 * for bytes that are not there.
 */
#ifndef FORMATS_GGUF_GGUF_SOURCE_H
#define FORMATS_GGUF_GGUF_SOURCE_H

#include "base/base.h"

struct gguf_source {
    const struct file *file; /* NULL: `window` is the whole of it */
    uint64_t size, at;
    const uint8_t *window; /* bytes [window_at, window_at + n_window) */
    uint64_t window_at;
    size_t n_window;
    uint8_t *buffer; /* owned; where the window of a file lies */
};

MUST_CHECK enum status gguf_source_open(struct gguf_source *src, const struct file *file,
                                        struct error *err);
void gguf_source_memory(struct gguf_source *src, const uint8_t *bytes, size_t n_bytes);

uint64_t gguf_source_left(const struct gguf_source *src);

/* The next n bytes. ERR_CORRUPT when fewer are left, "ends inside the header". */
MUST_CHECK enum status gguf_source_take(struct gguf_source *src, void *dst, size_t n,
                                        struct error *err);
MUST_CHECK enum status gguf_source_u32(struct gguf_source *src, uint32_t *out,
                                       struct error *err);
MUST_CHECK enum status gguf_source_u64(struct gguf_source *src, uint64_t *out,
                                       struct error *err);

void gguf_source_close(struct gguf_source *src);

#endif
