/*
 * tokenizer_meta.c - the tokenizer.* keys of a GGUF, both ways
 *
 * Three forms: "gemma4" (merges, scores all alike), "gpt2" with the pre-tokenizer "gemma4" (the
 * same vocabulary in a file of an older architecture) and "llama" (scores).
 */
#include "formats/tokenizer/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "tokenizer.ggml."

/* By enum special. The spelling of the fourth is llama.cpp's. */
static const char *const id_keys[SPECIAL_COUNT] = {
    KEY "bos_token_id",       KEY "eos_token_id",     KEY "unknown_token_id",
    KEY "seperator_token_id", KEY "padding_token_id", KEY "cls_token_id",
    KEY "mask_token_id",      KEY "eot_token_id",     KEY "eom_token_id",
};

static const char *adds_key(enum special special)
{
    return special == SPECIAL_BOS   ? KEY "add_bos_token"
           : special == SPECIAL_EOS ? KEY "add_eos_token"
                                    : KEY "add_sep_token";
}

/* ---- writing ---- */

enum form { FORM_GEMMA4, FORM_GPT2, FORM_LLAMA };

static enum form form_for(const struct tokenizer *tok, const char *arch)
{
    static const char *const older[] = {"gemma", "gemma2", "gemma3", "gemma3n",
                                        "gemma-embedding"};

    if (tok->kind == VOCABULARY_SPM)
        return FORM_LLAMA;
    for (size_t i = 0; i < sizeof(older) / sizeof(older[0]); i++)
        if (strcmp(arch, older[i]) == 0)
            return FORM_GPT2;
    return FORM_GEMMA4;
}

static enum status set_text(struct gguf_meta *meta, const char *key, const char *text,
                            struct error *err)
{
    return gguf_set_str(meta, key, text, strlen(text), err);
}

static enum status write_tokens(const struct tokenizer *tok, struct gguf_meta *meta,
                                struct error *err)
{
    const size_t n = tok->pieces.n;
    struct gguf_str *texts = malloc((n + 1) * sizeof(*texts));
    enum status st;

    if (!texts)
        return fail(err, ERR_NOMEM, "no memory for %zu pieces", n);
    for (size_t i = 0; i < n; i++)
        texts[i].text = pieces_text(&tok->pieces, i, &texts[i].n);
    st = gguf_set_strings(meta, KEY "tokens", texts, n, err);
    free(texts);
    return st;
}

/* Merges mean nothing to scores; the converter writes one number for all. */
static enum status write_scores(const struct tokenizer *tok, struct gguf_meta *meta,
                                struct error *err)
{
    const size_t n = tok->pieces.n;
    float *same;
    enum status st;

    if (tok->kind == VOCABULARY_SPM)
        return gguf_set_array(meta, KEY "scores", GGUF_F32, tok->scores, n, err);
    same = malloc((n + 1) * sizeof(*same));
    if (!same)
        return fail(err, ERR_NOMEM, "no memory for %zu pieces", n);
    for (size_t i = 0; i < n; i++)
        same[i] = -1000.0f;
    st = gguf_set_array(meta, KEY "scores", GGUF_F32, same, n, err);
    free(same);
    return st;
}

static enum status write_types(const struct tokenizer *tok, struct gguf_meta *meta,
                               struct error *err)
{
    const size_t n = tok->pieces.n;
    int32_t *types = malloc((n + 1) * sizeof(*types));
    enum status st;

    if (!types)
        return fail(err, ERR_NOMEM, "no memory for %zu pieces", n);
    for (size_t i = 0; i < n; i++)
        types[i] = tok->types[i];
    st = gguf_set_array(meta, KEY "token_type", GGUF_I32, types, n, err);
    free(types);
    return st;
}

/* One part of a merge; a space inside would end it, so it is written as U+0120. */
static char *put_part(char *out, const struct tokenizer *tok, int32_t id)
{
    size_t n;
    const char *text = pieces_text(&tok->pieces, (size_t)id, &n);

    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ')
            *out++ = '\xc4';
        *out++ = text[i] == ' ' ? '\xa0' : text[i];
    }
    return out;
}

static size_t merge_room(const struct tokenizer *tok, const struct merge *merge)
{
    return 2 * ((size_t)tok->pieces.at[merge->left].n + tok->pieces.at[merge->right].n) +
           2;
}

static enum status write_merges(const struct tokenizer *tok, struct gguf_meta *meta,
                                struct error *err)
{
    const size_t n = tok->merges.n;
    struct gguf_str *list = malloc((n + 1) * sizeof(*list));
    size_t n_bytes = 1;
    char *text, *at;
    enum status st;

