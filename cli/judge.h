/*
 * judge.h - a model opened to be judged: weights, vocabulary, arithmetic, text
 */
#ifndef CLI_JUDGE_H
#define CLI_JUDGE_H

#include "convert/convert.h"
#include "verify/verify.h"

struct judge {
    struct model *model;
    struct tokenizer *tok;
    struct runtime *rt;
    struct runtime_source *source;
};

/* Open MODEL's description and its vocabulary alone; judge->rt stays NULL. `options` may be NULL. */
MUST_CHECK enum status judge_open_model(struct judge *judge, const char *path,
                                        const struct source_options *options,
                                        struct error *err);

/* Open MODEL (a GGUF or a source) and its vocabulary. Zero *judge first; close it whatever the
 * outcome. Sentences begin with the path. */
MUST_CHECK enum status judge_open(struct judge *judge, const char *path,
                                  const struct runtime_options *options,
                                  struct error *err);

/* Make room for n_ctx positions; judge_logits() can be called after. ERR_USAGE for an encoder;
 * ERR_NOMEM. */
MUST_CHECK enum status judge_context(struct judge *judge, uint32_t n_ctx,
                                     struct error *err);
struct logits_source judge_logits(const struct judge *judge);
void judge_close(struct judge *judge); /* a zeroed one is fine */

/* general.name of the model, else the last part of its path. */
void judge_name(const struct judge *judge, char name[LOGITS_SOURCE_BYTES]);

/* Which text is scored, from the options of the verbs that take one. */
struct judge_text {
    const char *path;
    int64_t n_ctx, n_chunks;
    bool is_chat;
};

/* Read and cut the text. ERR_USAGE when no path was given. */
MUST_CHECK enum status judge_read_text(const struct judge *judge,
                                       const struct judge_text *wanted,
                                       struct logits_text *out, struct error *err);

/* [lo, hi] for JSON; null when it is not known. */
json_t *judge_interval(const struct interval *ci);

#endif
