/*
 * adapter_vera.c - VeRA: W + (lambda_b B) (lambda_d A), A and B shared by all modules and cut to size
 *
 * A {rank, inputs} and B {outputs, rank} are random and never trained: F32 numbers that a seed of the
 * configuration gives. A model kept in half precision saves them rounded, though what was trained, and
 * what PEFT merges, is a product with the numbers before. They are drawn again, and taken when every
 * one of them rounds to what the file holds.
 *
 * Sources: PEFT 0.21 (tuners/vera: _kaiming_init, get_delta_weight), torch (uniform_ on a CPU: 24 bits
 * of each output of the Mersenne twister), M. Matsumoto and T. Nishimura, Mersenne Twister, 1998.
 */
#include "convert/checkpoint/adapter.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* ---- the generator ---- */

enum { TWISTER_WORDS = 624, TWISTER_SHIFT = 397 };

struct twister {
    uint32_t words[TWISTER_WORDS];
    int at;
};

static void twister_seed(struct twister *t, uint32_t seed)
{
    t->words[0] = seed;
    for (uint32_t i = 1; i < TWISTER_WORDS; i++) {
        const uint32_t before = t->words[i - 1];

        t->words[i] = 1812433253u * (before ^ before >> 30) + i;
    }
    t->at = TWISTER_WORDS;
}

static void twister_turn(struct twister *t)
{
    for (int i = 0; i < TWISTER_WORDS; i++) {
        const uint32_t next = t->words[(i + 1) % TWISTER_WORDS];
        const uint32_t y = (t->words[i] & 0x80000000u) | (next & 0x7fffffffu);

        t->words[i] = t->words[(i + TWISTER_SHIFT) % TWISTER_WORDS] ^ y >> 1 ^
                      (y & 1 ? 0x9908b0dfu : 0);
    }
    t->at = 0;
}

