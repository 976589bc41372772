/*
 * special_tokens.c - which ids are bos, eos and their like, and whether they are added to a text
 *
 * The rules of gguf-py's SpecialVocab (0.19), in its order, because the order of the keys in a
 * file follows from it: names in tokenizer_config.json looked up among the added tokens, then ids
 * in config.json. Then, where that found nothing, the names among all pieces.
 */
#include "formats/tokenizer/token_source.h"

#include <stdio.h>
#include <string.h>

/* Names by which the special tokens go; NULL where there is none. Borrowed from the trees. */
struct names {
    const char *of[SPECIAL_COUNT];
    enum special last; /* looked up in order up to and with this one */
};

const char *token_text(const json_t *tree, const char *key)
{
    const json_t *value = json_object_get(tree, key);

    if (json_is_object(value))
        value = json_object_get(value, "content");
    return json_string_value(value);
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static void read_names(const struct token_source *source, struct names *names)
{
    *names = (struct names){.last = SPECIAL_MASK};
    for (int i = 0; i <= SPECIAL_MASK; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%s_token", special_name((enum special)i));
        names->of[i] = token_text(source->tokenizer_config, key);
        if (!names->of[i])
            names->of[i] = token_text(source->special_map, key);
    }
    if (!names->of[SPECIAL_BOS])
        names->of[SPECIAL_BOS] = names->of[SPECIAL_CLS];
    if (!names->of[SPECIAL_EOS])
        names->of[SPECIAL_EOS] = names->of[SPECIAL_SEP];
}

/* ---- the post-processor ---- */

/* The special token at one place of a template, or NULL. */
static const char *template_token(const json_t *template, size_t i)
{
    const json_t *token = json_object_get(json_array_get(template, i), "SpecialToken");

    return json_string_value(json_object_get(token, "id"));
}

static const char *template_sequence(const json_t *template, size_t i)
{
    const json_t *sequence = json_object_get(json_array_get(template, i), "Sequence");

    return json_string_value(json_object_get(sequence, "id"));
}

/* [bos] A [eos] */
static void read_single(struct tokenizer *tok, struct names *names, const char *first,
                        const char *last)
{
    if (first && !names->of[SPECIAL_BOS])
        names->of[SPECIAL_BOS] = first;
    if (first && !names->of[SPECIAL_CLS] && !same(first, names->of[SPECIAL_BOS]))
        names->of[SPECIAL_CLS] = first;
    if (first)
        vocabulary_set_adds(tok, SPECIAL_BOS,
                            same(first, names->of[SPECIAL_BOS]) ||
                                same(first, names->of[SPECIAL_CLS]));
    if (!last)
        return;
    if (!same(last, names->of[SPECIAL_EOS]) && names->last < SPECIAL_EOM) {
        /* The template ends in another token: the named one ends a turn. */
        names->last++;
        names->of[names->last] = names->of[SPECIAL_EOS];
        names->of[SPECIAL_EOS] = last;
    }
    vocabulary_set_adds(tok, SPECIAL_EOS, same(last, names->of[SPECIAL_EOS]));
}

static bool separates(const struct names *names, const char *token)
{
    return same(token, names->of[SPECIAL_SEP]) || same(token, names->of[SPECIAL_EOS]);
}

/* [bos] A [sep] [sep] B [eos]: whether something stands between A and B. */
static void read_pair(struct tokenizer *tok, struct names *names, const json_t *pair,
                      const char *first, const char *last)
{
    size_t begin = 0, end = json_array_size(pair), n_between;
    bool adds;

    if (first && same(template_token(pair, 0), first))
        begin++;
    if (last && end > begin && same(template_token(pair, end - 1), last))
        end--;
    if (end < begin + 3 || !same(template_sequence(pair, begin), "A") ||
        !same(template_sequence(pair, end - 1), "B"))
        return;
    n_between = end - begin - 2;
    adds = (separates(names, template_token(pair, begin + 1)) && !last) ||
           (n_between == 2 && separates(names, template_token(pair, begin + 2)));
    vocabulary_set_adds(tok, SPECIAL_SEP, adds);
    if (adds && !names->of[SPECIAL_SEP])
        names->of[SPECIAL_SEP] = names->of[SPECIAL_EOS];
}

static void read_processor(struct tokenizer *tok, struct names *names,
                           const json_t *processor)
{
    const json_t *single = json_object_get(processor, "single");
    const size_t n = json_array_size(single);
    const char *first = n > 1 ? template_token(single, 0) : NULL;
    const char *last = n > 1 ? template_token(single, n - 1) : NULL;

    if (!same(json_string_value(json_object_get(processor, "type")),
              "TemplateProcessing"))
        return;
    read_single(tok, names, first, last);
    read_pair(tok, names, json_object_get(processor, "pair"), first, last);
}

static void read_post_processor(const struct token_source *source, struct tokenizer *tok,
                                struct names *names)
{
    const json_t *steps = json_object_get(source->post_processor, "processors");

    if (!json_is_array(steps)) {
        read_processor(tok, names, source->post_processor);
        return;
    }
    for (size_t i = 0; i < json_array_size(steps); i++)
        read_processor(tok, names, json_array_get(steps, i));
}

/* ---- ids ---- */

/* The id of an added token, or -1. */
static int32_t added_id(const struct token_source *source, const struct tokenizer *tok,
                        const char *text)
{
    for (size_t i = 0; i < json_array_size(source->added); i++)
        if (same(json_string_value(
                     json_object_get(json_array_get(source->added, i), "content")),
                 text))
            return tokenizer_find(tok, text);
    return -1;
}

static void read_flags(const struct token_source *source, struct tokenizer *tok,
                       enum special i)
{
    char key[24];
    const json_t *value;

    if (i != SPECIAL_BOS && i != SPECIAL_EOS && i != SPECIAL_SEP)
        return;
    snprintf(key, sizeof(key), "add_%s_token", special_name(i));
    value = json_object_get(source->tokenizer_config, key);
    if (json_is_boolean(value))
        vocabulary_set_adds(tok, i, json_is_true(value));
}

/* A member of config.json, or of its text_config where it is not there. */
static const json_t *of_config(const struct token_source *source, const char *key)
{
    const json_t *value = json_object_get(source->config, key);

    if (value && !json_is_null(value))
        return value;
    return json_object_get(json_object_get(source->config, "text_config"), key);
}

static void set_by_config(const struct token_source *source, struct tokenizer *tok,
                          enum special i)
{
    char key[24];
    const json_t *id;

    snprintf(key, sizeof(key), "%s_token_id", special_name(i));
    id = of_config(source, key);
    if (json_is_integer(id) && json_integer_value(id) >= 0 &&
        (uint64_t)json_integer_value(id) < tok->pieces.n)
        vocabulary_set_special(tok, i, (int32_t)json_integer_value(id));
}

static void set_by_name(struct tokenizer *tok, enum special i, const char *name)
{
    const int32_t id = name ? tokenizer_find(tok, name) : -1;

    if (id >= 0)
        vocabulary_set_special(tok, i, id);
}

static enum status check_named(const struct token_source *source,
                               const struct tokenizer *tok, const struct names *names,
                               struct error *err)
{
    for (int i = 0; i <= SPECIAL_MASK; i++) {
        const char *name = names->of[i];

        if (!name || tokenizer_find(tok, name) >= 0)
            continue;
        if (i == SPECIAL_BOS || i == SPECIAL_EOS)
            return fail(
                err, ERR_CORRUPT,
                "%s: tokenizer_config.json names \"%.40s\" as %s_token, but no piece of "
                "the vocabulary has that text",
                source->folder, name, special_name((enum special)i));
        log_warn("%s: the %s_token \"%s\" is not in the vocabulary", source->folder,
                 special_name((enum special)i), name);
    }
    return OK;
}

/* ---- tokens that are special because a configuration calls them so ---- */

static void mark_control(struct tokenizer *tok, const json_t *token)
{
    const char *text = json_string_value(
        json_is_object(token) ? json_object_get(token, "content") : token);
    const int32_t id = text ? tokenizer_find(tok, text) : -1;

    if (id >= 0 && !stays_visible(text) && tok->types[id] != PIECE_BYTE)
        tok->types[id] = PIECE_CONTROL;
}

static void mark_all(struct tokenizer *tok, json_t *tokens)
{
    const char *key;
    json_t *token;
    size_t i;

    json_array_foreach(tokens, i, token)
    {
        mark_control(tok, token);
    }
    json_object_foreach(tokens, key, token)
    {
        mark_control(tok, token);
    }
}

/* {"105": {"content": ..., "special": true}} */
static void mark_decoder(struct tokenizer *tok, json_t *decoder)
{
    const char *key;
    json_t *token;

    json_object_foreach(decoder, key, token)
    {
        if (json_is_true(json_object_get(token, "special")))
            mark_control(tok, token);
    }
}

/* Every member "..._token" and the lists of further ones, as transformers reads them. */
static void mark_configured(struct tokenizer *tok, json_t *config)
{
    const char *key;
    json_t *value;

    json_object_foreach(config, key, value)
    {
        const size_t n = strlen(key);

        if (n > 6 && strcmp(key + n - 6, "_token") == 0)
            mark_control(tok, value);
    }
    mark_all(tok, json_object_get(config, "extra_special_tokens"));
    mark_all(tok, json_object_get(config, "additional_special_tokens"));
    mark_all(tok, json_object_get(config, "model_specific_special_tokens"));
    mark_decoder(tok, json_object_get(config, "added_tokens_decoder"));
}

/* ---- where an answer ends ---- */

/* A GGUF has one id for an end of turn and one for an end of message: ids that only the
 * configuration knows as ends go there. */
static void add_end_ids(struct tokenizer *tok, const json_t *eos)
{
    const size_t n = json_is_array(eos) ? json_array_size(eos) : 1;

    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_is_array(eos) ? json_array_get(eos, i) : eos;
        const json_int_t v = json_integer_value(id);

        vocabulary_find_ends(tok);
        if (!json_is_integer(id) || v < 0 || (uint64_t)v >= tok->pieces.n ||
            tokenizer_is_end(tok, (int32_t)v))
            continue;
        vocabulary_set_special(tok, tok->ids[SPECIAL_EOT] < 0 ? SPECIAL_EOT : SPECIAL_EOM,
                               (int32_t)v);
    }
}

