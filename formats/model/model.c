/*
 * model.c - what every implementation of a model shares
 */
#include "formats/model/model.h"
#include "formats/names/names.h"

#include <inttypes.h>
#include <stdlib.h>

enum { READ_BYTES = 1 << 20 }; /* of rows at once in model_read_f32() */

enum status model_index(struct model *model, struct error *err)
{
    struct name_index *index = calloc(1, sizeof(*index));

    if (!index)
        return fail(err, ERR_NOMEM, "%s: no memory for its tensors", model->path);
    model->index = index;
    for (size_t i = 0; i < model->n_tensors; i++) {
        const char *name = model->tensors[i].name;

        if (name_index_find(index, name) >= 0)
            return fail(err, ERR_CORRUPT, "%s: %s: the tensor stands twice", model->path,
                        name);
        if (!name_index_add(index, name, i))
            return fail(err, ERR_NOMEM, "%s: no memory for its tensors", model->path);
    }
    return OK;
}

int64_t model_find(const struct model *model, const char *name)
{
    return name_index_find(model->index, name);
}

enum status model_read_rows(const struct model *model, size_t i, uint64_t first,
                            uint64_t n, void *dst, struct error *err)
{
    assert(first + n <= gguf_tensor_rows(&model->tensors[i]));
    return model->ops->read_rows(model->self, i, first, n, dst, err);
}

const void *model_map(const struct model *model, size_t i)
{
    return model->ops->map ? model->ops->map(model->self, i) : NULL;
}

/* Read and decode all rows through a buffer of `slab` rows. */
static enum status read_decoded(const struct model *model, size_t i, uint64_t slab,
                                void *bytes, float *x, struct error *err)
{
    const struct gguf_tensor *t = &model->tensors[i];
    const uint64_t n_rows = gguf_tensor_rows(t);

    for (uint64_t first = 0; first < n_rows; first += slab) {
        uint64_t n = n_rows - first < slab ? n_rows - first : slab;
        enum status st = model_read_rows(model, i, first, n, bytes, err);

        if (st != OK)
            return st;
        block_decode(t->type, bytes, x + first * t->ne[0], (size_t)(n * t->ne[0]));
    }
    return OK;
}

enum status model_read_f32(const struct model *model, size_t i, float **out,
                           struct error *err)
{
    const struct gguf_tensor *t = &model->tensors[i];
    const struct block_info *info = block_type_info(t->type);
    const size_t row_bytes = block_row_bytes(t->type, t->ne[0]);
    const uint64_t slab = row_bytes < READ_BYTES ? READ_BYTES / row_bytes : 1;
    size_t n_bytes;
    float *x = NULL;
    void *bytes = NULL;
    enum status st;

    if (!info->decode)
        return fail(err, ERR_UNSUPPORTED, "%s: %s: type %s cannot be decoded",
                    model->path, t->name, info->name);
    if (mul_size((size_t)(t->ne[0] * gguf_tensor_rows(t)), sizeof(*x), &n_bytes))
        x = malloc(n_bytes);
    bytes = malloc((size_t)slab * row_bytes);
    if (x && bytes)
        st = read_decoded(model, i, slab, bytes, x, err);
    else
        st = fail(err, ERR_NOMEM, "%s: %s: no memory to decode it", model->path, t->name);
    free(bytes);
    if (st == OK)
        *out = x;
    else
        free(x);
    return st;
}

void model_close(struct model *model)
{
    if (!model)
        return;
    if (model->index)
        name_index_free(model->index);
    free(model->index);
    model->ops->close(model->self);
    free(model);
}
