/*
 * weights.c - walk the tables of names, check shapes, hold what they name
 */
#include "runtime/weights.h"
#include "runtime/slots.h"

#include <stdio.h>
#include <stdlib.h>

/* What became of tensor i of the model. */
struct held {
    const void *data; /* its bytes, or its floats */
    void *owned;      /* to free; NULL when mapped */
    enum block_type type;
    bool is_known;
    bool is_of_layer; /* a matrix of layer `layer` */
    uint32_t layer;
};

struct weights_store {
    struct held *held;
    size_t n;
};

struct loader {
    const struct model *model;
    struct weights *weights;
    struct place at;
    bool is_lazy; /* matrices are checked and not held, but for the model's small ones */
    bool no_map;  /* what is held is memory of its own, which can be given back */
    struct error *err;
};

struct tensor_name {
    char text[96];
};

static struct tensor_name full_name(const struct loader *ld, const char *name)
{
    struct tensor_name full;

    if (ld->at.in_layer)
        snprintf(full.text, sizeof(full.text), "blk.%u.%s", ld->at.layer, name);
    else
        snprintf(full.text, sizeof(full.text), "%s", name);
    return full;
}

static int64_t find(const struct loader *ld, const char *name)
{
    return model_find(ld->model, full_name(ld, name).text);
}

static enum status check_shape(const struct loader *ld, size_t i, const uint64_t want[3])
{
    const struct gguf_tensor *t = &ld->model->tensors[i];

    if (t->ne[0] == want[0] && t->ne[1] == want[1] && t->ne[2] == want[2] &&
        t->ne[3] == 1)
        return OK;
    return fail(ld->err, ERR_SHAPE,
                "%s: shape {%llu, %llu, %llu, %llu}, expected {%llu, %llu, %llu, 1}",
                t->name, (unsigned long long)t->ne[0], (unsigned long long)t->ne[1],
                (unsigned long long)t->ne[2], (unsigned long long)t->ne[3],
                (unsigned long long)want[0], (unsigned long long)want[1],
                (unsigned long long)want[2]);
}

/* Make tensor i addressable as floats. */
static enum status hold_floats(const struct loader *ld, size_t i)
{
    struct held *held = &ld->weights->store->held[i];
    float *x = NULL;
    enum status st = OK;

    if (held->data)
        return OK;
    st = model_read_f32(ld->model, i, &x, ld->err);
    held->owned = x;
    held->data = x;
    held->type = TYPE_F32;
    return st;
}

/* Make tensor i addressable in a type the kernels multiply. */
static enum status hold_matrix(const struct loader *ld, size_t i)
{
    const struct gguf_tensor *t = &ld->model->tensors[i];
    struct held *held = &ld->weights->store->held[i];

    if (held->data)
        return OK;
    if (!kernels_can_multiply(t->type))
        return hold_floats(ld, i);
    held->type = t->type;
    held->data = ld->no_map ? NULL : model_map(ld->model, i);
    if (held->data)
        return OK;
    held->owned = malloc((size_t)t->n_bytes);
    held->data = held->owned;
    if (!held->owned)
        return fail(ld->err, ERR_NOMEM, "%s: no memory for %llu bytes", t->name,
                    (unsigned long long)t->n_bytes);
    return model_read_rows(ld->model, i, 0, gguf_tensor_rows(t), held->owned, ld->err);
}

static enum status load_vector(struct loader *ld, const struct slot *slot, size_t i,
                               const float **out)
{
    enum status st =
        check_shape(ld, i, (uint64_t[]){slots_size(&ld->at, slot->in), 1, 1});

    if (st == OK)
        st = hold_floats(ld, i);
    *out = ld->weights->store->held[i].data;
    return st;
}

/* True for the matrices that HOLD_FEW leaves out. */
static bool is_left_out(const struct loader *ld, const struct slot *slot)
{
    return ld->is_lazy &&
           (ld->at.in_layer || strcmp(slot->name, "token_embd.weight") == 0 ||
            strcmp(slot->name, "output.weight") == 0);
}

/* Rows [first, first + n_rows) of tensor i, whose expert matrices have `all` rows. */
static enum status load_rows(struct loader *ld, const struct slot *slot, size_t i,
                             size_t first, size_t n_rows, size_t all, struct linear *out)
{
    const struct gguf_tensor *t = &ld->model->tensors[i];
    size_t n_cols = slot->in == ANY ? (size_t)t->ne[0] : slots_size(&ld->at, slot->in);
    size_t n_mats = slot->form == EXPERT_MATRICES ? ld->at.config->n_experts : 1,
           row_bytes;
    enum status st = check_shape(ld, i, (uint64_t[]){n_cols, all, n_mats});

    struct held *held = &ld->weights->store->held[i];

    if (st != OK)
        return st;
    held->is_of_layer = ld->at.in_layer;
    held->layer = ld->at.layer;
    held->type = kernels_can_multiply(t->type) ? t->type : TYPE_F32;
    if (!is_left_out(ld, slot) && (st = hold_matrix(ld, i)) != OK)
        return st;
    row_bytes = block_row_bytes(held->type, n_cols);
    *out = (struct linear){
        .matrix = {.type = held->type,
                   .n_rows = n_rows,
                   .n_cols = n_cols,
                   .data = held->data ? (const uint8_t *)held->data + first * row_bytes
                                      : NULL},
        .expert_bytes = all * row_bytes,
        .name = first == 0 ? t->name : NULL,
    };
    return OK;
}

