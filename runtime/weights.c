/*
 * weights.c - the two tables of names, and the loader that walks them
 */
#include "runtime/weights.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* The sizes a dimension can have. */
enum dim {
    ONE,
    EMBD,
    VOCAB,
    HEAD,
    HALF_HEAD,
    HEADS,    /* all query heads side by side */
    KV_HEADS, /* all key heads side by side */
    FF,
    FF_EXPERT,
    EXPERTS,
    PLE,
    PLE_ALL, /* the slices of all layers */
    EMBD_OUT,
    EMBD_OUT_2,
    ANY, /* whatever the tensor says */
};

/* When a tensor belongs to the model. */
enum when {
    ALWAYS,
    MAYBE,
    QK_NORM,
    OWN_K,      /* layers with keys of their own */
    OWN_K_NORM, /* the same, in families that norm keys */
    OWN_V, /* the same, but global layers of some families take their keys for values */
    LAYER_SCALE,
    HAS_PLE,
    HAS_EXPERTS,
    IS_DRAFTER,
    PARTIAL_ROPE,
    ENCODER, /* and even there it may be missing */
};

enum form { VECTOR, MATRIX, EXPERT_MATRICES };

struct slot {
    const char *name; /* as in the file; for layers, after "blk.N." */
    size_t at;        /* offset in struct weights or struct layer_weights */
    enum form form;
    enum when when;
    enum dim out, in; /* vectors: `in` only */
};

#define LAYER(member) offsetof(struct layer_weights, member)
#define MODEL(member) offsetof(struct weights, member)

