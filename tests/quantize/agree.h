/*
 * agree.h - does a table of encoders compute the bits the scalar table computes?
 *
 * No test framework here: the same file runs under an emulator of another machine.
 */
#ifndef TESTS_QUANTIZE_AGREE_H
#define TESTS_QUANTIZE_AGREE_H

#include "quantize/encode_tables.h"

/* NULL when every entry agrees on seeded weights (zeros, outliers, denormals, ties, one
 * sign, negative zeros among them); otherwise the name of the first that does not. */
const char *tables_disagree(const struct encoders *fast);

#endif
