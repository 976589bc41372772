/*
 * keys.h - an architecture's scalar keys as rows of a table
 */
#ifndef CONVERT_GEMMA_KEYS_H
#define CONVERT_GEMMA_KEYS_H

#include "formats/gguf/gguf.h"

/* One key: U32 or F32. */
struct key_row {
    const char *key; /* after the architecture and a dot */
    enum gguf_type type;
    double value;
    bool left_out;
};

enum { KEY_NAME = 128 };

/* "ARCHITECTURE.KEY" to `name`, which it returns. */
const char *key_name(char name[KEY_NAME], const char *architecture, const char *key);

/* Set them in order; a key set again keeps its place. ERR_NOMEM. */
MUST_CHECK enum status keys_set(const char *architecture, const struct key_row *rows,
                                size_t n, struct gguf_meta *meta, struct error *err);

#endif
