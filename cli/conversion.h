/*
 * conversion.h - the options that convert and plan share, and verify in part
 */
#ifndef CLI_CONVERSION_H
#define CLI_CONVERSION_H

#include "cli/args.h"
#include "cli/documents.h"
#include "convert/convert.h"

/* What the user wrote, and the strings made of it. */
struct conversion {
    const char *out, *type, *recipe, *ple_type, *imatrix, *moments, *chat_template,
        *sensitivity;
    struct texts loras, metadata, texts;
    int ple, method; /* positions in "split|inline" and "plain|search|compensate" */
    int equalize;    /* in "auto|on|off", or -1 when it was not given */
    uint64_t max_memory, tokens, target_size, ple_size;
    bool force, resume, keep_dead;
    struct convert_lora adapters[TEXTS_MAX];
    struct documents documents;
    struct arena arena;
};

enum { CONVERSION_OPTIONS = 21, CONVERSION_SOURCE = 4 };

/* Fill rows whose values lie in `c`; the caller may add its own behind and ends the table. */
void conversion_rows(struct conversion *c, struct option rows[CONVERSION_OPTIONS]);

/* The rows that change which numbers and texts the source holds, CONVERSION_SOURCE of them. */
size_t conversion_source_rows(struct conversion *c,
                              struct option rows[CONVERSION_SOURCE]);

/* What these rows say; borrows from `c`. ERR_USAGE; ERR_NOMEM. */
MUST_CHECK enum status conversion_source(struct conversion *c, struct source_options *out,
                                         struct error *err);

/* What the library wants to know; borrows from `c`. ERR_USAGE; ERR_NOMEM. */
MUST_CHECK enum status conversion_options(struct conversion *c,
                                          struct convert_options *out, struct error *err);

void conversion_free(struct conversion *c);

#endif
