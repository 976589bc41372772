/*
 * test_source.c - what a checkpoint may look like, and what is refused, through the door that every
 * verb uses: a source folder opened as a model
 */
#include "convert/convert.h"
#include "tests/convert/refused.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A model's tensors, in order: names, types, shapes, numbers. Not its metadata. */
static uint64_t model_hash(const struct model *model)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < model->n_tensors; i++) {
        const struct gguf_tensor *t = &model->tensors[i];
        uint8_t *bytes = malloc((size_t)t->n_bytes + 1);
        struct error err = {0};

        cr_assert_eq(model_read_rows(model, i, 0, gguf_tensor_rows(t), bytes, &err), OK,
                     "%s", err.text);
        const uint64_t parts[] = {hash,
                                  hash_bytes(t->name, strlen(t->name)),
                                  (uint64_t)t->type,
                                  t->ne[0],
                                  t->ne[1],
                                  t->ne[2],
                                  hash_bytes(bytes, (size_t)t->n_bytes)};
        hash = hash_bytes(parts, sizeof(parts));
        free(bytes);
    }
    return hash;
}

/* Write the checkpoint, open it, and hash what comes out. */
static uint64_t opened_with(const struct tiny *tiny, const struct source_options *options)
{
    struct model *model = NULL;
    struct error err = {0};

    tiny_write(tiny);
    cr_assert_eq(convert_open_source(tiny->folder, options, &model, &err), OK, "%s",
                 err.text);
    const uint64_t hash = model_hash(model);
    model_close(model);
    return hash;
}

static uint64_t opened(const struct tiny *tiny)
{
    return opened_with(tiny, NULL);
}

/* ---- the configuration ---- */

/* Scaling of Gemma 3's full layers, by itself, by kind of layer, and in one object for all. */
Test(source, rope_is_scaled_wherever_the_configuration_says_so)
{
    static const struct {
        const char *key, *rope;
    } cases[] = {
        {"rope_scaling", "{\"rope_type\":\"linear\",\"factor\":8.0}"},
        {"rope_parameters", "{\"rope_type\":\"linear\",\"factor\":8.0}"},
        {"rope_parameters",
         "{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8.0},"
         "\"sliding_attention\":{\"rope_type\":\"default\"}}"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model *model = NULL;
        struct error err = {0};
        struct tiny tiny;

        tiny_begin(&tiny, TINY_GEMMA3);
        json_object_del(tiny.text, "rope_scaling");
        json_object_del(tiny.text, "rope_parameters");
        json_object_set_new(tiny.text, cases[i].key, json_loads(cases[i].rope, 0, NULL));
        tiny_write(&tiny);
        cr_assert_eq(convert_open_source(tiny.folder, NULL, &model, &err), OK, "%s",
                     err.text);
        const struct gguf_value *factor =
            gguf_meta_find(model->meta, "gemma3.rope.scaling.factor");
        cr_assert_not_null(factor, "%s", cases[i].rope);
        cr_expect_float_eq(gguf_value_real(factor, 0), 8.0, 0);
        model_close(model);
        tiny_end(&tiny);
    }
}

/* ---- names ---- */

Test(source, any_wrapper_s_prefix_gives_the_same_model)
{
    static const char *const prefixes[] = {"model.language_model.",
                                           "model.",
                                           "language_model.model.",
                                           "language_model.",
                                           "model.language_model.model.",
                                           "model.model.language_model.model.",
                                           "base_model.model.model.language_model.",
                                           "_orig_mod.model.",
                                           "module.model.",
                                           "module._orig_mod.model.language_model."};
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    const uint64_t bare = opened(&tiny);
    tiny_end(&tiny);
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        tiny_begin(&tiny, TINY_E2B);
        tiny_prefix(&tiny, prefixes[i]);
        cr_expect_eq(opened(&tiny), bare, "%s", prefixes[i]);
        tiny_end(&tiny);
    }
}

Test(source, two_spellings_of_one_tensor_are_refused)
{
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    tiny_copy(&tiny, "model.norm.weight", "norm.weight");
    expect_refused(&tiny, ERR_CORRUPT, "model.norm.weight", "the same tensor");
    tiny_end(&tiny);
}

/* ---- codes and scales ---- */

enum { WIDE_FF = 16400, BLOCK_ROWS = 100, N_BLOCKS = WIDE_FF / BLOCK_ROWS };

