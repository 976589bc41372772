/*
 * test_adapter.c - adapters on a small checkpoint: what they make of its tables and experts
 *
 * The numbers wanted are W + s B A, computed here in double from the same factors.
 */
#include "tests/convert/adapters.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- the head ---- */

Test(adapter, a_change_of_a_tied_head_unties_it_and_leaves_the_lookup_alone)
{
    struct tiny tiny;
    struct adapter_files ad;

    adapters_begin(&tiny, &ad, TINY_E2B);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "embed_tokens.weight");
    const size_t rows = (size_t)t->dims[0], cols = (size_t)t->dims[1];
    const float *a =
        adapters_add(&ad, "base_model.model.lm_head.lora_A.weight", RANK, cols, 0);
    const float *b =
        adapters_add(&ad, "base_model.model.lm_head.lora_B.weight", rows, RANK, 0);
    adapters_write(&ad, PEFT);
    double *want = adapters_stored(&tiny, "embed_tokens.weight");
    struct model *model = adapters_merged(&tiny, &ad);

    adapters_expect(model, "token_embd.weight", want, rows * cols);
    adapters_product(want, b, a, rows, cols);
    adapters_expect(model, "output.weight", want, rows * cols);
    model_close(model);
    free(want);
    adapters_end(&tiny, &ad);
}

/* A base that stores the embedding a second time, with an adapter of the embedding. */
static struct model *with_copied_head(struct tiny *tiny, struct adapter_files *ad,
                                      double **want, size_t *n)
{
    const struct tiny_tensor *t = tiny_tensor(tiny, "embed_tokens.weight");
    const size_t rows = (size_t)t->dims[0], cols = (size_t)t->dims[1];
#define TABLE "base_model.model.model.language_model.embed_tokens"
    const float *a = adapters_add(ad, TABLE ".lora_embedding_A", RANK, rows, 0);
    const float *b = adapters_add(ad, TABLE ".lora_embedding_B", cols, RANK, 0);

    tiny_copy(tiny, "lm_head.weight", "embed_tokens.weight");
    adapters_write(ad, PEFT);
    *n = rows * cols;
    *want = adapters_stored(tiny, "embed_tokens.weight");
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            for (size_t k = 0; k < RANK; k++)
                (*want)[r * cols + c] +=
                    SCALE * (double)a[k * rows + r] * (double)b[c * RANK + k];
    return adapters_merged(tiny, ad);
}

Test(adapter, a_stored_copy_of_a_tied_embedding_changes_with_it)
{
    struct tiny tiny;
    struct adapter_files ad;
    double *want;
    size_t n;

    adapters_begin(&tiny, &ad, TINY_E2B);
    struct model *model = with_copied_head(&tiny, &ad, &want, &n);

    adapters_expect(model, "token_embd.weight", want, n);
    cr_expect_eq(adapters_place(model, "output.weight"), model->n_tensors);
    model_close(model);
    free(want);
    adapters_end(&tiny, &ad);
}

Test(adapter, an_untied_head_of_the_same_numbers_keeps_them)
{
    struct tiny tiny;
    struct adapter_files ad;
    double *want;
    size_t n;

    adapters_begin(&tiny, &ad, TINY_E2B);
    json_object_set_new(tiny.config, "tie_word_embeddings", json_false());
    struct model *model = with_copied_head(&tiny, &ad, &want, &n);

    adapters_expect(model, "token_embd.weight", want, n);
    free(want);
    want = adapters_stored(&tiny, "embed_tokens.weight");
    adapters_expect(model, "output.weight", want, n);
    model_close(model);
    free(want);
    adapters_end(&tiny, &ad);
}

Test(adapter, values_that_are_a_copy_of_the_keys_change_with_them)
{
    struct tiny tiny;
    struct adapter_files ad;

    adapters_begin(&tiny, &ad, TINY_MOE);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.1.self_attn.k_proj.weight");
    const size_t out = (size_t)t->dims[0], in = (size_t)t->dims[1];
#define KEYS1 "base_model.model.model.layers.1.self_attn.k_proj"
    const float *a = adapters_add(&ad, KEYS1 ".lora_A.weight", RANK, in, 0);
    const float *b = adapters_add(&ad, KEYS1 ".lora_B.weight", out, RANK, 0);
    tiny_copy(&tiny, "layers.1.self_attn.v_proj.weight",
              "layers.1.self_attn.k_proj.weight");
    adapters_write(&ad, PEFT);
    double *want = adapters_stored(&tiny, "layers.1.self_attn.k_proj.weight");
    struct model *model = adapters_merged(&tiny, &ad);

    adapters_product(want, b, a, out, in);
    adapters_expect(model, "blk.1.attn_k.weight", want, out * in);
    cr_expect_eq(adapters_place(model, "blk.1.attn_v.weight"), model->n_tensors);
    model_close(model);
    free(want);
    adapters_end(&tiny, &ad);
}

