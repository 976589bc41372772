/*
 * fuzz_safetensors.c - a safetensors file that is accepted keeps every promise of its header
 */
#include "formats/safetensors/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void expect(bool is_true)
{
    if (!is_true)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct safetensors *file = NULL;
    struct error err = {0};
    uint64_t at;

    if (safetensors_parse(bytes, n_bytes, &file, &err) != OK) {
        expect(err.code != OK && err.text[0] != '\0');
        return 0;
    }
    /* The tensors tile the data: no hole, no overlap, nothing after the last. */
    at = 8 + load_u64(bytes);
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const struct tensor *t = safetensors_at(file, i);

        expect(t->offset == at);
        expect(t->n_bytes * 8 == tensor_elements(t) * dtype_bits(t->dtype));
        expect(safetensors_find(file, t->name) == t);
        at += t->n_bytes;
    }
    expect(at == n_bytes);
    safetensors_close(file);
    return 0;
}
