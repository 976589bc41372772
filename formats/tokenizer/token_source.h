/*
 * token_source.h - what the files of a checkpoint say about its tokens; private to this folder
 */
#ifndef FORMATS_TOKENIZER_TOKEN_SOURCE_H
#define FORMATS_TOKENIZER_TOKEN_SOURCE_H

#include "formats/tokenizer/vocabulary.h"

/* The small trees; NULL where a file or a member is not there. */
struct token_source {
    const char *folder;   /* borrowed */
    const json_t *config; /* config.json, borrowed, may be NULL */
    json_t *added, *normalizer, *pre_tokenizer, *post_processor; /* of tokenizer.json */
    json_t *tokenizer_config, *special_map, *added_map, *generation;
    uint64_t rows; /* of the embedding table, by config.json; 0: not said */
    bool is_older; /* a family before Gemma 4 */
};

/* Read tokenizer.json: into `source` its trees and, unless `tok` is NULL, into tok its pieces and
 * merges. Sentences begin with the path. */
MUST_CHECK enum status tokenizer_json_read(const char *path, struct token_source *source,
                                           struct tokenizer *tok, struct error *err);

/* The same over bytes in memory; `path` is for the sentences. */
MUST_CHECK enum status tokenizer_json_parse(const char *path, const char *bytes,
                                            size_t n_bytes, struct token_source *source,
                                            struct tokenizer *tok, struct error *err);

/* The text must be normalized and split as Gemma does it. ERR_UNSUPPORTED names what is not. */
MUST_CHECK enum status tokenizer_json_check(const struct token_source *source,
                                            struct error *err);

/* After the pieces of tokenizer.json: its added tokens, unused pieces up to the rows of the
 * table, and the types. ERR_CORRUPT. */
MUST_CHECK enum status added_tokens_apply(const struct token_source *source,
                                          struct tokenizer *tok, struct error *err);

/* Read tokenizer.model with the added tokens of the other files. */
MUST_CHECK enum status sentencepiece_read(const char *path,
                                          const struct token_source *source,
                                          struct tokenizer *tok, struct error *err);
/* The same over bytes in memory, without other files: for tests and fuzzing. */
MUST_CHECK enum status sentencepiece_parse(const uint8_t *bytes, size_t n_bytes,
                                           const struct token_source *source,
                                           struct tokenizer *tok, struct error *err);

/* ERR_CORRUPT when what was read is a git-lfs pointer. */
MUST_CHECK enum status check_pointer(const char *path, const char *bytes, size_t n_bytes,
                                     struct error *err);

/* Find the special ids and the add_bos_token flags: by tokenizer_config.json's names, then by
 * config.json's ids. ERR_CORRUPT when bos or eos is named but no piece. */
MUST_CHECK enum status special_tokens_apply(const struct token_source *source,
                                            struct tokenizer *tok, struct error *err);

/* A piece that stands for a row without a token. */
MUST_CHECK enum status pad_pieces(struct tokenizer *tok, uint64_t rows,
                                  struct error *err);

/* ERR_CORRUPT when there are too few pieces for the rows of the table to be its tokenizer. */
MUST_CHECK enum status check_rows(size_t n_pieces, uint64_t rows, struct error *err);

/* "text" of a member that is a string or an object with "content", else NULL. */
const char *token_text(const json_t *tree, const char *key);

/* Control tokens that a chat parser must see: user-defined in the file. */
bool stays_visible(const char *text);

/* Whether an added token that is not marked special is one all the same. Source: llama.cpp 0.5.0,
 * conversion/base.py, does_token_look_special. */
bool looks_special(const char *text, size_t n);

#endif
