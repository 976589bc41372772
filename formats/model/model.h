/*
 * model.h - a model as a GGUF describes it, wherever its bytes come from
 *
 * The runtime and the verifier see one thing: GGUF metadata, a table of tensors with GGUF names
 * and types, and rows of bytes. A GGUF on disk is one such thing (model_open_gguf below); a
 * checkpoint folder is another, "the GGUF that has not been written" (convert/ makes it). So a
 * reference run needs no intermediate file, and nobody parses a configuration twice.
 */
#ifndef FORMATS_MODEL_MODEL_H
#define FORMATS_MODEL_MODEL_H

#include "base/base.h"
#include "formats/gguf/gguf.h"

struct model;

/* What an implementation provides. `self` is its own state. */
struct model_ops {
    /* Write rows [first, first + n) of the tensor at index `i`, in its type's bytes, to dst.
     * Safe from several threads at once. */
    enum status (*read_rows)(void *self, size_t i, uint64_t first, uint64_t n, void *dst,
                             struct error *err);
    /* The tensor's bytes in the address space, or NULL when it must be read. May be NULL. */
    const void *(*map)(void *self, size_t i);
    void (*close)(void *self);
};

struct model {
    const char *path; /* what the user named */
    const struct gguf_meta *meta;
    const struct gguf_tensor *tensors;
    size_t n_tensors;
    const struct model_ops *ops;
    void *self;
    void *index; /* private: name -> position */
};

/* Finish a model an implementation filled in: builds the name index. ERR_NOMEM; ERR_CORRUPT for
 * a name that stands twice. */
MUST_CHECK enum status model_index(struct model *model, struct error *err);

/* Position of the tensor of that name, or -1. O(1). */
int64_t model_find(const struct model *model, const char *name);

MUST_CHECK enum status model_read_rows(const struct model *model, size_t i,
                                       uint64_t first, uint64_t n, void *dst,
                                       struct error *err);
const void *model_map(const struct model *model, size_t i);

/* Read a whole tensor as f32 into memory owned by the caller (free). ERR_UNSUPPORTED for types
 * without a decoder. */
MUST_CHECK enum status model_read_f32(const struct model *model, size_t i, float **out,
                                      struct error *err);

/* A GGUF file or split. Tensors of every shard but the one that holds
 * per_layer_token_embd.weight alone are mapped on the first model_map(); that shard is only ever
 * read, and model_map() gives NULL for it. */
MUST_CHECK enum status model_open_gguf(const char *path, struct model **out,
                                       struct error *err);

void model_close(struct model *model); /* NULL is fine */

#endif
