/*
 * test_adapter.c - adapters on a small checkpoint: what they make of its tensors, and what is refused
 *
 * The numbers wanted are W + s B A, computed here in double from the same factors.
 */
#include "convert/convert.h"
#include "formats/safetensors/safetensors.h"
#include "tests/convert/tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { RANK = 3, MOST_FACTORS = 16 };
#define SCALE 2.0 /* alpha 6 of rank 3; MLX states it */

#define PEFT \
    "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, \"target_modules\": []}"
#define MLX \
    "{\"fine_tune_type\": \"lora\", \"lora_parameters\": {\"rank\": 3, \"scale\": 2.0}}"

/* ---- an adapter ---- */

struct adapter_files {
    char folder[FIXTURE_PATH];
    char names[MOST_FACTORS][TINY_NAME];
    struct safetensors_item items[MOST_FACTORS];
    size_t n;
};

/* One more tensor, filled from its place; its numbers. */
static const float *add(struct adapter_files *ad, const char *name, uint64_t a,
                        uint64_t b, uint64_t c)
{
    struct safetensors_item *item = &ad->items[ad->n];
    const size_t n = (size_t)(a * b * (c ? c : 1));
    uint64_t state = ad->n + 1;
    float *x = malloc(n * sizeof(*x));

    cr_assert(x && ad->n < MOST_FACTORS);
    for (size_t i = 0; i < n; i++)
        x[i] = fixture_uniform(&state) - 0.5f;
    snprintf(ad->names[ad->n], TINY_NAME, "%s", name);
    *item = (struct safetensors_item){.name = ad->names[ad->n],
                                      .dtype = DTYPE_F32,
                                      .n_dims = c ? 3 : 2,
                                      .dims = {a, b, c},
                                      .data = x};
    ad->n++;
    return x;
}

static void write_to(const struct adapter_files *ad, const char *config)
{
    char path[FIXTURE_PATH];
    struct error err = {0};

    fixture_join(path, ad->folder, "adapter_config.json");
    fixture_write(path, config, strlen(config));
    fixture_join(path, ad->folder, "adapter_model.safetensors");
    cr_assert_eq(safetensors_write(path, ad->items, ad->n, NULL, true, &err), OK, "%s",
                 err.text);
}

static void begin(struct tiny *tiny, struct adapter_files *ad, enum tiny_kind kind)
{
    tiny_begin(tiny, kind);
    *ad = (struct adapter_files){0};
    fixture_folder(ad->folder);
}

static void end(struct tiny *tiny, struct adapter_files *ad)
{
    for (size_t i = 0; i < ad->n; i++)
        free((void *)(uintptr_t)ad->items[i].data);
    fixture_remove(ad->folder);
    tiny_end(tiny);
}

/* ---- a base with the adapter merged ---- */

static enum status open_with(const struct tiny *tiny, const char *adapter,
                             struct model **out, struct error *err)
{
    const struct convert_lora lora = {.path = adapter, .scale = 1};
    const struct source_options options = {.loras = &lora, .n_loras = 1};

    tiny_write(tiny);
    return convert_open_source(tiny->folder, &options, out, err);
}

static struct model *merged(const struct tiny *tiny, const struct adapter_files *ad)
{
    struct model *model = NULL;
    struct error err = {0};

    cr_assert_eq(open_with(tiny, ad->folder, &model, &err), OK, "%s", err.text);
    return model;
}

static void expect_refused(const struct tiny *tiny, const char *adapter, const char *says)
{
    struct model *model = NULL;
    struct error err = {0};

    cr_expect_neq(open_with(tiny, adapter, &model, &err), OK, "%s", says);
    cr_expect_not_null(strstr(err.text, says), "%s: %s", says, err.text);
    model_close(model);
}

/* The place of a tensor; n_tensors when there is none. */
static size_t place_of(const struct model *model, const char *name)
{
    size_t i = 0;

    while (i < model->n_tensors && strcmp(model->tensors[i].name, name) != 0)
        i++;
    return i;
}

