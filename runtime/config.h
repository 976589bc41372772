/*
 * config.h - the hyper-parameters of a model, one struct of facts a layer
 *
 * Everything the forward pass must decide is decided here, from GGUF metadata: the pass itself
 * asks no model for its name. A new member of the family is a row in family.c.
 *
 * Sources: GGUF keys as llama.cpp 0.5.0 writes and reads them; docs/architecture.md.
 */
#ifndef RUNTIME_CONFIG_H
#define RUNTIME_CONFIG_H

#include "base/base.h"
#include "formats/gguf/gguf.h"
#include "runtime/family.h"

enum { NO_LIMIT = INT32_MAX }; /* a reach that no text exceeds */

enum rope_kind { ROPE_GLOBAL, ROPE_LOCAL, ROPE_KINDS };

struct rope_facts {
    uint32_t n_dims; /* the head's width; element i rotates with i + n_dims / 2 */
    float base;
    float factor; /* divides the frequencies */
};

struct layer_facts {
    uint32_t n_heads, n_kv_heads, head_dim; /* n_heads is a multiple of n_kv_heads */
    uint32_t n_ff;                          /* width of the dense MLP */
    uint32_t kv_layer;   /* whose K and V it reads: its own index, or less */
    int32_t back, ahead; /* position p sees p - back .. p + ahead; NO_LIMIT: all */
    enum rope_kind rope;
};

struct config {
    const struct family *family;
    uint32_t n_layers, n_embd, context_length;
    uint32_t n_own_kv; /* layers with K and V of their own: the first so many */
    uint32_t n_ple;    /* width of a layer's embedding; 0: none */
    uint32_t n_experts, n_experts_used, n_ff_expert; /* 0: no experts */
    uint32_t n_embd_out; /* drafters: width of the target's stream; else 0 */
    float eps;
    float score_scale;
    float score_softcap, logit_softcap; /* 0: none */
    struct rope_facts rope[ROPE_KINDS];
    struct layer_facts *layers; /* owned; n_layers */
};

/* Read and check every key. ERR_UNSUPPORTED for an architecture this runtime does not know (the
 * sentence lists those it does); ERR_CORRUPT names the key; ERR_NOMEM. */
MUST_CHECK enum status config_read(struct config *config, const struct gguf_meta *meta,
                                   struct error *err);
void config_free(struct config *config); /* a zeroed one is fine */

#endif
