/*
 * documents.h - the texts a command line names, in memory
 */
#ifndef CLI_DOCUMENTS_H
#define CLI_DOCUMENTS_H

#include "cli/args.h"
#include "convert/calibrate/calibrate.h"

/* Read them; documents[i] is the text of paths->at[i]. Freed by documents_free() also after a
 * failure. ERR_USAGE, ERR_IO, ERR_NOMEM. */
MUST_CHECK enum status documents_read(const struct texts *paths,
                                      struct calibrate_document documents[TEXTS_MAX],
                                      struct error *err);
void documents_free(struct calibrate_document *documents, size_t n);

#endif
