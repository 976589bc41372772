/*
 * source.c - open what is to be converted, and the pieces its parts share
 */
#include "convert/source.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- computed tensors ---- */

static size_t constant_bytes(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    (void)t, (void)first, (void)n;
    return 0;
}

static enum status constant_fetch(const struct source_tensor *t, uint64_t first,
                                  uint64_t n, void *raw, struct error *err)
{
    (void)t, (void)first, (void)n, (void)raw, (void)err;
    return OK;
}

static void constant_decode(const struct source_tensor *t, const struct fetched *in,
                            uint64_t from, uint64_t n, float *x)
{
    const float *values = t->self;

    (void)in;
    memcpy(x, values + from * source_cols(t),
           (size_t)(n * source_cols(t)) * sizeof(float));
}

static const struct provider constant = {
    .fetch_bytes = constant_bytes, .fetch = constant_fetch, .decode = constant_decode};

const struct source_tensor *source_constant(struct arena *arena, const char *name,
                                            const float *values, uint64_t n)
{
    struct source_tensor *t = arena_alloc(arena, sizeof(*t));

    if (!t)
        return NULL;
    *t = (struct source_tensor){.name = name,
                                .found = name,
                                .type = "F32",
                                .transform = "compute",
                                .n_dims = 1,
                                .dims = {n},
                                .exact = TYPE_F32,
                                .provider = &constant,
                                .self = values};
    return t;
}

/* ---- finite numbers ---- */

enum status source_check_finite(const struct source_tensor *t, uint64_t first,
                                uint64_t n_rows, const float *x, struct error *err)
{
    const uint64_t cols = source_cols(t);
    size_t at = 0;

    if (quantize_all_finite(x, (size_t)(n_rows * cols), &at))
        return OK;
    return fail(err, ERR_CORRUPT,
                "%s: row %" PRIu64 ", column %" PRIu64 " is %s (finite expected)",
                t->found, first + at / cols, at % cols,
                isnan(x[at]) ? "NaN" : "infinite");
}

/* ---- notes ---- */

enum status source_note(struct source *src, struct error *err, const char *fmt, ...)
{
    va_list args, again;
    char *text = NULL;

    if (src->n_notes == src->notes_room) {
        const size_t room = 2 * src->notes_room + 16;
        const char **bigger = realloc(src->notes, room * sizeof(*bigger));

        if (!bigger)
            return fail(err, ERR_NOMEM, "no memory for notes");
        src->notes = bigger;
        src->notes_room = room;
    }
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    if (n >= 0)
        text = arena_alloc(&src->arena, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    if (!text)
        return fail(err, ERR_NOMEM, "no memory for notes");
    src->notes[src->n_notes++] = text;
    return OK;
}

/* ---- opening ---- */

static bool is_gguf(const char *path)
{
    const size_t n = strlen(path);

    return n > 5 && strcmp(path + n - 5, ".gguf") == 0 && !file_is_folder(path);
}

static enum status open_checkpoint(struct source *src,
                                   const struct source_options *options,
                                   struct error *err)
{
    enum status st =
        checkpoint_open(src->path, options->loras, options->n_loras, &src->cp, err);

    if (st != OK)
        return st;
    for (size_t i = 0; st == OK && i < checkpoint_notes(src->cp); i++)
        st = source_note(src, err, "%s", checkpoint_note(src->cp, i));
    if (st == OK && gemma_read_config(checkpoint_config(src->cp), &src->arena,
                                      &src->config, err) != OK)
        st = fail_at(
            err, arena_printf(&src->arena, "%s/config.json", checkpoint_folder(src->cp)));
    if (st == OK)
        st = source_collect(src, options, err);
    if (st == OK)
        st = source_describe(src, options, err);
    if (st != OK)
        return st;
    src->facts = (struct mix_facts){.n_layers = src->config.n_layers,
                                    .n_experts = src->config.n_experts};
    src->layout = arena_printf(&src->arena, "%s, %u layers, %s", src->config.model_type,
                               src->config.n_layers, checkpoint_layout(src->cp));
    return src->layout ? OK : fail(err, ERR_NOMEM, "no memory for a sentence");
}

enum status source_open(const char *path, const struct source_options *options,
                        struct source **out, struct error *err)
{
    struct source *src = calloc(1, sizeof(*src));
    enum status st = OK;

    if (!src)
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    src->path = arena_strdup(&src->arena, path);
    src->meta = gguf_meta_new();
    if (!src->path || !src->meta)
        st = fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    if (st == OK && is_gguf(path) && options->n_loras > 0)
        st =
            fail(err, ERR_UNSUPPORTED,
                 "%s: adapters are merged into a checkpoint, not into a GGUF (--lora %s)",
                 path, options->loras[0].path);
    if (st == OK)
        st = is_gguf(path) ? source_open_gguf(src, err)
                           : open_checkpoint(src, options, err);
    if (st == OK)
        st = source_override(src, options, err);
    if (st == OK && options->equalize_from)
        st = source_replay(src, options->equalize_from, err);
    if (st != OK) {
        source_close(src);
        return st;
    }
    *out = src;
    return OK;
}

size_t source_n_files(const struct source *src)
{
    return src->cp ? checkpoint_n_files(src->cp) : gguf_n_files(src->gguf);
}

const struct file *source_file(const struct source *src, size_t i)
{
    return src->cp ? checkpoint_file(src->cp, i) : gguf_file(src->gguf, (int)i);
}

uint64_t source_bytes(const struct source *src)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < source_n_files(src); i++)
        bytes += file_size(source_file(src, i));
    return bytes;
}

void source_close(struct source *src)
{
    if (!src)
        return;
    checkpoint_close(src->cp);
    gguf_close(src->gguf);
    gguf_meta_free(src->meta);
    free(src->notes);
    arena_free(&src->arena);
    free(src);
}
