/*
 * gemma4.h - what Gemma 4 and the members built of its blocks share
 */
#ifndef CONVERT_GEMMA_GEMMA4_H
#define CONVERT_GEMMA_GEMMA4_H

#include "convert/gemma/gemma.h"

enum { GEMMA4_MAX_LAYERS = 1024, GEMMA4_MAX_EXPERTS = 4096 };

/* What a member's config leaves unsaid. */
struct gemma4_traits {
    bool is_drafter;     /* every layer uses keys and values of another model */
    bool has_full_kv;    /* num_global_key_value_heads counts without attention_k_eq_v */
    bool always_experts; /* whatever enable_moe_block says */
    bool always_k_eq_v;  /* whatever attention_k_eq_v says */
    const char *full_rope; /* rope_type of full layers: "proportional" or "default" */
    uint32_t n_ple;        /* hidden_size_per_layer_input when there is no such key */
    double softcap;        /* final_logit_softcapping when there is none; 0: none */
};

/* The reader of struct gemma_family, for a member of these traits. */
MUST_CHECK enum status gemma4_read(const json_t *config,
                                   const struct gemma4_traits *traits,
                                   struct arena *arena, struct gemma_config *out,
                                   struct error *err);

/* The keys of struct gemma_family, under the member's architecture. */
MUST_CHECK enum status gemma4_describe(const struct gemma_config *c, uint32_t file_type,
                                       struct gguf_meta *meta, struct error *err);

#endif
