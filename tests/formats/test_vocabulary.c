/*
 * test_vocabulary.c - small vocabularies made here: every form they are written in, broken and cut ones
 */
#include "formats/tokenizer/token_source.h"
#include "formats/tokenizer/tokenizer.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct error err;

static char made[FIXTURE_PATH];

static void make_folder(void)
{
    fixture_folder(made);
}

static void remove_folder(void)
{
    fixture_remove(made);
}

TestSuite(made, .init = make_folder, .fini = remove_folder);

#define HEAD                                                            \
    "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" " \
    "\"},\"content\":\"▁\"},"                                         \
    "\"added_tokens\":["
#define ADDED(id, text, special)                                     \
    "{\"id\":" #id ",\"content\":\"" text "\",\"special\":" #special \
    ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false}"
#define MODEL "],\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,"
#define VOCAB \
    "\"vocab\":{\"<bos>\":0,\"<eos>\":1,\"a\":2,\"b\":3,\"ab\":4,\"▁\":5,\"▁a\":6},"
#define MERGES "\"merges\":[[\"a\",\"b\"],[\"▁\",\"a\"]]}}"
#define BOTH   ADDED(0, "<bos>", true) "," ADDED(1, "<eos>", true)

static enum status open_made(const char *json, const json_t *config,
                             struct tokenizer **tok)
{
    char path[FIXTURE_PATH];

    fixture_join(path, made, "tokenizer.json");
    fixture_write(path, json, strlen(json));
    return tokenizer_open_folder(made, config, tok, &err);
}

static void expect_encoding(const struct tokenizer *tok, const char *text, unsigned flags,
                            const char *want)
{
    char got[256] = "";
    int32_t *ids = NULL;
    size_t n;

    cr_assert_eq(tokenizer_encode(tok, text, strlen(text), flags, &ids, &n, &err), OK,
                 "%s", err.text);
    for (size_t i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), i ? " %d" : "%d",
                 (int)ids[i]);
    cr_expect_str_eq(got, want, "\"%s\" became %s", text, got);
    free(ids);
}

Test(made, vocabularies_encode_by_rank_with_bos_once)
{
    struct tokenizer *tok = NULL;

    cr_assert_eq(open_made(HEAD BOTH MODEL VOCAB MERGES, NULL, &tok), OK, "%s", err.text);
    expect_encoding(tok, "ab", 0, "4");
    expect_encoding(tok, " ab", 0, "5 4"); /* ab merges before ▁a */
    expect_encoding(tok, " a<eos>", TOKENIZE_SPECIAL, "6 1");
    expect_encoding(tok, "a", TOKENIZE_BOS, "0 2");
    expect_encoding(tok, "<bos>a", TOKENIZE_BOS | TOKENIZE_SPECIAL, "0 2");
    expect_encoding(tok, "<bos><bos>", TOKENIZE_BOS | TOKENIZE_SPECIAL, "0 0");
    expect_encoding(tok, "", TOKENIZE_BOS, "0");
    expect_encoding(tok, "", 0, "");
    cr_expect(tokenizer_is_end(tok, 1));
    cr_expect_not(tokenizer_is_end(tok, 2));
    tokenizer_free(tok);
}

