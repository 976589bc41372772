/*
 * tokenizer_json.c - walk a tokenizer.json, which may be far larger than what it says
 *
 * The two large members, model.vocab and model.merges, go straight from the scanner into the
 * vocabulary; the small ones become trees.
 */
#include "formats/archive/archive.h"
#include "formats/tokenizer/token_source.h"

#include <stdlib.h>
#include <string.h>

enum { TREE_MAX = 16 << 20, FILE_MAX = 1 << 29 };

struct reader {
    const char *path;
    struct json_scanner scan;
    struct token_source *source;
    struct tokenizer *tok; /* NULL: only the trees are wanted */
    bool has_vocab, has_merges;
    bool merges_wait; /* they stand before the vocabulary: walk again */
    bool only_merges; /* the second walk */
    bool has_bytes;   /* byte_fallback */
    struct error *err;
};

static enum status not_json(struct reader *r)
{
    return fail(r->err, ERR_CORRUPT, "%s: not JSON at position %zu: %s", r->path,
                r->scan.at, r->scan.why ? r->scan.why : "something else was expected");
}

static enum status wrong(struct reader *r, const char *what)
{
    if (r->scan.why)
        return not_json(r);
    return fail(r->err, ERR_CORRUPT, "%s: %s (position %zu)", r->path, what, r->scan.at);
}

static enum status skip(struct reader *r)
{
    return json_scan_skip(&r->scan) ? OK : not_json(r);
}

/* The value that comes next, as a tree owned by *out. */
static enum status read_tree(struct reader *r, json_t **out)
{
    const size_t begin = r->scan.at;
    enum status st = skip(r);
    size_t n = r->scan.at - begin;
    json_error_t trouble;

    if (st != OK)
        return st;
    if (n > TREE_MAX)
        return fail(r->err, ERR_UNSUPPORTED,
                    "%s: a part of %zu bytes at position %zu is too long", r->path, n,
                    begin);
    json_decref(*out);
    *out = json_loadb(r->scan.bytes + begin, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES,
                      &trouble);
    if (!*out)
        return fail(r->err, ERR_CORRUPT, "%s: position %zu: %s", r->path,
                    begin + (size_t)trouble.position, trouble.text);
    return OK;
}

/* ---- the vocabulary ---- */

static enum status read_piece(struct reader *r)
{
    char text[PIECE_MAX_BYTES];
    const size_t n = r->scan.n_text;
    uint64_t id;
    enum status st;

    if (n >= sizeof(text))
        return fail(r->err, ERR_UNSUPPORTED, "%s: a piece of %zu bytes (position %zu)",
                    r->path, n, r->scan.at);
    memcpy(text, r->scan.text, n + 1);
    if (json_scan_next(&r->scan) != SCAN_NUMBER)
        return wrong(r, "the id of a piece is not a number");
    if (!json_scan_u64(&r->scan, &id))
        return fail(r->err, ERR_CORRUPT, "%s: piece \"%.40s\" has the id %.40s", r->path,
                    text, r->scan.text);
    if (id > r->scan.n_bytes)
        return fail(r->err, ERR_CORRUPT,
                    "%s: piece \"%.40s\" has the id %llu, more than there can be pieces",
                    r->path, text, (unsigned long long)id);
    st = pieces_set(&r->tok->pieces, id, text, n, r->err);
    return st == OK ? OK : fail_at(r->err, r->path);
}

static enum status read_vocab(struct reader *r)
{
    enum json_event event = json_scan_next(&r->scan);

    if (event != SCAN_OBJECT_BEGIN)
        return wrong(r, "model.vocab is not an object");
    r->has_vocab = true;
    while ((event = json_scan_next(&r->scan)) == SCAN_KEY) {
        enum status st = read_piece(r);

        if (st != OK)
            return st;
    }
    return event == SCAN_OBJECT_END ? OK : not_json(r);
}

/* ---- merges ---- */

static enum status add_merge(struct reader *r, const char *left, size_t n_left,
                             const char *right, size_t n_right)
{
    const enum status st = merges_add(&r->tok->merges, &r->tok->pieces, left, n_left,
                                      right, n_right, r->err);

    return st == OK ? OK : fail_at(r->err, r->path);
}

/* "left right" */
static enum status read_joined(struct reader *r)
{
    const char *text = r->scan.text;
    const size_t n = r->scan.n_text;
    const char *space = memchr(text, ' ', n);
    size_t n_left;

    if (!space || memchr(space + 1, ' ', n - (size_t)(space - text) - 1))
        return fail(r->err, ERR_CORRUPT, "%s: merge %zu is not two pieces: \"%.40s\"",
                    r->path, r->tok->merges.n, text);
    n_left = (size_t)(space - text);
    return add_merge(r, text, n_left, space + 1, n - n_left - 1);
}

/* ["left", "right"] */
static enum status read_pair(struct reader *r)
{
    char left[PIECE_MAX_BYTES];
    size_t n_left;
    enum status st;

    if (json_scan_next(&r->scan) != SCAN_STRING || r->scan.n_text >= sizeof(left))
        return wrong(r, "a merge is not two pieces");
    n_left = r->scan.n_text;
    memcpy(left, r->scan.text, n_left + 1);
    if (json_scan_next(&r->scan) != SCAN_STRING || r->scan.n_text >= sizeof(left))
        return wrong(r, "a merge is not two pieces");
    st = add_merge(r, left, n_left, r->scan.text, r->scan.n_text);
    if (st == OK && json_scan_next(&r->scan) != SCAN_ARRAY_END)
        return wrong(r, "a merge is not two pieces");
    return st;
}

static enum status read_merges(struct reader *r)
{
    enum json_event event;

