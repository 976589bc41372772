/*
 * allocate.c - the knapsack: choices worth having, steps, the table, and what is left
 */
#include "convert/allocate.h"

#include <math.h>
#include <stdlib.h>

/* A thing's choices worth having: sizes rise strictly, losses fall strictly. */
struct ladder {
    uint8_t at[ALLOCATE_CHOICES];    /* index of the choice */
    uint32_t step[ALLOCATE_CHOICES]; /* size above the first, in steps */
    size_t n;
};

static const struct choice *rung(const struct thing *thing, const struct ladder *ladder,
                                 size_t i)
{
    return &thing->choices[ladder->at[i]];
}

/* Does choice a come before b: smaller, then less loss, then first? */
static bool comes_before(const struct thing *thing, size_t a, size_t b)
{
    const struct choice *x = &thing->choices[a], *y = &thing->choices[b];

    if (x->bytes != y->bytes)
        return x->bytes < y->bytes;
    if (x->loss != y->loss)
        return x->loss < y->loss;
    return a < b;
}

static struct ladder make_ladder(const struct thing *thing)
{
    uint8_t order[ALLOCATE_CHOICES];
    struct ladder ladder = {.n = 0};

    for (size_t i = 0; i < thing->n; i++) {
        size_t at = i;

        for (; at > 0 && comes_before(thing, i, order[at - 1]); at--)
            order[at] = order[at - 1];
        order[at] = (uint8_t)i;
    }
    for (size_t i = 0; i < thing->n; i++)
        if (ladder.n == 0 ||
            thing->choices[order[i]].loss < rung(thing, &ladder, ladder.n - 1)->loss)
            ladder.at[ladder.n++] = order[i];
    return ladder;
}

uint64_t allocate_least(const struct thing *things, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        const struct ladder ladder = make_ladder(&things[i]);
        sum += rung(&things[i], &ladder, 0)->bytes;
    }
    return sum;
}

/* ---- steps ---- */

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

struct knapsack {
    const struct thing *things;
    struct ladder *ladders;
    size_t n;
    uint64_t spare;  /* budget above the smallest choices */
    uint64_t step;   /* bytes of one */
    size_t n_steps;  /* spare, in whole steps */
    double *loss;    /* [n_steps + 1]: the least with at most so many steps */
    uint8_t *picked; /* [n][n_steps + 1]: rungs */
};

static uint64_t above(const struct knapsack *k, size_t i, size_t r)
{
    return rung(&k->things[i], &k->ladders[i], r)->bytes -
           rung(&k->things[i], &k->ladders[i], 0)->bytes;
}

/* The largest step that measures every size exactly, or a coarser one. */
static void choose_step(struct knapsack *k)
{
    uint64_t divisor = 0, most = 0;

    for (size_t i = 0; i < k->n; i++) {
        for (size_t r = 1; r < k->ladders[i].n; r++)
            divisor = common_divisor(above(k, i, r), divisor);
        most += above(k, i, k->ladders[i].n - 1);
    }
    const uint64_t useful = k->spare < most ? k->spare : most;

    k->step = divisor ? divisor : 1;
    if (useful / k->step > ALLOCATE_STEPS)
        k->step = (useful + ALLOCATE_STEPS - 1) / ALLOCATE_STEPS;
    k->n_steps = (size_t)(useful / k->step);
    for (size_t i = 0; i < k->n; i++)
        for (size_t r = 0; r < k->ladders[i].n; r++) {
            const uint64_t steps = (above(k, i, r) + k->step - 1) / k->step;

            k->ladders[i].step[r] =
                steps > UINT32_MAX ? UINT32_MAX : (uint32_t)steps; /* never affordable */
        }
}

/* ---- the table ---- */

/* loss[u] = min over rungs r of the loss before at u - step[r], plus that of r. From above, so that
 * what is read is still that of the things before. */
static void add_thing(struct knapsack *k, size_t i)
{
    const struct ladder *ladder = &k->ladders[i];
    uint8_t *picked = k->picked + i * (k->n_steps + 1);

    for (size_t u = k->n_steps + 1; u-- > 0;) {
        double best = INFINITY;
        size_t at = 0;

        for (size_t r = 0; r < ladder->n && ladder->step[r] <= u; r++) {
            const double loss =
                k->loss[u - ladder->step[r]] + rung(&k->things[i], ladder, r)->loss;
            if (loss < best) {
                best = loss;
                at = r;
            }
        }
        k->loss[u] = best;
        picked[u] = (uint8_t)at;
    }
}

/* Walk back from the fewest steps that reach the least loss. */
static void walk_back(const struct knapsack *k, uint8_t *rungs)
{
    size_t u = k->n_steps;

    while (u > 0 && k->loss[u - 1] <= k->loss[u])
        u--;
    for (size_t i = k->n; i-- > 0;) {
        rungs[i] = k->picked[i * (k->n_steps + 1) + u];
        u -= k->ladders[i].step[rungs[i]];
    }
}

/* ---- what is left ---- */

/* One upgrade of most loss saved a byte among those that fit; false when there is none. */
static bool upgrade(const struct knapsack *k, uint8_t *rungs, uint64_t *left)
{
    double best = 0;
    size_t thing = 0, to = 0;

    for (size_t i = 0; i < k->n; i++)
        for (size_t r = rungs[i] + 1U; r < k->ladders[i].n; r++) {
            const uint64_t more = above(k, i, r) - above(k, i, rungs[i]);
            const double saved = rung(&k->things[i], &k->ladders[i], rungs[i])->loss -
                                 rung(&k->things[i], &k->ladders[i], r)->loss;

            if (more <= *left && saved / (double)more > best) {
                best = saved / (double)more;
                thing = i;
                to = r;
            }
        }
    if (best <= 0)
        return false;
    *left -= above(k, thing, to) - above(k, thing, rungs[thing]);
    rungs[thing] = (uint8_t)to;
    return true;
}

static void spend_rest(const struct knapsack *k, uint8_t *rungs)
{
    uint64_t left = k->spare;

    for (size_t i = 0; i < k->n; i++)
        left -= above(k, i, rungs[i]);
    while (upgrade(k, rungs, &left))
        ;
}

enum status allocate(const struct thing *things, size_t n, uint64_t budget,
                     size_t *chosen, struct error *err)
{
    struct knapsack k = {
        .things = things, .n = n, .spare = budget - allocate_least(things, n)};
    struct arena arena = {0};
    uint8_t *rungs = arena_alloc(&arena, n + 1);

    k.ladders = arena_array(&arena, n + 1, sizeof(*k.ladders));
    for (size_t i = 0; k.ladders && i < n; i++)
        k.ladders[i] = make_ladder(&things[i]);
    if (k.ladders) {
        choose_step(&k);
        k.loss = arena_array(&arena, k.n_steps + 1, sizeof(*k.loss));
        k.picked = arena_array(&arena, n + 1, k.n_steps + 1);
    }
    if (!rungs || !k.ladders || !k.loss || !k.picked) {
        arena_free(&arena);
        return fail(err, ERR_NOMEM, "no memory to choose types of %zu tensors", n);
    }
    for (size_t i = 0; i < n; i++)
        add_thing(&k, i);
    walk_back(&k, rungs);
    spend_rest(&k, rungs);
    for (size_t i = 0; i < n; i++)
        chosen[i] = k.ladders[i].at[rungs[i]];
    arena_free(&arena);
    return OK;
}
