/*
 * encode_tables.h - the tables by name, for the file that chooses among them
 */
#ifndef QUANTIZE_ENCODE_TABLES_H
#define QUANTIZE_ENCODE_TABLES_H

#include "quantize/encoders.h"

extern const struct encoders encode_scalar;
extern const struct encoders encode_avx2;
extern const struct encoders encode_avx512;
extern const struct encoders encode_neon;

#endif
