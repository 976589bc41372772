/*
 * pattern.h - the regular expressions of configurations, within bounds
 *
 * Configurations name modules by Python expressions. Those that appear are plain names and a few
 * signs: ".", "\.", "\d", "[a-b]", "[\w.]", "(a|b)", "(?:a|b)", "*", "+", "?", "$". They are put
 * into POSIX's words for the system's matcher, which a stranger's expression can keep busy for ever:
 * counts, back-references, looking around and heaps of signs are refused.
 */
#ifndef CONVERT_CHECKPOINT_PATTERN_H
#define CONVERT_CHECKPOINT_PATTERN_H

#include "base/base.h"

enum { PATTERN_BYTES = 512 };

/* Every key of the object `entries` (NULL: none) must be such an expression. ERR_UNSUPPORTED names
 * the first that is not, after `where`. */
MUST_CHECK enum status patterns_check(json_t *entries, const char *where,
                                      struct error *err);

/* True when the expression is found in the text; `whole`: it is all of the text, or of what follows
 * a "." in it, as PEFT asks. Checked before by patterns_check(). */
bool pattern_matches(const char *expression, const char *text, bool whole);

#endif