/* A Gemma 3 whose MLP is WIDE_FF wide, and whose first up_proj is FP8 codes under a scale for every
 * BLOCK_ROWS rows. */
static void make_wide_fp8(struct tiny *tiny)
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    char name[TINY_NAME];

    tiny_begin(tiny, TINY_GEMMA3);
    json_object_set_new(tiny->text, "intermediate_size", json_integer(WIDE_FF));
    json_object_set_new(tiny->config, "quantization_config",
                        json_pack("{s:s,s:[i,i]}", "quant_method", "fp8",
                                  "weight_block_size", BLOCK_ROWS, 32));
    for (int i = 0; i < 6; i++) {
        const bool is_down = i / 2 == 2;

        snprintf(name, sizeof(name), "layers.%d.mlp.%s.weight", i % 2, names[i / 2]);
        tiny_drop(tiny, name);
        tiny_add(tiny, name, 2, is_down ? 32 : WIDE_FF, is_down ? WIDE_FF : 32, 0);
    }
    struct tiny_tensor *codes = tiny_tensor(tiny, "layers.0.mlp.up_proj.weight");
    struct tiny_tensor *scales =
        tiny_add(tiny, "layers.0.mlp.up_proj.weight_scale_inv", 2, N_BLOCKS, 1, 0);
    float *x = malloc(N_BLOCKS * sizeof(*x));

    codes->dtype = DTYPE_F8_E4M3; /* its numbers are as good codes as any, but for NaN */
    for (size_t i = 0; i < WIDE_FF * 32 / 2; i++)
        codes->bf16[i] &= 0x7777;
    cr_assert_not_null(x);
    for (size_t i = 0; i < N_BLOCKS; i++)
        x[i] = 1.0f + (float)i;
    free(scales->bf16);
    scales->bf16 = (uint16_t *)(void *)x;
    scales->dtype = DTYPE_F32;
}

/* Slabs of rows that begin within a block take one scale more than the first. */
Test(source, rows_that_share_scales_are_the_same_however_many_are_read)
{
    struct model *model = NULL;
    struct tiny tiny;
    struct error err = {0};

    make_wide_fp8(&tiny);
    tiny_write(&tiny);
    cr_assert_eq(convert_open_source(tiny.folder, NULL, &model, &err), OK, "%s",
                 err.text);
    const int64_t i = model_find(model, "blk.0.ffn_up.weight");
    float *all = malloc((size_t)WIDE_FF * 32 * sizeof(*all)), one[32];

    cr_assert(i >= 0 && all && model->tensors[i].type == TYPE_F32);
    cr_assert_eq(model_read_rows(model, (size_t)i, 0, WIDE_FF, all, &err), OK, "%s",
                 err.text);
    for (uint64_t row = 0; row < WIDE_FF; row += 41) {
        cr_assert_eq(model_read_rows(model, (size_t)i, row, 1, one, &err), OK);
        cr_assert_arr_eq(one, all + row * 32, sizeof(one), "row %d", (int)row);
    }
    free(all);
    model_close(model);
    tiny_end(&tiny);
}

/* ---- experts ---- */

/* Cut a fused tensor of the tiny model's layer into pieces of rows per expert. */
static void cut(struct tiny *tiny, const char *fused, const char *pattern, uint64_t first,
                uint64_t n_rows)
{
    const struct tiny_tensor from = *tiny_tensor(tiny, fused);

    for (unsigned e = 0; e < from.dims[0]; e++) {
        char name[TINY_NAME];

        snprintf(name, sizeof(name), pattern, e);
        struct tiny_tensor *t = tiny_add(tiny, name, 2, n_rows, from.dims[2], 0);
        memcpy(t->bf16, from.bf16 + (e * from.dims[1] + first) * from.dims[2],
               (size_t)(n_rows * from.dims[2]) * sizeof(*t->bf16));
    }
}

