/*
 * fuzz_conversations.c - lines of conversations become chunks within the context, or are refused by
 * number
 */
#include "formats/tokenizer/token_source.h"
#include "tests/fuzz/fuzz_folder.h"
#include "verify/verify.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* Byte pieces and nothing else: every text has tokens. */
static struct tokenizer *make_tokenizer(void)
{
    static char json[1 << 14];
    const struct token_source none = {.folder = "folder"};
    struct token_source source = none;
    struct tokenizer *tok = vocabulary_new();
    struct error err;
    int n = sprintf(json, "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,"
                          "\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,\"<bos>\":1,"
                          "\"<eos>\":2");

    expect(tok != NULL);
    for (int i = 0; i < 256; i++)
        n += sprintf(json + n, ",\"<0x%02X>\":%d", (unsigned)i, i + 3);
    n += sprintf(json + n, "},\"merges\":[]},\"added_tokens\":[{\"id\":1,\"content\":"
                           "\"<bos>\",\"special\":true}]}");
    if (tokenizer_json_parse("file", json, (size_t)n, &source, tok, &err) != OK ||
        added_tokens_apply(&source, tok, &err) != OK ||
        vocabulary_finish(tok, &err) != OK) {
        puts(err.text);
        abort();
    }
    json_decref(source.added);
    json_decref(source.normalizer);
    json_decref(source.pre_tokenizer);
    json_decref(source.post_processor);
    return tok;
}

static void check(const struct logits_text *text)
{
    uint64_t n_tokens = 0, n_scored = 0;

    for (uint32_t i = 0; i < text->n_chunks; i++) {
        expect(text->chunk_tokens[i] > 0 && text->chunk_tokens[i] <= text->n_ctx);
        n_tokens += text->chunk_tokens[i];
    }
    expect(n_tokens == text->n_tokens);
    for (uint64_t i = 0; i < text->n_tokens; i++)
        n_scored += text->scored[i];
    expect(n_scored == text->n_scored);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static struct tokenizer *tok;
    static struct gguf_meta *meta;
    const struct text_options options = {.n_ctx = 512, .n_chunks = 64};
    struct logits_text text = {0};
    struct error err = {.text = ""};

    if (!tok) {
        tok = make_tokenizer();
        meta = gguf_meta_new();
    }
    if (text_from_chat(tok, meta, (const char *)bytes, n_bytes, &options, &text, &err) ==
        OK)
        check(&text);
    else
        expect(err.code != OK && err.text[0] != '\0');
    logits_text_free(&text);
    return 0;
}
