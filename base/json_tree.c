/*
 * json_tree.c - a configuration file as jansson's tree, with limits
 */
#include "base/file.h"
#include "base/json.h"

#include <stdlib.h>

enum { MAX_BYTES = 16 << 20 };

enum status json_read_file(const char *path, json_t **out, struct error *err)
{
    json_error_t trouble;
    char *text = NULL;
    size_t n = 0;
    json_t *tree;
    enum status st = file_read_all(path, MAX_BYTES, &text, &n, err);

    if (st != OK)
        return st;
    tree = json_loadb(text, n, JSON_REJECT_DUPLICATES, &trouble);
    free(text);
    if (!tree && json_error_code(&trouble) == json_error_out_of_memory)
        return fail(err, ERR_NOMEM, "%s: no memory for its tree", path);
    if (!tree)
        return fail(err, ERR_CORRUPT, "%s: line %d, column %d: %s", path, trouble.line,
                    trouble.column, trouble.text);
    if (!json_is_object(tree)) {
        json_decref(tree);
        return fail(err, ERR_CORRUPT, "%s: not an object at the top", path);
    }
    *out = tree;
    return OK;
}