static uint32_t twister_next(struct twister *t)
{
    uint32_t y;

    if (t->at == TWISTER_WORDS)
        twister_turn(t);
    y = t->words[t->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* ---- the projection ---- */

/* Draw n numbers as PEFT does for a matrix of `inputs` columns. */
static void draw(struct twister *t, float *x, uint64_t n, uint64_t inputs)
{
    const float bound = (float)(sqrt(3.0) * (sqrt(2.0) / sqrt((double)inputs)));
    const float span = bound - -bound;

    for (uint64_t i = 0; i < n; i++)
        x[i] = (float)(twister_next(t) & 0xffffff) * 0x1p-24f * span - bound;
}

/* True when every number drawn is one that rounds to the stored one: half a unit of its last place. */
static bool round_to(const float *drawn, const float *stored, uint64_t n,
                     enum dtype dtype)
{
    const float half = dtype == DTYPE_BF16 ? 0x1p-8f : 0x1p-11f;
    const float least = dtype == DTYPE_BF16 ? 0 : 0x1p-25f;

    for (uint64_t i = 0; i < n; i++)
        if (!(fabsf(drawn[i] - stored[i]) <= half * fabsf(drawn[i]) + least))
            return false;
    return true;
}

/* A stored tensor of the same shape that is F32 and held in memory; NULL when memory is out. */
static const struct raw_tensor *hold(struct arena *arena, const struct raw_tensor *like,
                                     const float *x)
{
    struct raw_tensor *raw = arena_alloc(arena, sizeof(*raw));
    struct tensor *t = arena_alloc(arena, sizeof(*t));

    if (!raw || !t)
        return NULL;
    *t = *like->t;
    t->dtype = DTYPE_F32;
    t->n_bytes = tensor_elements(t) * sizeof(*x);
    *raw = *like;
    raw->t = t;
    raw->archive = NULL;
    raw->held = x;
    return raw;
}

/* Draw A, then B, and put them in the place of the rounded ones. */
static enum status draw_again(struct adapter *ad, bool *is_found, struct error *err)
{
    const struct raw_tensor *stored[2] = {ad->vera_a, ad->vera_b}, *held[2];
    const json_t *seed = json_object_get(ad->config, "projection_prng_key");
    struct twister twister;
    enum status st = OK;

    *is_found = true;
    twister_seed(&twister,
                 (uint32_t)(json_is_integer(seed) ? json_integer_value(seed) : 0));
    for (int i = 0; i < 2 && st == OK && *is_found; i++) {
        const uint64_t n = tensor_elements(stored[i]->t);
        float *x = arena_array(&ad->cp->arena, (size_t)n, sizeof(*x));
        const float *rounded;

        if (!x)
            return fail(err, ERR_NOMEM, "%s: no memory for it", stored[i]->t->name);
        st = raw_floats(ad->cp, stored[i], &rounded, err);
        if (st != OK)
            return st;
        draw(&twister, x, n, tensor_cols(stored[i]->t));
        *is_found = round_to(x, rounded, n, stored[i]->t->dtype);
        held[i] = hold(&ad->cp->arena, stored[i], x);
        if (!held[i])
            return fail(err, ERR_NOMEM, "%s: no memory for it", stored[i]->t->name);
    }
    if (st == OK && *is_found) {
        ad->vera_a = held[0];
        ad->vera_b = held[1];
    }
    return st;
}

enum status vera_projection(struct adapter *ad, struct error *err)
{
    const struct raw_tensor *a = ad->vera_a, *b = ad->vera_b;
    bool is_found = true;
    enum status st = OK;

    if (!a || !b)
        return fail(err, ERR_UNSUPPORTED,
                    "%s: a VERA adapter without its projection (save_projection "
                    "was off): the random matrices are not in the file",
                    ad->folder);
    if (a->t->n_dims != 2 || b->t->n_dims != 2)
        return adapter_misfit(ad, a, err, "two matrices expected");
    if (a->t->dtype == b->t->dtype &&
        (a->t->dtype == DTYPE_BF16 || a->t->dtype == DTYPE_F16))
        st = draw_again(ad, &is_found, err);
    if (st == OK && !is_found)
        st = catalogue_note(ad->cp, err,
                            "%s: its projection is merged as saved, rounded to %s: "
                            "projection_prng_key does not give it",
                            ad->folder, dtype_name(a->t->dtype));
    return st;
}

enum status vera_merge(struct adapter *ad, const struct adapter_group *group,
                       struct source_tensor *t, struct error *err)
{
    const uint64_t rows = source_rows(t), cols = source_cols(t);
    const struct raw_tensor *a = ad->vera_a, *b = ad->vera_b;
    struct merge m = {
        .apply = low_rank_apply, .rows_per_expert = rows, .part_rows = rows};
    enum status st = adapter_need(ad, group, ROLE_LAMBDA_B, "vera_lambda_b", err);

    if (st == OK)
        st = adapter_need(ad, group, ROLE_LAMBDA_D, "vera_lambda_d", err);
    if (st != OK)
        return st;
    m.rank = tensor_elements(group->role[ROLE_LAMBDA_D]->t);
    if (a->t->dims[0] != m.rank || a->t->dims[1] < cols || b->t->dims[0] < rows ||
        b->t->dims[1] != m.rank || tensor_elements(group->role[ROLE_LAMBDA_B]->t) != rows)
        return adapter_misfit(ad, a, err,
                              "the shared matrices do not fit the base's %" PRIu64
                              " x %" PRIu64,
                              rows, cols);
    m.left = (struct factor){b, m.rank, 1, 0};
    m.right = (struct factor){a, 1, a->t->dims[1], 0};
    m.row_scale = group->role[ROLE_LAMBDA_B];
    m.k_scale = group->role[ROLE_LAMBDA_D];
    m.scale = (float)ad->strength;
    merge_reads(&m, a);
    merge_reads(&m, b);
    merge_reads(&m, m.row_scale);
    merge_reads(&m, m.k_scale);
    return merge_wrap(ad->cp, t, &m, "VeRA", err);
}
