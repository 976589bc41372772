/*
 * logits_file.c - read a reference file
 *
 * The header is checked whole when the file is opened; a record when it is read.
 */
#include "formats/logits/logits_layout.h"

#include <stdio.h>
#include <stdlib.h>

struct logits_file {
    struct logits_facts facts;
    struct file *file;    /* NULL when the bytes are in memory */
    const uint8_t *bytes; /* borrowed, NULL when they are in a file */
    uint64_t records;     /* offset of the first one */
};

static enum status parse_fixed(const uint8_t *p, struct logits_facts *facts,
                               struct error *err)
{
    struct logits_text *text = &facts->text;

    if (memcmp(p, LOGITS_MAGIC, 8) != 0)
        return fail(err, ERR_CORRUPT, "not a reference file (it does not begin with %s)",
                    LOGITS_MAGIC);
    if (load_u32(p + 8) != LOGITS_VERSION)
        return fail(err, ERR_UNSUPPORTED,
                    "a reference file of version %u (this program "
                    "reads version %d)",
                    load_u32(p + 8), LOGITS_VERSION);
    facts->n_vocab = load_u32(p + 12);
    text->n_ctx = load_u32(p + 16);
    text->n_chunks = load_u32(p + 20);
    facts->n_entries = load_u32(p + 24);
    text->is_chat = load_u32(p + 28) == 1;
    text->n_tokens = load_u64(p + 32);
    text->n_scored = load_u64(p + 40);
    memcpy(facts->tokenizer, p + 48, 32);
    memcpy(text->sha256, p + 80, 32);
    memcpy(facts->source, p + 112, LOGITS_SOURCE_BYTES);

    if (load_u32(p + 28) > 1)
        return fail(err, ERR_CORRUPT, "unknown flags %#x", load_u32(p + 28));
    if (facts->n_vocab < 2 || facts->n_vocab > INT32_MAX || facts->n_entries < 2 ||
        facts->n_entries > UINT16_MAX)
        return fail(err, ERR_CORRUPT, "%u pieces and %u entries a record cannot be",
                    facts->n_vocab, facts->n_entries);
    if (facts->source[LOGITS_SOURCE_BYTES - 1] != '\0')
        return fail(err, ERR_CORRUPT, "the name of the model has no end");
    return OK;
}

/* Sizes against the size of the file, before anything is allocated. */
static enum status measure(const struct logits_facts *facts, uint64_t file_bytes,
                           uint64_t *n_header, struct error *err)
{
    const struct logits_text *text = &facts->text;
    uint64_t records, total;

    if (!logits_header_bytes(text->n_chunks, text->n_tokens, n_header) ||
        !mul_u64(text->n_scored, logits_record_bytes(facts->n_entries), &records) ||
        !add_u64(*n_header, records, &total) || total != file_bytes)
        return fail(err, ERR_CORRUPT,
                    "%llu bytes are not those of %llu tokens in %u chunks and "
                    "%llu records of %u entries (cut short?)",
                    (unsigned long long)file_bytes, (unsigned long long)text->n_tokens,
                    text->n_chunks, (unsigned long long)text->n_scored, facts->n_entries);
    return OK;
}

/* Chunks that add up, ids of the vocabulary, and as many scored tokens as the header says; the
 * first token of a chunk has nothing to be predicted from. */
static enum status check_text(const struct logits_facts *facts, struct error *err)
{
    const struct logits_text *text = &facts->text;
    uint64_t at = 0, n_scored = 0;

    for (uint32_t c = 0; c < text->n_chunks; c++) {
        uint32_t n = text->chunk_tokens[c];
        if (n == 0 || n > text->n_ctx || n > text->n_tokens - at)
            return fail(err, ERR_CORRUPT, "chunk %u cannot have %u tokens", c, n);
        if (text->scored[at])
            return fail(err, ERR_CORRUPT, "the first token of chunk %u is scored", c);
        at += n;
    }
    if (at != text->n_tokens)
        return fail(err, ERR_CORRUPT, "its chunks have %llu tokens, not %llu",
                    (unsigned long long)at, (unsigned long long)text->n_tokens);
    for (uint64_t i = 0; i < text->n_tokens; i++) {
        if (text->tokens[i] < 0 || (uint32_t)text->tokens[i] >= facts->n_vocab)
            return fail(err, ERR_CORRUPT, "token %llu has id %d in a vocabulary of %u",
                        (unsigned long long)i, text->tokens[i], facts->n_vocab);
        n_scored += text->scored[i];
    }
    if (n_scored != text->n_scored)
        return fail(err, ERR_CORRUPT, "%llu tokens are marked as scored, not %llu",
                    (unsigned long long)n_scored, (unsigned long long)text->n_scored);
    return OK;
}