    for (size_t i = 0; i < n; i++)
        n_bytes += merge_room(tok, &tok->merges.list[i]);
    text = at = malloc(n_bytes);
    if (!list || !text) {
        free(list);
        free(text);
        return fail(err, ERR_NOMEM, "no memory for %zu merges", n);
    }
    for (size_t i = 0; i < n; i++) {
        list[i].text = at;
        at = put_part(at, tok, tok->merges.list[i].left);
        *at++ = ' ';
        at = put_part(at, tok, tok->merges.list[i].right);
        list[i].n = (size_t)(at - list[i].text);
        *at++ = '\0';
    }
    st = gguf_set_strings(meta, KEY "merges", list, n, err);
    free(list);
    free(text);
    return st;
}

static enum status write_vocabulary(const struct tokenizer *tok, enum form form,
                                    struct gguf_meta *meta, struct error *err)
{
    static const char *const models[] = {"gemma4", "gpt2", "llama"};
    static const char *const pres[] = {NULL, "gemma4", "default"};
    enum status st = set_text(meta, KEY "model", models[form], err);

    if (st == OK && pres[form])
        st = set_text(meta, KEY "pre", pres[form], err);
    if (st == OK)
        st = write_tokens(tok, meta, err);
    if (st == OK && form != FORM_GPT2)
        st = write_scores(tok, meta, err);
    if (st == OK)
        st = write_types(tok, meta, err);
    if (st == OK && form != FORM_LLAMA)
        st = write_merges(tok, meta, err);
    return st;
}

static enum status write_special(const struct tokenizer *tok, struct gguf_meta *meta,
                                 struct error *err)
{
    enum status st = OK;

    for (int i = 0; i < tok->n_order && st == OK; i++)
        st = gguf_set_u32(meta, id_keys[tok->order[i]], (uint32_t)tok->ids[tok->order[i]],
                          err);
    for (int i = 0; i < tok->n_adds && st == OK; i++)
        st = gguf_set_bool(meta, adds_key(tok->adds[i].special), tok->adds[i].value, err);
    return st;
}

enum status tokenizer_to_meta(const struct tokenizer *tok, const char *arch,
                              const struct chat_templates *templates,
                              struct gguf_meta *meta, struct error *err)
{
    const enum form form = form_for(tok, arch);
    enum status st = write_vocabulary(tok, form, meta, err);

    if (st == OK)
        st = write_special(tok, meta, err);
    if (st == OK && templates)
        st = chat_templates_to_meta(templates, meta, err);
    if (st == OK && form != FORM_GPT2)
        st = gguf_set_bool(meta, KEY "add_space_prefix", tok->adds_space, err);
    /* A Gemma without BOS writes nonsense, so every reader puts it there; say so. */
    if (st == OK && form != FORM_LLAMA)
        st = gguf_set_bool(meta, KEY "add_bos_token", true, err);
    return st;
}

/* ---- reading ---- */

static const struct gguf_value *find_list(const struct gguf_meta *meta, const char *key,
                                          enum gguf_type element)
{
    const struct gguf_value *value = gguf_meta_find(meta, key);

    return value && value->type == GGUF_ARRAY && value->element == element ? value : NULL;
}

static enum status read_tokens(const struct gguf_meta *meta, struct tokenizer *tok,
                               struct error *err)
{
    const struct gguf_value *tokens = find_list(meta, KEY "tokens", GGUF_STRING);
    enum status st = OK;

    if (!tokens || tokens->count == 0)
        return fail(err, ERR_CORRUPT, KEY "tokens is not a list of strings");
    for (uint64_t i = 0; i < tokens->count && st == OK; i++) {
        struct gguf_str text = gguf_value_str(tokens, i);
        char empty[40];

        if (text.n == 0) {
            text.n = (size_t)snprintf(empty, sizeof(empty), "[EMPTY_%llu]",
                                      (unsigned long long)i);
            text.text = empty;
        }
        st = pieces_set(&tok->pieces, i, text.text, text.n, err);
    }
    return st == OK ? OK : fail_at(err, KEY "tokens");
}

static enum status read_types(const struct gguf_meta *meta, struct tokenizer *tok,
                              struct error *err)
{
    const struct gguf_value *types = find_list(meta, KEY "token_type", GGUF_I32);

    if (!types)
        return OK;
    if (types->count < tok->pieces.n)
        return fail(err, ERR_CORRUPT, KEY "token_type has %llu entries for %zu pieces",
                    (unsigned long long)types->count, tok->pieces.n);
    for (size_t i = 0; i < tok->pieces.n; i++) {
        const int64_t type = gguf_value_int(types, i);

        tok->types[i] =
            (uint8_t)(type < PIECE_NORMAL || type > PIECE_BYTE ? PIECE_UNUSED : type);
    }
    return OK;
}

