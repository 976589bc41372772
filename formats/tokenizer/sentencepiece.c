/*
 * sentencepiece.c - read a tokenizer.model: the protobuf message ModelProto of SentencePiece
 *
 *     1 pieces (repeated): 1 piece (string), 2 score (float), 3 type (1 normal, 2 unknown,
 *                          3 control, 4 user-defined, 5 unused, 6 byte)
 *     2 trainer_spec:      3 model_type (1 unigram, 2 BPE), 40 .. 43 ids of unk, bos, eos, pad
 *     3 normalizer_spec:   2 precompiled_charsmap, 3 add_dummy_prefix (default true),
 *                          4 remove_extra_whitespaces (true), 5 escape_whitespaces (true)
 *
 * A field is a varint `number << 3 | wire type`, then a varint (0), 8 bytes (1), a length and
 * bytes (2) or 4 bytes (5). Nothing nests deeper than this.
 *
 * Source: sentencepiece_model.proto; the rules for added tokens: llama.cpp 0.5.0,
 * conversion/base.py, _create_vocab_sentencepiece.
 */
#include "formats/tokenizer/token_source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 256 << 20, WIRE_VARINT = 0, WIRE_8 = 1, WIRE_BYTES = 2, WIRE_4 = 5 };

/* ---- protobuf ---- */

struct bytes {
    const uint8_t *at, *end;
};

struct field {
    uint64_t number;
    unsigned wire;
    uint64_t value;     /* wires 0, 1 and 5 */
    struct bytes bytes; /* wire 2 */
};

