/*
 * vocabulary.h - what a tokenizer is made of; private to this folder
 *
 * A reader fills in kind, pieces, types, merges or scores, and the special ids; then
 * vocabulary_finish() derives the rest. After that nothing changes.
 */
#ifndef FORMATS_TOKENIZER_VOCABULARY_H
#define FORMATS_TOKENIZER_VOCABULARY_H

#include "formats/tokenizer/merges.h"
#include "formats/tokenizer/pieces.h"
#include "formats/tokenizer/tokenizer.h"

/* As GGUF numbers them. */
enum piece_type {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN = 2,
    PIECE_CONTROL = 3,
    PIECE_USER = 4,
    PIECE_UNUSED = 5,
    PIECE_BYTE = 6,
};

enum special {
    SPECIAL_BOS,
    SPECIAL_EOS,
    SPECIAL_UNK,
    SPECIAL_SEP,
    SPECIAL_PAD,
    SPECIAL_CLS,
    SPECIAL_MASK,
    SPECIAL_EOT,
    SPECIAL_EOM,
    SPECIAL_COUNT,
};

/* "bos", ...; as in tokenizer_config.json's NAME_token and config.json's NAME_token_id. */
const char *special_name(enum special special);

/* How an added token is found in a text. */
enum added_flags {
    ADDED_LSTRIP = 1,      /* white space before it belongs to it */
    ADDED_RSTRIP = 2,      /* white space after it too */
    ADDED_SINGLE_WORD = 4, /* not inside a word */
    ADDED_SPECIAL = 8,     /* "special": true */
    ADDED_LISTED = 16,     /* was in the list of added tokens */
};

/* A token that is cut out of the text before anything else. Sorted by text. */
struct pattern {
    const char *text; /* borrowed from pieces */
    uint32_t n;
    int32_t id;
};

enum vocabulary_kind {
    VOCABULARY_BPE, /* merges */
    VOCABULARY_SPM, /* scores */
};

enum { SPECIAL_FLAGS = 3, ENDS_MAX = 64, JOIN_BITS = 21, BMP = 0x10000 };

struct tokenizer {
    enum vocabulary_kind kind;
    struct pieces pieces;
    uint8_t *types; /* enum piece_type by id, owned */
    uint8_t *flags; /* enum added_flags by id, owned */
    float *scores;  /* by id, owned; NULL without */
    struct merges merges;

    /* The special ids in the order they are written in; -1 where there is none. */
    enum special order[SPECIAL_COUNT];
    int n_order;
    int32_t ids[SPECIAL_COUNT];
    int32_t fallback[SPECIAL_COUNT]; /* what a SentencePiece model says of itself */
    /* add_bos_token, add_eos_token, add_sep_token: in the order of the source. */
    struct {
        enum special special;
        bool value;
    } adds[SPECIAL_FLAGS];
    int n_adds;
    bool adds_space; /* a space is put before the text */

    /* Derived by vocabulary_finish(). */
    int32_t byte_ids[256]; /* -1 where there is none */
    int32_t *leaves;       /* piece of one character below BMP, or -1; owned */
    uint32_t *ranks;       /* SPM: 0 is the best score; owned */
    uint64_t *joins; /* bit set of pairs of characters that stand side by side; owned */
    struct pattern *patterns; /* owned */
    size_t n_patterns;
    uint32_t
        first_byte[257]; /* patterns[first_byte[c] .. first_byte[c + 1]) begin with c */
    struct piece_place *printed; /* by id: what prints, in print_text; owned */
    char *print_text;            /* owned */
    int32_t ends[ENDS_MAX];      /* ascending */
    int n_ends;
};

/* An empty one; NULL when memory is out. */
struct tokenizer *vocabulary_new(void);

/* Room for types and flags (and scores) of all pieces, all PIECE_NORMAL. ERR_NOMEM. */
MUST_CHECK enum status vocabulary_make_room(struct tokenizer *tok, bool with_scores,
                                            struct error *err);

/* Derive what encoding and printing need. ERR_CORRUPT for special ids that are no pieces;
 * ERR_NOMEM. */
MUST_CHECK enum status vocabulary_finish(struct tokenizer *tok, struct error *err);

/* Set a special id if it has none yet. */
void vocabulary_set_special(struct tokenizer *tok, enum special special, int32_t id);
/* Set add_bos_token and its like; the last value counts, in the first place. */
void vocabulary_set_adds(struct tokenizer *tok, enum special special, bool value);
bool vocabulary_adds(const struct tokenizer *tok, enum special special, bool unless_said);

/* 0..255 when the text is "<0xNN>", else -1. */
int byte_of_piece(const char *text, size_t n);

/* Fill in ends[] from the texts that end an answer and the special ids. Source: llama.cpp 0.5.0,
 * llama-vocab.cpp. */
void vocabulary_find_ends(struct tokenizer *tok);

/* Sort the patterns out of the types. ERR_NOMEM. */
MUST_CHECK enum status patterns_collect(struct tokenizer *tok, struct error *err);

struct pattern_match {
    size_t begin, n; /* bytes of the text that it takes, stripped blanks included */
    int32_t id;
};

/* The first added token in text[at .. n), the longest where several begin; control and unknown
 * ones only `with_special`. */
bool patterns_next(const struct tokenizer *tok, const char *text, size_t n, size_t at,
                   bool with_special, struct pattern_match *match);

/* Whether two characters stand side by side in any piece; may say yes for some that do not. */
static inline bool vocabulary_joins(const struct tokenizer *tok, uint32_t left,
                                    uint32_t right)
{
    const uint64_t key = (uint64_t)left << 32 | right;
    const uint64_t bit = key * 0x9e3779b97f4a7c15u >> (64 - JOIN_BITS);

    return tok->joins[bit / 64] >> (bit % 64) & 1;
}

#endif
