/*
 * fuzz_sentencepiece.c - any bytes as a tokenizer.model; what is accepted must encode
 */
#include "formats/tokenizer/token_source.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void encode(const struct tokenizer *tok)
{
    static const char text[] = "a  human right\n\n\xff é";
    struct error err;
    int32_t *ids;
    size_t n;

    if (tokenizer_encode(tok, text, sizeof(text) - 1, TOKENIZE_SPECIAL, &ids, &n, &err) !=
        OK)
        abort();
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_size(tok))
            abort();
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const struct token_source source = {.folder = "folder"};
    struct tokenizer *tok = vocabulary_new();
    struct error err;

    if (!tok)
        return 0;
    if (sentencepiece_parse(bytes, n_bytes, &source, tok, &err) == OK &&
        vocabulary_finish(tok, &err) == OK)
        encode(tok);
    tokenizer_free(tok);
    return 0;
}
