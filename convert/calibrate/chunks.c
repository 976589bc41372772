/*
 * chunks.c - texts tokenized, cut, and shuffled like cards
 */
#include "convert/calibrate/calibrate.h"

#include "convert/calibrate/frames.h"
#include "formats/chat/chat.h"
#include "formats/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

enum { USUAL_TOKENS = 131072, BYTES_A_TOKEN = 32 };

/* The tokens of one text alone. */
struct stream {
    int32_t *ids; /* owned */
    size_t n, room;
    size_t n_chunks;
};

struct build {
    const struct model *model;
    struct tokenizer *tok;
    struct frames frames;
    size_t n_ctx, n_own; /* tokens a chunk; of the text's own, at most */
    uint64_t tokens;
    int32_t bos; /* -1: none is added */
};

/* ---- one text ---- */

static enum status add_document(const struct build *b, struct stream *s, const char *text,
                                size_t n, struct error *err)
{
    int32_t *ids = NULL, *grown;
    size_t n_ids = 0, skip;
    enum status st =
        tokenizer_encode(b->tok, text, n, TOKENIZE_SPECIAL, &ids, &n_ids, err);

    if (st != OK)
        return st;
    skip =
        n_ids > 0 && b->bos >= 0 && ids[0] == b->bos; /* a template's; chunks have it */
    if (s->room - s->n < n_ids) {
        s->room = 2 * s->room + n_ids;
        grown = realloc(s->ids, s->room * sizeof(*grown));
        if (grown)
            s->ids = grown;
        else
            st = fail(err, ERR_NOMEM, "no memory for %zu tokens", s->room);
    }
    if (st == OK && n_ids > skip) {
        memcpy(s->ids + s->n, ids + skip, (n_ids - skip) * sizeof(*ids));
        s->n += n_ids - skip;
    }
    free(ids);
    return st;
}

static enum status add_line(const struct build *b, struct stream *s, const char *line,
                            size_t n, struct error *err)
{
    json_t *tree = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
    json_t *messages = json_object_get(tree, "messages");
    const char *text = json_string_value(json_object_get(tree, "text"));
    char *rendered = NULL;
    enum status st = OK;

    if (json_array_size(messages) > 0)
        st = chat_render(b->model->meta, messages, &(struct chat_options){0}, &rendered,
                         err);
    else if (!text)
        st = fail(err, ERR_CORRUPT,
                  "neither a conversation ({\"messages\": [{\"role\", \"content\"}, "
                  "...]}) nor a {\"text\": \"...\"}");
    if (st == OK)
        st = add_document(b, s, rendered ? rendered : text,
                          strlen(rendered ? rendered : text), err);
    free(rendered);
    json_decref(tree);
    return st;
}

static bool is_blank(const char *line, size_t n)
{
    return strspn(line, " \t\r") >= n;
}

static enum status add_lines(const struct build *b, struct stream *s, const char *bytes,
                             size_t n, struct error *err)
{
    enum status st = OK;
    size_t number = 1;

    for (size_t at = 0; at < n && st == OK && s->n < b->tokens; number++) {
        const char *end = memchr(bytes + at, '\n', n - at);
        const size_t n_line = end ? (size_t)(end - bytes) - at : n - at;

        if (!is_blank(bytes + at, n_line))
            st = add_line(b, s, bytes + at, n_line, err);
        at += n_line + 1;
    }
    if (st != OK) {
        char where[32];

        snprintf(where, sizeof(where), "line %zu", number - 1);
        return fail_at(err, where);
    }
    return OK;
}

/* Of a long text no more is tokenized than can be wanted, up to a line's end. */
static size_t enough(const struct build *b, const struct calibrate_document *d)
{
    uint64_t n = b->tokens * BYTES_A_TOKEN;

    if (n >= d->n)
        return d->n;
    while (n > 1 && d->bytes[n - 1] != '\n')
        n--;
    return (size_t)n;
}

static enum status read_stream(const struct build *b, const struct calibrate_document *d,
                               struct stream *s, struct error *err)
{
    const size_t n_name = strlen(d->name);
    const bool has_lines = n_name > 6 && strcmp(d->name + n_name - 6, ".jsonl") == 0;
    enum status st = has_lines ? add_lines(b, s, d->bytes, d->n, err)
                               : add_document(b, s, d->bytes, enough(b, d), err);

    s->n_chunks = s->n / b->n_own;
    return st == OK ? OK : fail_at(err, d->name);
}

/* ---- all of them ---- */

/* Chunk `chunk` of text `text`, on its place in the pack. */
struct card {
    size_t text, chunk;
};

static bool is_held_out(size_t i, size_t n, unsigned every)
{
    if (every == 0)
        return false;
    return i % every == every - 1 || (n < every && n > 1 && i == n - 1);
}

/* The first chunk of every text, the second of every text that has one, ..., at most `most`. */
static size_t deal(struct stream *streams, size_t n_streams, size_t most,
                   struct card *cards)
{
    size_t n = 0;

    for (size_t i = 0, before = SIZE_MAX; n != before && n < most; i++) {
        before = n;
        for (size_t t = 0; t < n_streams && n < most; t++)
            if (i < streams[t].n_chunks)
                cards[n++] = (struct card){t, i};
    }
    for (size_t t = 0; t < n_streams; t++)
        streams[t].n_chunks = 0;
    for (size_t i = 0; i < n; i++)
        streams[cards[i].text].n_chunks++;
    return n;
}

