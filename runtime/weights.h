/*
 * weights.h - GGUF tensors by the part they play, every shape checked
 *
 * weights_open() walks two tables of names: what it cannot find and what it finds too much is an
 * error that names the tensor. Matrices stay in the types the kernels multiply, mapped where the
 * model can map; anything else is decoded to F32 once.
 *
 * A walk from layer to layer holds one layer's matrices at a time: HOLD_FEW leaves out the matrices of
 * layers, the embedding and the head, whose `data` is then NULL; weights_hold_layer() reads those
 * of one layer into memory of their own, and weights_release_layer() gives it back.
 */
#ifndef RUNTIME_WEIGHTS_H
#define RUNTIME_WEIGHTS_H

#include "formats/model/model.h"
#include "runtime/config.h"
#include "runtime/kernels/kernels.h"

/* A matrix with the name the file gives it. Absent: matrix.data is NULL. Experts have one each:
 * `matrix` is the first, the next begins expert_bytes later. */
struct linear {
    struct matrix matrix;
    size_t expert_bytes;
    const char *name; /* borrowed; NULL for the later parts of a fused tensor */
};

struct layer_weights {
    const float *attn_norm, *q_norm, *k_norm, *post_attention_norm;
    struct linear q, k, v, o; /* v absent: values are the keys before their norm */
    const float *ffn_norm, *post_ffw_norm;
    struct linear gate, up, down;
    const float *scale;        /* one number: multiplies the stream after the layer */
    const float *canvas_scale; /* the same, when a canvas is denoised */

    const float *post_norm; /* per-layer embeddings */
    struct linear inp_gate, proj;

    const float *pre_ffw_norm_2, *post_ffw_norm_1, *post_ffw_norm_2; /* experts */
    struct linear router;
    const float *router_scale, *expert_scale;
    struct linear gate_exps, up_exps, down_exps;
};

struct weights {
    struct linear token_embd, output; /* output may be the same matrix */
    const float *output_norm;
    const float *rope_freqs; /* half a global head of divisors, or NULL */
    struct linear ple_proj;
    const float *ple_norm;
    int64_t ple_table;                 /* index of the tensor in the model, or -1 */
    struct linear pre_proj, post_proj; /* drafters */
    const float *condition_norm;       /* denoisers: what the step before thought */
    struct linear condition_gate, condition_up, condition_down;
    struct linear dense_2, dense_3; /* encoders: heads after pooling; may be absent */
    struct layer_weights *layers;
    size_t n_vocab;
    struct weights_store *store; /* private: what is owned */
};

enum holding { HOLD_ALL, HOLD_FEW };

/* ERR_SHAPE names a tensor that is missing, misshapen or superfluous; ERR_UNSUPPORTED for a type
 * without a decoder; ERR_NOMEM; what reading gives; ERR_INTERRUPTED. */
MUST_CHECK enum status weights_open(struct weights *weights, const struct model *model,
                                    const struct config *config, enum holding holding,
                                    struct error *err);
/* After HOLD_FEW, with the same model and config. What reading gives; after a failure the layer
 * must be released. */
MUST_CHECK enum status weights_hold_layer(struct weights *weights,
                                          const struct model *model,
                                          const struct config *config, uint32_t layer,
                                          struct error *err);
void weights_release_layer(struct weights *weights, uint32_t layer);
/* Bytes of memory that the matrices of a layer take. */
uint64_t weights_layer_bytes(const struct weights *weights, const struct model *model,
                             uint32_t layer);
void weights_close(struct weights *weights); /* a zeroed one is fine */

/* The matrix of expert `e`. */
struct matrix linear_expert(const struct linear *linear, size_t e);

#endif
