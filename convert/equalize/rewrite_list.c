/*
 * rewrite_list.c - which rewrites a model's tensors allow
 */
#include "convert/equalize/rewrite.h"

#include <stdio.h>

enum { NAME_BYTES = 96, PER_LAYER = 6, MAX_READERS = 3 };

static const size_t none = SIZE_MAX;

struct lister {
    struct equalize_model *model;
    struct rewrite *rewrites;
    size_t n;
    bool has_plain_values; /* values have no norm of their own */
    uint64_t head_dim;
};

static size_t find(const struct equalize_model *model, const char *name)
{
    for (size_t i = 0; i < model->n_tensors; i++)
        if (strcmp(model->tensors[i].name, name) == 0)
            return i;
    return none;
}

static size_t find_in(const struct equalize_model *model, unsigned layer,
                      const char *rest)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "blk.%u.%s", layer, rest);
    return find(model, name);
}

static const uint64_t *shape(const struct lister *l, size_t tensor)
{
    return l->model->tensors[tensor].ne;
}

static struct side plain_side(size_t tensor, uint64_t n)
{
    return (struct side){.tensor = tensor, .width = n, .repeat = 1};
}

/* Begin one whose readers are the named tensors of a layer, as far as there are any of n columns.
 * NULL: there are none, or memory is out. */
static struct rewrite *begin(struct lister *l, unsigned layer, const char *input,
                             uint64_t n, const char *const *readers, size_t n_readers)
{
    struct rewrite *rw = &l->rewrites[l->n];

    *rw = (struct rewrite){.n = (size_t)n, .n_sets = 1};
    snprintf(rw->name, sizeof(rw->name), "blk.%u.%s", layer, input);
    rw->readers = arena_array(l->model->arena, n_readers, sizeof(*rw->readers));
    if (!rw->readers)
        return NULL;
    for (size_t i = 0; i < n_readers; i++) {
        const size_t at = find_in(l->model, layer, readers[i]);

        if (at == none)
            continue;
        if (shape(l, at)[0] != n)
            return NULL;
        rw->readers[rw->n_readers++] = plain_side(at, n);
    }
    return rw->n_readers ? rw : NULL;
}

/* A norm in front of some matrices. */
static void add_norm(struct lister *l, unsigned layer, const char *input,
                     const char *norm, const char *const *readers, size_t n_readers)
{
    const size_t at = find_in(l->model, layer, norm);
    struct rewrite *rw;

    if (at == none || shape(l, at)[1] != 1)
        return;
    rw = begin(l, layer, input, shape(l, at)[0], readers, n_readers);
    if (!rw)
        return;
    rw->producers[rw->n_producers++] = plain_side(at, rw->n);
    l->n++;
}

/* Rows of up, which the gate multiplies, in front of down; an s for each expert. */
static void add_down(struct lister *l, unsigned layer, const char *input, const char *up,
                     const char *down, bool is_fused)
{
    const size_t at = find_in(l->model, layer, up);
    struct rewrite *rw;

    if (at == none)
        return;
    const uint64_t rows = shape(l, at)[1], n = is_fused ? rows / 2 : rows;
    if (is_fused && rows % 2 != 0)
        return;
    rw = begin(l, layer, input, n, &down, 1);
    if (!rw || shape(l, rw->readers[0].tensor)[2] != shape(l, at)[2])
        return;
    rw->producers[rw->n_producers++] =
        (struct side){.tensor = at, .is_rows = true, .first = rows - n};
    rw->n_sets = (size_t)shape(l, at)[2];
    l->n++;
}

/* Rows of v in front of o: query heads of a group share the channels of their key head. */
static void add_values(struct lister *l, unsigned layer)
{
    const size_t v = find_in(l->model, layer, "attn_v.weight");
    const size_t o = find_in(l->model, layer, "attn_output.weight");
    static const char *const readers[] = {"attn_output.weight"};
    const uint64_t d = l->head_dim;
    struct rewrite *rw;

    if (!l->has_plain_values || d == 0 || v == none || o == none)
        return;
    const uint64_t n = shape(l, v)[1], n_out = shape(l, o)[0];
    if (n == 0 || n % d != 0 || n_out % n != 0)
        return;
    rw = begin(l, layer, "attn_out", n_out, readers, 1);
    if (!rw)
        return;
    rw->n = (size_t)n;
    rw->readers[0].width = d;
    rw->readers[0].repeat = n_out / n;
    rw->producers[rw->n_producers++] = (struct side){.tensor = v, .is_rows = true};
    l->n++;
}