static void separate_layer(struct tiny *tiny, int layer)
{
    char fused[TINY_NAME], pattern[TINY_NAME];
    static const struct {
        const char *fused, *part;
        uint64_t first;
    } parts[] = {{"gate_up_proj", "gate_proj", 0},
                 {"gate_up_proj", "up_proj", 32},
                 {"down_proj", "down_proj", 0}};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        snprintf(fused, sizeof(fused), "layers.%d.experts.%s", layer, parts[i].fused);
        snprintf(pattern, sizeof(pattern), "layers.%d.experts.%%u.%s.weight", layer,
                 parts[i].part);
        cut(tiny, fused, pattern, parts[i].first, 32);
    }
    snprintf(fused, sizeof(fused), "layers.%d.experts.gate_up_proj", layer);
    tiny_drop(tiny, fused);
    snprintf(fused, sizeof(fused), "layers.%d.experts.down_proj", layer);
    tiny_drop(tiny, fused);
}

/* Experts of 24, so that no side equals another: the fused tensors anew, {E, out, in} or turned. */
static void narrow_experts(struct tiny *tiny, bool turned)
{
    static const struct {
        const char *name;
        uint64_t out, in;
    } parts[] = {{"gate_up_proj", 48, 32}, {"down_proj", 32, 24}};

    json_object_set_new(tiny->text, "moe_intermediate_size", json_integer(24));
    for (int layer = 0; layer < 2; layer++)
        for (size_t p = 0; p < 2; p++) {
            const uint64_t out = parts[p].out, in = parts[p].in;
            char name[TINY_NAME];

            snprintf(name, sizeof(name), "layers.%d.experts.%s", layer, parts[p].name);
            tiny_drop(tiny, name);
            struct tiny_tensor *t =
                tiny_add(tiny, name, 3, 4, turned ? in : out, turned ? out : in);
            for (uint64_t e = 0; e < 4; e++)
                for (uint64_t o = 0; o < out; o++)
                    for (uint64_t i = 0; i < in; i++)
                        t->bf16[e * out * in + (turned ? i * out + o : o * in + i)] =
                            (uint16_t)(0x3c00 + (e * 131 + o * 17 + i * 3) % 509);
        }
}

Test(source, experts_stored_the_other_way_round_are_turned)
{
    struct tiny tiny;
    uint64_t hashes[2];

    for (int turned = 0; turned < 2; turned++) {
        tiny_begin(&tiny, TINY_MOE);
        narrow_experts(&tiny, turned);
        hashes[turned] = opened(&tiny);
        tiny_end(&tiny);
    }
    cr_expect_eq(hashes[0], hashes[1]);
}

/* The order of tensors follows the source, so only numbers can be compared here. */
static void expect_same_numbers(struct tiny *tiny, const struct model *want)
{
    struct model *model = NULL;
    struct error err = {0};

    tiny_write(tiny);
    cr_assert_eq(convert_open_source(tiny->folder, NULL, &model, &err), OK, "%s",
                 err.text);
    cr_assert_eq(model->n_tensors, want->n_tensors);
    for (size_t i = 0; i < want->n_tensors; i++) {
        const int64_t at = model_find(model, want->tensors[i].name);
        const uint64_t n = want->tensors[i].ne[0] * gguf_tensor_rows(&want->tensors[i]);
        float *x = NULL, *y = NULL;

        cr_assert_geq(at, 0, "%s", want->tensors[i].name);
        cr_assert_eq(model_read_f32(want, i, &x, &err), OK, "%s", err.text);
        cr_assert_eq(model_read_f32(model, (size_t)at, &y, &err), OK, "%s", err.text);
        cr_expect_arr_eq(x, y, n * sizeof(float), "%s", want->tensors[i].name);
        free(x);
        free(y);
    }
    model_close(model);
}

static struct model *open_tiny(const struct tiny *tiny)
{
    struct model *model = NULL;
    struct error err = {0};

    tiny_write(tiny);
    cr_assert_eq(convert_open_source(tiny->folder, NULL, &model, &err), OK, "%s",
                 err.text);
    return model;
}

Test(source, separate_experts_are_stacked_gate_before_up)
{
    struct tiny fused, separate;

    tiny_begin(&fused, TINY_MOE);
    tiny_begin(&separate, TINY_MOE);
    separate_layer(&separate, 0);
    separate_layer(&separate, 1);
    struct model *want = open_tiny(&fused);
    expect_same_numbers(&separate, want);
    model_close(want);
    tiny_end(&fused);
    tiny_end(&separate);
}

