/*
 * documents.h - the texts a command line names, in memory
 */
#ifndef CLI_DOCUMENTS_H
#define CLI_DOCUMENTS_H

#include "cli/args.h"
#include "convert/calibrate/calibrate.h"

enum { DOCUMENTS_MAX = (int)TEXTS_MAX + (int)N_CALIBRATE_DEFAULTS };

struct documents {
    struct calibrate_document at[DOCUMENTS_MAX];
    void *owned[DOCUMENTS_MAX]; /* what at[i] has of a file */
    size_t n;
};

/* Read them in their order; "default" stands for the documents the program carries (a file of that
 * name is ./default). Freed by documents_free() also after a failure; a zeroed one is fine.
 * ERR_USAGE, ERR_IO, ERR_NOMEM. */
MUST_CHECK enum status documents_read(const struct texts *paths, struct documents *out,
                                      struct error *err);
void documents_free(struct documents *documents);

#endif