static enum status load_matrix(struct loader *ld, const struct slot *slot, size_t i,
                               struct linear *out)
{
    size_t n = slot->out == ANY ? (size_t)ld->model->tensors[i].ne[1]
                                : slots_size(&ld->at, slot->out);

    return load_rows(ld, slot, i, 0, n, n, out);
}

/* Load a slot from the fused tensor that holds it; *found says whether there is one. */
static enum status load_fused(struct loader *ld, const struct slot *slot,
                              struct linear *out, bool *found)
{
    const struct fused *fused = slots_fused(slot->name);
    const int64_t i = fused ? find(ld, fused->whole) : -1;
    size_t all = 0, first = 0;

    if (i < 0)
        return OK;
    for (int r = 0; r < fused->n_all; r++) {
        size_t n = slots_size(&ld->at, fused->rows[r]);

        first += r < fused->n_before ? n : 0;
        all += n;
    }
    *found = true;
    ld->weights->store->held[i].is_known = true;
    return load_rows(ld, slot, (size_t)i, first, slots_size(&ld->at, slot->out), all,
                     out);
}

static enum status load_slot(struct loader *ld, const struct slot *slot, void *base)
{
    enum need need = slots_need(&ld->at, slot->when);
    void *at = (uint8_t *)base + slot->at;
    int64_t i = need == NO ? -1 : find(ld, slot->name);
    bool found = i >= 0;
    enum status st = OK;

    if (need == NO)
        return OK;
    if (found) {
        ld->weights->store->held[i].is_known = true;
        return slot->form == VECTOR ? load_vector(ld, slot, (size_t)i, at)
                                    : load_matrix(ld, slot, (size_t)i, at);
    }
    if (slot->form != VECTOR)
        st = load_fused(ld, slot, at, &found);
    if (st == OK && !found && need == REQUIRED)
        st = fail(ld->err, ERR_SHAPE, "%s: the tensor is missing",
                  full_name(ld, slot->name).text);
    return st == OK ? interrupt_check(ld->err) : st;
}

static enum status load_table(struct loader *ld, struct slots slots, void *base)
{
    enum status st = OK;

    for (size_t s = 0; s < slots.n && st == OK; s++)
        st = load_slot(ld, &slots.list[s], base);
    return st;
}

/* Names that may be there and are not read. */
static void know(struct loader *ld, const char *(*name)(size_t i))
{
    for (size_t k = 0; name(k); k++) {
        int64_t i = find(ld, name(k));

        if (i >= 0)
            ld->weights->store->held[i].is_known = true;
    }
}

static enum status load_layers(struct loader *ld)
{
    struct weights *w = ld->weights;
    enum status st = OK;

    ld->at.in_layer = true;
    for (ld->at.layer = 0; ld->at.layer < ld->at.config->n_layers && st == OK;
         ld->at.layer++) {
        st = load_table(ld, slots_of_layers(), &w->layers[ld->at.layer]);
        if (ld->at.layer >= ld->at.config->n_own_kv)
            know(ld, slots_dead_in_shared_layers);
    }
    ld->at.in_layer = false;
    ld->at.layer = 0;
    return st;
}

static enum status load_model(struct loader *ld)
{
    struct weights *w = ld->weights;
    int64_t i = model_find(ld->model, "token_embd.weight");
    enum status st;

    w->n_vocab = i < 0 ? 0 : (size_t)ld->model->tensors[i].ne[1];
    ld->at.n_vocab = w->n_vocab;
    st = load_table(ld, slots_of_model(), w);
    if (st == OK && w->output.matrix.n_rows == 0)
        w->output = w->token_embd;
    if (st == OK && (w->n_vocab < 1 || w->n_vocab > INT32_MAX))
        st = fail(ld->err, ERR_SHAPE, "token_embd.weight: %zu rows", w->n_vocab);
    if (st == OK && w->dense_3.matrix.data &&
        w->dense_3.matrix.n_cols != w->dense_2.matrix.n_rows)
        st = fail(ld->err, ERR_SHAPE,
                  "dense_3.weight: %zu columns, but dense_2.weight has %zu rows",
                  w->dense_3.matrix.n_cols, w->dense_2.matrix.n_rows);
    if (ld->at.config->family->is_drafter)
        know(ld, slots_dead_in_drafters);
    return st;
}