Test(source, rows_of_a_stack_are_the_same_however_they_are_cut)
{
    struct tiny tiny;
    struct error err = {0};

    tiny_begin(&tiny, TINY_MOE);
    separate_layer(&tiny, 0);
    separate_layer(&tiny, 1);
    struct model *model = open_tiny(&tiny);
    const size_t i = (size_t)model_find(model, "blk.1.ffn_gate_up_exps.weight");
    const struct gguf_tensor *t = &model->tensors[i];
    const uint64_t rows = gguf_tensor_rows(t), row_bytes = t->n_bytes / rows;
    uint8_t *whole = malloc((size_t)t->n_bytes), *part = malloc((size_t)t->n_bytes);

    cr_assert_eq(model_read_rows(model, i, 0, rows, whole, &err), OK, "%s", err.text);
    for (uint64_t first = 0; first < rows; first += 7)
        for (uint64_t n = 1; first + n <= rows; n += 13) {
            cr_assert_eq(model_read_rows(model, i, first, n, part, &err), OK, "%s",
                         err.text);
            cr_expect_arr_eq(part, whole + first * row_bytes, n * row_bytes,
                             "rows %zu + %zu", (size_t)first, (size_t)n);
        }
    free(whole);
    free(part);
    model_close(model);
    tiny_end(&tiny);
}

Test(source, refuses_experts_that_do_not_add_up)
{
    struct tiny tiny;

    tiny_begin(&tiny, TINY_MOE);
    separate_layer(&tiny, 0);
    tiny_drop(&tiny, "layers.0.experts.2.up_proj.weight");
    expect_refused(&tiny, ERR_SHAPE, "layers.0.experts.2.up_proj.weight", "missing");
    tiny_add(&tiny, "layers.0.experts.2.up_proj.weight", 2, 16, 32, 0);
    expect_refused(&tiny, ERR_SHAPE, "layers.0.experts.2.up_proj.weight", "{16, 32}");
    tiny_drop(&tiny, "layers.0.experts.2.up_proj.weight");
    tiny_add(&tiny, "layers.0.experts.2.up_proj.weight", 2, 32, 32, 0);
    tiny_add(&tiny, "layers.0.experts.4.up_proj.weight", 2, 32, 32, 0);
    expect_refused(&tiny, ERR_SHAPE, "layers.0.experts.4", "num_experts is 4");
    tiny_end(&tiny);
}

Test(source, names_row_and_column_of_a_number_that_is_not_finite)
{
    struct tiny tiny;
    uint16_t row[32];
    struct error err = {0};

    tiny_begin(&tiny, TINY_E2B);
    tiny_tensor(&tiny, "layers.1.mlp.up_proj.weight")->bf16[3 * 32 + 5] = 0x7fc0;
    struct model *model = open_tiny(&tiny);
    const size_t i = (size_t)model_find(model, "blk.1.ffn_up.weight");
    cr_expect_eq(model_read_rows(model, i, 2, 1, row, &err), OK);
    cr_expect_eq(model_read_rows(model, i, 3, 1, row, &err), ERR_CORRUPT);
    cr_expect_not_null(
        strstr(err.text, "layers.1.mlp.up_proj.weight: row 3, column 5 is NaN"), "%s",
        err.text);
    model_close(model);
    tiny_end(&tiny);
}

/* ---- what is left out ---- */

Test(source, leavings_of_tools_and_towers_change_nothing)
{
    static const char *const leavings[] = {
        "rotary_emb.inv_freq",
        "layers.0.self_attn.rotary_emb.inv_freq",
        "layers.1.self_attn.v_norm.weight",
        "embed_tokens.embed_scale",
        "optimizer.state.0.exp",
        "model_ema.decay",
        "v_head.summary.weight",
        "layers.0.self_attn.q_proj.SCB",
        "model.vision_tower.encoder.layers.0.input_layernorm.weight",
        "model.embed_vision.embedding.weight",
        "audio_tower.conformer.0.norm.weight"};
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    const uint64_t clean = opened(&tiny);
    for (size_t i = 0; i < sizeof(leavings) / sizeof(leavings[0]); i++)
        tiny_add(&tiny, leavings[i], 1, 3, 0, 0);
    cr_expect_eq(opened(&tiny), clean);
    tiny_end(&tiny);
}

