/*
 * experts.c - separate experts become the fused tensors of the released checkpoints
 *
 *     layers.N.experts.E.{gate,up,down}_proj.weight            {F, H}, {F, H}, {H, F}
 *     layers.N.experts.switch_glu.{gate,up,down}_proj.weight   {E, F, H} ...
 *  ──► layers.N.experts.gate_up_proj {E, 2F, H}, layers.N.experts.down_proj {E, H, F}
 */
#include "convert/checkpoint/catalogue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The layer of a name "layers.N.experts.<rest>", and the rest; NULL when it is another name. */
static const char *expert_rest(const char *name, uint64_t *layer)
{
    static const char head[] = "layers.", middle[] = ".experts.";
    char *end;

    if (strncmp(name, head, sizeof(head) - 1) != 0)
        return NULL;
    name += sizeof(head) - 1;
    if (*name < '0' || *name > '9')
        return NULL;
    *layer = strtoull(name, &end, 10);
    return strncmp(end, middle, sizeof(middle) - 1) == 0 ? end + sizeof(middle) - 1
                                                         : NULL;
}

enum { GATE, UP, DOWN, N_PROJECTIONS };

static const char *const projections[N_PROJECTIONS] = {"gate_proj", "up_proj",
                                                       "down_proj"};

/* One layer's parts: part p of expert e is rows [first, first + n) of some tensor. */
struct layer_parts {
    uint64_t layer, n_experts;
    struct row_part *of[N_PROJECTIONS]; /* n_experts each */
    uint64_t dims[N_PROJECTIONS][2];    /* {out, in} of one expert */
};

/* Every expert of a projection must have the shape of the first. */
static enum status same_shape(struct layer_parts *parts, int p,
                              const struct source_tensor *t, uint64_t out,
                              struct error *err)
{
    uint64_t *dims = parts->dims[p];

    if (dims[0] == 0) {
        dims[0] = out;
        dims[1] = source_cols(t);
    }
    if (out == 0 || dims[0] != out || dims[1] != source_cols(t))
        return fail(err, ERR_SHAPE,
                    "%s: {%" PRIu64 ", %" PRIu64 "} (the experts before are {%" PRIu64
                    ", %" PRIu64 "})",
                    t->found, out, source_cols(t), dims[0], dims[1]);
    return OK;
}

static enum status find_separate(struct checkpoint *cp, struct layer_parts *parts, int p,
                                 uint64_t e, struct error *err)
{
    char name[128];

    snprintf(name, sizeof(name), "layers.%" PRIu64 ".experts.%" PRIu64 ".%s.weight",
             parts->layer, e, projections[p]);
    struct source_tensor *t = catalogue_find(cp, name);
    if (!t)
        return fail(err, ERR_SHAPE, "%s: %s is missing (num_experts is %" PRIu64 ")",
                    cp->path, name, parts->n_experts);
    if (t->n_dims != 2)
        return fail(err, ERR_SHAPE, "%s: %d dimensions (2 expected)", t->found,
                    t->n_dims);
    parts->of[p][e] = (struct row_part){t, 0, source_rows(t)};
    t->is_part = true;
    return same_shape(parts, p, t, source_rows(t), err);
}

/* All experts of a projection in one tensor {E, out, in}. */
static enum status find_switched(struct checkpoint *cp, struct layer_parts *parts, int p,
                                 struct error *err)
{
    char name[128];

    snprintf(name, sizeof(name), "layers.%" PRIu64 ".experts.switch_glu.%s.weight",
             parts->layer, projections[p]);
    struct source_tensor *t = catalogue_find(cp, name);
    if (!t)
        return fail(err, ERR_SHAPE, "%s: %s is missing", cp->path, name);
    if (t->n_dims != 3 || t->dims[0] != parts->n_experts)
        return fail(err, ERR_SHAPE,
                    "%s: %d dimensions of %" PRIu64 " experts (3 and num_experts %" PRIu64
                    " expected)",
                    t->found, t->n_dims, t->n_dims ? t->dims[0] : 0, parts->n_experts);

    t->is_part = true;
    for (uint64_t e = 0; e < parts->n_experts; e++)
        parts->of[p][e] = (struct row_part){t, e * t->dims[1], t->dims[1]};
    return same_shape(parts, p, t, t->dims[1], err);
}

