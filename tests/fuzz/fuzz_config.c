/*
 * fuzz_config.c - a config.json that is accepted makes metadata and sizes; another is refused with a
 * reason
 *
 * Its "generation" member stands for generation_config.json, which makes general.sampling.*.
 */
#include "convert/gemma/gemma.h"
#include "tests/fuzz/fuzz_folder.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* Every tensor of the family in the first and the last layer has a size. */
static void check_sizes(const struct gemma_config *config)
{
    const int layers[] = {0, (int)config->n_layers - 1};

    expect(config->n_layers > 0);
    for (size_t i = 0; i < config->family->n_tensors; i++) {
        const struct gemma_tensor *rule = &config->family->tensors[i];
        const bool is_layer = strchr(rule->source, '*') != NULL;

        for (int k = 0; k < 2; k++) {
            const int layer = is_layer ? layers[k] : -1;

            (void)gemma_has_tensor(config, rule, layer);
            for (int d = 0; d < GEMMA_MAX_DIMS; d++)
                (void)gemma_size(config, rule->dims[d], layer);
        }
    }
}

static void describe(const json_t *tree, const struct gemma_config *config)
{
    const struct gemma_identity identity = {
        .folder = "some/google_gemma-4-E2B-it",
        .name_or_path = json_string_value(json_object_get(tree, "_name_or_path")),
        .generation = json_object_get(tree, "generation"),
        .n_params = 5123456789,
        .n_shared = 1000,
        .n_expert = 10,
        .n_experts = config->n_experts,
    };
    struct gguf_meta *meta = gguf_meta_new();
    struct error err = {.text = ""};

    expect(meta != NULL);
    if (config->family->describe(config, 1, meta, &err) != OK ||
        gemma_describe_general(config->family->architecture, &identity, meta, &err) != OK)
        expect(err.text[0] != '\0');
    gguf_meta_free(meta);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct gemma_config config = {0};
    struct arena arena = {0};
    struct error err = {.text = ""};
    json_t *tree = NULL;

    if (json_read_file(scratch_file(bytes, n_bytes), &tree, &err) == OK &&
        gemma_read_config(tree, &arena, &config, &err) == OK) {
        check_sizes(&config);
        describe(tree, &config);
    } else {
        expect(err.code != OK && err.text[0] != '\0');
    }
    arena_free(&arena);
    json_decref(tree);
    return 0;
}
