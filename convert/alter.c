/*
 * alter.c - source tensors that differ a little from the checkpoint's: shifted by one, or cut
 */
#include "convert/source.h"

static size_t base_bytes(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    const struct source_tensor *base = t->self;

    return base->provider->fetch_bytes(base, first, n);
}

static enum status base_fetch(const struct source_tensor *t, uint64_t first, uint64_t n,
                              void *raw, struct error *err)
{
    const struct source_tensor *base = t->self;

    return base->provider->fetch(base, first, n, raw, err);
}

static void base_decode(const struct source_tensor *t, const struct fetched *in,
                        uint64_t from, uint64_t n, float *x)
{
    const struct source_tensor *base = t->self;

    base->provider->decode(base, in, from, n, x);
}

static void base_repack(const struct source_tensor *t, const struct fetched *in,
                        uint64_t from, uint64_t n, void *blocks)
{
    const struct source_tensor *base = t->self;

    base->provider->repack(base, in, from, n, blocks);
}

static void shifted_decode(const struct source_tensor *t, const struct fetched *in,
                           uint64_t from, uint64_t n, float *x)
{
    const size_t count = (size_t)(n * source_cols(t));

    base_decode(t, in, from, n, x);
    for (size_t i = 0; i < count; i++)
        x[i] += 1.0F;
}

static const struct provider shifted = {
    .fetch_bytes = base_bytes, .fetch = base_fetch, .decode = shifted_decode};

static const struct provider cut = {.fetch_bytes = base_bytes,
                                    .fetch = base_fetch,
                                    .decode = base_decode,
                                    .repack = base_repack};

static struct source_tensor *wrap(struct arena *arena, const struct source_tensor *t)
{
    struct source_tensor *wrapped = arena_alloc(arena, sizeof(*wrapped));

    if (wrapped) {
        *wrapped = *t;
        wrapped->self = t;
    }
    return wrapped;
}

const struct source_tensor *source_shifted(struct arena *arena,
                                           const struct source_tensor *t)
{
    struct source_tensor *wrapped = wrap(arena, t);

    if (!wrapped)
        return NULL;
    wrapped->provider = &shifted;
    wrapped->transform = "add 1";
    wrapped->exact = TYPE_F32;
    return wrapped;
}

const struct source_tensor *source_cut(struct arena *arena, const struct source_tensor *t,
                                       uint64_t n_rows)
{
    struct source_tensor *wrapped = wrap(arena, t);

    if (!wrapped)
        return NULL;
    wrapped->provider = &cut;
    wrapped->transform = "leave out padding rows";
    wrapped->dims[0] = n_rows;
    return wrapped;
}
