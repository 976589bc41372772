/*
 * fuzz_checkpoint.c - whatever a configuration and a list of tensors say of each other, a checkpoint
 * that opens gives its rows
 *
 * Quantization methods, unfused experts, modules.json and the index of shards among them.
 */
#include "convert/checkpoint/checkpoint.h"
#include "tests/fuzz/fuzz_folder.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

enum { ROW_MOST = 1 << 20 };

static const char *const names[] = {"config.json",
                                    "model.safetensors",
                                    "model-2.safetensors",
                                    "model.safetensors.index.json",
                                    "quantize_config.json",
                                    "quant_config.json",
                                    "modules.json",
                                    "2_Dense/config.json",
                                    "2_Dense/model.safetensors",
                                    NULL};

/* One row, as floats and as the blocks it is said to fit. */
static void read_row(const struct source_tensor *t, uint64_t row)
{
    const uint64_t cols = source_cols(t);
    const size_t n_raw = t->provider->fetch_bytes(t, row, 1);
    uint8_t *raw = malloc(n_raw), *blocks = NULL;
    float *x = malloc((size_t)cols * sizeof(*x));
    struct error err;

    expect(raw && x);
    if (t->provider->fetch(t, row, 1, raw, &err) == OK) {
        const struct fetched in = {row, 1, raw};

        t->provider->decode(t, &in, row, 1, x);
        if (t->provider->repack && block_type_info(t->exact)->is_quantized) {
            expect(cols % block_type_info(t->exact)->weights == 0);
            blocks = malloc(block_row_bytes(t->exact, cols));
            expect(blocks != NULL);
            t->provider->repack(t, &in, row, 1, blocks);
        }
    } else {
        expect(err.text[0] != '\0');
    }
    free(blocks);
    free(raw);
    free(x);
}

static void read_tensor(const struct checkpoint *cp, const struct source_tensor *t)
{
    const uint64_t rows = source_rows(t), cols = source_cols(t);

    expect(checkpoint_find(cp, t->name) != NULL);
    if (rows == 0 || cols == 0 || cols > ROW_MOST)
        return;
    read_row(t, 0);
    read_row(t, rows - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static struct scratch scratch = {.names = names};
    struct checkpoint *cp = NULL;
    struct error err = {.text = ""};

    scratch_fill(&scratch, bytes, n_bytes);
    if (checkpoint_open(scratch.folder, NULL, 0, &cp, &err) != OK) {
        expect(err.code != OK && err.text[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < checkpoint_count(cp); i++)
        read_tensor(cp, checkpoint_at(cp, i));
    checkpoint_close(cp);
    return 0;
}
