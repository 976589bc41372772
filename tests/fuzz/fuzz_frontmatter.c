/*
 * fuzz_frontmatter.c - the head of a model card gives keys that are found again, once each
 */
#include "formats/frontmatter/frontmatter.h"
#include "tests/fuzz/fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct error err = {.text = ""};
    struct frontmatter front;
    struct arena arena = {0};

    if (frontmatter_parse(&arena, (const char *)bytes, n_bytes, &front, &err) != OK) {
        expect(err.code == ERR_NOMEM);
        arena_free(&arena);
        return 0;
    }
    for (size_t i = 0; i < front.n_entries; i++) {
        const struct front_entry *e = &front.entries[i];

        expect(frontmatter_find(&front, e->key) == (e->n_items ? e : NULL));
        for (size_t k = 0; k < e->n_items; k++)
            expect(e->items[k][0] != '\0');
    }
    expect(!front.unread || front.unread[0] != '\0');
    arena_free(&arena);
    return 0;
}
