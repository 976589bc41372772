/*
 * test_source_refused.c - checkpoints that contradict their configuration or lack a file
 */
#include "convert/convert.h"
#include "tests/convert/refused.h"

#include <criterion/criterion.h>

static void no_norm(struct tiny *tiny)
{
    tiny_drop(tiny, "layers.1.self_attn.q_norm.weight");
}

static void no_scalar(struct tiny *tiny)
{
    tiny_drop(tiny, "layers.0.layer_scalar");
}

static void no_live_keys(struct tiny *tiny)
{
    tiny_drop(tiny, "layers.0.self_attn.k_proj.weight");
}

static void unknown_tensor(struct tiny *tiny)
{
    tiny_add(tiny, "layers.0.self_attn.gate_proj.weight", 2, 32, 32, 0);
}

static void layer_too_many(struct tiny *tiny)
{
    tiny_copy(tiny, "layers.4.input_layernorm.weight", "layers.0.input_layernorm.weight");
}

static void wrong_shape(struct tiny *tiny)
{
    tiny_drop(tiny, "layers.0.mlp.up_proj.weight");
    tiny_add(tiny, "layers.0.mlp.up_proj.weight", 2, 32, 16, 0);
}

static void double_wide_denied(struct tiny *tiny)
{
    json_object_set_new(tiny->text, "use_double_wide_mlp", json_false());
}

static void unmerged_adapter(struct tiny *tiny)
{
    tiny_add(tiny, "layers.0.self_attn.q_proj.lora_A.default.weight", 2, 4, 32, 0);
}

static void another_family(struct tiny *tiny)
{
    json_object_set_new(tiny->config, "model_type", json_string("llama"));
}

static void encoder(struct tiny *tiny)
{
    json_object_set_new(tiny->text, "use_bidirectional_attention", json_string("all"));
}

static void shared_all(struct tiny *tiny)
{
    json_object_set_new(tiny->text, "num_kv_shared_layers", json_integer(3));
}

static void table_too_short(struct tiny *tiny)
{
    json_object_set_new(tiny->text, "vocab_size_per_layer_input", json_integer(4090));
}

static void number_as_text(struct tiny *tiny)
{
    json_object_set_new(tiny->text, "hidden_size", json_string("32"));
}

static void last_layer_sliding(struct tiny *tiny)
{
    json_array_set_new(json_object_get(tiny->text, "layer_types"), 3,
                       json_string("sliding_attention"));
}

static void table_denied(struct tiny *tiny)
{
    json_object_set_new(tiny->text, "hidden_size_per_layer_input", json_integer(0));
}

static void layer_too_few(struct tiny *tiny)
{
    json_object_set_new(tiny->text, "num_hidden_layers", json_integer(3));
    json_object_set_new(tiny->text, "num_kv_shared_layers", json_integer(1));
    json_array_remove(json_object_get(tiny->text, "layer_types"), 2);
}

static void no_softcap(struct tiny *tiny)
{
    json_object_set_new(tiny->text, "final_logit_softcapping", json_integer(0));
}

static void odd_heads(struct tiny *tiny)
{
    json_object_set_new(tiny->text, "num_key_value_heads", json_integer(3));
}

static void rope_for_all(struct tiny *tiny)
{
    json_object_set_new(
        tiny->text, "rope_parameters",
        json_pack("{s:s,s:f}", "rope_type", "default", "rope_theta", 1e6));
}

static void unknown_quantization(struct tiny *tiny)
{
    json_object_set_new(tiny->config, "quantization_config",
                        json_pack("{s:s}", "quant_method", "superquant"));
}