/* A list of ends, wherever config.json has it; the outer one is the model's. */
Test(made, vocabularies_end_where_either_configuration_says)
{
    static const struct {
        const char *config;
        bool ends_a, ends_b;
    } cases[] = {
        {"{\"text_config\":{\"eos_token_id\":[1,2]}}", true, false},
        {"{\"eos_token_id\":[1,3],\"text_config\":{\"eos_token_id\":[1,2]}}", false,
         true},
        {"{\"eos_token_id\":null,\"text_config\":{\"eos_token_id\":[1,2]}}", true, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *config = json_loads(cases[i].config, 0, NULL);
        struct tokenizer *tok = NULL;

        cr_assert_eq(open_made(HEAD BOTH MODEL VOCAB MERGES, config, &tok), OK, "%s",
                     err.text);
        cr_expect(tokenizer_is_end(tok, 1), "%s", cases[i].config);
        cr_expect_eq(tokenizer_is_end(tok, 2), cases[i].ends_a, "%s", cases[i].config);
        cr_expect_eq(tokenizer_is_end(tok, 3), cases[i].ends_b, "%s", cases[i].config);
        tokenizer_free(tok);
        json_decref(config);
    }
}

/* Merges as strings, and before the vocabulary they speak of. */
Test(made, vocabularies_may_be_written_in_older_ways)
{
    static const char *const forms[] = {
        HEAD BOTH MODEL VOCAB "\"merges\":[\"a b\",\"▁ a\"]}}",
        HEAD BOTH "],\"model\":{\"merges\":[[\"a\",\"b\"],[\"▁\",\"a\"]]," VOCAB
                  "\"byte_fallback\":true}}",
        "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_"
        "scheme\":"
        "\"never\",\"split\":false},\"added_tokens\":[" BOTH MODEL VOCAB MERGES,
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tokenizer *tok = NULL;

        cr_assert_eq(open_made(forms[i], NULL, &tok), OK, "form %zu: %s", i, err.text);
        expect_encoding(tok, " ab a", 0, "5 4 6");
        tokenizer_free(tok);
    }
}

Test(made, added_tokens_are_cut_out_leftmost_and_longest_first)
{
    struct tokenizer *tok = NULL;

    cr_assert_eq(open_made(HEAD BOTH "," ADDED(7, "aba", false) "," ADDED(
                               8, "ab<", false) "," ADDED(9, "<eos>a", true)
                               MODEL VOCAB MERGES,
                           NULL, &tok),
                 OK, "%s", err.text);
    expect_encoding(tok, "ababa", 0, "7 3 2");
    expect_encoding(tok, "ab<", 0, "8");
    expect_encoding(tok, "<eos>ab", TOKENIZE_SPECIAL, "9 3");
    tokenizer_free(tok);
}

Test(made, added_tokens_may_take_blanks_along_or_want_to_stand_alone)
{
    struct tokenizer *tok = NULL;

    cr_assert_eq(
        open_made(HEAD BOTH
                  ",{\"id\":7,\"content\":\"<m>\",\"lstrip\":true,\"rstrip\":true},"
                  "{\"id\":8,\"content\":\"aa\",\"single_word\":true}" MODEL VOCAB MERGES,
                  NULL, &tok),
        OK, "%s", err.text);
    expect_encoding(tok, "a  <m> \n a", 0, "2 7 2");
    expect_encoding(tok, "aa", 0, "8");
    expect_encoding(tok, "aab", 0, "2 4");
    tokenizer_free(tok);
}

/* special: control; not special: user-defined, and seen without TOKENIZE_SPECIAL, too. */
Test(made, added_tokens_beyond_the_vocabulary_keep_their_kinds)
{
    struct tokenizer *tok = NULL;
    struct gguf_meta *meta = gguf_meta_new();
    const struct gguf_value *types;

    cr_assert_eq(open_made(HEAD BOTH "," ADDED(7, "<|x|>", true) "," ADDED(
                               8, "<w>", false) MODEL VOCAB MERGES,
                           NULL, &tok),
                 OK, "%s", err.text);
    cr_assert_eq(tokenizer_to_meta(tok, "gemma4", NULL, meta, &err), OK, "%s", err.text);
    types = gguf_meta_find(meta, "tokenizer.ggml.token_type");
    cr_expect_eq(types->count, 9);
    cr_expect_eq(gguf_value_int(types, 7), 3);
    cr_expect_eq(gguf_value_int(types, 8), 4);
    expect_encoding(tok, "<w><|x|>", TOKENIZE_SPECIAL, "8 7");
    gguf_meta_free(meta);
    tokenizer_free(tok);
}

Test(made, rows_without_a_piece_are_padded_and_tokens_without_a_row_left_out)
{
    json_t *config = json_pack("{s:{s:i}}", "text_config", "vocab_size", 8);
    struct tokenizer *tok = NULL;

    cr_assert_eq(open_made(HEAD BOTH "," ADDED(7, "x", true) "," ADDED(8, "y", true)
                               MODEL VOCAB MERGES,
                           config, &tok),
                 OK, "%s", err.text);
    cr_expect_eq(tokenizer_size(tok), 8);
    cr_expect_eq(tokenizer_find(tok, "x"), 7);
    cr_expect_eq(tokenizer_find(tok, "y"), -1);
    tokenizer_free(tok);
    json_object_set_new(json_object_get(config, "text_config"), "vocab_size",
                        json_integer(9));
    cr_assert_eq(
        open_made(HEAD BOTH "," ADDED(7, "x", true) MODEL VOCAB MERGES, config, &tok), OK,
        "%s", err.text);
    cr_expect_eq(tokenizer_find(tok, "[PAD8]"), 8);
    tokenizer_free(tok);
    json_decref(config);
}

Test(made, vocabularies_that_are_broken_are_refused)
{
    static const struct {
        const char *json;
        enum status want;
        const char *says;
    } cases[] = {
        {"[1]", ERR_CORRUPT, "not an object"},
        {HEAD BOTH MODEL VOCAB "\"mer", ERR_CORRUPT, "position"},
        {HEAD BOTH "],\"model\":{\"type\":\"Unigram\"}}", ERR_UNSUPPORTED, "Unigram"},
        {HEAD BOTH MODEL "\"vocab\":{\"<bos>\":0,\"a\":-1}," MERGES, ERR_CORRUPT, "-1"},
        {HEAD BOTH MODEL "\"vocab\":{\"<bos>\":0,\"a\":4294967295}," MERGES, ERR_CORRUPT,
         "4294967295"},
        {HEAD BOTH MODEL "\"vocab\":{\"<bos>\":0,\"<eos>\":1,\"a\":2,\"b\":2}," MERGES,
         ERR_CORRUPT, "two pieces have id 2"},
        {HEAD BOTH MODEL
         "\"vocab\":{\"<bos>\":0,\"<eos>\":1,\"a\":2,\"b\":3,\"ab\":40,\"▁\":5,"
         "\"▁a\":6}," MERGES,
         ERR_CORRUPT, "has id 40"},
        {HEAD BOTH MODEL VOCAB "\"merges\":[[\"zzz\",\"a\"]]}}", ERR_CORRUPT, "zzz"},
        {HEAD BOTH MODEL VOCAB "\"merges\":[[\"b\",\"a\"]]}}", ERR_CORRUPT, "merge 0"},
        {HEAD BOTH MODEL VOCAB "\"merges\":[\"ab\"]}}", ERR_CORRUPT, "merge 0"},
        {HEAD BOTH MODEL VOCAB "\"merges\":[[\"a\"]]}}", ERR_CORRUPT, "merge"},
        {HEAD BOTH MODEL VOCAB "\"merges\":[\"a b\",\"a b\"]}}", ERR_CORRUPT, "merge 1"},
        {HEAD BOTH MODEL MERGES, ERR_CORRUPT, "vocab"},
        {HEAD BOTH MODEL VOCAB "\"dropout\":null}}", ERR_CORRUPT, "merges"},
        {HEAD BOTH "],\"model\":{\"byte_fallback\":false," VOCAB MERGES, ERR_UNSUPPORTED,
         "byte_fallback"},
        {HEAD BOTH MODEL VOCAB "\"ignore_merges\":true," MERGES, ERR_UNSUPPORTED,
         "ignore_merges"},
        {"{\"normalizer\":{\"type\":\"NFKC\"},\"added_tokens\":[" BOTH MODEL VOCAB MERGES,
         ERR_UNSUPPORTED, "NFKC"},
        {HEAD ADDED(0, "<pad>", true) MODEL
         "\"vocab\":{\"<pad>\":0,\"a\":1,\"b\":2,\"ab\":3},\"merges\":[[\"a\",\"b\"]]}}",
         ERR_CORRUPT, "bos"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tokenizer *tok = NULL;

        cr_expect_eq(open_made(cases[i].json, NULL, &tok), cases[i].want, "case %zu: %s",
                     i, cases[i].says);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s: %s", cases[i].says,
                           err.text);
        cr_expect_not_null(strstr(err.text, made), "%s", err.text);
    }
}

Test(made, vocabularies_that_cannot_be_the_models_are_refused)
{
    json_t *config = json_pack("{s:i}", "vocab_size", 512);
    struct tokenizer *tok = NULL;

    cr_expect_eq(open_made(HEAD BOTH MODEL VOCAB MERGES, config, &tok), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "7 pieces for the 512 rows"), "%s", err.text);
    json_object_set_new(config, "vocab_size", json_integer(6));
    cr_expect_eq(open_made(HEAD BOTH MODEL VOCAB MERGES, config, &tok), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "6 rows"), "%s", err.text);
    json_decref(config);
}