static enum status read_scores(const struct gguf_meta *meta, struct tokenizer *tok,
                               struct error *err)
{
    const struct gguf_value *scores = find_list(meta, KEY "scores", GGUF_F32);

    if (!scores || scores->count < tok->pieces.n)
        return fail(err, ERR_CORRUPT, KEY "scores has %llu entries for %zu pieces",
                    scores ? (unsigned long long)scores->count : 0ull, tok->pieces.n);
    for (size_t i = 0; i < tok->pieces.n; i++) {
        tok->scores[i] = (float)gguf_value_real(scores, i);
        if (tok->scores[i] != tok->scores[i])
            return fail(err, ERR_CORRUPT, KEY "scores: entry %zu is not a number", i);
    }
    return OK;
}

/* "left right": the first space that is not the first byte parts them. */
static enum status read_merges(const struct gguf_meta *meta, struct tokenizer *tok,
                               struct error *err)
{
    const struct gguf_value *merges = find_list(meta, KEY "merges", GGUF_STRING);
    enum status st = OK;

    if (!merges)
        return fail(err, ERR_CORRUPT, KEY "merges is not a list of strings");
    for (uint64_t i = 0; i < merges->count && st == OK; i++) {
        const struct gguf_str text = gguf_value_str(merges, i);
        const char *space = text.n > 1 ? memchr(text.text + 1, ' ', text.n - 1) : NULL;
        const size_t n_left = space ? (size_t)(space - text.text) : 0;

        if (!space)
            return fail(err, ERR_CORRUPT,
                        KEY "merges: merge %llu is not two pieces: \"%.40s\"",
                        (unsigned long long)i, text.text);
        st = merges_add(&tok->merges, &tok->pieces, text.text, n_left, space + 1,
                        text.n - n_left - 1, err);
    }
    return st == OK ? OK : fail_at(err, KEY "merges");
}

static enum status read_form(const struct gguf_meta *meta, struct tokenizer *tok,
                             struct error *err)
{
    struct gguf_str model, pre = {"", 0};
    const char *name;

    if (!gguf_get_str(meta, KEY "model", &model))
        return fail(err, ERR_USAGE, "no tokenizer in the file: " KEY "model is missing");
    gguf_get_str(meta, KEY "pre", &pre);
    name = model.text;
    if (strcmp(name, "llama") == 0)
        tok->kind = VOCABULARY_SPM;
    else if (strcmp(name, "gemma4") != 0 &&
             (strcmp(name, "gpt2") != 0 || strcmp(pre.text, "gemma4") != 0))
        return fail(
            err, ERR_UNSUPPORTED,
            "a tokenizer of model \"%.40s\", pre-tokenizer \"%.40s\" is not supported",
            name, pre.text);
    return OK;
}

static void read_special(const struct gguf_meta *meta, struct tokenizer *tok)
{
    static const enum special flags[] = {SPECIAL_BOS, SPECIAL_EOS, SPECIAL_SEP};
    const bool is_spm = tok->kind == VOCABULARY_SPM;
    bool value;
    uint32_t id;

    for (int i = 0; i < SPECIAL_COUNT; i++)
        if (gguf_get_u32(meta, id_keys[i], &id) && id < tok->pieces.n)
            vocabulary_set_special(tok, (enum special)i, (int32_t)id);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (gguf_get_bool(meta, adds_key(flags[i]), &value))
            vocabulary_set_adds(tok, flags[i], value);
    tok->adds_space = is_spm; /* unless said otherwise */
    if (gguf_get_bool(meta, KEY "add_space_prefix", &value))
        tok->adds_space = value;
}

static enum status read_all(const struct gguf_meta *meta, struct tokenizer *tok,
                            struct error *err)
{
    enum status st = read_form(meta, tok, err);

    if (st == OK)
        st = read_tokens(meta, tok, err);
    if (st == OK)
        st = vocabulary_make_room(tok, tok->kind == VOCABULARY_SPM, err);
    if (st == OK)
        st = read_types(meta, tok, err);
    if (st == OK)
        st = tok->kind == VOCABULARY_SPM ? read_scores(meta, tok, err)
                                         : read_merges(meta, tok, err);
    if (st != OK)
        return st;
    read_special(meta, tok);
    return vocabulary_finish(tok, err);
}

enum status tokenizer_from_meta(const struct gguf_meta *meta, struct tokenizer **out,
                                struct error *err)
{
    struct tokenizer *tok = vocabulary_new();
    const enum status st = tok ? read_all(meta, tok, err)
                               : fail(err, ERR_NOMEM, "no memory for a tokenizer");

    if (st == OK)
        *out = tok;
    else
        tokenizer_free(tok);
    return st;
}