static enum status parse_text(const uint8_t *p, uint64_t n_header,
                              struct logits_facts *facts, struct error *err)
{
    struct logits_text *text = &facts->text;
    size_t n_tokens = (size_t)text->n_tokens;

    if (load_u64(p + n_header - 8) != hash_bytes(p, (size_t)n_header - 8))
        return fail(err, ERR_CORRUPT, "the header's bytes do not match their hash");
    text->chunk_tokens =
        malloc(((size_t)text->n_chunks + 1) * sizeof(*text->chunk_tokens));
    text->tokens = malloc((n_tokens + 1) * sizeof(*text->tokens));
    text->scored = malloc(n_tokens + 1);
    if (!text->chunk_tokens || !text->tokens || !text->scored)
        return fail(err, ERR_NOMEM, "out of memory for %zu tokens", n_tokens);

    p += LOGITS_FIXED_BYTES;
    memcpy(text->chunk_tokens, p, (size_t)text->n_chunks * 4);
    p += (size_t)text->n_chunks * 4;
    memcpy(text->tokens, p, n_tokens * 4);
    p += n_tokens * 4;
    for (size_t i = 0; i < n_tokens; i++)
        text->scored[i] = p[i / 8] >> (i % 8) & 1;
    text->scored[n_tokens] = 0;
    return check_text(facts, err);
}

/* Fill `file` from its bytes, which file_map() or the caller holds. */
static enum status parse(struct logits_file *file, uint64_t n_bytes, struct error *err)
{
    uint64_t n_header = 0;

    if (n_bytes < LOGITS_FIXED_BYTES + 8)
        return fail(err, ERR_CORRUPT, "not a reference file (%llu bytes are too few)",
                    (unsigned long long)n_bytes);
    if (parse_fixed(file->bytes, &file->facts, err) != OK ||
        measure(&file->facts, n_bytes, &n_header, err) != OK)
        return err->code;
    file->records = n_header;
    return parse_text(file->bytes, n_header, &file->facts, err);
}

enum status logits_parse(const uint8_t *bytes, size_t n_bytes, struct logits_file **out,
                         struct error *err)
{
    struct logits_file *file = calloc(1, sizeof(*file));

    if (!file)
        return fail(err, ERR_NOMEM, "out of memory");
    file->bytes = bytes;
    if (parse(file, n_bytes, err) != OK) {
        logits_close(file);
        return err->code;
    }
    *out = file;
    return OK;
}

enum status logits_open(const char *path, struct logits_file **out, struct error *err)
{
    struct logits_file *file = calloc(1, sizeof(*file));

    if (!file)
        return fail(err, ERR_NOMEM, "out of memory");
    if (file_open(path, &file->file, err) != OK ||
        file_map(file->file, &file->bytes, err) != OK)
        goto out;
    if (parse(file, file_size(file->file), err) != OK) {
        (void)fail_at(err, path);
        goto out;
    }
    *out = file;
    return OK;

out:
    logits_close(file);
    return err->code;
}

const struct logits_facts *logits_facts(const struct logits_file *file)
{
    return &file->facts;
}

enum status logits_read(const struct logits_file *file, uint64_t index,
                        struct logits_record *record, struct error *err)
{
    const struct logits_facts *facts = &file->facts;
    size_t n = logits_record_bytes(facts->n_entries);
    const uint8_t *bytes = file->bytes + file->records + index * n;

    if (logits_record_load(bytes, facts->n_entries, facts->n_vocab, record, err) != OK) {
        char where[512];
        (void)snprintf(where, sizeof(where), "%s: record %llu",
                       file->file ? file_path(file->file) : "reference",
                       (unsigned long long)index);
        return fail_at(err, where);
    }
    return OK;
}

void logits_close(struct logits_file *file)
{
    if (!file)
        return;
    logits_text_free(&file->facts.text);
    file_close(file->file);
    free(file);
}
