/*
 * mixed_text.h - several texts scored as one, a few chunks of each
 */
#ifndef CLI_MIXED_TEXT_H
#define CLI_MIXED_TEXT_H

#include "cli/documents.h"
#include "verify/verify.h"

/* Cut each document into chunks of n_ctx tokens, or, when its name ends in .jsonl, into the answers of
 * its conversations framed by the template in `meta`; take n_chunks of each (0: all), evenly spread
 * from its beginning to its end. out->sha256 is that of the texts' digests in order. ERR_USAGE when a
 * text has not n_ctx tokens; ERR_CORRUPT; ERR_NOMEM. */
MUST_CHECK enum status mixed_text(const struct tokenizer *tok,
                                  const struct gguf_meta *meta,
                                  const struct documents *documents, uint32_t n_ctx,
                                  uint32_t n_chunks, struct logits_text *out,
                                  struct error *err);

#endif
