/*
 * compare_report.h - the figures of `carat compare` as a table or as JSON
 */
#ifndef CLI_COMPARE_REPORT_H
#define CLI_COMPARE_REPORT_H

#include "cli/ui.h"
#include "verify/verify.h"

struct compare_row {
    const char *model; /* as the user named it */
    struct comparison figures, noise;
    bool has_noise;
};

struct compare_report {
    const char *path; /* of the reference */
    uint8_t sha256[32];
    const struct logits_facts *facts;
    struct compare_row *rows; /* owned */
    size_t n_rows;
    uint64_t seed;
};

/* One model: an object with the figures; several: {"models": [...], "paired": [...]}, each pair a
 * model and the one before it. */
MUST_CHECK enum status compare_report_print(const struct ui *ui,
                                            const struct compare_report *report,
                                            struct error *err);
void compare_report_free(struct compare_report *report); /* members only */

#endif