static bool next_varint(struct bytes *src, uint64_t *out)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64 && src->at < src->end; shift += 7) {
        const uint8_t byte = *src->at++;

        if (shift == 63 && byte > 1)
            return false;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* The next field of a message, which must not be at its end; false when it is malformed. */
static bool next_field(struct bytes *src, struct field *field)
{
    uint64_t key;

    *field = (struct field){0};
    if (!next_varint(src, &key))
        return false;
    field->number = key >> 3;
    field->wire = (unsigned)(key & 7);
    switch (field->wire) {
    case WIRE_VARINT:
        return next_varint(src, &field->value);
    case WIRE_8:
        if (src->end - src->at < 8)
            return false;
        field->value = load_u64(src->at);
        src->at += 8;
        return true;
    case WIRE_4:
        if (src->end - src->at < 4)
            return false;
        field->value = load_u32(src->at);
        src->at += 4;
        return true;
    case WIRE_BYTES:
        if (!next_varint(src, &key) || key > (uint64_t)(src->end - src->at))
            return false;
        field->bytes = (struct bytes){src->at, src->at + key};
        src->at += key;
        return true;
    default: /* groups, which nobody writes any more */
        return false;
    }
}

static bool is_field(const struct field *field, uint64_t number, unsigned wire)
{
    return field->number == number && field->wire == wire;
}

/* ---- the model ---- */

/* A piece before it is settled. */
struct staged {
    const char *text; /* borrowed from the file or in the arena */
    size_t n;
    float score;
    enum piece_type type;
};

struct model {
    struct staged *pieces; /* owned */
    size_t n, room;
    int64_t ids[4]; /* of unk, bos, eos, pad; -1: none */
    uint64_t model_type;
    bool adds_space, trims_space, escapes_space;
    bool has_charsmap;
    struct arena arena;
};

static enum status add_piece(struct model *model, struct staged piece, struct error *err)
{
    if (model->n == model->room) {
        const size_t room = model->room ? 2 * model->room : 1024;
        struct staged *pieces = realloc(model->pieces, room * sizeof(*pieces));

        if (!pieces)
            return fail(err, ERR_NOMEM, "no memory for %zu pieces", room);
        model->pieces = pieces;
        model->room = room;
    }
    model->pieces[model->n++] = piece;
    return OK;
}

static enum status read_piece(struct model *model, struct bytes src, struct error *err)
{
    struct staged piece = {.text = "", .type = PIECE_NORMAL};
    struct field field;

    while (src.at < src.end) {
        if (!next_field(&src, &field))
            return fail(err, ERR_CORRUPT, "piece %zu is malformed", model->n);
        if (is_field(&field, 1, WIRE_BYTES)) {
            piece.text = (const char *)field.bytes.at;
            piece.n = (size_t)(field.bytes.end - field.bytes.at);
        } else if (is_field(&field, 2, WIRE_4)) {
            const uint32_t bits = (uint32_t)field.value;

            piece.score = load_f32(&bits);
        } else if (is_field(&field, 3, WIRE_VARINT)) {
            if (field.value < PIECE_NORMAL || field.value > PIECE_BYTE)
                return fail(err, ERR_CORRUPT, "piece %zu is of type %llu", model->n,
                            (unsigned long long)field.value);
            piece.type = (enum piece_type)field.value;
        }
    }
    if (!isfinite(piece.score))
        return fail(err, ERR_CORRUPT, "the score of piece %zu is not finite", model->n);
    return add_piece(model, piece, err);
}

static enum status read_trainer(struct model *model, struct bytes src, struct error *err)
{
    struct field field;

    while (src.at < src.end) {
        if (!next_field(&src, &field))
            return fail(err, ERR_CORRUPT, "trainer_spec is malformed");
        if (is_field(&field, 3, WIRE_VARINT))
            model->model_type = field.value;
        else if (field.number >= 40 && field.number <= 43 && field.wire == WIRE_VARINT)
            model->ids[field.number - 40] = (int64_t)field.value;
    }
    return OK;
}

static enum status read_normalizer(struct model *model, struct bytes src,
                                   struct error *err)
{
    struct field field;

    while (src.at < src.end) {
        if (!next_field(&src, &field))
            return fail(err, ERR_CORRUPT, "normalizer_spec is malformed");
        if (is_field(&field, 2, WIRE_BYTES))
            model->has_charsmap = field.bytes.at < field.bytes.end;
        else if (is_field(&field, 3, WIRE_VARINT))
            model->adds_space = field.value;
        else if (is_field(&field, 4, WIRE_VARINT))
            model->trims_space = field.value;
        else if (is_field(&field, 5, WIRE_VARINT))
            model->escapes_space = field.value;
    }
    return OK;
}

static enum status read_model(struct model *model, struct bytes src, struct error *err)
{
    const uint8_t *begin = src.at;
    enum status st = OK;

    while (src.at < src.end && st == OK) {
        const size_t at = (size_t)(src.at - begin);
        struct field field;

        if (!next_field(&src, &field))
            return fail(err, ERR_CORRUPT,
                        "not a SentencePiece model: position %zu is malformed", at);
        if (is_field(&field, 1, WIRE_BYTES))
            st = read_piece(model, field.bytes, err);
        else if (is_field(&field, 2, WIRE_BYTES))
            st = read_trainer(model, field.bytes, err);
        else if (is_field(&field, 3, WIRE_BYTES))
            st = read_normalizer(model, field.bytes, err);
    }
    return st;
}

static enum status check_model(const struct model *model, struct error *err)
{
    static const char *const types[] = {"0", "Unigram", "BPE", "word", "character"};

    if (model->n == 0)
        return fail(err, ERR_CORRUPT, "not a SentencePiece model: no pieces");
    if (model->model_type != 2)
        return fail(err, ERR_UNSUPPORTED,
                    "a SentencePiece model of type %s is not supported, only BPE",
                    model->model_type < 5 ? types[model->model_type] : "unknown");
    if (model->has_charsmap || model->trims_space || !model->escapes_space)
        return fail(err, ERR_UNSUPPORTED,
                    "a SentencePiece model that changes the text (%s) is not supported",
                    model->has_charsmap  ? "precompiled_charsmap"
                    : model->trims_space ? "remove_extra_whitespaces"
                                         : "escape_whitespaces off");
    return OK;
}

/* ---- added tokens of the other files ---- */

/* Spaces for U+2581, because user-defined tokens are looked for in the text as it is. */
static const char *with_spaces(struct arena *arena, const char *text, size_t *n)
{
    char *out = arena_strndup(arena, text, *n);
    size_t used = 0;

    for (size_t i = 0; out && i < *n; used++) {
        const bool is_mark = *n - i >= 3 && memcmp(text + i, "\xe2\x96\x81", 3) == 0;

        out[used] = is_mark ? ' ' : text[i];
        i += is_mark ? 3 : 1;
    }
    *n = used;
    return out;
}

/* Put a token at its id, over what is there; beyond the rows it is left out. */
static enum status put_token(const struct token_source *source, struct model *model,
                             json_int_t id, struct staged token, struct error *err)
{
    if (id < 0 || !token.text)
        return fail(err, ERR_CORRUPT, "an added token without an id or a text");
    if ((uint64_t)id < model->n)
        model->pieces[id] = token;
    else
        log_warn("%s: the added token \"%s\" is left out: its id %lld is beyond the %zu "
                 "rows of "
                 "the embedding table",
                 source->folder, token.text, (long long)id, model->n);
    return OK;
}

static enum status put_added_map(const struct token_source *source, struct model *model,
                                 struct error *err)
{
    const char *key;
    json_t *id;

    json_object_foreach(source->added_map, key, id)
    {
        const struct staged token = {
            .text = key, .n = strlen(key), .score = -1000.0f, .type = PIECE_USER};
        enum status st = put_token(
            source, model, json_is_integer(id) ? json_integer_value(id) : -1, token, err);

        if (st != OK)
            return st;
    }
    return OK;
}

/* {"content": ..., "special": ...} */
static enum status put_described(const struct token_source *source, struct model *model,
                                 json_int_t id, const json_t *token, struct error *err)
{
    const json_t *content = json_object_get(token, "content");
    struct staged piece = {.text = json_string_value(content),
                           .n = json_string_length(content),
                           .score = -1000.0f,
                           .type = PIECE_USER};

    if (json_is_true(json_object_get(token, "special")) ||
        (piece.text && looks_special(piece.text, piece.n)))
        piece.type = PIECE_CONTROL;
    return put_token(source, model, id, piece, err);
}

static enum status put_decoder(const struct token_source *source, struct model *model,
                               json_t *decoder, struct error *err)
{
    const char *key;
    json_t *token;

    json_object_foreach(decoder, key, token)
    {
        char *end = NULL;
        const long long id = strtoll(key, &end, 10);
        enum status st;

        if (!*key || *end)
            return fail(err, ERR_CORRUPT, "added_tokens_decoder: \"%.40s\" is not an id",
                        key);
        st = put_described(source, model, id, token, err);
        if (st != OK)
            return st;
    }
    return OK;
}

/* transformers 5 writes the added tokens into tokenizer.json alone. */
static enum status put_added(const struct token_source *source, struct model *model,
                             struct error *err)
{
    json_t *decoder = json_object_get(source->tokenizer_config, "added_tokens_decoder");
    enum status st = OK;

    if (decoder)
        return put_decoder(source, model, decoder, err);
    for (size_t i = 0; i < json_array_size(source->added) && st == OK; i++) {
        const json_t *token = json_array_get(source->added, i);
        const json_t *id = json_object_get(token, "id");

        st = put_described(source, model,
                           json_is_integer(id) ? json_integer_value(id) : -1, token, err);
    }
    return st;
}

/* Rows without a piece, as the converter fills them. */
static enum status pad(struct model *model, uint64_t rows, struct error *err)
{
    enum status st = OK;

    while (model->n < rows && st == OK) {
        const char *text = arena_printf(&model->arena, "[PAD%zu]", model->n);

        if (!text)
            return fail(err, ERR_NOMEM, "no memory for a vocabulary");
        st = add_piece(model,
                       (struct staged){.text = text,
                                       .n = strlen(text),
                                       .score = -10000.0f,
                                       .type = PIECE_UNUSED},
                       err);
    }
    return st;
}

/* ---- into the vocabulary ---- */

static enum status settle(struct model *model, struct tokenizer *tok, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < model->n && st == OK; i++) {
        struct staged *piece = &model->pieces[i];

        if (piece->type == PIECE_USER)
            piece->text = with_spaces(&model->arena, piece->text, &piece->n);
        st = piece->text ? pieces_set(&tok->pieces, i, piece->text, piece->n, err)
                         : fail(err, ERR_NOMEM, "no memory for a vocabulary");
    }
    if (st == OK)
        st = vocabulary_make_room(tok, true, err);
    for (size_t i = 0; i < model->n && st == OK; i++) {
        tok->types[i] = (uint8_t)model->pieces[i].type;
        tok->scores[i] = model->pieces[i].score;
    }
    tok->kind = VOCABULARY_SPM;
    tok->adds_space = model->adds_space;
    return st;
}

