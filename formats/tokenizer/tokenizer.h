/*
 * tokenizer.h - Gemma vocabularies: tokenizer.json, SentencePiece and GGUF metadata to one struct
 *
 * Gemma 4's is a byte-pair encoding over whole texts: added tokens are cut out first (longest
 * first), spaces become U+2581, characters without a piece become <0xNN> byte pieces, and the
 * adjacent pair of lowest rank merges first, leftmost on ties. No word splitting, so merging
 * uses a heap over a linked list: O(n log n). Gemma 3 vocabularies that carry scores instead of
 * merges (SentencePiece) are encoded by score, as llama.cpp's `llama` tokenizer does.
 */
#ifndef FORMATS_TOKENIZER_TOKENIZER_H
#define FORMATS_TOKENIZER_TOKENIZER_H

#include "base/base.h"
#include "formats/chat/chat.h"
#include "formats/gguf/gguf.h"

struct tokenizer;

/* Read what a checkpoint folder holds: tokenizer.json (plain or .gz), else tokenizer.model;
 * tokenizer.model first for the families before Gemma 4, as llama.cpp's converter has it. With
 * tokenizer_config.json, special_tokens_map.json, added_tokens.json, generation_config.json, and
 * for the special ids and the rows of the table `config` (config.json's tree, may be NULL): a few
 * rows more than pieces become unused pieces "[PADn]", added tokens beyond the last row are left
 * out with a warning, anything else is refused. ERR_USAGE when there is no tokenizer: the
 * sentence says which files were looked for; ERR_CORRUPT; ERR_UNSUPPORTED names the feature. */
MUST_CHECK enum status tokenizer_open_folder(const char *folder, const json_t *config,
                                             struct tokenizer **out, struct error *err);

/* From the tokenizer.ggml.* keys of a GGUF. */
MUST_CHECK enum status tokenizer_from_meta(const struct gguf_meta *meta,
                                           struct tokenizer **out, struct error *err);

/* Write the tokenizer.* keys llama.cpp's converter writes (keys, types, order), for the
 * architecture `arch` ("gemma4", "gemma3", ...). The chat templates stand in the middle of them,
 * so they are written here too; `templates` may be NULL. */
MUST_CHECK enum status tokenizer_to_meta(const struct tokenizer *tok, const char *arch,
                                         const struct chat_templates *templates,
                                         struct gguf_meta *meta, struct error *err);

enum tokenize_flags {
    TOKENIZE_SPECIAL = 1, /* recognise control tokens written in the text */
    TOKENIZE_BOS =
        2, /* put BOS first when the vocabulary wants it (unless already there) */
    TOKENIZE_EOS = 4, /* put EOS last when the vocabulary wants it (embedding models) */
};

/* Encode n bytes of text, n < 2^30 (invalid UTF-8 becomes byte pieces). User-defined tokens are
 * found in the text with any flags. *ids is owned by the caller (free). Safe from several threads
 * at once. ERR_USAGE when the text is too long; ERR_NOMEM. */
MUST_CHECK enum status tokenizer_encode(const struct tokenizer *tok, const char *text,
                                        size_t n, unsigned flags, int32_t **ids,
                                        size_t *n_ids, struct error *err);

/* The bytes of one piece as it prints: U+2581 is a space, byte pieces are bytes; control tokens
 * print nothing unless with_special. Borrowed; *n may be 0. */
const char *tokenizer_piece(const struct tokenizer *tok, int32_t id, bool with_special,
                            size_t *n);

/* Decode ids to text owned by the caller (NUL-terminated). Bad ids are ERR_USAGE. */
MUST_CHECK enum status tokenizer_decode(const struct tokenizer *tok, const int32_t *ids,
                                        size_t n_ids, bool with_special, char **text,
                                        size_t *n, struct error *err);

size_t tokenizer_size(const struct tokenizer *tok); /* vocabulary entries */
int32_t tokenizer_bos(const struct tokenizer *tok); /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *tok);
bool tokenizer_adds_bos(const struct tokenizer *tok);
bool tokenizer_adds_eos(const struct tokenizer *tok);
bool tokenizer_is_end(const struct tokenizer *tok, int32_t id); /* <eos>, <turn|>, ... */
int32_t tokenizer_find(const struct tokenizer *tok,
                       const char *piece); /* exact text; -1 */
/* SHA-256 over all pieces, types and merges: two vocabularies with the same digest encode alike. */
void tokenizer_digest(const struct tokenizer *tok, uint8_t digest[32]);
void tokenizer_free(struct tokenizer *tok); /* NULL is fine */

#endif
