/*
 * fields.h - typed fields of a config: text_config first, then the top
 */
#ifndef CONVERT_GEMMA_FIELDS_H
#define CONVERT_GEMMA_FIELDS_H

#include "base/base.h"

/* The value of `key` in text_config, else at the top; NULL when absent or null in both. */
const json_t *field_find(const json_t *config, const char *key);

/* True when the key is there, null or not. */
bool field_exists(const json_t *config, const char *key);

/* A whole number from 0 to 2^31 - 1. Absent: `absent`, or ERR_CORRUPT naming the key when
 * FIELD_REQUIRED. */
enum { FIELD_REQUIRED = -1 };
MUST_CHECK enum status field_u32(const json_t *config, const char *key, int64_t absent,
                                 uint32_t *out, struct error *err);

/* A finite number. Absent: `absent`. */
MUST_CHECK enum status field_f32(const json_t *config, const char *key, double absent,
                                 float *out, struct error *err);

MUST_CHECK enum status field_bool(const json_t *config, const char *key, bool absent,
                                  bool *out, struct error *err);

#endif
