/*
 * fuzz_pickle.c - whatever a pickle says, it is read as data or refused
 */
#include "formats/archive/pickle.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void expect(bool is_true)
{
    if (!is_true)
        abort();
}

/* What the header promises of one value; its items are not followed: they may form a ring. */
static void check_value(const struct value *value)
{
    if (value->kind == VALUE_TEXT)
        expect(value->text[value->n] == '\0');
    if (value->kind == VALUE_NAME || value->kind == VALUE_STORAGE)
        expect(value->name != NULL);
    if (value->kind == VALUE_DICT)
        expect(value->n % 2 == 0);
    if (value->kind == VALUE_TENSOR)
        expect(value->n == 4 && value->items[0]->kind == VALUE_STORAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct arena arena = {0};
    struct value *top = NULL;
    struct error err = {0};

    if (pickle_read(bytes, n_bytes, &arena, &top, &err) != OK) {
        expect(err.code != OK && err.text[0] != '\0');
        goto out;
    }
    check_value(top);
    if (top->kind == VALUE_TUPLE || top->kind == VALUE_LIST || top->kind == VALUE_DICT)
        for (size_t i = 0; i < top->n; i++)
            check_value(top->items[i]);

out:
    arena_free(&arena);
    return 0;
}