/* A tensor as doubles; freed by the caller. */
static double *numbers(const struct model *model, const char *name, size_t *n)
{
    struct error err = {0};
    const size_t i = place_of(model, name);

    cr_assert_lt(i, model->n_tensors, "%s", name);
    const struct gguf_tensor *t = &model->tensors[i];
    uint8_t *bytes = malloc((size_t)t->n_bytes);
    float *x;

    *n = (size_t)(gguf_tensor_rows(t) * t->ne[0]);
    x = malloc(*n * sizeof(*x));
    double *wide = malloc(*n * sizeof(*wide));
    cr_assert(bytes && x && wide);
    cr_assert_eq(model_read_rows(model, i, 0, gguf_tensor_rows(t), bytes, &err), OK, "%s",
                 err.text);
    block_decode(t->type, bytes, x, *n);
    for (size_t k = 0; k < *n; k++)
        wide[k] = (double)x[k];
    free(bytes);
    free(x);
    return wide;
}

/* Every element of the tensor is within the f32 products' rounding of what is wanted. */
static void expect_numbers(const struct model *model, const char *name,
                           const double *want, size_t n_want)
{
    size_t n;
    double *x = numbers(model, name, &n), far = 0;

    cr_assert_eq(n, n_want, "%s", name);
    for (size_t i = 0; i < n; i++)
        far = fmax(far, fabs(x[i] - want[i]));
    cr_expect_leq(far, (RANK + 1) * 0x1p-23 * 4, "%s: %g", name, far);
    free(x);
}

/* The base's own numbers. */
static double *stored(struct tiny *tiny, const char *name)
{
    const struct tiny_tensor *t = tiny_tensor(tiny, name);
    const size_t n = (size_t)tiny_elements(t);
    double *x = malloc(n * sizeof(*x));

    cr_assert_not_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)f32_from_bf16(t->bf16[i]);
    return x;
}

/* w {out, in} += SCALE b {out, RANK} a {RANK, in} */
static void add_product(double *w, const float *b, const float *a, size_t out, size_t in)
{
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t k = 0; k < RANK; k++)
                w[o * in + i] += SCALE * (double)b[o * RANK + k] * (double)a[k * in + i];
}

/* ---- the head ---- */

Test(adapter, a_change_of_a_tied_head_unties_it_and_leaves_the_lookup_alone)
{
    struct tiny tiny;
    struct adapter_files ad;

    begin(&tiny, &ad, TINY_E2B);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "embed_tokens.weight");
    const size_t rows = (size_t)t->dims[0], cols = (size_t)t->dims[1];
    const float *a = add(&ad, "base_model.model.lm_head.lora_A.weight", RANK, cols, 0);
    const float *b = add(&ad, "base_model.model.lm_head.lora_B.weight", rows, RANK, 0);
    write_to(&ad, PEFT);
    double *want = stored(&tiny, "embed_tokens.weight");
    struct model *model = merged(&tiny, &ad);

    expect_numbers(model, "token_embd.weight", want, rows * cols);
    add_product(want, b, a, rows, cols);
    expect_numbers(model, "output.weight", want, rows * cols);
    model_close(model);
    free(want);
    end(&tiny, &ad);
}

/* A base that stores the embedding a second time, with an adapter of the embedding. */
static struct model *with_copied_head(struct tiny *tiny, struct adapter_files *ad,
                                      double **want, size_t *n)
{
    const struct tiny_tensor *t = tiny_tensor(tiny, "embed_tokens.weight");
    const size_t rows = (size_t)t->dims[0], cols = (size_t)t->dims[1];
#define TABLE "base_model.model.model.language_model.embed_tokens"
    const float *a = add(ad, TABLE ".lora_embedding_A", RANK, rows, 0);
    const float *b = add(ad, TABLE ".lora_embedding_B", cols, RANK, 0);

    tiny_copy(tiny, "lm_head.weight", "embed_tokens.weight");
    write_to(ad, PEFT);
    *n = rows * cols;
    *want = stored(tiny, "embed_tokens.weight");
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            for (size_t k = 0; k < RANK; k++)
                (*want)[r * cols + c] +=
                    SCALE * (double)a[k * rows + r] * (double)b[c * RANK + k];
    return merged(tiny, ad);
}

