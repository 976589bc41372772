/*
 * transposed.c - experts stored {E, in, out}, read as {E, out, in}
 *
 * A run of output rows is a piece of every line of its expert. The pieces are read one by one, so
 * memory stays that of the rows wanted.
 */
#include "convert/checkpoint/catalogue.h"

enum { PIECE = 64 };

/* Rows [from, from + count) of one expert. */
struct span {
    uint64_t expert, from, count;
};

/* The first of the spans that rows [first, first + n) fall into. */
static struct span first_span(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    const uint64_t rows = t->dims[1], from = first % rows;

    return (struct span){first / rows, from, n < rows - from ? n : rows - from};
}

static size_t width(const struct source_tensor *t)
{
    const struct raw_tensor *raw = t->self;

    return dtype_bits(raw->t->dtype) / 8;
}

static size_t transposed_bytes(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    (void)first;
    return (size_t)(n * t->dims[2]) * width(t);
}

static enum status transposed_fetch(const struct source_tensor *t, uint64_t first,
                                    uint64_t n, void *buf, struct error *err)
{
    const struct raw_tensor *raw = t->self;
    const uint64_t rows = t->dims[1], cols = t->dims[2];
    const size_t size = width(t);
    uint8_t *at = buf;
    enum status st = OK;

    while (n > 0 && st == OK) {
        const struct span s = first_span(t, first, n);

        for (uint64_t i = 0; i < cols && st == OK; i++) {
            const uint64_t element = (s.expert * cols + i) * rows + s.from;

            st = raw_read(raw, element * size, (size_t)s.count * size, at, err);
            at += s.count * size;
        }
        first += s.count;
        n -= s.count;
    }
    return st == OK ? OK : fail_at(err, t->found);
}

/* Rows [from, from + n) of a span of `count` rows whose lines are at `lines`. */
static void turn(const struct source_tensor *t, const uint8_t *lines, uint64_t count,
                 uint64_t from, uint64_t n, float *x)
{
    const struct raw_tensor *raw = t->self;
    const uint64_t cols = t->dims[2];
    float piece[PIECE];

    for (uint64_t i = 0; i < cols; i++)
        for (uint64_t row = 0; row < n; row += PIECE) {
            const uint64_t some = n - row < PIECE ? n - row : PIECE;

            dtype_widen(raw->t->dtype, lines + (i * count + from + row) * width(t), piece,
                        (size_t)some);
            for (uint64_t k = 0; k < some; k++)
                x[(row + k) * cols + i] = piece[k];
        }
}

static void transposed_decode(const struct source_tensor *t, const struct fetched *in,
                              uint64_t from, uint64_t n, float *x)
{
    const uint8_t *lines = in->raw;
    const uint64_t end = from + n;

    for (uint64_t row = in->first; row < end;) {
        const struct span s = first_span(t, row, in->first + in->n - row);
        const uint64_t a = from > row ? from : row;
        const uint64_t b = end < row + s.count ? end : row + s.count;

        if (a < b)
            turn(t, lines, s.count, a - row, b - a, x + (a - from) * t->dims[2]);
        lines += transposed_bytes(t, 0, s.count);
        row += s.count;
    }
}

static const struct provider transposed = {.fetch_bytes = transposed_bytes,
                                           .fetch = transposed_fetch,
                                           .decode = transposed_decode};

bool source_is_turned(const struct source_tensor *t, const uint64_t dims[3])
{
    return t->n_dims == 3 && is_plain(t) && t->dims[0] == dims[0] &&
           t->dims[1] == dims[2] && t->dims[2] == dims[1] && dims[1] != dims[2];
}

const struct source_tensor *source_turned(struct arena *arena,
                                          const struct source_tensor *t)
{
    struct source_tensor *turned = arena_alloc(arena, sizeof(*turned));

    if (!turned)
        return NULL;
    *turned = *t;
    turned->provider = &transposed;
    turned->transform = "transpose each expert";
    turned->dims[1] = t->dims[2];
    turned->dims[2] = t->dims[1];
    return turned;
}
