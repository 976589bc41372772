/*
 * token_ids.h - lists of token ids as people write them
 */
#ifndef CLI_TOKEN_IDS_H
#define CLI_TOKEN_IDS_H

#include "base/base.h"

/* The ids in n_bytes of text, behind which stands a separator or NUL; none is fine. *ids is owned by the
 * caller. ERR_USAGE names what is not an id. */
MUST_CHECK enum status token_ids_parse(const char *text, size_t n_bytes, int32_t **ids,
                                       size_t *n, struct error *err);

/* The ids in a file (stdin for "-"), separated by white space or commas; brackets around them are
 * fine. *ids is owned by the caller. ERR_USAGE names what is not an id, and an empty list. */
MUST_CHECK enum status token_ids_read(const char *path, int32_t **ids, size_t *n,
                                      struct error *err);

#endif