Test(adapter, a_stored_copy_of_a_tied_embedding_changes_with_it)
{
    struct tiny tiny;
    struct adapter_files ad;
    double *want;
    size_t n;

    begin(&tiny, &ad, TINY_E2B);
    struct model *model = with_copied_head(&tiny, &ad, &want, &n);

    expect_numbers(model, "token_embd.weight", want, n);
    cr_expect_eq(place_of(model, "output.weight"), model->n_tensors);
    model_close(model);
    free(want);
    end(&tiny, &ad);
}

Test(adapter, an_untied_head_of_the_same_numbers_keeps_them)
{
    struct tiny tiny;
    struct adapter_files ad;
    double *want;
    size_t n;

    begin(&tiny, &ad, TINY_E2B);
    json_object_set_new(tiny.config, "tie_word_embeddings", json_false());
    struct model *model = with_copied_head(&tiny, &ad, &want, &n);

    expect_numbers(model, "token_embd.weight", want, n);
    free(want);
    want = stored(&tiny, "embed_tokens.weight");
    expect_numbers(model, "output.weight", want, n);
    model_close(model);
    free(want);
    end(&tiny, &ad);
}

Test(adapter, values_that_are_a_copy_of_the_keys_change_with_them)
{
    struct tiny tiny;
    struct adapter_files ad;

    begin(&tiny, &ad, TINY_MOE);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.1.self_attn.k_proj.weight");
    const size_t out = (size_t)t->dims[0], in = (size_t)t->dims[1];
#define KEYS1 "base_model.model.model.layers.1.self_attn.k_proj"
    const float *a = add(&ad, KEYS1 ".lora_A.weight", RANK, in, 0);
    const float *b = add(&ad, KEYS1 ".lora_B.weight", out, RANK, 0);
    tiny_copy(&tiny, "layers.1.self_attn.v_proj.weight",
              "layers.1.self_attn.k_proj.weight");
    write_to(&ad, PEFT);
    double *want = stored(&tiny, "layers.1.self_attn.k_proj.weight");
    struct model *model = merged(&tiny, &ad);

    add_product(want, b, a, out, in);
    expect_numbers(model, "blk.1.attn_k.weight", want, out * in);
    cr_expect_eq(place_of(model, "blk.1.attn_v.weight"), model->n_tensors);
    model_close(model);
    free(want);
    end(&tiny, &ad);
}

Test(adapter, mlx_factors_of_a_table_are_not_transposed)
{
    struct tiny tiny;
    struct adapter_files ad;

    begin(&tiny, &ad, TINY_E2B);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "embed_tokens.weight");
    const size_t rows = (size_t)t->dims[0], cols = (size_t)t->dims[1];
    const float *a = add(&ad, "language_model.model.embed_tokens.lora_a", rows, RANK, 0);
    const float *b = add(&ad, "language_model.model.embed_tokens.lora_b", RANK, cols, 0);
    write_to(&ad, MLX);
    double *want = stored(&tiny, "embed_tokens.weight");
    struct model *model = merged(&tiny, &ad);

    add_product(want, a, b, rows, cols);
    expect_numbers(model, "token_embd.weight", want, rows * cols);
    model_close(model);
    free(want);
    end(&tiny, &ad);
}

Test(adapter, listed_rows_are_named_by_the_end_of_the_whole_path)
{
    static const char *const keys[] = {"embed_tokens", "language_model.embed_tokens",
                                       "model.language_model.embed_tokens"};
    struct tiny tiny;
    struct adapter_files ad;
    char config[256];

    begin(&tiny, &ad, TINY_E2B);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "embed_tokens.weight");
    const size_t cols = (size_t)t->dims[1], n = (size_t)tiny_elements(t);
    const float *x = add(&ad, TABLE ".token_adapter.trainable_tokens_delta", 2, cols, 0);
    double *want = stored(&tiny, "embed_tokens.weight");

    for (size_t c = 0; c < cols; c++) {
        want[5 * cols + c] = (double)x[c];
        want[7 * cols + c] = (double)x[cols + c];
    }
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        snprintf(config, sizeof(config),
                 "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 6, "
                 "\"trainable_token_indices\": {\"%s\": [5, 7]}}",
                 keys[i]);
        write_to(&ad, config);
        struct model *model = merged(&tiny, &ad);

        expect_numbers(model, "token_embd.weight", want, n);
        model_close(model);
    }
    free(want);
    end(&tiny, &ad);
}

