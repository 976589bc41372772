/*
 * diffusion.c - DiffusionGemma: the 26B-A4B's layers, which read a text and denoise a canvas
 *
 * Reading and denoising share all weights but the scale of each layer's output. No other engine
 * has an architecture for it: the name "diffusion-gemma", the tensors condition_*.weight and
 * blk.N.canvas_output_scale.weight, and the key canvas_length are this project's.
 */
#include "convert/gemma/block_rows.h"
#include "convert/gemma/fields.h"
#include "convert/gemma/gemma4.h"
#include "convert/gemma/keys.h"
#include "convert/gemma/members.h"

static const struct gemma_tensor tensors[] = {
    GEMMA_BLOCK_ROWS,
    GEMMA_SCALAR_ROW,
    GEMMA_EXPERT_ROWS,
    {"layers.*.canvas_scalar",
     "blk.*.canvas_output_scale.weight",
     WHEN_ALWAYS,
     {DIM_ONE}},
    {"self_conditioning.pre_norm.weight",
     "condition_norm.weight",
     WHEN_ALWAYS,
     {DIM_EMBD}},
    {"self_conditioning.gate_proj.weight",
     "condition_gate.weight",
     WHEN_ALWAYS,
     {DIM_FF, DIM_EMBD}},
    {"self_conditioning.up_proj.weight",
     "condition_up.weight",
     WHEN_ALWAYS,
     {DIM_FF, DIM_EMBD}},
    {"self_conditioning.down_proj.weight",
     "condition_down.weight",
     WHEN_ALWAYS,
     {DIM_EMBD, DIM_FF}},
};

static enum status diffusion_read(const json_t *config, struct arena *arena,
                                  struct gemma_config *out, struct error *err)
{
    static const struct gemma4_traits traits = {.always_experts = true,
                                                .always_k_eq_v = true,
                                                .full_rope = "proportional",
                                                .softcap = 30};
    enum status st = gemma4_read(config, &traits, arena, out, err);

    if (st == OK)
        st = field_u32(config, "canvas_length", 256, &out->n_canvas, err);
    if (st == OK && out->n_canvas == 0)
        st = fail(err, ERR_CORRUPT, "canvas_length is 0");
    if (st == OK && out->n_ple > 0)
        st = fail(err, ERR_UNSUPPORTED,
                  "hidden_size_per_layer_input is %u (0 expected in DiffusionGemma)",
                  out->n_ple);
    return st;
}

static enum status diffusion_describe(const struct gemma_config *c, uint32_t file_type,
                                      struct gguf_meta *meta, struct error *err)
{
    const struct key_row row = {"canvas_length", GGUF_U32, c->n_canvas, false};
    const enum status st = gemma4_describe(c, file_type, meta, err);

    return st != OK ? st : keys_set(c->family->architecture, &row, 1, meta, err);
}

static const char *const model_types[] = {"diffusion_gemma", NULL};

const struct gemma_family diffusion_gemma_family = {
    .name = "DiffusionGemma",
    .architecture = "diffusion-gemma",
    .model_types = model_types,
    .tensors = tensors,
    .n_tensors = sizeof(tensors) / sizeof(tensors[0]),
    .has_partial_rope = true,
    .read = diffusion_read,
    .describe = diffusion_describe,
};