/* Add the stack of n row parts as {n_experts, out, in}. */
static enum status add_stack(struct checkpoint *cp, const struct layer_parts *parts,
                             const char *suffix, const struct row_part *rows, size_t n,
                             const uint64_t dims[2], struct error *err)
{
    char name[128];

    snprintf(name, sizeof(name), "layers.%" PRIu64 ".experts.%s", parts->layer, suffix);
    if (catalogue_find(cp, name))
        return fail(err, ERR_CORRUPT, "%s: %s is there fused and as separate experts",
                    cp->path, name);

    struct source_tensor *t = catalogue_add(cp, name);
    if (!t || !stack_source(t, rows, n, &cp->arena))
        return fail(err, ERR_NOMEM, "no memory for stacked experts");
    t->n_dims = 3;
    t->dims[0] = parts->n_experts;
    t->dims[1] = dims[0];
    t->dims[2] = dims[1];
    t->transform =
        arena_printf(&cp->arena, "stack %" PRIu64 " experts", parts->n_experts);
    return t->transform ? OK : fail(err, ERR_NOMEM, "no memory for stacked experts");
}

static enum status add_layer(struct checkpoint *cp, const struct layer_parts *parts,
                             struct error *err)
{
    const size_t n = (size_t)parts->n_experts;
    struct row_part *both = arena_array(&cp->arena, 2 * n, sizeof(*both));
    const uint64_t *gate = parts->dims[GATE], *up = parts->dims[UP];
    const uint64_t fused[2] = {gate[0] + up[0], gate[1]};

    if (!both)
        return fail(err, ERR_NOMEM, "no memory for stacked experts");
    if (gate[0] != up[0] || gate[1] != up[1])
        return fail(err, ERR_SHAPE, "%s: its shape differs from that of %s",
                    parts->of[GATE][0].t->found, parts->of[UP][0].t->found);
    for (size_t e = 0; e < n; e++) {
        both[2 * e] = parts->of[GATE][e];
        both[2 * e + 1] = parts->of[UP][e];
    }
    const enum status st = add_stack(cp, parts, "gate_up_proj", both, 2 * n, fused, err);
    return st != OK ? st
                    : add_stack(cp, parts, "down_proj", parts->of[DOWN], n,
                                parts->dims[DOWN], err);
}

static enum status stack_layer(struct checkpoint *cp, uint64_t layer, uint64_t n_experts,
                               bool is_switched, struct error *err)
{
    struct layer_parts parts = {.layer = layer, .n_experts = n_experts};
    enum status st = OK;

    for (int p = 0; p < N_PROJECTIONS; p++) {
        parts.of[p] = arena_array(&cp->arena, (size_t)n_experts, sizeof(*parts.of[p]));
        if (!parts.of[p])
            return fail(err, ERR_NOMEM, "no memory for stacked experts");
        if (is_switched)
            st = find_switched(cp, &parts, p, err);
        for (uint64_t e = 0; st == OK && !is_switched && e < n_experts; e++)
            st = find_separate(cp, &parts, p, e, err);
        if (st != OK)
            return st;
    }
    return add_layer(cp, &parts, err);
}

enum status experts_claim(struct checkpoint *cp, struct error *err)
{
    const size_t n_before = cp->n_tensors; /* stacks are added behind */
    uint64_t n_experts = 0, layer = 0;
    enum status st = OK;

    if (!catalogue_config_u64(cp, "num_experts", &n_experts) &&
        !catalogue_config_u64(cp, "num_local_experts", &n_experts))
        return OK;
    if (n_experts == 0 || n_experts > 65536)
        return OK; /* no experts, or a number the config's own check refuses */

    for (size_t i = 0; i < n_before && st == OK; i++) {
        const struct source_tensor *t = cp->tensors[i];
        const char *rest = expert_rest(t->name, &layer);

        if (!rest || t->is_part)
            continue;
        if (strncmp(rest, "switch_glu.", strlen("switch_glu.")) == 0)
            st = stack_layer(cp, layer, n_experts, true, err);
        else if (*rest >= '0' && *rest <= '9' && strtoull(rest, NULL, 10) >= n_experts)
            st = fail(err, ERR_SHAPE, "%s: %s: num_experts is %" PRIu64, cp->path,
                      t->found, n_experts);
        else if (*rest >= '0' && *rest <= '9')
            st = stack_layer(cp, layer, n_experts, false, err);
    }
    catalogue_drop_parts(cp);
    return st;
}
