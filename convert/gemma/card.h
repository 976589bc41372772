/*
 * card.h - what the head of README.md says about a model, as general.* keys
 *
 * The rules are those of gguf-py 0.19. Differences: values are texts whatever YAML makes of them,
 * and what is no scalar and no list of scalars says nothing.
 */
#ifndef CONVERT_GEMMA_CARD_H
#define CONVERT_GEMMA_CARD_H

#include "formats/frontmatter/frontmatter.h"
#include "formats/gguf/gguf.h"

/* The head of FOLDER/README.md; empty when there is none. What cannot be read of it is said through
 * log_warn() and left out: a card never makes a conversion fail. ERR_NOMEM only. */
MUST_CHECK enum status card_read(struct arena *arena, const char *folder,
                                 struct frontmatter *out, struct error *err);

/* The first of the keys that gguf-py takes for this property ("name", "basename", ...), or NULL. */
const char *card_text(const struct frontmatter *card, const char *property);

/* general.license and its like, the source's addresses, base models, data sets, tags, languages.
 * `n_params` tells sizes in names of base models. */
MUST_CHECK enum status card_describe(const struct frontmatter *card, uint64_t n_params,
                                     struct gguf_meta *meta, struct error *err);

#endif