enum status sentencepiece_parse(const uint8_t *bytes, size_t n_bytes,
                                const struct token_source *source, struct tokenizer *tok,
                                struct error *err)
{
    static const enum special of_id[4] = {SPECIAL_UNK, SPECIAL_BOS, SPECIAL_EOS,
                                          SPECIAL_PAD};
    struct model model = {.ids = {0, 1, 2, -1}, .model_type = 1};
    enum status st;

    model.adds_space = model.trims_space = model.escapes_space = true;
    st = read_model(&model, (struct bytes){bytes, bytes + n_bytes}, err);
    if (st == OK)
        st = check_model(&model, err);
    if (st == OK && source->rows)
        st = check_rows(model.n, source->rows, err);
    if (st == OK)
        st = pad(&model, source->rows, err);
    if (st == OK)
        st = put_added_map(source, &model, err);
    if (st == OK)
        st = put_added(source, &model, err);
    if (st == OK)
        st = settle(&model, tok, err);
    /* Last resort, behind the names and ids of the other files. */
    for (int i = 0; i < 4 && st == OK; i++)
        if (model.ids[i] >= 0 && (uint64_t)model.ids[i] < model.n)
            tok->fallback[of_id[i]] = (int32_t)model.ids[i];
    free(model.pieces);
    arena_free(&model.arena);
    return st;
}

enum status sentencepiece_read(const char *path, const struct token_source *source,
                               struct tokenizer *tok, struct error *err)
{
    char *bytes = NULL;
    size_t n = 0;
    enum status st = file_read_all(path, FILE_MAX, &bytes, &n, err);

    if (st == OK)
        st = check_pointer(path, bytes, n, err);
    if (st == OK &&
        sentencepiece_parse((const uint8_t *)bytes, n, source, tok, err) != OK)
        st = fail_at(err, path);
    free(bytes);
    return st;
}
