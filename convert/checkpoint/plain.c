/*
 * plain.c - tensors stored as numbers: the simplest provider
 */
#include "convert/checkpoint/catalogue.h"

static size_t plain_bytes(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    const struct raw_tensor *raw = t->self;

    (void)first;
    return (size_t)(n * source_cols(t) * dtype_bits(raw->t->dtype) / 8);
}

static enum status plain_fetch(const struct source_tensor *t, uint64_t first, uint64_t n,
                               void *buf, struct error *err)
{
    const enum status st =
        raw_read(t->self, plain_bytes(t, 0, first), plain_bytes(t, first, n), buf, err);

    return st == OK ? OK : fail_at(err, t->found);
}

static void plain_decode(const struct source_tensor *t, const struct fetched *in,
                         uint64_t from, uint64_t n, float *x)
{
    const struct raw_tensor *raw = t->self;
    const uint8_t *bytes = in->raw;

    dtype_widen(raw->t->dtype, bytes + plain_bytes(t, 0, from - in->first), x,
                (size_t)(n * source_cols(t)));
}

static const struct provider plain = {
    .fetch_bytes = plain_bytes, .fetch = plain_fetch, .decode = plain_decode};

bool is_plain(const struct source_tensor *t)
{
    return t->provider == &plain;
}

/* The smallest type of a file that holds every value of a dtype exactly. F64 is rounded to F32: a
 * GGUF could hold it, but no engine reads F64 weights. */
static enum block_type exact_type(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_BF16:
        return TYPE_BF16;
    case DTYPE_F16:
    case DTYPE_F8_E5M2: /* its range and digits are a part of F16's */
    case DTYPE_F8_E4M3:
        return TYPE_F16;
    default:
        return TYPE_F32;
    }
}

enum status plain_source(struct checkpoint *cp, struct source_tensor *t,
                         const struct raw_tensor *raw, struct error *err)
{
    (void)cp;
    if (!dtype_is_float(raw->t->dtype) || dtype_bits(raw->t->dtype) % 8 != 0)
        return fail(err, ERR_UNSUPPORTED,
                    "%s: %s: %s numbers (floating-point weights expected)",
                    file_path(raw->file), raw->t->name, dtype_name(raw->t->dtype));

    t->found = raw->t->name;
    t->type = dtype_name(raw->t->dtype);
    t->transform = "copy";
    t->n_dims = raw->t->n_dims;
    memcpy(t->dims, raw->t->dims, sizeof(t->dims));
    t->exact = exact_type(raw->t->dtype);
    t->order = raw->order;
    t->n_bytes = raw->t->n_bytes;
    t->provider = &plain;
    t->self = raw;
    return OK;
}

enum status plain_claim(struct checkpoint *cp, struct error *err)
{
    for (size_t i = 0; i < cp->n_raws; i++) {
        struct raw_tensor *raw = &cp->raws[i];

        if (raw->taken)
            continue;
        struct source_tensor *t = catalogue_add(cp, raw->name);
        if (!t)
            return fail(err, ERR_NOMEM, "no memory for the table of tensors");
        const enum status st = plain_source(cp, t, raw, err);
        if (st != OK)
            return st;
        raw->taken = true;
    }
    return OK;
}
