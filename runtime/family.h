/*
 * family.h - what an architecture fixes without a key
 */
#ifndef RUNTIME_FAMILY_H
#define RUNTIME_FAMILY_H

#include <stdbool.h>
#include <stdint.h>

enum ple_kind {
    PLE_NONE,
    PLE_TABLE,   /* projection of the embedding plus rows of a table (E2B, E4B) */
    PLE_CONTEXT, /* projection only (EmbeddingGemma 2) */
};

struct family {
    const char *architecture; /* general.architecture, and the prefix of its keys */

    bool has_qk_norm;
    bool has_value_norm;
    bool has_keys_for_values; /* global layers without attn_v: values are the raw keys */
    bool has_layer_scale;
    bool has_partial_rope; /* global heads rotate by rope_freqs.weight */
    bool has_placeholders; /* ids of missing pictures read the padding row */

    bool is_causal;
    bool is_drafter;  /* reads the K and V of another model */
    bool is_denoiser; /* has a second pass, over a canvas, with scales of its own */

    bool unit_scores;   /* scores are q . k, not divided by a root */
    bool halves_window; /* the window key counts both sides of the query */
    uint32_t
        global_period; /* without a pattern key every n-th layer is global; 0: key needed */
    uint32_t wide_layers;  /* this many layers: scores / sqrt(n_embd / n_heads) instead */
    float rope_base_local; /* when the key is missing; 0: the base of global layers */
    enum ple_kind ple;     /* what a non-zero embedding_length_per_layer_input means */
};

/* The family whose general.architecture this is, or NULL. */
const struct family *family_find(const char *architecture);

enum { FAMILY_LIST = 256 };

/* All architectures, separated by commas; returns `text`. */
const char *family_list(char text[FAMILY_LIST]);

#endif
