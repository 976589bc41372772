/*
 * mix.h - what the rules of a mix see of a tensor
 */
#ifndef QUANTIZE_MIX_H
#define QUANTIZE_MIX_H

#include "formats/gguf/gguf.h"

enum part {
    PART_OTHER,
    PART_OUTPUT, /* output.weight */
    PART_TABLE,  /* token_embd and per_layer_token_embd */
    PART_ATTN_V,
    PART_ATTN_K,
    PART_ATTN_Q,
    PART_ATTN_OUTPUT,
    PART_FFN_UP,
    PART_FFN_GATE,
    PART_FFN_DOWN,
};

struct mix_tensor {
    const struct gguf_tensor *tensor; /* borrowed */
    enum part part;
    int layer;    /* of "blk.N."; -1 without */
    bool is_kept; /* never quantized */
};

/* The tensors in llama-quantize's order: those of no layer, then by layer, then by name.
 * Owned by the caller (free); NULL when memory is out. */
struct mix_tensor *mix_sort(const struct gguf_tensor *tensors, size_t n);

#endif
