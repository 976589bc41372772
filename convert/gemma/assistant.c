/*
 * assistant.c - drafters of Gemma 4: four layers that use the keys and values of their target
 *
 * The ordered head of small ones (masked_embedding) is no tensor of theirs in a file: engines that
 * compute all logits would not know what to do with it. convert/centroids.c keeps it beside them.
 */
#include "convert/gemma/block_rows.h"
#include "convert/gemma/fields.h"
#include "convert/gemma/gemma4.h"
#include "convert/gemma/keys.h"
#include "convert/gemma/members.h"

static const struct gemma_tensor tensors[] = {
    GEMMA_BLOCK_ROWS,
    GEMMA_SCALAR_ROW,
    {"pre_projection.weight",
     "nextn.pre_projection.weight",
     WHEN_ALWAYS,
     {DIM_EMBD, DIM_EMBD_OUT_2}},
    {"post_projection.weight",
     "nextn.post_projection.weight",
     WHEN_ALWAYS,
     {DIM_EMBD_OUT, DIM_EMBD}},
};

static enum status assistant_read(const json_t *config, struct arena *arena,
                                  struct gemma_config *out, struct error *err)
{
    static const struct gemma4_traits traits = {.is_drafter = true,
                                                .full_rope = "proportional"};
    enum status st = gemma4_read(config, &traits, arena, out, err);

    if (st == OK)
        st = field_u32(config, "backbone_hidden_size", FIELD_REQUIRED, &out->n_embd_out,
                       err);
    if (st == OK && (out->n_ple > 0 || out->n_experts > 0))
        st = fail(err, ERR_UNSUPPORTED,
                  "a drafter with per-layer embeddings or experts is not supported");
    if (st == OK && (out->n_embd_out == 0 || out->n_embd_out > INT32_MAX / 2))
        st = fail(err, ERR_CORRUPT, "backbone_hidden_size is %u", out->n_embd_out);
    return st;
}

static enum status assistant_describe(const struct gemma_config *c, uint32_t file_type,
                                      struct gguf_meta *meta, struct error *err)
{
    const struct key_row rows[] = {
        {"embedding_length_out", GGUF_U32, c->n_embd_out, false},
        {"nextn_predict_layers", GGUF_U32, c->n_layers, false},
    };
    const enum status st = gemma4_describe(c, file_type, meta, err);

    return st != OK ? st
                    : keys_set(c->family->architecture, rows,
                               sizeof(rows) / sizeof(rows[0]), meta, err);
}

static const char *const model_types[] = {"gemma4_assistant", "gemma4_unified_assistant",
                                          NULL};

const struct gemma_family gemma4_assistant_family = {
    .name = "gemma4 assistants",
    .architecture = "gemma4-assistant",
    .model_types = model_types,
    .tensors = tensors,
    .n_tensors = sizeof(tensors) / sizeof(tensors[0]),
    .has_partial_rope = true,
    .read = assistant_read,
    .describe = assistant_describe,
};
