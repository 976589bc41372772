/*
 * slots.h - what each tensor of a model is called, its shape, and when it belongs
 *
 * Two tables of names: one for the layers, one for the rest. A new kind of layer is new rows
 * here and new members of struct layer_weights.
 */
#ifndef RUNTIME_SLOTS_H
#define RUNTIME_SLOTS_H

#include "runtime/config.h"
#include "runtime/weights.h"

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
    IS_DENOISER,
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

struct slots {
    const struct slot *list;
    size_t n;
};

struct slots slots_of_layers(void); /* offsets in struct layer_weights */
struct slots slots_of_model(void);  /* offsets in struct weights */

/* Tensors some files fuse: `part` is rows of `whole` after those of the parts before. */
struct fused {
    const char *part, *whole;
    int n_before, n_all;
    enum dim rows[3]; /* of the whole, in order; the part is rows[n_before] */
};

/* The fused tensor that may hold this one, or NULL. */
const struct fused *slots_fused(const char *name);

/* Names that are known and never read, one after the other, then NULL: what KV-sharing layers
 * carry from training, and a drafter's list of likely tokens. */
const char *slots_dead_in_shared_layers(size_t i);
const char *slots_dead_in_drafters(size_t i);

/* Where in a model a slot is looked at. */
struct place {
    const struct config *config;
    size_t n_vocab;
    uint32_t layer;
    bool in_layer; /* false: the model's own tensors */
};

enum need { NO, OPTIONAL, REQUIRED };

size_t slots_size(const struct place *place, enum dim dim);
enum need slots_need(const struct place *place, enum when when);

#endif