Test(made, folders_without_a_tokenizer_are_refused)
{
    struct tokenizer *tok = NULL;

    cr_expect_eq(tokenizer_open_folder(made, NULL, &tok, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "tokenizer.json"), "%s", err.text);
    cr_expect_not_null(strstr(err.text, "tokenizer.model"), "%s", err.text);
}

Test(made, pointers_in_place_of_a_tokenizer_are_named)
{
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n"
                                  "oid sha256:0\nsize 33384568\n";
    static const char *const names[] = {"tokenizer.model", "tokenizer.json"};
    char path[FIXTURE_PATH];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct tokenizer *tok = NULL;

        fixture_join(path, made, names[i]);
        fixture_write(path, pointer, sizeof(pointer) - 1);
        cr_expect_eq(tokenizer_open_folder(made, NULL, &tok, &err), ERR_CORRUPT);
        cr_expect_not_null(strstr(err.text, names[i]), "%s", err.text);
        cr_expect_not_null(strstr(err.text, "git-lfs pointer"), "%s", err.text);
    }
}

/* ---- cut files ---- */

typedef enum status parse_part(const char *bytes, size_t n, struct token_source *source,
                               struct tokenizer *tok);

static enum status parse_json(const char *bytes, size_t n, struct token_source *source,
                              struct tokenizer *tok)
{
    return tokenizer_json_parse("file", bytes, n, source, tok, &err);
}

