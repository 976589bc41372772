/*
 * gemma4.h - what the two files of Gemma 4 share
 */
#ifndef CONVERT_GEMMA_GEMMA4_H
#define CONVERT_GEMMA_GEMMA4_H

#include "convert/gemma/gemma.h"

enum { GEMMA4_MAX_LAYERS = 1024, GEMMA4_MAX_EXPERTS = 4096 };

/* The reader of struct gemma_family. */
MUST_CHECK enum status gemma4_read(const json_t *config, struct arena *arena,
                                   struct gemma_config *out, struct error *err);

#endif