    if (!r->has_vocab) {
        r->merges_wait = true;
        return skip(r);
    }
    if (json_scan_next(&r->scan) != SCAN_ARRAY_BEGIN)
        return wrong(r, "model.merges is not a list");
    r->has_merges = true;
    while ((event = json_scan_next(&r->scan)) != SCAN_ARRAY_END) {
        enum status st;

        if (event != SCAN_STRING && event != SCAN_ARRAY_BEGIN)
            return wrong(r, "a merge is not two pieces");
        st = event == SCAN_STRING ? read_joined(r) : read_pair(r);
        if (st != OK)
            return st;
    }
    return OK;
}

/* ---- the model ---- */

static enum status read_type(struct reader *r)
{
    if (json_scan_next(&r->scan) != SCAN_STRING)
        return wrong(r, "model.type is not a string");
    if (strcmp(r->scan.text, "BPE") != 0)
        return fail(r->err, ERR_UNSUPPORTED,
                    "%s: a tokenizer of type %.40s is not supported, only BPE", r->path,
                    r->scan.text);
    return OK;
}

/* Members that must be off: null, false or "". */
static enum status read_off(struct reader *r, const char *name)
{
    const enum json_event event = json_scan_next(&r->scan);

    if (event == SCAN_NULL || event == SCAN_FALSE ||
        (event == SCAN_STRING && r->scan.n_text == 0))
        return OK;
    if (event == SCAN_BAD)
        return not_json(r);
    return fail(r->err, ERR_UNSUPPORTED, "%s: model.%s is not supported", r->path, name);
}

static enum status read_model_member(struct reader *r)
{
    const char *name = r->scan.text;

    if (strcmp(name, "merges") == 0 && r->tok)
        return read_merges(r);
    if (r->only_merges)
        return skip(r);
    if (strcmp(name, "type") == 0)
        return read_type(r);
    if (strcmp(name, "vocab") == 0 && r->tok)
        return read_vocab(r);
    if (strcmp(name, "continuing_subword_prefix") == 0)
        return read_off(r, "continuing_subword_prefix");
    if (strcmp(name, "end_of_word_suffix") == 0)
        return read_off(r, "end_of_word_suffix");
    if (strcmp(name, "ignore_merges") == 0)
        return read_off(r, "ignore_merges");
    if (strcmp(name, "byte_fallback") != 0)
        return skip(r);
    r->has_bytes = json_scan_next(&r->scan) == SCAN_TRUE;
    return r->scan.why ? not_json(r) : OK;
}

static enum status read_model(struct reader *r)
{
    enum json_event event;

    if (json_scan_next(&r->scan) != SCAN_OBJECT_BEGIN)
        return wrong(r, "model is not an object");
    while ((event = json_scan_next(&r->scan)) == SCAN_KEY) {
        enum status st = read_model_member(r);

        if (st != OK)
            return st;
    }
    return event == SCAN_OBJECT_END ? OK : not_json(r);
}

/* ---- the file ---- */

static enum status read_member(struct reader *r)
{
    const struct {
        const char *name;
        json_t **tree;
    } trees[] = {
        {"added_tokens", &r->source->added},
        {"normalizer", &r->source->normalizer},
        {"pre_tokenizer", &r->source->pre_tokenizer},
        {"post_processor", &r->source->post_processor},
    };

    if (strcmp(r->scan.text, "model") == 0)
        return read_model(r);
    for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]) && !r->only_merges; i++)
        if (strcmp(r->scan.text, trees[i].name) == 0)
            return read_tree(r, trees[i].tree);
    return skip(r);
}

static enum status walk(struct reader *r, const char *bytes, size_t n_bytes)
{
    enum json_event event;
    enum status st = OK;

    json_scan_begin(&r->scan, bytes, n_bytes);
    if (json_scan_next(&r->scan) != SCAN_OBJECT_BEGIN)
        st = wrong(r, "not an object at the top");
    while (st == OK && (event = json_scan_next(&r->scan)) != SCAN_OBJECT_END)
        st = event == SCAN_KEY ? read_member(r) : not_json(r);
    if (st == OK && json_scan_next(&r->scan) != SCAN_END)
        st = not_json(r);
    json_scan_end(&r->scan);
    return st;
}

enum status tokenizer_json_parse(const char *path, const char *bytes, size_t n_bytes,
                                 struct token_source *source, struct tokenizer *tok,
                                 struct error *err)
{
    struct reader r = {.path = path, .source = source, .tok = tok, .err = err};
    enum status st = walk(&r, bytes, n_bytes);

    if (st != OK || !tok)
        return st;
    if (!r.has_vocab)
        return fail(err, ERR_CORRUPT, "%s: no model.vocab", path);
    if (!r.has_bytes)
        return fail(err, ERR_UNSUPPORTED,
                    "%s: a vocabulary without byte_fallback is not supported", path);
    r.only_merges = true;
    if (r.merges_wait)
        st = walk(&r, bytes, n_bytes);
    if (st == OK && !r.has_merges)
        return fail(err, ERR_CORRUPT, "%s: no model.merges", path);
    return st;
}

enum status tokenizer_json_read(const char *path, struct token_source *source,
                                struct tokenizer *tok, struct error *err)
{
    const size_t length = strlen(path);
    const bool is_gzip = length > 3 && strcmp(path + length - 3, ".gz") == 0;
    char *bytes = NULL;
    size_t n = 0;
    enum status st = is_gzip ? archive_read_gzip(path, FILE_MAX, &bytes, &n, err)
                             : file_read_all(path, FILE_MAX, &bytes, &n, err);

    if (st == OK)
        st = check_pointer(path, bytes, n, err);
    if (st == OK)
        st = tokenizer_json_parse(path, bytes, n, source, tok, err);
    free(bytes);
    return st;
}
