/*
 * fuzz_gguf.c - a GGUF that is accepted keeps every promise of its header
 */
#include "formats/gguf/gguf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void expect(bool is_true)
{
    if (!is_true)
        abort();
}

/* Touch every element, so that the sanitizers see where it lies. */
static void read_value(const struct gguf_value *value)
{
    const enum gguf_type type = value->type == GGUF_ARRAY ? value->element : value->type;

    expect(type != GGUF_ARRAY && (value->type == GGUF_ARRAY || value->count == 1));
    for (uint64_t i = 0; i < value->count; i++) {
        if (type == GGUF_STRING) {
            const struct gguf_str str = gguf_value_str(value, i);

            expect(str.text[str.n] == '\0');
        } else if (type == GGUF_F32 || type == GGUF_F64) {
            (void)gguf_value_real(value, i);
        } else {
            const int64_t v = gguf_value_int(value, i);

            expect(type != GGUF_BOOL || v == 0 || v == 1);
        }
    }
}

static void read_tensor(const struct gguf *file, const struct gguf_tensor *t,
                        size_t n_bytes)
{
    expect(t->offset <= n_bytes && t->n_bytes <= n_bytes - t->offset);
    expect(t->offset >= gguf_data_start(file, 0) &&
           t->offset % gguf_alignment(file, 0) == 0);
    expect(strlen(t->name) < 64 && gguf_find(file, t->name) == t);
    expect(block_row_bytes(t->type, t->ne[0]) * gguf_tensor_rows(t) == t->n_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct gguf *file = NULL;
    struct error err = {0};

    if (gguf_parse(bytes, n_bytes, &file, &err) != OK) {
        expect(err.code != OK && err.text[0] != '\0');
        return 0;
    }
    const struct gguf_meta *meta = gguf_metadata(file);
    for (size_t i = 0; i < gguf_meta_count(meta); i++) {
        read_value(gguf_meta_at(meta, i));
        expect(gguf_meta_find(meta, gguf_meta_at(meta, i)->key) == gguf_meta_at(meta, i));
    }
    for (size_t i = 0; i < gguf_count(file); i++)
        read_tensor(file, gguf_at(file, i), n_bytes);
    gguf_close(file);
    return 0;
}