enum status special_tokens_apply(const struct token_source *source, struct tokenizer *tok,
                                 struct error *err)
{
    struct names names;
    enum status st;

    read_names(source, &names);
    st = check_named(source, tok, &names, err);
    if (st != OK)
        return st;
    read_post_processor(source, tok, &names);
    for (int i = 0; i <= (int)names.last; i++) {
        const int32_t id = names.of[i] ? added_id(source, tok, names.of[i]) : -1;

        read_flags(source, tok, (enum special)i);
        if (id >= 0)
            vocabulary_set_special(tok, (enum special)i, id);
    }
    for (int i = 0; i <= (int)names.last; i++)
        set_by_config(source, tok, (enum special)i);
    for (int i = 0; i <= (int)names.last; i++)
        set_by_name(tok, (enum special)i, names.of[i]);
    for (int i = 0; i <= SPECIAL_MASK; i++)
        if (tok->fallback[i] >= 0)
            vocabulary_set_special(tok, (enum special)i, tok->fallback[i]);
    set_by_name(tok, SPECIAL_BOS, "<bos>");
    set_by_name(tok, SPECIAL_EOS, "<eos>");
    if (tok->ids[SPECIAL_BOS] < 0)
        return fail(
            err, ERR_CORRUPT,
            "%s: no bos token: neither tokenizer_config.json nor config.json names one, "
            "and no piece is \"<bos>\"",
            source->folder);
    mark_configured(tok, source->tokenizer_config);
    mark_configured(tok, source->special_map);
    add_end_ids(tok, of_config(source, "eos_token_id"));
    add_end_ids(tok, json_object_get(source->generation, "eos_token_id"));
    return OK;
}
