/*
 * refused.h - checkpoints that must not open
 */
#ifndef TESTS_CONVERT_REFUSED_H
#define TESTS_CONVERT_REFUSED_H

#include "tests/convert/tiny.h"

/* Write the checkpoint and expect opening it to be refused with `want`, in a sentence that has both
 * texts. */
void expect_refused(const struct tiny *tiny, enum status want, const char *says,
                    const char *says_too);

#endif
