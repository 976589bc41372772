/*
 * gguf_file.h - the inside of an open GGUF; private to this folder
 */
#ifndef FORMATS_GGUF_GGUF_FILE_H
#define FORMATS_GGUF_GGUF_FILE_H

#include "formats/gguf/gguf_meta.h"
#include "formats/gguf/gguf_source.h"

/* One file of a split, or the only one. */
struct gguf_part {
    struct file *file;      /* owned; NULL over bytes in memory */
    struct gguf_meta *meta; /* owned */
    uint64_t data_start;
    uint32_t alignment;
};

struct gguf {
    struct gguf_part *parts; /* owned */
    size_t n_parts;
    struct gguf_tensor *tensors; /* owned; of all parts */
    size_t n_tensors;
    struct arena names;
    struct name_index index; /* by tensor name */
};

/* Read and check the header that `src` stands before: fills part `no` of `gguf` but for its
 * file, and adds its tensors. */
MUST_CHECK enum status gguf_read_header(struct gguf *gguf, size_t no,
                                        struct gguf_source *src, struct error *err);

/* gguf_keys.c: the next key and value, owned by the caller. `no` counts keys for messages. */
MUST_CHECK enum status gguf_read_entry(struct gguf_source *src, uint64_t no,
                                       struct gguf_entry **out, struct error *err);

/* NULL when n bytes of text are UTF-8 without NUL; otherwise what is wrong. */
const char *gguf_text_trouble(const char *text, size_t n);

#endif