Test(adapter, mlx_without_a_type_means_lora)
{
    struct tiny tiny;
    struct adapter_files ad;

    begin(&tiny, &ad, TINY_E2B);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.0.mlp.up_proj.weight");
    const size_t out = (size_t)t->dims[0], in = (size_t)t->dims[1];
    const float *a = add(&ad, "model.layers.0.mlp.up_proj.lora_a", in, RANK, 0);
    const float *b = add(&ad, "model.layers.0.mlp.up_proj.lora_b", RANK, out, 0);
    write_to(&ad, "{\"num_layers\": 4, \"use_dora\": false, "
                  "\"lora_parameters\": {\"rank\": 3, \"scale\": 2.0}}");
    double *want = stored(&tiny, "layers.0.mlp.up_proj.weight");
    struct model *model = merged(&tiny, &ad);

    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t k = 0; k < RANK; k++)
                want[o * in + i] +=
                    SCALE * (double)a[i * RANK + k] * (double)b[k * out + o];
    expect_numbers(model, "blk.0.ffn_up.weight", want, out * in);
    model_close(model);
    free(want);
    write_to(&ad, "{\"lora_parameters\": {\"rank\": 3, \"alpha\": 6, \"scale\": 2.0}}");
    expect_refused(&tiny, ad.folder, "depends on the release where alpha is stated");
    end(&tiny, &ad);
}

Test(adapter, an_adapter_of_mlx_vlm_is_refused_by_its_name)
{
    struct tiny tiny;
    struct adapter_files ad;

    begin(&tiny, &ad, TINY_E2B);
    add(&ad, "language_model.model.layers.0.self_attn.q_proj.A", 32, RANK, 0);
    add(&ad, "language_model.model.layers.0.self_attn.q_proj.B", RANK, 32, 0);
    write_to(&ad, "{\"rank\": 3, \"alpha\": 0.1, \"dropout\": 0.1}");
    expect_refused(&tiny, ad.folder, "an adapter of mlx-vlm, which is not known here");
    end(&tiny, &ad);
}

/* ---- experts ---- */

Test(adapter, a_pair_for_one_expert_changes_that_expert_alone)
{
    struct tiny tiny;
    struct adapter_files ad;

    begin(&tiny, &ad, TINY_MOE);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.0.experts.gate_up_proj");
    const size_t half = (size_t)t->dims[1] / 2, in = (size_t)t->dims[2];
    const size_t n = (size_t)tiny_elements(t);
#define UP2 "base_model.model.model.layers.0.experts.2.up_proj"
    const float *a = add(&ad, UP2 ".lora_A.weight", RANK, in, 0);
    const float *b = add(&ad, UP2 ".lora_B.weight", half, RANK, 0);
    write_to(&ad, PEFT);
    double *want = stored(&tiny, "layers.0.experts.gate_up_proj");
    struct model *model = merged(&tiny, &ad);

    add_product(want + (2 * 2 + 1) * half * in, b, a, half, in);
    expect_numbers(model, "blk.0.ffn_gate_up_exps.weight", want, n);
    model_close(model);
    free(want);
    end(&tiny, &ad);
}

