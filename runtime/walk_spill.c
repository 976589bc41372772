/*
 * walk_spill.c - the file between two steps of a walk: where everything lies, in and out
 */
#include "runtime/walk.h"

#include <stdlib.h>

static const char magic[16] = "carat walk 1\n";

struct header {
    char magic[16];
    uint8_t identity[32];
    uint64_t done, n_bytes;
};

static bool is_shared(const struct config *config, uint32_t layer)
{
    for (uint32_t i = config->n_own_kv; i < config->n_layers; i++)
        if (config->layers[i].kv_layer == layer)
            return true;
    return false;
}

static uint64_t key_width(const struct layer_facts *layer)
{
    return (uint64_t)layer->n_kv_heads * layer->head_dim;
}

static void lay_out(struct spill *spill, const struct config *config, uint64_t n_state)
{
    uint64_t at = sizeof(struct header);

    spill->state = at;
    spill->stream = at += n_state;
    at += 2 * spill->n_tokens * spill->n_embd * sizeof(float);
    for (uint32_t i = 0; i < config->n_own_kv; i++) {
        if (!is_shared(config, i))
            continue;
        spill->keys[i] = at;
        at += 2 * spill->n_tokens * key_width(&config->layers[i]) * sizeof(float);
    }
    spill->slices = at;
    at += config->n_layers * spill->n_unique * spill->n_ple * sizeof(float);
    spill->n_bytes = at;
}

static enum status write_header(struct spill *spill, const uint8_t identity[32],
                                struct error *err)
{
    struct header header = {.n_bytes = spill->n_bytes};

    memcpy(header.magic, magic, sizeof(magic));
    memcpy(header.identity, identity, sizeof(header.identity));
    return output_write(spill->file, 0, &header, sizeof(header), err);
}

/* The last byte makes the file as long as it will be, and everything else zeros. */
static enum status begin(struct spill *spill, const struct walk_options *options,
                         struct error *err)
{
    enum status st = write_header(spill, options->identity, err);

    if (st == OK)
        st = output_fits(spill->file, spill->n_bytes, err);
    if (st == OK && spill->n_bytes > sizeof(struct header))
        st = output_write(spill->file, spill->n_bytes - 1, "", 1, err);
    return st;
}

static enum status go_on(struct spill *spill, const struct walk_options *options,
                         uint32_t n_steps, uint32_t *done, struct error *err)
{
    struct header header = {0};

    if (output_size(spill->file) < sizeof(header)) {
        output_discard(
            spill->file); /* made by opening it, or by a run that did nothing */
        spill->file = NULL;
        return fail(err, ERR_USAGE, "%s: there is nothing to resume", options->path);
    }
    if (output_read(spill->file, 0, &header, sizeof(header), err) != OK)
        return err->code;
    if (memcmp(header.magic, magic, sizeof(magic)) != 0 ||
        memcmp(header.identity, options->identity, sizeof(header.identity)) != 0 ||
        header.n_bytes != spill->n_bytes || output_size(spill->file) != spill->n_bytes ||
        header.done > n_steps)
        return fail(err, ERR_USAGE,
                    "%s: what was begun there is of another model, text or option",
                    options->path);
    *done = (uint32_t)header.done;
    return OK;
}

enum status spill_open(struct spill *spill, const struct config *config,
                       const struct walk_options *options, uint64_t n_tokens,
                       uint64_t n_unique, uint32_t *done, struct error *err)
{
    const struct output_options how = {.force = true, .resume = options->resume};
    const size_t n_path = strlen(options->path) + sizeof(".layers");
    char *path = malloc(n_path);
    enum status st = OK;

    *spill = (struct spill){.n_tokens = n_tokens,
                            .n_unique = n_unique,
                            .n_embd = config->n_embd,
                            .n_ple = config->n_ple,
                            .layers = config->layers,
                            .keys = calloc(config->n_layers, sizeof(*spill->keys))};
    *done = 0;
    if (!path || !spill->keys)
        st = fail(err, ERR_NOMEM, "%s: no memory to work beside it", options->path);
    if (st == OK) {
        lay_out(spill, config, options->n_state);
        snprintf(path, n_path, "%s.layers", options->path);
        st = output_open(path, &how, &spill->file, err);
    }
    if (st == OK)
        st = options->resume ? go_on(spill, options, config->n_layers + 2, done, err)
                             : begin(spill, options, err);
    free(path);
    return st;
}

enum status spill_mark(struct spill *spill, uint32_t done, struct error *err)
{
    const uint64_t count = done;
    enum status st = output_sync(spill->file, err);

    if (st == OK)
        st = output_write(spill->file, offsetof(struct header, done), &count,
                          sizeof(count), err);
    return st;
}

void spill_close(struct spill *spill, bool keep)
{
    if (keep)
        output_keep(spill->file);
    else
        output_discard(spill->file);
    free(spill->keys);
    *spill = (struct spill){0};
}

/* n rows of `width` floats, number `row` on, of those that begin at `base`. */
static enum status move(struct spill *spill, enum direction direction, uint64_t base,
                        uint64_t row, size_t n, uint64_t width, float *x,
                        struct error *err)
{
    const uint64_t at = base + row * width * sizeof(*x);
    const size_t n_bytes = n * (size_t)width * sizeof(*x);

    return direction == WRITE ? output_write(spill->file, at, x, n_bytes, err)
                              : output_read(spill->file, at, x, n_bytes, err);
}

enum status spill_stream(struct spill *spill, enum direction direction, uint32_t half,
                         uint64_t token, size_t n, float *x, struct error *err)
{
    return move(spill, direction, spill->stream, half * spill->n_tokens + token, n,
                spill->n_embd, x, err);
}

enum status spill_keys(struct spill *spill, enum direction direction, uint32_t layer,
                       uint64_t token, size_t n, float *k, float *v, struct error *err)
{
    const uint64_t width = key_width(&spill->layers[layer]);
    enum status st = move(spill, direction, spill->keys[layer], token, n, width, k, err);

    if (st == OK)
        st = move(spill, direction, spill->keys[layer], spill->n_tokens + token, n, width,
                  v, err);
    return st;
}

enum status spill_slices(struct spill *spill, enum direction direction, uint32_t layer,
                         uint64_t first, size_t n, float *x, struct error *err)
{
    return move(spill, direction, spill->slices, layer * spill->n_unique + first, n,
                spill->n_ple, x, err);
}
