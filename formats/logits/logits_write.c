/*
 * logits_write.c - write a reference file, whole or not at all
 */
#include "formats/logits/logits_layout.h"

#include <stdlib.h>

struct logits_writer {
    struct output *dst;
    size_t record_bytes;
    uint64_t at, n_left; /* where the next record goes; records still to come */
};

static void store_fixed(const struct logits_facts *facts, uint8_t *p)
{
    const struct logits_text *text = &facts->text;

    memcpy(p, LOGITS_MAGIC, 8);
    store_u32(p + 8, LOGITS_VERSION);
    store_u32(p + 12, facts->n_vocab);
    store_u32(p + 16, text->n_ctx);
    store_u32(p + 20, text->n_chunks);
    store_u32(p + 24, facts->n_entries);
    store_u32(p + 28, text->is_chat);
    store_u64(p + 32, text->n_tokens);
    store_u64(p + 40, text->n_scored);
    memcpy(p + 48, facts->tokenizer, 32);
    memcpy(p + 80, text->sha256, 32);
    memcpy(p + 112, facts->source, strnlen(facts->source, LOGITS_SOURCE_BYTES - 1));
}

/* The header's bytes, owned by the caller; NULL when memory is out. */
static uint8_t *make_header(const struct logits_facts *facts, size_t n_header)
{
    const struct logits_text *text = &facts->text;
    uint8_t *header = calloc(1, n_header);

    if (!header)
        return NULL;
    store_fixed(facts, header);
    uint8_t *p = header + LOGITS_FIXED_BYTES;
    memcpy(p, text->chunk_tokens, (size_t)text->n_chunks * 4);
    p += (size_t)text->n_chunks * 4;
    memcpy(p, text->tokens, (size_t)text->n_tokens * 4);
    p += (size_t)text->n_tokens * 4;
    for (size_t i = 0; i < (size_t)text->n_tokens; i++)
        p[i / 8] = (uint8_t)(p[i / 8] | (text->scored[i] & 1) << (i % 8));
    store_u64(header + n_header - 8, hash_bytes(header, n_header - 8));
    return header;
}

enum status logits_create(const char *path, const struct logits_facts *facts, bool force,
                          struct logits_writer **out, struct error *err)
{
    uint64_t n_header = 0;
    uint8_t *header = NULL;
    struct logits_writer *dst = calloc(1, sizeof(*dst));

    if (logits_header_bytes(facts->text.n_chunks, facts->text.n_tokens, &n_header))
        header = make_header(facts, (size_t)n_header);
    if (!dst || !header) {
        (void)fail(err, ERR_NOMEM, "%s: out of memory for its header", path);
        goto out;
    }
    dst->record_bytes = logits_record_bytes(facts->n_entries);
    dst->n_left = facts->text.n_scored;
    dst->at = n_header;
    if (output_open(path, &(struct output_options){.force = force}, &dst->dst, err) !=
            OK ||
        output_write(dst->dst, 0, header, (size_t)n_header, err) != OK)
        goto out;
    free(header);
    *out = dst;
    return OK;

out:
    free(header);
    logits_discard(dst);
    return err->code;
}

enum status logits_append(struct logits_writer *dst, const uint8_t *records, size_t n,
                          struct error *err)
{
    if (n > dst->n_left)
        return fail(err, ERR_USAGE, "%s: %zu records for %llu places",
                    output_path(dst->dst), n, (unsigned long long)dst->n_left);
    if (output_write(dst->dst, dst->at, records, n * dst->record_bytes, err) != OK)
        return err->code;
    dst->at += n * dst->record_bytes;
    dst->n_left -= n;
    return OK;
}

enum status logits_commit(struct logits_writer *dst, struct error *err)
{
    enum status st;

    if (dst->n_left > 0) {
        st = fail(err, ERR_USAGE, "%s: %llu records are missing", output_path(dst->dst),
                  (unsigned long long)dst->n_left);
        logits_discard(dst);
        return st;
    }
    st = output_commit(dst->dst, dst->at, err);
    free(dst);
    return st;
}

void logits_discard(struct logits_writer *dst)
{
    if (!dst)
        return;
    output_discard(dst->dst);
    free(dst);
}