Test(adapter, mlx_factors_of_a_table_are_not_transposed)
{
    struct tiny tiny;
    struct adapter_files ad;

    adapters_begin(&tiny, &ad, TINY_E2B);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "embed_tokens.weight");
    const size_t rows = (size_t)t->dims[0], cols = (size_t)t->dims[1];
    const float *a =
        adapters_add(&ad, "language_model.model.embed_tokens.lora_a", rows, RANK, 0);
    const float *b =
        adapters_add(&ad, "language_model.model.embed_tokens.lora_b", RANK, cols, 0);
    adapters_write(&ad, MLX);
    double *want = adapters_stored(&tiny, "embed_tokens.weight");

    adapters_product(want, a, b, rows, cols);
    adapters_finish(&tiny, &ad, "token_embd.weight", want, rows * cols);
}

Test(adapter, listed_rows_are_named_by_the_end_of_the_whole_path)
{
    static const char *const keys[] = {"embed_tokens", "language_model.embed_tokens",
                                       "model.language_model.embed_tokens"};
    struct tiny tiny;
    struct adapter_files ad;
    char config[256];

    adapters_begin(&tiny, &ad, TINY_E2B);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "embed_tokens.weight");
    const size_t cols = (size_t)t->dims[1], n = (size_t)tiny_elements(t);
    const float *x =
        adapters_add(&ad, TABLE ".token_adapter.trainable_tokens_delta", 2, cols, 0);
    double *want = adapters_stored(&tiny, "embed_tokens.weight");

    for (size_t c = 0; c < cols; c++) {
        want[5 * cols + c] = (double)x[c];
        want[7 * cols + c] = (double)x[cols + c];
    }
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        snprintf(config, sizeof(config),
                 "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, "
                 "\"trainable_token_indices\": {\"%s\": [5, 7]}}",
                 keys[i]);
        adapters_write(&ad, config);
        struct model *model = adapters_merged(&tiny, &ad);

        adapters_expect(model, "token_embd.weight", want, n);
        model_close(model);
    }
    free(want);
    adapters_end(&tiny, &ad);
}

Test(adapter, mlx_without_a_type_means_lora)
{
    struct tiny tiny;
    struct adapter_files ad;

    adapters_begin(&tiny, &ad, TINY_E2B);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.0.mlp.up_proj.weight");
    const size_t out = (size_t)t->dims[0], in = (size_t)t->dims[1];
    const float *a = adapters_add(&ad, "model.layers.0.mlp.up_proj.lora_a", in, RANK, 0);
    const float *b = adapters_add(&ad, "model.layers.0.mlp.up_proj.lora_b", RANK, out, 0);
    adapters_write(&ad, "{\"num_layers\": 4, \"use_dora\": false, "
                        "\"lora_parameters\": {\"rank\": 3, \"scale\": 2.0}}");
    double *want = adapters_stored(&tiny, "layers.0.mlp.up_proj.weight");
    struct model *model = adapters_merged(&tiny, &ad);

    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t k = 0; k < RANK; k++)
                want[o * in + i] +=
                    SCALE * (double)a[i * RANK + k] * (double)b[k * out + o];
    adapters_expect(model, "blk.0.ffn_up.weight", want, out * in);
    model_close(model);
    free(want);
    adapters_write(&ad,
                   "{\"lora_parameters\": {\"rank\": 3, \"alpha\": 6, \"scale\": 2.0}}");
    adapters_refused(&tiny, ad.folder, "depends on the release where alpha is stated");
    adapters_end(&tiny, &ad);
}

Test(adapter, an_adapter_of_mlx_vlm_is_refused_by_its_name)
{
    struct tiny tiny;
    struct adapter_files ad;

    adapters_begin(&tiny, &ad, TINY_E2B);
    adapters_add(&ad, "language_model.model.layers.0.self_attn.q_proj.A", 32, RANK, 0);
    adapters_add(&ad, "language_model.model.layers.0.self_attn.q_proj.B", RANK, 32, 0);
    adapters_write(&ad, "{\"rank\": 3, \"alpha\": 0.1, \"dropout\": 0.1}");
    adapters_refused(&tiny, ad.folder, "an adapter of mlx-vlm, which is not known here");
    adapters_end(&tiny, &ad);
}

