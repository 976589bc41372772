/*
 * mixed_text.h - several texts scored as one, a few chunks of each
 */
#ifndef CLI_MIXED_TEXT_H
#define CLI_MIXED_TEXT_H

#include "cli/args.h"
#include "verify/verify.h"

/* Cut each file as prose into chunks of n_ctx tokens and take n_chunks of each (0: all), evenly
 * spread from its beginning to its end. out->sha256 is that of the texts' digests in order.
 * ERR_USAGE when a text has not n_ctx tokens; from reading. */
MUST_CHECK enum status mixed_text(const struct tokenizer *tok, const struct texts *paths,
                                  uint32_t n_ctx, uint32_t n_chunks,
                                  struct logits_text *out, struct error *err);

#endif