static const struct slot layer_slots[] = {
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"attn_q.weight", LAYER(q), MATRIX, ALWAYS, HEADS, EMBD},
    {"attn_k.weight", LAYER(k), MATRIX, OWN_K, KV_HEADS, EMBD},
    {"attn_v.weight", LAYER(v), MATRIX, OWN_V, KV_HEADS, EMBD},
    {"attn_output.weight", LAYER(o), MATRIX, ALWAYS, EMBD, HEADS},
    {"attn_q_norm.weight", LAYER(q_norm), VECTOR, QK_NORM, ONE, HEAD},
    {"attn_k_norm.weight", LAYER(k_norm), VECTOR, OWN_K_NORM, ONE, HEAD},
    {"post_attention_norm.weight", LAYER(post_attention_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"ffn_norm.weight", LAYER(ffn_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"ffn_gate.weight", LAYER(gate), MATRIX, ALWAYS, FF, EMBD},
    {"ffn_up.weight", LAYER(up), MATRIX, ALWAYS, FF, EMBD},
    {"ffn_down.weight", LAYER(down), MATRIX, ALWAYS, EMBD, FF},
    {"post_ffw_norm.weight", LAYER(post_ffw_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"layer_output_scale.weight", LAYER(scale), VECTOR, LAYER_SCALE, ONE, ONE},
    {"inp_gate.weight", LAYER(inp_gate), MATRIX, HAS_PLE, PLE, EMBD},
    {"proj.weight", LAYER(proj), MATRIX, HAS_PLE, EMBD, PLE},
    {"post_norm.weight", LAYER(post_norm), VECTOR, HAS_PLE, ONE, EMBD},
    {"pre_ffw_norm_2.weight", LAYER(pre_ffw_norm_2), VECTOR, HAS_EXPERTS, ONE, EMBD},
    {"post_ffw_norm_1.weight", LAYER(post_ffw_norm_1), VECTOR, HAS_EXPERTS, ONE, EMBD},
    {"post_ffw_norm_2.weight", LAYER(post_ffw_norm_2), VECTOR, HAS_EXPERTS, ONE, EMBD},
    {"ffn_gate_inp.weight", LAYER(router), MATRIX, HAS_EXPERTS, EXPERTS, EMBD},
    {"ffn_gate_inp.scale", LAYER(router_scale), VECTOR, HAS_EXPERTS, ONE, EMBD},
    {"ffn_down_exps.scale", LAYER(expert_scale), VECTOR, HAS_EXPERTS, ONE, EXPERTS},
    {"ffn_gate_exps.weight", LAYER(gate_exps), EXPERT_MATRICES, HAS_EXPERTS, FF_EXPERT,
     EMBD},
    {"ffn_up_exps.weight", LAYER(up_exps), EXPERT_MATRICES, HAS_EXPERTS, FF_EXPERT, EMBD},
    {"ffn_down_exps.weight", LAYER(down_exps), EXPERT_MATRICES, HAS_EXPERTS, EMBD,
     FF_EXPERT},
};

static const struct slot model_slots[] = {
    {"token_embd.weight", MODEL(token_embd), MATRIX, ALWAYS, ANY, EMBD},
    {"output.weight", MODEL(output), MATRIX, MAYBE, VOCAB, EMBD},
    {"output_norm.weight", MODEL(output_norm), VECTOR, ALWAYS, ONE, EMBD},
    {"rope_freqs.weight", MODEL(rope_freqs), VECTOR, PARTIAL_ROPE, ONE, HALF_HEAD},
    {"per_layer_model_proj.weight", MODEL(ple_proj), MATRIX, HAS_PLE, PLE_ALL, EMBD},
    {"per_layer_proj_norm.weight", MODEL(ple_norm), VECTOR, HAS_PLE, ONE, PLE},
    {"nextn.pre_projection.weight", MODEL(pre_proj), MATRIX, IS_DRAFTER, EMBD,
     EMBD_OUT_2},
    {"nextn.post_projection.weight", MODEL(post_proj), MATRIX, IS_DRAFTER, EMBD_OUT,
     EMBD},
    {"dense_2.weight", MODEL(dense_2), MATRIX, ENCODER, ANY, EMBD},
    {"dense_3.weight", MODEL(dense_3), MATRIX, ENCODER, ANY, ANY},
};

/* Tensors some files fuse: `part` is rows of `whole` after those of `before`. */
static const struct fused {
    const char *part, *whole;
    int n_before, n_all;
    enum dim rows[3]; /* of the whole, in order; the part is rows[n_before] */
} fused[] = {
    {"attn_q.weight", "attn_qkv.weight", 0, 3, {HEADS, KV_HEADS, KV_HEADS}},
    {"attn_k.weight", "attn_qkv.weight", 1, 3, {HEADS, KV_HEADS, KV_HEADS}},
    {"attn_v.weight", "attn_qkv.weight", 2, 3, {HEADS, KV_HEADS, KV_HEADS}},
    {"ffn_gate_exps.weight",
     "ffn_gate_up_exps.weight",
     0,
     2,
     {FF_EXPERT, FF_EXPERT, ONE}},
    {"ffn_up_exps.weight", "ffn_gate_up_exps.weight", 1, 2, {FF_EXPERT, FF_EXPERT, ONE}},
};

/* Known, and never read: what KV-sharing layers carry from training, and a drafter's list of
 * likely tokens. */
static const char *const dead_in_shared_layers[] = {"attn_k.weight", "attn_v.weight",
                                                    "attn_k_norm.weight"};
static const char *const dead_in_drafters[] = {"masked_embd_centroids.weight",
                                               "masked_embd_ordering",
                                               "masked_embd_ordering.weight"};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* What became of tensor i of the model. */
struct held {
    const void *data; /* its bytes, or its floats */
    void *owned;      /* to free; NULL when mapped */
    enum block_type type;
    bool is_known;
};

struct weights_store {
    struct held *held;
    size_t n;
};

struct loader {
    const struct model *model;
    const struct config *config;
    struct weights *weights;
    uint32_t layer; /* the one in hand */
    bool in_layer;
    struct error *err;
};

struct tensor_name {
    char text[96];
};

static struct tensor_name full_name(const struct loader *ld, const char *name)
{
    struct tensor_name full;

    if (ld->in_layer)
        snprintf(full.text, sizeof(full.text), "blk.%u.%s", ld->layer, name);
    else
        snprintf(full.text, sizeof(full.text), "%s", name);
    return full;
}

static int64_t find(const struct loader *ld, const char *name)
{
    return model_find(ld->model, full_name(ld, name).text);
}

static size_t size_of(const struct loader *ld, enum dim dim)
{
    const struct config *c = ld->config;
    const struct layer_facts *layer = &c->layers[ld->layer];
    size_t d = ld->in_layer ? layer->head_dim : c->rope[ROPE_GLOBAL].n_dims;

    switch (dim) {
    case EMBD:
        return c->n_embd;
    case VOCAB:
        return ld->weights->n_vocab;
    case HEAD:
        return d;
    case HALF_HEAD:
        return d / 2;
    case HEADS:
        return d * layer->n_heads;
    case KV_HEADS:
        return d * layer->n_kv_heads;
    case FF:
        return layer->n_ff;
    case FF_EXPERT:
        return c->n_ff_expert;
    case EXPERTS:
        return c->n_experts;
    case PLE:
        return c->n_ple;
    case PLE_ALL:
        return (size_t)c->n_ple * c->n_layers;
    case EMBD_OUT:
        return c->n_embd_out;
    case EMBD_OUT_2:
        return 2 * (size_t)c->n_embd_out;
    case ONE:
    case ANY:
        break;
    }
    return 1;
}

enum need { NO, OPTIONAL, REQUIRED };

static enum need needed(const struct loader *ld, enum when when)
{
    const struct family *family = ld->config->family;
    const struct layer_facts *facts = &ld->config->layers[ld->layer];
    bool own_kv = ld->layer < ld->config->n_own_kv;
    bool yes = false;

    switch (when) {
    case ALWAYS:
        return REQUIRED;
    case MAYBE:
        return OPTIONAL;
    case ENCODER:
        return family->is_causal ? NO : OPTIONAL;
    case OWN_V:
        if (own_kv && family->has_keys_for_values && facts->rope == ROPE_GLOBAL)
            return OPTIONAL;
        yes = own_kv;
        break;
    case OWN_K:
        yes = own_kv;
        break;
    case OWN_K_NORM:
        yes = own_kv && family->has_qk_norm;
        break;
    case QK_NORM:
        yes = family->has_qk_norm;
        break;
    case LAYER_SCALE:
        yes = family->has_layer_scale;
        break;
    case HAS_PLE:
        yes = ld->config->n_ple > 0;
        break;
    case HAS_EXPERTS:
        yes = ld->config->n_experts > 0;
        break;
    case IS_DRAFTER:
        yes = family->is_drafter;
        break;
    case PARTIAL_ROPE:
        yes = family->has_partial_rope;
        break;
    }
    return yes ? REQUIRED : NO;
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
    enum status st = model_read_f32(ld->model, i, &x, ld->err);

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
    held->data = model_map(ld->model, i);
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
    enum status st = check_shape(ld, i, (uint64_t[]){size_of(ld, slot->in), 1, 1});

    if (st == OK)
        st = hold_floats(ld, i);
    *out = ld->weights->store->held[i].data;
    return st;
}

/* Rows [first, first + n_rows) of tensor i, whose expert matrices have `all` rows. */
static enum status load_rows(struct loader *ld, const struct slot *slot, size_t i,
                             size_t first, size_t n_rows, size_t all, struct linear *out)
{
    const struct gguf_tensor *t = &ld->model->tensors[i];
    size_t n_cols = slot->in == ANY ? (size_t)t->ne[0] : size_of(ld, slot->in);
    size_t n_mats = slot->form == EXPERT_MATRICES ? ld->config->n_experts : 1, row_bytes;
    enum status st = check_shape(ld, i, (uint64_t[]){n_cols, all, n_mats});

    if (st != OK || (st = hold_matrix(ld, i)) != OK)
        return st;
    const struct held *held = &ld->weights->store->held[i];
    row_bytes = block_row_bytes(held->type, n_cols);
    *out = (struct linear){
        .matrix = {.type = held->type,
                   .n_rows = n_rows,
                   .n_cols = n_cols,
                   .data = (const uint8_t *)held->data + first * row_bytes},
        .expert_bytes = all * row_bytes,
        .name = first == 0 ? t->name : NULL,
    };
    return OK;
}

static enum status load_matrix(struct loader *ld, const struct slot *slot, size_t i,
                               struct linear *out)
{
    size_t n =
        slot->out == ANY ? (size_t)ld->model->tensors[i].ne[1] : size_of(ld, slot->out);

    return load_rows(ld, slot, i, 0, n, n, out);
}

/* Load a slot from the fused tensor that holds it; *found says whether there is one. */
static enum status load_fused(struct loader *ld, const struct slot *slot,
                              struct linear *out, bool *found)
{
    for (size_t f = 0; f < LENGTH(fused); f++) {
        int64_t i =
            strcmp(fused[f].part, slot->name) == 0 ? find(ld, fused[f].whole) : -1;
        size_t all = 0, first = 0;

        if (i < 0)
            continue;
        for (int r = 0; r < fused[f].n_all; r++) {
            size_t n = size_of(ld, fused[f].rows[r]);

            first += r < fused[f].n_before ? n : 0;
            all += n;
        }
        *found = true;
        ld->weights->store->held[i].is_known = true;
        return load_rows(ld, slot, (size_t)i, first, size_of(ld, slot->out), all, out);
    }
    return OK;
}

static enum status load_slot(struct loader *ld, const struct slot *slot, void *base)
{
    enum need need = needed(ld, slot->when);
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

static enum status load_table(struct loader *ld, const struct slot *slots, size_t n,
                              void *base)
{
    enum status st = OK;

    for (size_t s = 0; s < n && st == OK; s++)
        st = load_slot(ld, &slots[s], base);
    return st;
}

static void know(struct loader *ld, const char *const *names, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        int64_t i = find(ld, names[k]);

        if (i >= 0)
            ld->weights->store->held[i].is_known = true;
    }
}

static enum status load_layers(struct loader *ld)
{
    struct weights *w = ld->weights;
    enum status st = OK;

    ld->in_layer = true;
    for (ld->layer = 0; ld->layer < ld->config->n_layers && st == OK; ld->layer++) {
        st = load_table(ld, layer_slots, LENGTH(layer_slots), &w->layers[ld->layer]);
        if (ld->layer >= ld->config->n_own_kv)
            know(ld, dead_in_shared_layers, LENGTH(dead_in_shared_layers));
    }
    ld->in_layer = false;
    ld->layer = 0;
    return st;
}

static enum status load_model(struct loader *ld)
{
    struct weights *w = ld->weights;
    int64_t i = model_find(ld->model, "token_embd.weight");
    enum status st;

    w->n_vocab = i < 0 ? 0 : (size_t)ld->model->tensors[i].ne[1];
    st = load_table(ld, model_slots, LENGTH(model_slots), w);
    if (st == OK && !w->output.matrix.data)
        w->output = w->token_embd;
    if (st == OK && (w->n_vocab < 1 || w->n_vocab > INT32_MAX))
        st = fail(ld->err, ERR_SHAPE, "token_embd.weight: %zu rows", w->n_vocab);
    if (st == OK && w->dense_3.matrix.data &&
        w->dense_3.matrix.n_cols != w->dense_2.matrix.n_rows)
        st = fail(ld->err, ERR_SHAPE,
                  "dense_3.weight: %zu columns, but dense_2.weight has %zu rows",
                  w->dense_3.matrix.n_cols, w->dense_2.matrix.n_rows);
    if (ld->config->family->is_drafter)
        know(ld, dead_in_drafters, LENGTH(dead_in_drafters));
    return st;
}

/* The table itself is not read here: runtime/ple_rows does, row by row. */
static enum status find_ple_table(struct loader *ld)
{
    const char *name = "per_layer_token_embd.weight";
    const struct gguf_tensor *t;
    size_t width = size_of(ld, PLE_ALL), n_vocab = ld->weights->n_vocab;
    int64_t i = model_find(ld->model, name);

    ld->weights->ple_table = -1;
    if (ld->config->n_ple == 0 || ld->config->family->ple != PLE_TABLE)
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
                        ld->model->tensors[i].name, ld->config->family->architecture,
                        ld->config->n_layers);
    return OK;
}

enum status weights_open(struct weights *weights, const struct model *model,
                         const struct config *config, struct error *err)
{
    struct loader ld = {.model = model, .config = config, .weights = weights, .err = err};
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
