/*
 * added_tokens.c - from the pieces of a tokenizer.json to one piece and one type an id
 *
 * Types follow llama.cpp's converter for Gemma 4 (gguf-py, LlamaHfVocab), with two differences
 * that keep a text's ids the same in both programs: a token the source lists as added and special
 * is a control token even if tokenizer_config.json does not name it, and one it lists as added
 * and not special is user-defined wherever its id lies.
 */
#include "formats/tokenizer/token_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PADDING_MAX = 256 };

/* ---- how the text is prepared ---- */

static bool is_text(const json_t *tree, const char *key, const char *want)
{
    const char *text = json_string_value(json_object_get(tree, key));

    return text && strcmp(text, want) == 0;
}

static const char *type_of(const json_t *tree)
{
    const char *type = json_string_value(json_object_get(tree, "type"));

    return type ? type : "without a type";
}

/* The one step of a Sequence, or the thing itself. */
static const json_t *only_step(const json_t *tree, const char *steps)
{
    const json_t *list = json_object_get(tree, steps);

    return is_text(tree, "type", "Sequence") && json_array_size(list) == 1
               ? json_array_get(list, 0)
               : tree;
}

static bool replaces_spaces(const json_t *normalizer)
{
    return is_text(normalizer, "type", "Replace") &&
           is_text(json_object_get(normalizer, "pattern"), "String", " ") &&
           is_text(normalizer, "content", "\xe2\x96\x81");
}

/* Metaspace without a space in front and without splitting is the same replacement. */
static bool marks_spaces(const json_t *pre)
{
    return is_text(pre, "type", "Metaspace") &&
           is_text(pre, "replacement", "\xe2\x96\x81") &&
           is_text(pre, "prepend_scheme", "never") &&
           json_is_false(json_object_get(pre, "split"));
}

/* A split on spaces finds none after the normalizer. */
static bool splits_spaces(const json_t *pre)
{
    return is_text(pre, "type", "Split") &&
           is_text(json_object_get(pre, "pattern"), "String", " ");
}

enum status tokenizer_json_check(const struct token_source *source, struct error *err)
{
    const json_t *normalizer = only_step(source->normalizer, "normalizers");
    const json_t *pre = only_step(source->pre_tokenizer, "pretokenizers");
    const bool has_normalizer = normalizer && !json_is_null(normalizer);
    const bool has_pre = pre && !json_is_null(pre);

    if (has_normalizer && !replaces_spaces(normalizer))
        return fail(
            err, ERR_UNSUPPORTED,
            "%s: tokenizer.json: a normalizer %s is not supported, only the one that "
            "replaces spaces by U+2581",
            source->folder, type_of(normalizer));
    if (has_pre && !(has_normalizer ? splits_spaces(pre) : marks_spaces(pre)))
        return fail(err, ERR_UNSUPPORTED,
                    "%s: tokenizer.json: a pre_tokenizer %s is not supported",
                    source->folder, type_of(pre));
    if (!has_normalizer && !has_pre)
        return fail(
            err, ERR_UNSUPPORTED,
            "%s: tokenizer.json: nothing replaces spaces by U+2581, as Gemma does",
            source->folder);
    return OK;
}

/* ---- added tokens ---- */

static uint8_t flags_of(const json_t *token)
{
    static const struct {
        const char *key;
        uint8_t flag;
    } flags[] = {{"lstrip", ADDED_LSTRIP},
                 {"rstrip", ADDED_RSTRIP},
                 {"single_word", ADDED_SINGLE_WORD},
                 {"special", ADDED_SPECIAL}};
    uint8_t all = ADDED_LISTED;

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (json_is_true(json_object_get(token, flags[i].key)))
            all |= flags[i].flag;
    return all;
}

/* Give an added token its piece, unless the vocabulary has it or the table has no row for it. */
static enum status add_token(const struct token_source *source, struct tokenizer *tok,
                             const json_t *token, struct error *err)
{
    const json_t *content = json_object_get(token, "content"),
                 *id = json_object_get(token, "id");
    const char *text = json_string_value(content);
    int32_t there;

    if (!text || !json_is_integer(id) || json_integer_value(id) < 0)
        return fail(err, ERR_CORRUPT, "an added token without \"id\" and \"content\"");
    there = pieces_find(&tok->pieces, text, json_string_length(content));
    if (there >= 0) {
        if (there != json_integer_value(id))
            log_warn("%s: the added token \"%s\" is listed with id %lld but has id %d",
                     source->folder, text, (long long)json_integer_value(id), (int)there);
        return OK;
    }
    if (source->rows && (uint64_t)json_integer_value(id) >= source->rows) {
        log_warn("%s: the added token \"%s\" is left out: its id %lld is beyond the %llu "
                 "rows of "
                 "the embedding table",
                 source->folder, text, (long long)json_integer_value(id),
                 (unsigned long long)source->rows);
        return OK;
    }
    if ((uint64_t)json_integer_value(id) >
        tok->pieces.n + json_array_size(source->added) + PADDING_MAX)
        return fail(err, ERR_CORRUPT,
                    "the added token \"%.40s\" has id %lld, far beyond the %zu "
                    "pieces before it",
                    text, (long long)json_integer_value(id), tok->pieces.n);
    return pieces_set(&tok->pieces, (uint64_t)json_integer_value(id), text,
                      json_string_length(content), err);
}

static enum status add_tokens(const struct token_source *source, struct tokenizer *tok,
                              struct error *err)
{
    for (size_t i = 0; i < json_array_size(source->added); i++) {
        const enum status st =
            add_token(source, tok, json_array_get(source->added, i), err);

        if (st != OK)
            return st;
    }
    return OK;
}