Test(adapter, mlx_factors_of_all_experts_change_their_projection)
{
    struct tiny tiny;
    struct adapter_files ad;

    begin(&tiny, &ad, TINY_MOE);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.1.experts.gate_up_proj");
    const size_t n_experts = (size_t)t->dims[0], half = (size_t)t->dims[1] / 2,
                 in = (size_t)t->dims[2], n = (size_t)tiny_elements(t);
#define GATE1 "language_model.model.layers.1.experts.switch_glu.gate_proj"
    const float *a = add(&ad, GATE1 ".lora_a", n_experts, RANK, in);
    const float *b = add(&ad, GATE1 ".lora_b", n_experts, half, RANK);
    write_to(&ad, MLX);
    double *want = stored(&tiny, "layers.1.experts.gate_up_proj");
    struct model *model = merged(&tiny, &ad);

    for (size_t e = 0; e < n_experts; e++)
        add_product(want + 2 * e * half * in, b + e * half * RANK, a + e * RANK * in,
                    half, in);
    expect_numbers(model, "blk.1.ffn_gate_up_exps.weight", want, n);
    model_close(model);
    free(want);
    end(&tiny, &ad);
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

    begin(&tiny, &ad, TINY_MOE);
    const struct tiny_tensor *t = tiny_tensor(&tiny, "layers.0.experts.gate_up_proj");
    const size_t n_experts = (size_t)t->dims[0], out = (size_t)t->dims[1],
                 in = (size_t)t->dims[2], n = (size_t)tiny_elements(t);
#define EXPERTS0 "base_model.model.model.layers.0.experts"
    const float *a = add(&ad, EXPERTS0 ".lora_A.weight", n_experts * RANK, in, 0);
    const float *b = add(&ad, EXPERTS0 ".lora_B.weight", out, RANK * n_experts, 0);
    write_to(&ad, "{\"peft_type\": \"LORA\", \"r\": 16, \"lora_alpha\": 1, "
                  "\"target_parameters\": [\"experts.gate_up_proj\"], "
                  "\"rank_pattern\": {\"experts.gate_up_proj\": 3}, "
                  "\"alpha_pattern\": {\"experts.gate_up_proj\": 6}}");
    double *want = stored(&tiny, "layers.0.experts.gate_up_proj");
    struct model *model = merged(&tiny, &ad);

    add_experts(want, b, a, n_experts, out, in);
    expect_numbers(model, "blk.0.ffn_gate_up_exps.weight", want, n);
    model_close(model);
    free(want);
    end(&tiny, &ad);
}

/* ---- files and names ---- */

#define Q0 "base_model.model.model.language_model.layers.0.self_attn.q_proj"

static size_t q_elements(struct tiny *tiny, size_t *out, size_t *in)
{
    const struct tiny_tensor *t = tiny_tensor(tiny, "layers.0.self_attn.q_proj.weight");

    *out = (size_t)t->dims[0];
    *in = (size_t)t->dims[1];
    return *out * *in;
}

Test(adapter, its_own_name_in_a_path_and_modules_of_the_towers_change_nothing)
{
    struct tiny tiny;
    struct adapter_files ad;
    size_t out, in;

    begin(&tiny, &ad, TINY_E2B);
    const size_t n = q_elements(&tiny, &out, &in);
#define TOWER "base_model.model.model.vision_tower.encoder.layers.0.self_attn.q_proj"
    add(&ad, TOWER ".linear.lora_A.weight", RANK, 7, 0);
    add(&ad, TOWER ".linear.lora_B.weight", 9, RANK, 0);
    const float *a = add(&ad, Q0 ".lora_A.french.weight", RANK, in, 0);
    const float *b = add(&ad, Q0 ".lora_B.french.weight", out, RANK, 0);
    write_to(&ad, PEFT);
    double *want = stored(&tiny, "layers.0.self_attn.q_proj.weight");
    struct model *model = merged(&tiny, &ad);

    add_product(want, b, a, out, in);
    expect_numbers(model, "blk.0.attn_q.weight", want, n);
    model_close(model);
    free(want);
    end(&tiny, &ad);
}

Test(adapter, the_file_of_its_weights_names_it_too)
{
    struct tiny tiny;
    struct adapter_files ad;
    struct model *model = NULL;
    struct error err = {0};
    char path[FIXTURE_PATH];
    size_t out, in;

    begin(&tiny, &ad, TINY_E2B);
    q_elements(&tiny, &out, &in);
    add(&ad, Q0 ".lora_A.weight", RANK, in, 0);
    add(&ad, Q0 ".lora_B.weight", out, RANK, 0);
    write_to(&ad, PEFT);
    fixture_join(path, ad.folder, "adapter_model.safetensors");
    cr_expect_eq(open_with(&tiny, path, &model, &err), OK, "%s", err.text);
    model_close(model);
    fixture_join(path, ad.folder, "adapter.gguf");
    fixture_write(path, "GGUF", 4);
    expect_refused(&tiny, path, "a GGUF adapter is for llama.cpp to apply");
    end(&tiny, &ad);
}