/* ---- experts ---- */

Test(adapter, a_pair_for_one_expert_changes_that_expert_alone)
{
    struct tiny tiny;
    struct adapter_files ad;

    adapters_begin(&tiny, &ad, TINY_MOE);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.0.experts.gate_up_proj");
    const size_t half = (size_t)t->dims[1] / 2, in = (size_t)t->dims[2];
    const size_t n = (size_t)tiny_elements(t);
#define UP2 "base_model.model.model.layers.0.experts.2.up_proj"
    const float *a = adapters_add(&ad, UP2 ".lora_A.weight", RANK, in, 0);
    const float *b = adapters_add(&ad, UP2 ".lora_B.weight", half, RANK, 0);
    adapters_write(&ad, PEFT);
    double *want = adapters_stored(&tiny, "layers.0.experts.gate_up_proj");

    adapters_product(want + (2 * 2 + 1) * half * in, b, a, half, in);
    adapters_finish(&tiny, &ad, "blk.0.ffn_gate_up_exps.weight", want, n);
}

Test(adapter, mlx_factors_of_all_experts_change_their_projection)
{
    struct tiny tiny;
    struct adapter_files ad;

    adapters_begin(&tiny, &ad, TINY_MOE);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.1.experts.gate_up_proj");
    const size_t n_experts = (size_t)t->dims[0], half = (size_t)t->dims[1] / 2,
                 in = (size_t)t->dims[2], n = (size_t)tiny_elements(t);
#define GATE1 "language_model.model.layers.1.experts.switch_glu.gate_proj"
    const float *a = adapters_add(&ad, GATE1 ".lora_a", n_experts, RANK, in);
    const float *b = adapters_add(&ad, GATE1 ".lora_b", n_experts, half, RANK);
    adapters_write(&ad, MLX);
    double *want = adapters_stored(&tiny, "layers.1.experts.gate_up_proj");

    for (size_t e = 0; e < n_experts; e++)
        adapters_product(want + 2 * e * half * in, b + e * half * RANK, a + e * RANK * in,
                         half, in);
    adapters_finish(&tiny, &ad, "blk.1.ffn_gate_up_exps.weight", want, n);
}

/* {E, out, in} += SCALE B A of each expert: A's rows are expert-major, B's columns rank-major. */
static void add_experts(double *w, const float *b, const float *a, size_t n_experts,
                        size_t out, size_t in)
{
    for (size_t e = 0; e < n_experts; e++)
        for (size_t o = 0; o < out; o++)
            for (size_t i = 0; i < in; i++)
                for (size_t k = 0; k < RANK; k++)
                    w[(e * out + o) * in + i] +=
                        SCALE * (double)b[(o * RANK + k) * n_experts + e] *
                        (double)a[(e * RANK + k) * in + i];
}

Test(adapter, patterns_see_a_parameter_of_the_experts_under_its_own_name)
{
    struct tiny tiny;
    struct adapter_files ad;

    adapters_begin(&tiny, &ad, TINY_MOE);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.0.experts.gate_up_proj");
    const size_t n_experts = (size_t)t->dims[0], out = (size_t)t->dims[1],
                 in = (size_t)t->dims[2], n = (size_t)tiny_elements(t);
#define EXPERTS0 "base_model.model.model.layers.0.experts"
    const float *a =
        adapters_add(&ad, EXPERTS0 ".lora_A.weight", n_experts * RANK, in, 0);
    const float *b =
        adapters_add(&ad, EXPERTS0 ".lora_B.weight", out, RANK * n_experts, 0);
    adapters_write(&ad, "{\"peft_type\": \"LORA\", \"r\": 16, \"lora_alpha\": 1, "
                        "\"target_parameters\": [\"experts.gate_up_proj\"], "
                        "\"rank_pattern\": {\"experts.gate_up_proj\": 3}, "
                        "\"alpha_pattern\": {\"experts.gate_up_proj\": 6}}");
    double *want = adapters_stored(&tiny, "layers.0.experts.gate_up_proj");

    add_experts(want, b, a, n_experts, out, in);
    adapters_finish(&tiny, &ad, "blk.0.ffn_gate_up_exps.weight", want, n);
}