/* ---- rows without a token ---- */

/* Ids of model.vocab must be 0 .. n - 1, but for those that added tokens fill. */
static enum status check_holes(const struct tokenizer *tok, size_t n_vocab,
                               struct error *err)
{
    size_t n;

    for (size_t id = 0; id < n_vocab; id++)
        if (!pieces_has(&tok->pieces, id))
            return fail(err, ERR_CORRUPT,
                        "piece \"%.40s\" has id %zu, but no piece has id %zu",
                        pieces_text(&tok->pieces, n_vocab - 1, &n), n_vocab - 1, id);
    return OK;
}

enum status check_rows(size_t n_pieces, uint64_t rows, struct error *err)
{
    const uint64_t missing = rows > n_pieces ? rows - n_pieces : 0;

    /* Tables are padded to multiples of 64 or 128, never by an eighth of what is there. */
    if (missing >= PADDING_MAX || missing > n_pieces / 8)
        return fail(err, ERR_CORRUPT,
                    "%zu pieces for the %llu rows of the embedding table (vocab_size)",
                    n_pieces, (unsigned long long)rows);
    return OK;
}

enum status pad_pieces(struct tokenizer *tok, uint64_t rows, struct error *err)
{
    enum status st = OK;

    if (rows < tok->pieces.n)
        rows = tok->pieces.n;
    for (uint64_t id = 0; id < rows && st == OK; id++) {
        char text[32];
        int n;

        if (pieces_has(&tok->pieces, (size_t)id))
            continue;
        n = snprintf(text, sizeof(text), "[PAD%llu]", (unsigned long long)id);
        st = pieces_set(&tok->pieces, id, text, (size_t)n, err);
    }
    return st;
}

/* ---- types ---- */

bool stays_visible(const char *text)
{
    static const char *const visible[] = {
        "<|channel>",       "<channel|>",       "<|tool_call>", "<tool_call|>",
        "<|tool_response>", "<tool_response|>", "<|\"|>",
    };

    for (size_t i = 0; i < sizeof(visible) / sizeof(visible[0]); i++)
        if (strcmp(text, visible[i]) == 0)
            return true;
    return false;
}

bool looks_special(const char *text, size_t n)
{
    static const struct {
        const char *begin, *end;
    } frames[] = {{"<|", "|>"}, {"<\xef\xbd\x9c", "\xef\xbd\x9c>"}, {"<unused", ">"}};
    static const char *const whole[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};

    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        if (strcmp(text, whole[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        const size_t n_begin = strlen(frames[i].begin), n_end = strlen(frames[i].end);

        if (n >= n_begin && n >= n_end && memcmp(text, frames[i].begin, n_begin) == 0 &&
            memcmp(text + n - n_end, frames[i].end, n_end) == 0)
            return true;
    }
    return false;
}

/* A user-defined token with U+2581 would be looked for in the text before spaces become that; as
 * an ordinary piece the merges find it. */
static enum piece_type added_type(const struct token_source *source, uint8_t flags,
                                  const char *text, size_t n)
{
    if (flags & ADDED_SPECIAL || (source->is_older && looks_special(text, n)))
        return PIECE_CONTROL;
    return strstr(text, "\xe2\x96\x81") ? PIECE_NORMAL : PIECE_USER;
}

static void note_flags(const struct token_source *source, struct tokenizer *tok)
{
    for (size_t i = 0; i < json_array_size(source->added); i++) {
        const json_t *token = json_array_get(source->added, i);
        const json_t *content = json_object_get(token, "content");
        const int32_t id = pieces_find(&tok->pieces, json_string_value(content),
                                       json_string_length(content));

        if (id >= 0)
            tok->flags[id] = flags_of(token);
    }
}

static void set_types(const struct token_source *source, struct tokenizer *tok,
                      size_t n_given)
{
    for (size_t id = 0; id < tok->pieces.n; id++) {
        size_t n;
        const char *text = pieces_text(&tok->pieces, id, &n);

        if (stays_visible(text))
            tok->types[id] = PIECE_USER;
        else if (byte_of_piece(text, n) >= 0)
            tok->types[id] = PIECE_BYTE;
        else if (tok->flags[id] & ADDED_LISTED)
            tok->types[id] = (uint8_t)added_type(source, tok->flags[id], text, n);
        else if (id >= n_given)
            tok->types[id] = PIECE_UNUSED;
    }
}

enum status added_tokens_apply(const struct token_source *source, struct tokenizer *tok,
                               struct error *err)
{
    const size_t n_vocab = tok->pieces.n;
    size_t n_given, n;
    enum status st = add_tokens(source, tok, err);

    if (st == OK)
        st = check_holes(tok, n_vocab, err);
    n_given = tok->pieces.n;
    if (st == OK && source->rows && n_given > source->rows)
        st = fail(
            err, ERR_CORRUPT,
            "piece \"%.40s\" has id %zu, beyond the %llu rows of the embedding table",
            pieces_text(&tok->pieces, n_given - 1, &n), n_given - 1,
            (unsigned long long)source->rows);
    if (st == OK && source->rows)
        st = check_rows(tok->pieces.n_set, source->rows, err);
    if (st == OK)
        st = pad_pieces(tok, source->rows, err);
    if (st == OK)
        st = vocabulary_make_room(tok, false, err);
    if (st != OK)
        return st;
    note_flags(source, tok);
    set_types(source, tok, n_given);
    return OK;
}
