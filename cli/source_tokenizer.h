/*
 * source_tokenizer.h - the tokenizer of whatever the user calls a model, and text from a file
 */
#ifndef CLI_SOURCE_TOKENIZER_H
#define CLI_SOURCE_TOKENIZER_H

#include "formats/tokenizer/tokenizer.h"

/* Of a GGUF, a checkpoint folder, or a weights file beside its tokenizer. No weights are read. */
MUST_CHECK enum status source_tokenizer(const char *path, struct tokenizer **out,
                                        struct error *err);

/* The whole of a text file, or of stdin for "-": at most 1 GiB, NUL-terminated, owned by the
 * caller. ERR_INTERRUPTED. */
MUST_CHECK enum status source_text(const char *path, char **out, size_t *n,
                                   struct error *err);

#endif
