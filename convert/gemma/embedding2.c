/*
 * embedding2.c - EmbeddingGemma 2, the text part: Gemma 4's layers reading in both directions
 *
 * Per-layer input comes from the context alone, without a table. No other engine has an
 * architecture for it: the name "embedding-gemma2" is this project's. Its projection stands where
 * the first dense head of EmbeddingGemma does: projecting every token and then taking the mean is
 * projecting the mean. attention.sliding_window is a radius, inclusive.
 */
#include "convert/gemma/block_rows.h"
#include "convert/gemma/fields.h"
#include "convert/gemma/gemma4.h"
#include "convert/gemma/members.h"

static const struct gemma_tensor tensors[] = {
    GEMMA_BLOCK_ROWS,
    GEMMA_SCALAR_ROW,
    {"embedding_projection.weight",
     "dense_2.weight",
     WHEN_ALWAYS,
     {DIM_EMBD_OUT, DIM_EMBD}},
    {"ple.per_layer_model_projection.weight",
     "per_layer_model_proj.weight",
     WHEN_PLE,
     {DIM_PLE_ALL, DIM_EMBD}},
    {"ple.per_layer_projection_norm.weight",
     "per_layer_proj_norm.weight",
     WHEN_PLE,
     {DIM_PLE}},
    {"layers.*.ple_block.per_layer_input_gate.weight",
     "blk.*.inp_gate.weight",
     WHEN_PLE,
     {DIM_PLE, DIM_EMBD}},
    {"layers.*.ple_block.per_layer_projection.weight",
     "blk.*.proj.weight",
     WHEN_PLE,
     {DIM_EMBD, DIM_PLE}},
    {"layers.*.ple_block.post_per_layer_input_norm.weight",
     "blk.*.post_norm.weight",
     WHEN_PLE,
     {DIM_EMBD}},
};

static enum status embedding2_read(const json_t *config, struct arena *arena,
                                   struct gemma_config *out, struct error *err)
{
    static const struct gemma4_traits traits = {
        .has_full_kv = true, .full_rope = "default", .n_ple = 512};
    const enum status st = gemma4_read(config, &traits, arena, out, err);

    return st != OK ? st : field_u32(config, "embedding_dim", 768, &out->n_embd_out, err);
}

static const char *const model_types[] = {"embedding_gemma2", "embedding_gemma2_text",
                                          NULL};

const struct gemma_family embedding_gemma2_family = {
    .name = "EmbeddingGemma 2",
    .architecture = "embedding-gemma2",
    .model_types = model_types,
    .tensors = tensors,
    .n_tensors = sizeof(tensors) / sizeof(tensors[0]),
    .is_encoder = true,
    .read = embedding2_read,
    .describe = gemma4_describe,
};