static enum status parse_model(const char *bytes, size_t n, struct token_source *source,
                               struct tokenizer *tok)
{
    return sentencepiece_parse((const uint8_t *)bytes, n, source, tok, &err);
}

/* The first n bytes, which end where memory ends. */
static enum status parse_cut(parse_part *parse, const char *whole, size_t n)
{
    struct token_source source = {.folder = "folder"};
    struct tokenizer *tok = vocabulary_new();
    char *part = fixture_guarded(n + 1), *bytes = part + 1;
    enum status st;

    if (n)
        memcpy(bytes, whole, n);
    st = parse(bytes, n, &source, tok);
    json_decref(source.added);
    json_decref(source.normalizer);
    json_decref(source.pre_tokenizer);
    json_decref(source.post_processor);
    tokenizer_free(tok);
    fixture_unguard(part, n + 1);
    return st;
}

Test(tokenizer, files_cut_at_any_length_are_refused)
{
    static const char whole[] = HEAD BOTH MODEL VOCAB MERGES;
    char *model = NULL;
    size_t n;

    cr_assert_eq(parse_cut(parse_json, whole, sizeof(whole) - 1), OK, "%s", err.text);
    for (size_t i = 0; i < sizeof(whole) - 1; i++)
        cr_expect_eq(parse_cut(parse_json, whole, i), ERR_CORRUPT, "%zu bytes", i);

    cr_assert_eq(file_read_all(CARAT_DATA "/vectors/tokenizer/small.model", 1 << 20,
                               &model, &n, &err),
                 OK);
    cr_assert_eq(parse_cut(parse_model, model, n), OK, "%s", err.text);
    /* The type of the model and how it treats the text come last: until then it is refused. */
    for (size_t i = 0; i < n - 20; i += i < 3000 ? 1 : 89)
        cr_expect_neq(parse_cut(parse_model, model, i), OK, "%zu bytes", i);
    free(model);
}