Test(adapter, a_gguf_takes_none)
{
    const struct convert_lora lora = {.path = "folder", .scale = 1};
    const struct source_options options = {.loras = &lora, .n_loras = 1};
    struct model *model = NULL;
    struct error err = {0};

    cr_expect_eq(convert_open_model("base.gguf", &options, &model, &err),
                 ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.text, "not into a GGUF (--lora folder)"), "%s",
                       err.text);
}

Test(adapter, numbers_that_are_text_and_weights_in_two_forms_are_refused)
{
    struct tiny tiny;
    struct adapter_files ad;
    size_t out, in;

    begin(&tiny, &ad, TINY_E2B);
    q_elements(&tiny, &out, &in);
    add(&ad, Q0 ".lora_A.weight", RANK, in, 0);
    add(&ad, Q0 ".lora_B.weight", out, RANK, 0);
    write_to(&ad, "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": \"6\"}");
    expect_refused(&tiny, ad.folder, "lora_alpha: a number expected");
    write_to(&ad, "{\"peft_type\": \"LORA\", \"r\": true, \"lora_alpha\": 6}");
    expect_refused(&tiny, ad.folder, "r: a number expected");
    add(&ad, Q0 ".weight", out, in, 0);
    write_to(&ad, PEFT);
    expect_refused(&tiny, ad.folder, "a whole weight beside factors");
    end(&tiny, &ad);
}

/* Whether the expression gives layer 0's q_proj the alpha it needs. */
static void expect_pattern(struct tiny *tiny, struct adapter_files *ad,
                           const double *want, size_t n, const char *expression)
{
    char config[512];

    snprintf(config, sizeof(config),
             "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 1, "
             "\"alpha_pattern\": {\"%s\": 6}}",
             expression);
    write_to(ad, config);
    struct model *model = merged(tiny, ad);

    expect_numbers(model, "blk.0.attn_q.weight", want, n);
    model_close(model);
}

Test(adapter, patterns_mean_what_they_mean_in_python)
{
    static const char *const expressions[] = {
        "layers\\\\.[\\\\d]+\\\\.self_attn\\\\.q_proj", "[\\\\w.]+\\\\.q_proj",
        "layers\\\\.[^\\\\D1-9]\\\\.[\\\\w\\\\-]+[.]q\\\\_proj",
        "layers\\\\.(?:0|1)\\\\.self_attn\\\\.[qk]\\\\wproj",
        "layers.\\\\d.[]^\\\\[a-z_]*.q[\\\\]_-]proj"};
    struct tiny tiny;
    struct adapter_files ad;
    size_t out, in;

    begin(&tiny, &ad, TINY_E2B);
    const size_t n = q_elements(&tiny, &out, &in);
    const float *a = add(&ad, Q0 ".lora_A.weight", RANK, in, 0);
    const float *b = add(&ad, Q0 ".lora_B.weight", out, RANK, 0);
    double *want = stored(&tiny, "layers.0.self_attn.q_proj.weight");

    add_product(want, b, a, out, in);
    for (size_t i = 0; i < sizeof(expressions) / sizeof(expressions[0]); i++)
        expect_pattern(&tiny, &ad, want, n, expressions[i]);
    free(want);
    end(&tiny, &ad);
}

Test(adapter, patterns_that_posix_cannot_say_are_refused)
{
    static const char *const expressions[] = {
        "(?!vision).*q_proj", "q_proj\\\\Z",  "[\\\\n]q_proj", "[q_proj",
        "[z-a]_proj",         "(q)\\\\1proj", "q_?+proj"};
    struct tiny tiny;
    struct adapter_files ad;
    char config[256];
    size_t out, in;

    begin(&tiny, &ad, TINY_E2B);
    q_elements(&tiny, &out, &in);
    add(&ad, Q0 ".lora_A.weight", RANK, in, 0);
    add(&ad, Q0 ".lora_B.weight", out, RANK, 0);
    for (size_t i = 0; i < sizeof(expressions) / sizeof(expressions[0]); i++) {
        snprintf(config, sizeof(config),
                 "{\"peft_type\": \"LORA\", \"r\": 3, \"alpha_pattern\": {\"%s\": 6}}",
                 expressions[i]);
        write_to(&ad, config);
        expect_refused(&tiny, ad.folder, "is not an expression known here");
    }
    end(&tiny, &ad);
}

