/*
 * mixed_text.c - cut texts, take chunks from all over each, put them behind one another
 */
#include "cli/mixed_text.h"

#include <stdlib.h>

/* Make room for n more chunks of at most n_tokens tokens in all. */
static enum status grow(struct logits_text *to, uint32_t n, uint64_t n_tokens,
                        struct error *err)
{
    const size_t chunks = (size_t)to->n_chunks + n;
    const size_t tokens = (size_t)(to->n_tokens + n_tokens);
    uint32_t *lengths = realloc(to->chunk_tokens, chunks * sizeof(*lengths));
    if (lengths)
        to->chunk_tokens = lengths;
    int32_t *ids = realloc(to->tokens, tokens * sizeof(*ids));
    if (ids)
        to->tokens = ids;
    uint8_t *scored = realloc(to->scored, tokens);
    if (scored)
        to->scored = scored;
    return lengths && ids && scored
               ? OK
               : fail(err, ERR_NOMEM, "no memory for %zu tokens", tokens);
}

/* Chunk c, whose first token is at `at`. */
static void append(struct logits_text *to, const struct logits_text *from, uint32_t c,
                   uint64_t at)
{
    const uint32_t n = from->chunk_tokens[c];

    to->chunk_tokens[to->n_chunks++] = n;
    memcpy(to->tokens + to->n_tokens, from->tokens + at, n * sizeof(*to->tokens));
    memcpy(to->scored + to->n_tokens, from->scored + at, n);
    for (uint32_t i = 0; i < n; i++)
        to->n_scored += from->scored[at + i];
    to->n_tokens += n;
}

/* Of n chunks those numbered floor(k * n / wanted). */
static enum status take(struct logits_text *to, const struct logits_text *from,
                        uint32_t wanted, struct error *err)
{
    const uint32_t n = from->n_chunks;
    const uint32_t count = wanted == 0 || wanted > n ? n : wanted;
    const enum status st = grow(to, count, from->n_tokens, err);
    uint64_t at = 0;

    for (uint32_t c = 0, k = 0; st == OK && c < n; at += from->chunk_tokens[c++])
        if (k < count && c == (uint64_t)k * n / count) {
            append(to, from, c, at);
            k++;
        }
    return st;
}

static bool is_conversations(const char *name)
{
    static const char suffix[] = ".jsonl";
    const size_t n = strlen(name);

    return n >= sizeof(suffix) && strcmp(name + n - (sizeof(suffix) - 1), suffix) == 0;
}

static enum status add_document(const struct tokenizer *tok, const struct gguf_meta *meta,
                                const struct calibrate_document *document,
                                const struct text_options *options, uint32_t n_chunks,
                                struct logits_text *out, struct sha256 *hash,
                                struct error *err)
{
    struct logits_text text = {0};
    enum status st =
        is_conversations(document->name)
            ? text_from_chat(tok, meta, document->bytes, document->n, options, &text, err)
            : text_from_prose(tok, document->bytes, document->n, options, &text, err);

    if (st == OK)
        st = take(out, &text, n_chunks, err);
    else
        st = fail_at(err, document->name);
    sha256_update(hash, text.sha256, sizeof(text.sha256));
    if (text.n_ctx > out->n_ctx)
        out->n_ctx = text.n_ctx;
    logits_text_free(&text);
    return st;
}

enum status mixed_text(const struct tokenizer *tok, const struct gguf_meta *meta,
                       const struct documents *documents, uint32_t n_ctx,
                       uint32_t n_chunks, struct logits_text *out, struct error *err)
{
    const struct text_options options = {.n_ctx = n_ctx};
    struct sha256 *hash = sha256_new();
    enum status st = hash ? OK : fail(err, ERR_NOMEM, "no memory for a digest");

    *out = (struct logits_text){0};
    for (size_t i = 0; st == OK && i < documents->n; i++)
        st = add_document(tok, meta, &documents->at[i], &options, n_chunks, out, hash,
                          err);
    if (hash)
        sha256_final(hash, out->sha256);
    if (st != OK)
        logits_text_free(out);
    return st;
}