/* Rows are scaled before the columns of the same matrices are looked at. */
static void add_layer(struct lister *l, unsigned layer)
{
    static const char *const attention[] = {"attn_q.weight", "attn_k.weight",
                                            "attn_v.weight"};
    static const char *const dense[] = {"ffn_gate.weight", "ffn_up.weight"};
    static const char *const experts[] = {"ffn_gate_up_exps.weight",
                                          "ffn_gate_exps.weight", "ffn_up_exps.weight"};

    add_values(l, layer);
    add_down(l, layer, "ffn_mid", "ffn_up.weight", "ffn_down.weight", false);
    add_down(l, layer, "exps_mid", "ffn_up_exps.weight", "ffn_down_exps.weight", false);
    add_down(l, layer, "exps_mid", "ffn_gate_up_exps.weight", "ffn_down_exps.weight",
             true);
    add_norm(l, layer, "attn_in", "attn_norm.weight", attention, 3);
    add_norm(l, layer, "ffn_in", "ffn_norm.weight", dense, 2);
    add_norm(l, layer, "exps_in", "pre_ffw_norm_2.weight", experts, 3);
}

/* "blk.7.proj.weight" or another name of a layer: its number, and whether the rest is `rest`. */
static bool is_of_layer(const char *name, const char *rest, unsigned *layer)
{
    int n = 0;

    return sscanf(name, "blk.%5u.%n", layer, &n) == 1 && n > 0 &&
           strcmp(name + n, rest) == 0;
}

/* The one that all layers share. */
static void add_ple(struct lister *l)
{
    const struct equalize_model *model = l->model;
    const size_t norm = find(model, "per_layer_proj_norm.weight");
    const size_t table = find(model, "per_layer_token_embd.weight");
    struct rewrite *rw = &l->rewrites[l->n];
    unsigned layer;

    if (norm == none || shape(l, norm)[1] != 1)
        return;
    const uint64_t n = shape(l, norm)[0];
    *rw = (struct rewrite){.name = "ple_mid", .n = (size_t)n, .n_sets = 1};
    rw->readers = arena_array(model->arena, model->n_tensors, sizeof(*rw->readers));
    for (size_t i = 0; i < model->n_tensors && rw->readers; i++) {
        if (!is_of_layer(model->tensors[i].name, "proj.weight", &layer))
            continue;
        if (shape(l, i)[0] != n)
            return;
        rw->readers[rw->n_readers++] = plain_side(i, n);
    }
    if (rw->n_readers == 0 || (table != none && shape(l, table)[0] % n != 0))
        return;
    rw->producers[rw->n_producers++] = plain_side(norm, n);
    rw->has_table = table != none;
    if (rw->has_table)
        rw->producers[rw->n_producers++] =
            (struct side){.tensor = table, .width = n, .repeat = shape(l, table)[0] / n};
    l->n++;
}

static void look_at_architecture(struct lister *l)
{
    static const char *const plain[] = {"gemma2", "gemma3", "gemma-embedding"};
    struct gguf_str arch;
    char key[NAME_BYTES];
    uint32_t n;

    if (!gguf_get_str(l->model->meta, "general.architecture", &arch))
        return;
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        l->has_plain_values |= strcmp(arch.text, plain[i]) == 0;
    snprintf(key, sizeof(key), "%s.attention.value_length", arch.text);
    if (gguf_get_u32(l->model->meta, key, &n))
        l->head_dim = n;
}

enum status rewrites_list(struct equalize_model *model, struct rewrite **out, size_t *n,
                          struct error *err)
{
    struct lister l = {.model = model};
    unsigned layer;

    l.rewrites = arena_array(model->arena, model->n_tensors + 1,
                             (PER_LAYER + 1) * sizeof(*l.rewrites));
    if (!l.rewrites)
        return fail(err, ERR_NOMEM, "no memory for equalization");
    look_at_architecture(&l);
    for (size_t i = 0; i < model->n_tensors; i++)
        if (is_of_layer(model->tensors[i].name, "attn_norm.weight", &layer))
            add_layer(&l, layer);
    add_ple(&l);
    *out = l.rewrites;
    *n = l.n;
    return OK;
}
