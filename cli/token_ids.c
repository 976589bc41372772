/*
 * token_ids.c - lists of token ids as people write them
 */
#include "cli/token_ids.h"
#include "cli/source_tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char separators[] = " \t\r\n,[]";

static enum status parse_id(const char *text, size_t n, int32_t *out, struct error *err)
{
    char *end;
    long id;

    errno = 0;
    id = strtol(text, &end, 10);
    if (end != text + n || errno != 0 || id < 0 || id > INT32_MAX)
        return fail(err, ERR_USAGE, "%.*s: not a token id", n < 40 ? (int)n : 40, text);
    *out = (int32_t)id;
    return OK;
}

static enum status parse_ids(const char *text, int32_t *ids, size_t *n, struct error *err)
{
    enum status st = OK;

    *n = 0;
    while (st == OK && *(text += strspn(text, separators)) != '\0') {
        size_t length = strcspn(text, separators);

        st = parse_id(text, length, &ids[(*n)++], err);
        text += length;
    }
    if (st == OK && *n == 0)
        st = fail(err, ERR_USAGE, "no token ids");
    return st;
}

enum status token_ids_read(const char *path, int32_t **ids, size_t *n, struct error *err)
{
    int32_t *list = NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    enum status st = source_text(path, &text, &n_bytes, err);

    if (st != OK)
        return st;
    list = calloc(n_bytes / 2 + 1, sizeof(*list)); /* an id and a separator at least */
    if (!list)
        st = fail(err, ERR_NOMEM, "no memory for the ids");
    else if (strlen(text) != n_bytes)
        st = fail(err, ERR_USAGE, "not a text of token ids");
    else
        st = parse_ids(text, list, n, err);
    free(text);
    if (st != OK) {
        free(list);
        return fail_at(err, path);
    }
    *ids = list;
    return OK;
}
