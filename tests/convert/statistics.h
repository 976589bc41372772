/*
 * statistics.h - a small checkpoint, texts, and conversions that gather statistics from them
 *
 *     TestSuite(x, .init = statistics_begin, .fini = statistics_end);
 *
 * What goes wrong in here is not what a test is about: it aborts.
 */
#ifndef TESTS_CONVERT_STATISTICS_H
#define TESTS_CONVERT_STATISTICS_H

#include "convert/calibrate/calibrate.h"
#include "convert/convert.h"
#include "tests/convert/tiny.h"

extern struct tiny tiny; /* a TINY_E2B, written, while a test runs */

void statistics_begin(void);
void statistics_end(void);

struct model *statistics_model(void);

/* n copies of a sentence; owned: free(). */
char *statistics_repeat(const char *sentence, size_t n);
struct calibrate_document statistics_document(const char *name, const char *text);

/* A compensated Q4_0 in one file, with moments of 1,024 tokens of one document. */
struct convert_options statistics_asked(const struct calibrate_document *documents);
/* Convert the checkpoint to a file in its folder; the SHA-256 of what came of it. */
void statistics_convert(const char *name, const struct convert_options *options,
                        char sha256[65]);
/* What a conversion would gather from a text, to the files these options name. */
void statistics_gather(const struct calibrate_options *options,
                       const struct calibrate_document *d);

#endif
