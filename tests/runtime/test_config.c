/*
 * test_config.c - metadata that makes no sense is refused by the name of its key
 */
#include "runtime/config.h"

#include <criterion/criterion.h>

enum { N_LAYERS = 6 };

/* A model in the shape of E2B: three layers share, a global one every third. */
static struct gguf_meta *sound(void)
{
    static const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"gemma4.block_count", N_LAYERS},
        {"gemma4.context_length", 8192},
        {"gemma4.embedding_length", 96},
        {"gemma4.attention.head_count", 4},
        {"gemma4.attention.head_count_kv", 2},
        {"gemma4.attention.key_length", 64},
        {"gemma4.attention.value_length", 64},
        {"gemma4.attention.key_length_swa", 32},
        {"gemma4.attention.value_length_swa", 32},
        {"gemma4.attention.sliding_window", 8},
        {"gemma4.attention.shared_kv_layers", 3},
        {"gemma4.embedding_length_per_layer_input", 32},
    };
    struct gguf_meta *meta = gguf_meta_new();
    struct error err = {0};
    enum status st = gguf_set_str(meta, "general.architecture", "gemma4", 6, &err);

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && st == OK; i++)
        st = gguf_set_u32(meta, numbers[i].key, numbers[i].value, &err);
    if (st == OK)
        st = gguf_set_array(meta, "gemma4.feed_forward_length", GGUF_I32,
                            (int32_t[N_LAYERS]){64, 64, 64, 128, 128, 128}, N_LAYERS,
                            &err);
    if (st == OK)
        st = gguf_set_array(meta, "gemma4.attention.sliding_window_pattern", GGUF_BOOL,
                            (uint8_t[N_LAYERS]){1, 1, 0, 1, 1, 0}, N_LAYERS, &err);
    if (st == OK)
        st = gguf_set_f32(meta, "gemma4.rope.freq_base", 1e6f, &err);
    cr_assert_eq(st, OK, "%s", err.text);
    return meta;
}

Test(config, layers_get_their_facts)
{
    struct gguf_meta *meta = sound();
    struct error err = {0};
    struct config c;

    cr_assert_eq(config_read(&c, meta, &err), OK, "%s", err.text);
    cr_expect_eq(c.n_own_kv, 3);
    cr_expect_eq(c.layers[1].head_dim, 32);
    cr_expect_eq(c.layers[2].head_dim, 64);
    cr_expect_eq(c.layers[2].n_ff, 64);
    cr_expect_eq(c.layers[3].n_ff, 128);
    cr_expect_eq(c.layers[3].kv_layer, 1);
    cr_expect_eq(c.layers[5].kv_layer, 2);
    cr_expect_eq(c.layers[0].back, 7); /* eight keys, the query's own among them */
    cr_expect_eq(c.layers[0].ahead, 0);
    cr_expect_eq(c.layers[2].back, NO_LIMIT);
    cr_expect_float_eq(c.rope[ROPE_GLOBAL].base, 1e6f, 0.0f);
    cr_expect_float_eq(c.rope[ROPE_LOCAL].base, 1e4f, 0.0f);
    cr_expect_float_eq(c.score_scale, 1.0f, 0.0f);
    config_free(&c);
    gguf_meta_free(meta);
}

/* Each way one number can be wrong, the status it earns, a word the user must see. */
Test(config, refuses_numbers_that_make_no_sense)
{
    static const struct {
        const char *key;
        uint32_t value;
        enum status want;
        const char *says;
    } cases[] = {
        {"gemma4.block_count", 0, ERR_CORRUPT, "block_count: 0 is not in 1"},
        {"gemma4.block_count", 5, ERR_CORRUPT, "one a layer"},
        {"gemma4.block_count", UINT32_MAX, ERR_CORRUPT, "block_count"},
        {"gemma4.attention.head_count", 0, ERR_CORRUPT, "head_count"},
        {"gemma4.attention.head_count_kv", 3, ERR_CORRUPT, "cannot share 3"},
        {"gemma4.attention.key_length", 60, ERR_UNSUPPORTED, "heads 60"},
        {"gemma4.attention.key_length", 1024, ERR_UNSUPPORTED, "at most 512"},
        {"gemma4.attention.value_length_swa", 64, ERR_UNSUPPORTED,
         "value_length_swa: 64"},
        {"gemma4.attention.shared_kv_layers", 7, ERR_CORRUPT, "shared_kv_layers: 7"},
        {"gemma4.attention.shared_kv_layers", 4, ERR_CORRUPT,
         "no earlier layer of its kind"},
        {"gemma4.attention.sliding_window", UINT32_MAX, ERR_CORRUPT, "sliding_window"},
        {"gemma4.embedding_length", 1u << 31, ERR_CORRUPT, "embedding_length"},
        {"gemma4.expert_count", 8, ERR_CORRUPT, "expert_used_count: the key is missing"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gguf_meta *meta = sound();
        struct error err = {0};
        struct config c;

        cr_assert_eq(gguf_set_u32(meta, cases[i].key, cases[i].value, &err), OK);
        cr_expect_eq(config_read(&c, meta, &err), cases[i].want, "%s: %s", cases[i].key,
                     err.text);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s: %s", cases[i].key,
                           err.text);
        config_free(&c);
        gguf_meta_free(meta);
    }
}

Test(config, refuses_missing_and_mistyped_keys)
{
    static const char *const needed[] = {
        "general.architecture",        "gemma4.block_count",
        "gemma4.attention.head_count", "gemma4.feed_forward_length",
        "gemma4.attention.key_length", "gemma4.attention.sliding_window_pattern",
    };

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        struct gguf_meta *meta = sound();
        struct error err = {0};
        struct config c;

        gguf_unset(meta, needed[i]);
        cr_expect_eq(config_read(&c, meta, &err), ERR_CORRUPT, "%s", needed[i]);
        cr_expect_not_null(strstr(err.text, needed[i]), "%s", err.text);
        cr_assert_eq(gguf_set_f32(meta, needed[i], 1.5f, &err), OK);
        cr_expect_eq(config_read(&c, meta, &err), ERR_CORRUPT, "%s as a real", needed[i]);
        gguf_meta_free(meta);
    }
}

Test(config, names_what_it_runs_when_it_meets_another)
{
    struct gguf_meta *meta = sound();
    struct error err = {0};
    struct config c;

    cr_assert_eq(gguf_set_str(meta, "general.architecture", "gemma3n", 7, &err), OK);
    cr_expect_eq(config_read(&c, meta, &err), ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.text, "'gemma3n'"), "%s", err.text);
    cr_expect_not_null(strstr(err.text, "gemma4, gemma4-assistant"), "%s", err.text);
    gguf_meta_free(meta);
}