Test(source, dead_tensors_come_out_only_when_asked_for)
{
    struct tiny tiny;
    struct model *model = NULL;
    struct error err = {0};

    tiny_begin(&tiny, TINY_E2B);
    model = open_tiny(&tiny);
    cr_expect_lt(model_find(model, "blk.2.attn_k.weight"), 0);
    cr_expect_lt(model_find(model, "blk.3.attn_k_norm.weight"), 0);
    cr_expect_geq(model_find(model, "blk.1.attn_v.weight"), 0);
    model_close(model);
    cr_assert_eq(convert_open_source(tiny.folder,
                                     &(struct source_options){.keep_dead = true}, &model,
                                     &err),
                 OK, "%s", err.text);
    cr_expect_geq(model_find(model, "blk.2.attn_k.weight"), 0);
    model_close(model);
    tiny_end(&tiny);
}

Test(source, a_head_equal_to_the_embedding_is_dropped_and_another_is_kept)
{
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    struct tiny_tensor *head = tiny_copy(&tiny, "lm_head.weight", "embed_tokens.weight");
    struct model *model = open_tiny(&tiny);
    cr_expect_lt(model_find(model, "output.weight"), 0);
    model_close(model);

    head->bf16[tiny_elements(head) - 1] ^= 1; /* the last number of the last row */
    model = open_tiny(&tiny);
    cr_expect_geq(model_find(model, "output.weight"), 0);
    model_close(model);
    tiny_end(&tiny);
}

Test(source, values_on_a_layer_whose_values_are_its_keys_must_be_its_keys)
{
    struct tiny tiny;

    tiny_begin(&tiny, TINY_MOE);
    struct tiny_tensor *v = tiny_copy(&tiny, "layers.1.self_attn.v_proj.weight",
                                      "layers.1.self_attn.k_proj.weight");
    struct model *model = open_tiny(&tiny);
    cr_expect_lt(model_find(model, "blk.1.attn_v.weight"), 0);
    model_close(model);
    v->bf16[0] ^= 1;
    expect_refused(&tiny, ERR_SHAPE, "layers.1.self_attn.v_proj.weight",
                   "attention_k_eq_v");
    tiny_end(&tiny);
}

/* ---- config ---- */

Test(source, both_spellings_of_the_full_layers_sizes_are_read)
{
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    const uint64_t global = opened(&tiny);
    json_object_del(tiny.text, "global_head_dim");
    json_object_set_new(
        tiny.text, "per_layer_config",
        json_pack("{s:{s:i},s:{s:i}}", "1", "head_dim", 32, "3", "head_dim", 32));
    cr_expect_eq(opened(&tiny), global);
    tiny_end(&tiny);
}

Test(source, a_text_only_config_has_its_keys_at_the_top)
{
    struct tiny tiny;

    tiny_begin(&tiny, TINY_E2B);
    const uint64_t nested = opened(&tiny);
    json_t *flat = json_incref(tiny.text);
    json_decref(tiny.config);
    tiny.config = tiny.text = flat;
    cr_expect_eq(opened(&tiny), nested);
    tiny_end(&tiny);
}

Test(source, refuses_a_pooling_that_is_not_the_mean)
{
    static const struct {
        const char *config, *says;
    } cases[] = {
        {"{\"pooling_mode_cls_token\": true}", "pooling_mode_cls_token is true"},
        {"{\"pooling_mode_mean_tokens\": false}", "pooling_mode_mean_tokens is false"},
        {"{\"pooling_mode\": \"lasttoken\"}", "pooling_mode is \"lasttoken\""},
    };
    static const char modules[] =
        "[{\"type\": \"sentence_transformers.models.Pooling\", \"path\": \"1_Pooling\"}]";
    char path[FIXTURE_PATH], folder[FIXTURE_PATH];
    struct tiny tiny;

    tiny_begin(&tiny, TINY_GEMMA3);
    fixture_join(path, tiny.folder, "modules.json");
    fixture_write(path, modules, strlen(modules));
    fixture_join(folder, tiny.folder, "1_Pooling");
    cr_assert_eq(mkdir(folder, 0700), 0);
    fixture_join(path, folder, "config.json");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fixture_write(path, cases[i].config, strlen(cases[i].config));
        expect_refused(&tiny, ERR_UNSUPPORTED, "1_Pooling/config.json", cases[i].says);
    }
    fixture_write(path, "{\"pooling_mode\": \"mean\"}", 24);
    (void)opened(&tiny);
    tiny_end(&tiny);
}
