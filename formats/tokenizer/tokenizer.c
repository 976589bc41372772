/*
 * tokenizer.c - questions about a vocabulary, and ids back to text
 */
#include "formats/tokenizer/tokenizer.h"
#include "base/utf8.h"
#include "formats/tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

size_t tokenizer_size(const struct tokenizer *tok)
{
    return tok->pieces.n;
}

int32_t tokenizer_bos(const struct tokenizer *tok)
{
    return tok->ids[SPECIAL_BOS];
}

int32_t tokenizer_eos(const struct tokenizer *tok)
{
    return tok->ids[SPECIAL_EOS];
}

/* With merges always, whatever the files say, and with scores unless they say no: so does
 * llama.cpp, and Gemma needs it. */
bool tokenizer_adds_bos(const struct tokenizer *tok)
{
    return tok->ids[SPECIAL_BOS] >= 0 &&
           (tok->kind == VOCABULARY_BPE || vocabulary_adds(tok, SPECIAL_BOS, true));
}

bool tokenizer_adds_eos(const struct tokenizer *tok)
{
    return tok->ids[SPECIAL_EOS] >= 0 && vocabulary_adds(tok, SPECIAL_EOS, false);
}

bool tokenizer_is_end(const struct tokenizer *tok, int32_t id)
{
    for (int i = 0; i < tok->n_ends; i++)
        if (tok->ends[i] == id)
            return true;
    return false;
}

int32_t tokenizer_find(const struct tokenizer *tok, const char *piece)
{
    return pieces_find(&tok->pieces, piece, strlen(piece));
}

const char *tokenizer_piece(const struct tokenizer *tok, int32_t id, bool with_special,
                            size_t *n)
{
    *n = 0;
    if (id < 0 || (size_t)id >= tok->pieces.n)
        return "";
    if (!with_special &&
        (tok->types[id] == PIECE_CONTROL || tok->types[id] == PIECE_UNKNOWN))
        return "";
    *n = tok->printed[id].n;
    return tok->print_text + tok->printed[id].begin;
}

/* ---- decoding ---- */

/* A text that grows, and where the byte pieces at its end began. */
struct spelling {
    char *text;
    size_t n, room;
    size_t n_bytes; /* byte pieces in a row, at the end of text */
};

static bool append(struct spelling *out, const char *text, size_t n)
{
    size_t room = out->room ? out->room : 256;
    char *grown = out->text;

    while (room < out->n + n + 1)
        room *= 2;
    if (room > out->room)
        grown = realloc(out->text, room);
    if (!grown)
        return false;
    out->text = grown;
    out->room = room;
    memcpy(out->text + out->n, text, n);
    out->n += n;
    out->text[out->n] = '\0';
    return true;
}

/* A run of byte pieces is over: when it is no text, each byte becomes U+FFFD, as the ByteFallback
 * decoder of Hugging Face's tokenizers has it. */
static bool close_bytes(struct spelling *out)
{
    const size_t n_bytes = out->n_bytes;

    out->n_bytes = 0;
    if (utf8_is_valid(out->text + out->n - n_bytes, n_bytes))
        return true;
    out->n -= n_bytes;
    for (size_t i = 0; i < n_bytes; i++)
        if (!append(out, "\xef\xbf\xbd", 3))
            return false;
    return true;
}

static bool spell(struct spelling *out, const struct tokenizer *tok, int32_t id,
                  bool with_special)
{
    size_t n;
    const char *text = tokenizer_piece(tok, id, with_special, &n);
    const bool is_byte = tok->types[id] == PIECE_BYTE;

    if (n == 0)
        return true;
    if (!is_byte && out->n_bytes > 0 && !close_bytes(out))
        return false;
    out->n_bytes += is_byte;
    return append(out, text, n);
}

enum status tokenizer_decode(const struct tokenizer *tok, const int32_t *ids,
                             size_t n_ids, bool with_special, char **text, size_t *n,
                             struct error *err)
{
    struct spelling out = {0};
    bool has_memory = append(&out, "", 0);

    for (size_t i = 0; i < n_ids && has_memory; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= tok->pieces.n) {
            free(out.text);
            return fail(err, ERR_USAGE, "id %d is not one of %zu pieces", (int)ids[i],
                        tok->pieces.n);
        }
        has_memory = spell(&out, tok, ids[i], with_special);
    }
    if (!has_memory || !close_bytes(&out)) {
        free(out.text);
        return fail(err, ERR_NOMEM, "no memory for the text of %zu tokens", n_ids);
    }
    *text = out.text;
    *n = out.n;
    return OK;
}

/* ---- the digest ---- */

void tokenizer_digest(const struct tokenizer *tok, uint8_t digest[32])
{
    struct sha256 *hash = sha256_new();

    memset(digest, 0, 32);
    if (!hash)
        return;
    for (size_t id = 0; id < tok->pieces.n; id++) {
        size_t n;
        const char *text = pieces_text(&tok->pieces, id, &n);

        sha256_update(hash, text, n + 1);
    }
    sha256_update(hash, tok->types, tok->pieces.n);
    if (tok->merges.n)
        sha256_update(hash, tok->merges.list, tok->merges.n * sizeof(*tok->merges.list));
    if (tok->kind == VOCABULARY_SPM)
        sha256_update(hash, tok->scores, tok->pieces.n * sizeof(*tok->scores));
    sha256_final(hash, digest);
}
