/*
 * fuzz_adapter.c - an adapter that opens upon a small base gives the base's rows, changed
 */
#include "convert/checkpoint/checkpoint.h"
#include "tests/fuzz/fuzz_folder.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static const char *const names[] = {"config.json",
                                    "model.safetensors",
                                    "adapter/adapter_config.json",
                                    "adapter/adapter_model.safetensors",
                                    "adapter/adapters.safetensors",
                                    "adapter/adapter_model.bin",
                                    NULL};

/* In front of every input: what adapters are merged into, and a folder for them. */
static const char base[] = ">>> config.json\n{\"model_type\": \"gemma4_text\"}\n"
                           ">>> model.safetensors\n"
                           "model.embed_tokens.weight BF16 64 64\n"
                           "model.norm.weight BF16 64\n"
                           "model.layers.0.self_attn.q_proj.weight BF16 64 64\n"
                           "model.layers.0.self_attn.k_proj.weight F32 32 64\n"
                           "model.layers.0.self_attn.v_proj.weight F32 32 64\n"
                           "model.layers.0.self_attn.o_proj.weight BF16 64 64\n"
                           "model.layers.0.mlp.up_proj.weight BF16 64 64\n"
                           "model.layers.0.mlp.down_proj.weight F16 64 64\n"
                           "model.layers.0.experts.gate_up_proj BF16 4 64 64\n"
                           "model.layers.0.experts.down_proj BF16 4 64 32\n"
                           "lm_head.weight BF16 64 64\n";

/* The first and the last row. */
static void read_tensor(const struct source_tensor *t)
{
    const uint64_t rows = source_rows(t);
    float *x = malloc((size_t)source_cols(t) * sizeof(*x) + 1);
    struct error err = {.text = ""};

    expect(x != NULL);
    if (rows > 0 && (source_read(t, 0, 1, x, &err) != OK ||
                     source_read(t, rows - 1, 1, x, &err) != OK))
        expect(err.text[0] != '\0');
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static struct scratch scratch = {.names = names};
    uint8_t *whole = malloc(sizeof(base) + n_bytes);
    struct error err = {.text = ""};
    struct checkpoint *cp = NULL;
    char path[SCRATCH_PATH + 16];

    expect(whole != NULL);
    memcpy(whole, base, sizeof(base) - 1);
    memcpy(whole + sizeof(base) - 1, bytes, n_bytes);
    scratch_fill(&scratch, whole, sizeof(base) - 1 + n_bytes);
    free(whole);
    snprintf(path, sizeof(path), "%s/adapter", scratch.folder);

    const struct convert_lora lora = {path, 1.0};
    if (checkpoint_open(scratch.folder, &lora, 1, &cp, &err) != OK) {
        expect(err.code != OK && err.text[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < checkpoint_count(cp); i++)
        read_tensor(checkpoint_at(cp, i));
    checkpoint_close(cp);
    return 0;
}
