/*
 * json_tree.c - a configuration file as jansson's tree, with limits
 *
 * Integers beyond 64 bits become reals: Python writes them (a tokenizer's model_max_length is
 * 10^30 when there is no limit), jansson refuses them.
 */
#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A value of two bytes takes jansson 200: their number is what bounds memory. */
enum { MAX_BYTES = 16 << 20, MAX_VALUES = 1 << 20 };

/* One, and the commas and opening brackets outside of strings: at least as many as there are values,
 * at most twice as many. */
static bool has_few_values(const char *text, size_t n)
{
    size_t n_values = 1;

    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"')
            for (i++; i < n && text[i] != '"'; i++)
                i += text[i] == '\\';
        else
            n_values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    }
    return n_values <= MAX_VALUES;
}

/* A literal without a point or an exponent whose value does not fit int64. */
static bool is_too_big(const struct json_scanner *scanner)
{
    if (strpbrk(scanner->text, ".eE"))
        return false;
    errno = 0;
    (void)strtoll(scanner->text, NULL, 10);
    return errno == ERANGE;
}

/* A copy of the text with ".0" after each integer that is too big. NULL when memory is out or
 * the text is not JSON. Owned by the caller. */
static char *with_reals(const char *text, size_t n, size_t *n_out)
{
    /* Such an integer has 19 digits or more, so the copy grows by less than an eighth. */
    char *copy = malloc(n + n / 8 + 2);
    struct json_scanner scanner;
    enum json_event event;
    size_t from = 0, at = 0;

    if (!copy)
        return NULL;
    json_scan_begin(&scanner, text, n);
    while ((event = json_scan_next(&scanner)) != SCAN_END && event != SCAN_BAD) {
        if (event != SCAN_NUMBER || !is_too_big(&scanner))
            continue;
        memcpy(copy + at, text + from, scanner.at - from);
        at += scanner.at - from;
        copy[at++] = '.';
        copy[at++] = '0';
        from = scanner.at;
    }
    json_scan_end(&scanner);
    memcpy(copy + at, text + from, n - from);
    *n_out = at + n - from;
    return copy;
}

static json_t *parse(const char *text, size_t n, json_error_t *trouble)
{
    json_t *tree = json_loadb(text, n, JSON_REJECT_DUPLICATES, trouble);
    char *copy;

    if (tree || json_error_code(trouble) != json_error_numeric_overflow)
        return tree;
    copy = with_reals(text, n, &n);
    if (copy)
        tree = json_loadb(copy, n, JSON_REJECT_DUPLICATES, trouble);
    free(copy);
    return tree;
}

enum { KEY_SHOWN = 64 };

/* The last member name before `end`, for a sentence: "rms_norm_eps: "; empty when there is none.
 * The text up to there is JSON, so quotes pair up. */
static const char *key_before(const char *text, size_t end, char out[KEY_SHOWN + 4])
{
    const char *found = NULL;
    size_t n = 0;

    for (size_t i = 0; i < end; i++) {
        const size_t begin = i + 1;

        if (text[i] != '"')
            continue;
        for (i = begin; i < end && text[i] != '"'; i++)
            i += text[i] == '\\';
        if (i + 1 < end && text[i + 1] == ':') {
            found = text + begin;
            n = i - begin;
        }
    }
    out[0] = '\0';
    if (found && n < KEY_SHOWN) {
        memcpy(out, found, n);
        memcpy(out + n, ": ", 3);
    }
    return out;
}

/* What jansson found, with the member it happened in. */
static enum status bad_json(const char *path, const char *text, size_t n,
                            const json_error_t *trouble, struct error *err)
{
    char key[KEY_SHOWN + 4];
    const size_t at = trouble->position > 0 && (size_t)trouble->position <= n
                          ? (size_t)trouble->position
                          : 0;

    /* Not every allocation that fails in there leaves a word. */
    if (json_error_code(trouble) == json_error_out_of_memory || trouble->text[0] == '\0')
        return fail(err, ERR_NOMEM, "%s: no memory for its tree", path);
    if (json_error_code(trouble) == json_error_invalid_utf8)
        return fail(err, ERR_CORRUPT, "%s: not UTF-8: %s", path, trouble->text);
    return fail(err, ERR_CORRUPT, "%s: %sline %d, column %d (position %d): %s", path,
                key_before(text, at, key), trouble->line, trouble->column,
                trouble->position, trouble->text);
}

/* Any value at the top. */
static enum status read_tree(const char *path, json_t **out, struct error *err)
{
    json_error_t trouble;
    char *text = NULL;
    size_t n = 0;
    enum status st = file_read_all(path, MAX_BYTES, &text, &n, err);

    if (st != OK)
        return st;
    if (!has_few_values(text, n)) {
        free(text);
        return fail(err, ERR_CORRUPT, "%s: more than %d values", path, MAX_VALUES);
    }
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        free(text);
        return fail(err, ERR_CORRUPT,
                    "%s: begins with a byte order mark, which JSON does not have", path);
    }
    *out = parse(text, n, &trouble);
    st = *out ? OK : bad_json(path, text, n, &trouble, err);
    free(text);
    return st;
}

enum status json_read_file(const char *path, json_t **out, struct error *err)
{
    json_t *tree;
    const enum status st = read_tree(path, &tree, err);

    if (st != OK)
        return st;
    if (!json_is_object(tree)) {
        json_decref(tree);
        return fail(err, ERR_CORRUPT, "%s: not an object at the top", path);
    }
    *out = tree;
    return OK;
}

enum status json_read_list(const char *path, json_t **out, struct error *err)
{
    json_t *tree;
    const enum status st = read_tree(path, &tree, err);

    if (st != OK)
        return st;
    if (!json_is_array(tree)) {
        json_decref(tree);
        return fail(err, ERR_CORRUPT, "%s: not a list at the top", path);
    }
    *out = tree;
    return OK;
}