/* The sentences that were said, one after another. */
static char said[4096];

static void keep(void *arg, const char *sentence)
{
    (void)arg;
    strncat(said, sentence, sizeof(said) - strlen(said) - 1);
}

static void said_of(const struct tiny *tiny, const struct adapter_files *ad)
{
    said[0] = '\0';
    log_set_sink(keep, NULL);
    model_close(merged(tiny, ad));
    log_set_sink(NULL, NULL);
}

/* The base's tokenizer.json with one word everywhere in the place of another of its length. */
static void write_tokenizer(const struct adapter_files *ad, const char *from,
                            const char *to)
{
    char path[FIXTURE_PATH], *text, *at;
    struct error err = {0};
    size_t n;

    cr_assert_eq(
        file_read_all(CARAT_DATA "/golden/e2b/tokenizer.json", 1 << 24, &text, &n, &err),
        OK, "%s", err.text);
    cr_assert(strstr(text, from) && strlen(from) == strlen(to));
    while ((at = strstr(text, from)) != NULL)
        memcpy(at, to, strlen(to));
    fixture_join(path, ad->folder, "tokenizer.json");
    fixture_write(path, text, n);
    free(text);
}

static void write_template(const char *folder, const char *text)
{
    char path[FIXTURE_PATH];

    fixture_join(path, folder, "chat_template.jinja");
    fixture_write(path, text, strlen(text));
}

Test(adapter, another_template_or_tokenizer_beside_it_is_said)
{
    struct tiny tiny;
    struct adapter_files ad;
    size_t out, in;

    begin(&tiny, &ad, TINY_E2B);
    q_elements(&tiny, &out, &in);
    add(&ad, Q0 ".lora_A.weight", RANK, in, 0);
    add(&ad, Q0 ".lora_B.weight", out, RANK, 0);
    write_to(&ad, PEFT);
    write_template(tiny.folder, "{{ bos_token }}");
    write_template(ad.folder, "{{ bos_token }}");
    write_tokenizer(&ad, "\"version\":\"1.0\"", "\"version\":\"1.1\"");
    said_of(&tiny, &ad);
    cr_expect_null(strstr(said, "chat_template.jinja"), "%s", said);
    cr_expect_null(strstr(said, "tokenizer.json"), "%s", said);

    write_template(ad.folder, "{{ eos_token }}");
    write_tokenizer(&ad, "<|think|>", "<|thunk|>");
    said_of(&tiny, &ad);
    cr_expect_not_null(strstr(said, "chat_template.jinja differs from the base's"), "%s",
                       said);
    cr_expect_not_null(strstr(said, "tokenizer.json has other tokens than"), "%s", said);
    end(&tiny, &ad);
}

Test(adapter, two_whole_kronecker_factors_take_the_rank_of_the_configuration)
{
    struct tiny tiny;
    struct adapter_files ad;
    size_t out, in;

    begin(&tiny, &ad, TINY_E2B);
    const size_t n = q_elements(&tiny, &out, &in);
    const float *w1 = add(&ad, Q0 ".lokr_w1", 2, 4, 0);
    const float *w2 = add(&ad, Q0 ".lokr_w2", out / 2, in / 4, 0);
    write_to(&ad, "{\"peft_type\": \"LOKR\", \"r\": 8, \"alpha\": 8, "
                  "\"rank_pattern\": {\"q_proj\": 4}}"); /* alpha / r is 2 */
    double *want = stored(&tiny, "layers.0.self_attn.q_proj.weight");
    struct model *model = merged(&tiny, &ad);

    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            want[o * in + i] += SCALE * (double)w1[o / (out / 2) * 4 + i / (in / 4)] *
                                (double)w2[o % (out / 2) * (in / 4) + i % (in / 4)];
    expect_numbers(model, "blk.0.attn_q.weight", want, n);
    model_close(model);
    free(want);
    end(&tiny, &ad);
}