/* A longer frame leaves out the last tokens of the chunk's own. Frames take turns, and another one
 * falls to every held-out chunk (of eight). */
static void frame_chunk(const struct build *b, const struct stream *s, size_t chunk,
                        int32_t *ids)
{
    const size_t i = (chunk + chunk / 8) % b->frames.n;
    const size_t n_before = b->frames.list[i].n, n = frames_room(&b->frames, i, b->n_ctx);

    if (n_before > 0)
        memcpy(ids, b->frames.list[i].ids, n_before * sizeof(*ids));
    memcpy(ids + n_before, s->ids + chunk * b->n_own, n * sizeof(*ids));
    if (b->frames.end >= 0)
        ids[b->n_ctx - 1] = b->frames.end;
}

static enum status lay_down(const struct build *b, const struct stream *streams,
                            const struct card *cards, size_t n, unsigned held_every,
                            struct calibrate_text *out, struct error *err)
{
    int32_t *ids = malloc(n * b->n_ctx * sizeof(*ids));
    uint8_t *is_held = calloc(n, sizeof(*is_held));

    out->ids = ids;
    out->is_held = is_held;
    if (!ids || !is_held)
        return fail(err, ERR_NOMEM, "no memory for %zu chunks", n);
    for (size_t i = 0; i < n; i++, ids += b->n_ctx) {
        const struct stream *s = &streams[cards[i].text];

        frame_chunk(b, s, cards[i].chunk, ids);
        is_held[i] = is_held_out(cards[i].chunk, s->n_chunks, held_every);
    }
    out->n_chunks = n;
    out->n_ctx = (uint32_t)b->n_ctx;
    return OK;
}

static enum status assemble(const struct build *b, struct stream *streams,
                            size_t n_streams, unsigned held_every,
                            struct calibrate_text *out, struct error *err)
{
    const size_t most = (size_t)(b->tokens / b->n_ctx);
    struct card *cards;
    size_t n = 1;
    enum status st;

    for (size_t t = 0; t < n_streams; t++)
        n += streams[t].n_chunks;
    cards = malloc(n * sizeof(*cards));
    if (!cards)
        return fail(err, ERR_NOMEM, "no memory for %zu chunks", n);
    n = deal(streams, n_streams, most, cards);
    st = n > 0 ? lay_down(b, streams, cards, n, held_every, out, err)
               : fail(err, ERR_USAGE, "the text is shorter than one chunk of %zu tokens",
                      b->n_ctx);
    free(cards);
    return st;
}

/* Names and digests, for the record. */
static enum status sign(const struct calibrate_document *documents, size_t n,
                        struct calibrate_text *out, struct error *err)
{
    const char **names = calloc(n + 1, sizeof(*names));
    const char **digests = calloc(n + 1, sizeof(*digests));

    out->names = names;
    out->digests = digests;
    if (!names || !digests)
        return fail(err, ERR_NOMEM, "no memory for %zu names", n);
    for (size_t i = 0; i < n; i++) {
        char *hex = malloc(65);
        uint8_t digest[32];

        if (!hex)
            return fail(err, ERR_NOMEM, "no memory for a name");
        sha256_bytes(documents[i].bytes, documents[i].n, digest);
        sha256_hex(digest, hex);
        names[i] = documents[i].name;
        digests[i] = hex;
        out->n_names = i + 1;
    }
    return OK;
}

enum status calibrate_text_make(const struct model *model,
                                const struct calibrate_document *documents,
                                size_t n_documents, const struct calibrate_cut *cut,
                                struct calibrate_text *out, struct error *err)
{
    struct build b = {.model = model,
                      .n_ctx = cut->n_ctx,
                      .tokens = cut->tokens ? cut->tokens : USUAL_TOKENS};
    struct stream *streams = calloc(n_documents + 1, sizeof(*streams));
    enum status st = streams ? tokenizer_from_meta(model->meta, &b.tok, err)
                             : fail(err, ERR_NOMEM, "no memory for texts");

    *out = (struct calibrate_text){0};
    if (st == OK)
        st = frames_make(model, b.tok, &b.n_ctx, &b.frames, err);
    if (st == OK) {
        b.bos = tokenizer_adds_bos(b.tok) ? tokenizer_bos(b.tok) : -1;
        b.n_own = frames_most_room(&b.frames, b.n_ctx);
    }
    for (size_t i = 0; i < n_documents && st == OK; i++)
        st = read_stream(&b, &documents[i], &streams[i], err);
    if (st == OK)
        st = assemble(&b, streams, n_documents, cut->held_every, out, err);
    if (st == OK)
        st = sign(documents, n_documents, out, err);
    if (st != OK)
        calibrate_text_free(out);
    for (size_t i = 0; streams && i < n_documents; i++)
        free(streams[i].ids);
    free(streams);
    frames_free(&b.frames);
    tokenizer_free(b.tok);
    return st;
}

void calibrate_text_free(struct calibrate_text *text)
{
    for (size_t i = 0; i < text->n_names; i++)
        free((void *)(uintptr_t)text->digests[i]);
    free((void *)(uintptr_t)text->names);
    free((void *)(uintptr_t)text->digests);
    free((void *)(uintptr_t)text->ids);
    free((void *)(uintptr_t)text->is_held);
    *text = (struct calibrate_text){0};
}
