/*
 * documents.c - the texts a command line names, in memory
 */
#include "cli/documents.h"

#include "cli/source_tokenizer.h"

#include <stdlib.h>

static enum status read_file(const char *path, struct documents *out, struct error *err)
{
    struct calibrate_document *document = &out->at[out->n];
    char *bytes = NULL;
    enum status st = source_text(path, &bytes, &document->n, err);

    document->name = path;
    document->bytes = bytes;
    out->owned[out->n] = bytes;
    out->n++;
    return st;
}

enum status documents_read(const struct texts *paths, struct documents *out,
                           struct error *err)
{
    bool has_default = false;
    enum status st = OK;

    *out = (struct documents){0};
    for (size_t i = 0; i < paths->n && st == OK; i++) {
        if (strcmp(paths->at[i], "default") != 0) {
            st = read_file(paths->at[i], out, err);
        } else if (has_default) {
            st = fail(err, ERR_USAGE, "the default text is given twice");
        } else {
            calibrate_default_documents(&out->at[out->n]);
            out->n += N_CALIBRATE_DEFAULTS;
            has_default = true;
        }
    }
    return st;
}

void documents_free(struct documents *documents)
{
    for (size_t i = 0; i < documents->n; i++)
        free(documents->owned[i]);
    *documents = (struct documents){0};
}