Test(source_refused, refuses_what_contradicts_the_config)
{
    static const struct {
        void (*change)(struct tiny *tiny);
        enum status want;
        const char *says, *says_too;
    } cases[] = {
        {no_norm, ERR_SHAPE, "layers.1.self_attn.q_norm.weight", "missing"},
        {no_scalar, ERR_SHAPE, "layers.0.layer_scalar", "missing"},
        {no_live_keys, ERR_SHAPE, "layers.0.self_attn.k_proj.weight", "missing"},
        {unknown_tensor, ERR_UNSUPPORTED, "layers.0.self_attn.gate_proj.weight",
         "unknown"},
        {layer_too_many, ERR_SHAPE, "layers.4.", "num_hidden_layers is 4"},
        {wrong_shape, ERR_SHAPE, "layers.0.mlp.up_proj.weight",
         "{32, 16} ({32, 32} expected"},
        {double_wide_denied, ERR_SHAPE, "layers.2.mlp.", "{32, 32}"},
        {unmerged_adapter, ERR_UNSUPPORTED, "q_proj.lora_A", "adapter_config.json"},
        {another_family, ERR_UNSUPPORTED, "\"llama\"", "supported: gemma4"},
        {encoder, ERR_UNSUPPORTED, "config.json", "use_bidirectional_attention"},
        {shared_all, ERR_CORRUPT, "config.json", "num_kv_shared_layers is 3"},
        {table_too_short, ERR_SHAPE, "embed_tokens_per_layer.weight", "4090"},
        {last_layer_sliding, ERR_CORRUPT, "config.json", "layer_types: the last layer"},
        {table_denied, ERR_SHAPE, "embed_tokens_per_layer.weight",
         "hidden_size_per_layer_input"},
        {layer_too_few, ERR_SHAPE, "layers.3.", "num_hidden_layers is 3"},
        {no_softcap, ERR_CORRUPT, "config.json", "final_logit_softcapping is 0"},
        {odd_heads, ERR_CORRUPT, "num_attention_heads 2", "num_key_value_heads 3"},
        {rope_for_all, ERR_UNSUPPORTED, "config.json", "rope_parameters"},
        {number_as_text, ERR_CORRUPT, "config.json", "hidden_size"},
        {unknown_quantization, ERR_UNSUPPORTED, "config.json", "superquant"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tiny tiny;

        tiny_begin(&tiny, TINY_E2B);
        cases[i].change(&tiny);
        expect_refused(&tiny, cases[i].want, cases[i].says, cases[i].says_too);
        tiny_end(&tiny);
    }
}

/* People hand over the first shard, as they do with a GGUF. The only file of one is whole. */
Test(source_refused, one_shard_of_several)
{
    static const struct {
        const char *name;
        enum status want;
        const char *says;
    } cases[] = {
        {"model-00001-of-00003.safetensors", ERR_USAGE, "one of 3 files"},
        {"model-00001-of-00001.safetensors", OK, ""},
        {"my-model-2-00002-of-00002.safetensors", ERR_USAGE, "one of 2 files"},
        {"model-of-2.safetensors", OK, ""},
        {"all-of-it-of-2x.safetensors", OK, ""},
    };
    struct tiny tiny;
    char whole[FIXTURE_PATH], path[FIXTURE_PATH];

    tiny_begin(&tiny, TINY_E2B);
    tiny_write(&tiny);
    fixture_join(whole, tiny.folder, "model.safetensors");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model *model = NULL;
        struct error err = {0};

        fixture_join(path, tiny.folder, cases[i].name);
        cr_assert_eq(rename(whole, path), 0);
        cr_expect_eq(convert_open_source(path, NULL, &model, &err), cases[i].want,
                     "%s: %s", cases[i].name, err.text);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s", err.text);
        if (model)
            model_close(model);
        cr_assert_eq(rename(path, whole), 0);
    }
    tiny_end(&tiny);
}

Test(source_refused, says_what_is_missing_from_a_folder)
{
    struct tiny tiny;
    struct model *model = NULL;
    struct error err = {0};
    char path[FIXTURE_PATH];

    tiny_begin(&tiny, TINY_E2B);
    cr_expect_eq(convert_open_source(tiny.folder, NULL, &model, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "config.json"), "%s", err.text);
    tiny_write(&tiny);
    fixture_join(path, tiny.folder, "model.safetensors");
    remove(path);
    cr_expect_eq(convert_open_source(tiny.folder, NULL, &model, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "safetensors"), "%s", err.text);
    tiny_write(&tiny);
    fixture_join(path, tiny.folder, "tokenizer.json");
    remove(path);
    cr_expect_eq(convert_open_source(tiny.folder, NULL, &model, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "tokenizer"), "%s", err.text);
    cr_expect_eq(convert_open_source("/nowhere/at/all", NULL, &model, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "/nowhere/at/all"), "%s", err.text);
    tiny_end(&tiny);
}
