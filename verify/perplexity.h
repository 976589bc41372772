/*
 * perplexity.h - from the scored tokens' negative log-likelihoods to the figures
 */
#ifndef VERIFY_PERPLEXITY_H
#define VERIFY_PERPLEXITY_H

#include "verify/verify.h"

/* nll holds a value for each scored token of the text's first n_chunks chunks. ERR_NOMEM. */
MUST_CHECK enum status perplexity_figures(const double *nll,
                                          const struct logits_text *text,
                                          uint32_t n_chunks, uint64_t seed,
                                          struct perplexity *out, struct error *err);

#endif
