/*
 * token_ids.c - lists of token ids as people write them
 */
#include "cli/token_ids.h"
#include "cli/source_tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char separators[] = " \t\r\n\v\f,[]";

static enum status parse_id(const char *text, size_t n, int32_t *out, struct error *err)
{
    char *end;
    long id;

    errno = 0;
    id = strtol(text, &end, 10);
    if (n == 0 || end != text + n || errno != 0 || id < 0 || id > INT32_MAX)
        return fail(err, ERR_USAGE, "%.*s: not a token id", n < 40 ? (int)n : 40, text);
    *out = (int32_t)id;
    return OK;
}

enum status token_ids_parse(const char *text, size_t n_bytes, int32_t **ids, size_t *n,
                            struct error *err)
{
    int32_t *list = calloc(n_bytes / 2 + 1, sizeof(*list)); /* digits, then a separator */
    const char *at = text, *end = text + n_bytes;
    size_t count = 0;
    enum status st = list ? OK : fail(err, ERR_NOMEM, "no memory for the ids");

    for (;;) {
        at += strspn(at, separators);
        if (st != OK || at >= end)
            break;
        const size_t length = strcspn(at, separators);

        st = parse_id(at, length, &list[count++], err);
        at += length;
    }
    if (st != OK) {
        free(list);
        return st;
    }
    *ids = list;
    *n = count;
    return OK;
}

enum status token_ids_read(const char *path, int32_t **ids, size_t *n, struct error *err)
{
    char *text = NULL;
    size_t n_bytes = 0;
    enum status st = source_text(path, &text, &n_bytes, err);

    if (st != OK)
        return st;
    st = token_ids_parse(text, n_bytes, ids, n, err);
    free(text);
    if (st == OK && *n == 0) {
        free(*ids);
        st = fail(err, ERR_USAGE, "no token ids");
    }
    return st == OK ? OK : fail_at(err, path);
}
