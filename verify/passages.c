/*
 * passages.c - a text as chunks of tokens, cut as llama-perplexity cuts it
 *
 * Source: llama.cpp 0.5.0, tools/perplexity: the text is encoded once, chunks are disjoint, the
 * second half of each is scored.
 */
#include "verify/verify.h"

#include <stdlib.h>

enum { DEFAULT_CTX = 512, MIN_CTX = 4 };

/* Cut `ids` into chunks; takes nothing over. */
static enum status cut(const struct tokenizer *tok, const int32_t *ids, size_t n_ids,
                       uint32_t n_chunks, struct logits_text *out, struct error *err)
{
    uint32_t n_ctx = out->n_ctx;
    size_t n = (size_t)n_chunks * n_ctx;

    out->n_chunks = n_chunks;
    out->n_tokens = n;
    out->n_scored = (uint64_t)n_chunks * (n_ctx - 1 - n_ctx / 2);
    out->chunk_tokens = malloc(n_chunks * sizeof(*out->chunk_tokens));
    out->tokens = malloc(n * sizeof(*out->tokens));
    out->scored = calloc(n, 1);
    if (!out->chunk_tokens || !out->tokens || !out->scored || n > n_ids)
        return fail(err, ERR_NOMEM, "out of memory for %zu tokens", n);

    memcpy(out->tokens, ids, n * sizeof(*ids));
    for (uint32_t c = 0; c < n_chunks; c++) {
        size_t first = (size_t)c * n_ctx;

        out->chunk_tokens[c] = n_ctx;
        if (tokenizer_adds_bos(tok))
            out->tokens[first] = tokenizer_bos(tok);
        memset(out->scored + first + n_ctx / 2 + 1, 1, n_ctx - 1 - n_ctx / 2);
    }
    return OK;
}

enum status text_from_prose(const struct tokenizer *tok, const char *bytes, size_t n,
                            const struct text_options *options, struct logits_text *out,
                            struct error *err)
{
    struct logits_text text = {.n_ctx = options->n_ctx ? options->n_ctx : DEFAULT_CTX};
    int32_t *ids = NULL;
    size_t n_ids = 0;
    enum status st;

    if (text.n_ctx < MIN_CTX)
        return fail(err, ERR_USAGE, "a context of %u tokens is too short (at least %d)",
                    text.n_ctx, MIN_CTX);
    if (tokenizer_encode(tok, bytes, n, TOKENIZE_BOS, &ids, &n_ids, err) != OK)
        return err->code;

    uint64_t n_chunks = n_ids / text.n_ctx;
    if (options->n_chunks && n_chunks > options->n_chunks)
        n_chunks = options->n_chunks;
    sha256_bytes(bytes, n, text.sha256);
    if (n_chunks == 0)
        st = fail(err, ERR_USAGE, "the text has %zu tokens, less than one context of %u",
                  n_ids, text.n_ctx);
    else if (n_chunks > UINT32_MAX)
        st = fail(err, ERR_UNSUPPORTED, "the text has too many chunks");
    else
        st = cut(tok, ids, n_ids, (uint32_t)n_chunks, &text, err);
    free(ids);
    if (st != OK) {
        logits_text_free(&text);
        return st;
    }
    *out = text;
    return OK;
}

enum status verify_same_vocabulary(const struct logits_facts *facts,
                                   const struct tokenizer *tok, uint32_t n_vocab,
                                   const char *reference, struct error *err)
{
    uint8_t digest[32];

    if (facts->n_vocab != n_vocab)
        return fail(err, ERR_USAGE,
                    "%s: made with a vocabulary of %u pieces, the model has %u",
                    reference, facts->n_vocab, n_vocab);
    tokenizer_digest(tok, digest);
    if (memcmp(digest, facts->tokenizer, sizeof(digest)) != 0)
        return fail(err, ERR_USAGE,
                    "%s: made with another tokenizer than the model's (same size, "
                    "other pieces or merges)",
                    reference);
    return OK;
}
