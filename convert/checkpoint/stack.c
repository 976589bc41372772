/*
 * stack.c - rows of several tensors as the rows of one: separate experts into the fused tensor
 *
 * Stored per expert, or per projection over all experts; wanted as the released checkpoints have
 * it: experts.gate_up_proj {E, 2F, H} with each expert's gate rows before its up rows, and
 * experts.down_proj {E, H, F}.
 */
#include "convert/checkpoint/catalogue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct stack {
    const struct row_part *parts;
    size_t n_parts;
};

/* Where [first, first + n) of the stack meets one part: rows [from, from + count) of part->t. */
struct overlap {
    const struct source_tensor *t;
    uint64_t from, count;
};

/* Walks the parts of a run of rows. */
struct walk {
    const struct row_part *part, *end;
    uint64_t skip, left; /* rows to pass over in *part; rows still wanted */
};

static struct walk walk_begin(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    const struct stack *stack = t->self;
    struct walk walk = {stack->parts, stack->parts + stack->n_parts, first, n};

    while (walk.part < walk.end && walk.skip >= walk.part->n)
        walk.skip -= (walk.part++)->n;
    return walk;
}

static bool walk_next(struct walk *walk, struct overlap *out)
{
    if (walk->left == 0 || walk->part == walk->end)
        return false;

    const struct row_part *part = walk->part++;
    const uint64_t there = part->n - walk->skip;
    out->t = part->t;
    out->from = part->first + walk->skip;
    out->count = there < walk->left ? there : walk->left;
    walk->left -= out->count;
    walk->skip = 0;
    return true;
}

static size_t stack_bytes(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    struct walk walk = walk_begin(t, first, n);
    struct overlap o;
    size_t bytes = 0;

    while (walk_next(&walk, &o))
        bytes += o.t->provider->fetch_bytes(o.t, o.from, o.count);
    return bytes;
}

static enum status stack_fetch(const struct source_tensor *t, uint64_t first, uint64_t n,
                               void *raw, struct error *err)
{
    struct walk walk = walk_begin(t, first, n);
    struct overlap o;
    uint8_t *at = raw;
    enum status st = OK;

    while (st == OK && walk_next(&walk, &o)) {
        st = o.t->provider->fetch(o.t, o.from, o.count, at, err);
        at += o.t->provider->fetch_bytes(o.t, o.from, o.count);
    }
    return st;
}

/* Rows [from, from + n) of the stack to `out`, as f32 or (blocks) as t->exact. */
static void stack_rows(const struct source_tensor *t, const struct fetched *in,
                       uint64_t from, uint64_t n, bool blocks, uint8_t *out)
{
    struct walk walk = walk_begin(t, in->first, in->n);
    const size_t row_bytes =
        block_row_bytes(blocks ? t->exact : TYPE_F32, source_cols(t));
    const uint8_t *raw = in->raw;
    uint64_t row = in->first; /* of the stack, where this overlap begins */
    struct overlap o;

    while (row < from + n && walk_next(&walk, &o)) {
        const uint64_t begin = from > row ? from : row;
        const uint64_t end = from + n < row + o.count ? from + n : row + o.count;
        const struct fetched part = {o.from, o.count, raw};

        if (begin < end) {
            void *at = out + (begin - from) * row_bytes;

            if (blocks)
                o.t->provider->repack(o.t, &part, o.from + begin - row, end - begin, at);
            else
                o.t->provider->decode(o.t, &part, o.from + begin - row, end - begin, at);
        }
        raw += o.t->provider->fetch_bytes(o.t, o.from, o.count);
        row += o.count;
    }
}

static void stack_decode(const struct source_tensor *t, const struct fetched *in,
                         uint64_t from, uint64_t n, float *x)
{
    stack_rows(t, in, from, n, false, (uint8_t *)x);
}

static void stack_repack(const struct source_tensor *t, const struct fetched *in,
                         uint64_t from, uint64_t n, void *blocks)
{
    stack_rows(t, in, from, n, true, blocks);
}

static const struct provider stacked = {.fetch_bytes = stack_bytes,
                                        .fetch = stack_fetch,
                                        .decode = stack_decode,
                                        .repack = stack_repack};

bool stack_source(struct source_tensor *t, const struct row_part *parts, size_t n_parts,
                  struct arena *arena)
{
    struct stack *stack = arena_alloc(arena, sizeof(*stack));

    if (!stack)
        return false;
    *stack = (struct stack){parts, n_parts};
    t->provider = &stacked;
    t->self = stack;
    t->order = UINT64_MAX;
    t->exact = parts[0].t->exact;
    t->found = parts[0].t->found;
    t->type = parts[0].t->type;
    for (size_t i = 0; i < n_parts; i++) {
        const struct source_tensor *part = parts[i].t;

        if (part->order < t->order)
            t->order = part->order;
        if (part->exact != t->exact)
            t->exact = TYPE_F32;
        t->n_bytes += part->n_bytes / source_rows(part) * parts[i].n;
    }
    return true;
}
