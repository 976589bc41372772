/*
 * documents.c - the texts a command line names, in memory
 */
#include "cli/documents.h"

#include "cli/source_tokenizer.h"

#include <stdlib.h>

enum status documents_read(const struct texts *paths,
                           struct calibrate_document documents[TEXTS_MAX],
                           struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < paths->n && st == OK; i++) {
        char *bytes = NULL;

        st = source_text(paths->at[i], &bytes, &documents[i].n, err);
        documents[i].name = paths->at[i];
        documents[i].bytes = bytes;
    }
    return st;
}

void documents_free(struct calibrate_document *documents, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)documents[i].bytes);
}