/* The table itself is not read here: runtime/ple_rows does, row by row. */
static enum status find_ple_table(struct loader *ld)
{
    const char *name = "per_layer_token_embd.weight";
    const struct gguf_tensor *t;
    size_t width = slots_size(&ld->at, PLE_ALL), n_vocab = ld->weights->n_vocab;
    int64_t i = model_find(ld->model, name);

    ld->weights->ple_table = -1;
    if (ld->at.config->n_ple == 0 || ld->at.config->family->ple != PLE_TABLE)
        return OK;
    if (i < 0)
        return fail(ld->err, ERR_SHAPE, "%s: the tensor is missing", name);
    t = &ld->model->tensors[i];
    if (t->ne[0] != width || t->ne[1] < n_vocab || t->ne[2] != 1 || t->ne[3] != 1)
        return fail(ld->err, ERR_SHAPE, "%s: shape {%llu, %llu}, expected {%zu, %zu}",
                    name, (unsigned long long)t->ne[0], (unsigned long long)t->ne[1],
                    width, n_vocab);
    ld->weights->store->held[i].is_known = true;
    ld->weights->ple_table = i;
    return OK;
}

static enum status refuse_unknown(const struct loader *ld)
{
    for (size_t i = 0; i < ld->model->n_tensors; i++)
        if (!ld->weights->store->held[i].is_known)
            return fail(ld->err, ERR_SHAPE,
                        "%s: a %s model of %u layers has no such tensor",
                        ld->model->tensors[i].name, ld->at.config->family->architecture,
                        ld->at.config->n_layers);
    return OK;
}

enum status weights_open(struct weights *weights, const struct model *model,
                         const struct config *config, enum holding holding,
                         struct error *err)
{
    struct loader ld = {.model = model,
                        .weights = weights,
                        .at.config = config,
                        .is_lazy = holding == HOLD_FEW,
                        .no_map = holding == HOLD_FEW,
                        .err = err};
    enum status st;

    *weights = (struct weights){0};
    weights->store = calloc(1, sizeof(*weights->store));
    weights->layers = calloc(config->n_layers, sizeof(*weights->layers));
    if (weights->store)
        weights->store->held =
            calloc(model->n_tensors + 1, sizeof(*weights->store->held));
    if (!weights->layers || !weights->store || !weights->store->held) {
        weights_close(weights);
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    }
    weights->store->n = model->n_tensors;
    if ((st = load_model(&ld)) != OK || (st = load_layers(&ld)) != OK ||
        (st = find_ple_table(&ld)) != OK || (st = refuse_unknown(&ld)) != OK)
        weights_close(weights);
    return st;
}

enum status weights_hold_layer(struct weights *weights, const struct model *model,
                               const struct config *config, uint32_t layer,
                               struct error *err)
{
    struct loader ld = {.model = model,
                        .weights = weights,
                        .at = {.config = config,
                               .n_vocab = weights->n_vocab,
                               .layer = layer,
                               .in_layer = true},
                        .no_map = true,
                        .err = err};

    return load_table(&ld, slots_of_layers(), &weights->layers[layer]);
}

void weights_release_layer(struct weights *weights, uint32_t layer)
{
    const struct slots slots = slots_of_layers();

    for (size_t i = 0; i < weights->store->n; i++) {
        struct held *held = &weights->store->held[i];

        if (!held->is_of_layer || held->layer != layer)
            continue;
        free(held->owned);
        held->owned = NULL;
        held->data = NULL;
    }
    for (size_t s = 0; s < slots.n; s++) {
        void *at = (uint8_t *)&weights->layers[layer] + slots.list[s].at;

        if (slots.list[s].form != VECTOR)
            ((struct linear *)at)->matrix.data = NULL;
    }
}

uint64_t weights_layer_bytes(const struct weights *weights, const struct model *model,
                             uint32_t layer)
{
    uint64_t n = 0;

    for (size_t i = 0; i < weights->store->n; i++) {
        const struct held *held = &weights->store->held[i];
        const struct gguf_tensor *t = &model->tensors[i];

        if (held->is_of_layer && held->layer == layer)
            n += block_row_bytes(held->type, (size_t)t->ne[0]) * gguf_tensor_rows(t);
    }
    return n;
}

void weights_close(struct weights *weights)
{
    struct weights_store *store = weights->store;

    for (size_t i = 0; store && store->held && i < store->n; i++)
        free(store->held[i].owned);
    if (store)
        free(store->held);
    free(store);
    free(weights->layers);
    *weights = (struct weights){0};
}

struct matrix linear_expert(const struct linear *linear, size_t e)
{
    struct matrix m = linear->matrix;

    m.data = (const uint8_t *)m.data + e * linear->expert_bytes;
    return m;
}
