/*
 * fuzz_recipe.c - a recipe that is accepted answers for every name
 */
#include "convert/recipe.h"
#include "tests/fuzz/fuzz_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char *const weights[] = {"blk.0.attn_q.weight", "token_embd.weight",
                                          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct error err = {.text = ""};
    struct recipe recipe;

    if (recipe_read(scratch_file(bytes, n_bytes), &recipe, &err) != OK) {
        expect(err.code != OK && err.text[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
        const struct recipe_line *line = recipe_match(&recipe, weights[i]);

        expect(!line || (line->was_matched && *line->pattern &&
                         block_type_name(line->type) != NULL));
    }
    recipe_free(&recipe);
    return 0;
}
