/*
 * fuzz_tokenizer.c - any bytes as a tokenizer.json; what is accepted must encode and decode
 */
#include "formats/tokenizer/token_source.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* Every id is a piece, and they spell the text again unless added tokens took blanks with them. */
static void encode(const struct tokenizer *tok)
{
    static const char text[] = "a b<bos> \xff\xe2\x96\x81\n\nab aab";
    int32_t *ids;
    size_t n_ids, n;
    struct error err;
    char *back;

    if (tokenizer_encode(tok, text, sizeof(text) - 1, TOKENIZE_SPECIAL | TOKENIZE_BOS,
                         &ids, &n_ids, &err) != OK)
        abort();
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_size(tok))
            abort();
    if (tokenizer_decode(tok, ids, n_ids, true, &back, &n, &err) != OK)
        abort();
    free(back);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct token_source source = {.folder = "folder", .rows = n_bytes % 3 ? 0 : 12};
    struct tokenizer *tok = vocabulary_new();
    struct error err;

    if (!tok)
        return 0;
    if (tokenizer_json_parse("file", (const char *)bytes, n_bytes, &source, tok, &err) ==
            OK &&
        tokenizer_json_check(&source, &err) == OK &&
        added_tokens_apply(&source, tok, &err) == OK &&
        special_tokens_apply(&source, tok, &err) == OK &&
        vocabulary_finish(tok, &err) == OK)
        encode(tok);
    json_decref(source.added);
    json_decref(source.normalizer);
    json_decref(source.pre_tokenizer);
    json_decref(source.post_processor);
    tokenizer_free(tok);
    return 0;
}
