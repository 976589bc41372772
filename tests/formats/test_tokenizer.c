/*
 * test_tokenizer.c - vocabularies are read, encode as their makers do, and survive a GGUF
 */
#include "formats/tokenizer/token_source.h"
#include "formats/tokenizer/tokenizer.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define VECTORS CARAT_DATA "/vectors/tokenizer/"

static struct error err;

static struct tokenizer *open_folder(const char *folder, const json_t *config)
{
    struct tokenizer *tok = NULL;

    cr_assert_eq(tokenizer_open_folder(folder, config, &tok, &err), OK, "%s", err.text);
    return tok;
}

/* ---- encoding ---- */

/* The text encodes to the ids, and the ids decode to the text. */
static void check_ids(const struct tokenizer *tok, unsigned flags, const char *text,
                      size_t n, const json_t *want, bool is_lossless)
{
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n_ids, n_back;

    cr_assert_eq(tokenizer_encode(tok, text, n, flags, &ids, &n_ids, &err), OK, "%s",
                 err.text);
    cr_expect_eq(n_ids, json_array_size(want), "%.60s: %zu ids", text, n_ids);
    for (size_t i = 0; i < n_ids && i < json_array_size(want); i++)
        cr_expect_eq(ids[i], json_integer_value(json_array_get(want, i)),
                     "%.60s: id %zu is %d", text, i, (int)ids[i]);
    cr_assert_eq(tokenizer_decode(tok, ids, n_ids, true, &back, &n_back, &err), OK, "%s",
                 err.text);
    if (is_lossless) {
        cr_expect_eq(n_back, n, "%.60s", text);
        cr_expect_arr_eq(back, text, n < n_back ? n : n_back, "%.60s", text);
    }
    free(ids);
    free(back);
}

/* Every {"text", "ids"} of a file of lines. U+2581 in a text comes back as a space. */
static size_t check_lines(const struct tokenizer *tok, unsigned flags, const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0, n_lines = 0;

    cr_assert_not_null(file, "%s", path);
    for (; getline(&line, &size, file) > 0; n_lines++) {
        json_t *item = json_loads(line, JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(item, "text");
        const char *str = json_string_value(text);

        cr_assert_not_null(str, "%s, line %zu", path, n_lines + 1);
        check_ids(tok, flags, str, json_string_length(text), json_object_get(item, "ids"),
                  !strstr(str, "▁"));
        json_decref(item);
    }
    free(line);
    fclose(file);
    return n_lines;
}

/* llama.cpp's own cases: texts with a mark between them, one line of ids a text. */
static size_t check_cases(const struct tokenizer *tok)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char *texts = NULL, *ids = NULL, *text, *line;
    size_t n, n_cases = 0;

    cr_assert_eq(
        file_read_all(VECTORS "ggml-vocab-gemma-4.gguf.inp", 1 << 20, &texts, &n, &err),
        OK, "%s", err.text);
    cr_assert_eq(
        file_read_all(VECTORS "ggml-vocab-gemma-4.gguf.out", 1 << 20, &ids, &n, &err), OK,
        "%s", err.text);
    text = texts;
    line = ids;
    while (line && *line) {
        char *end = strstr(text, mark), *next = strchr(line, '\n');
        json_t *want = json_array();

        for (char *p = line; p < next;) {
            json_array_append_new(want, json_integer(strtol(p, &p, 10)));
            p += *p == ' ';
        }
        check_ids(tok, TOKENIZE_SPECIAL, text, end ? (size_t)(end - text) : strlen(text),
                  want, true);
        json_decref(want);
        n_cases++;
        text = end ? end + sizeof(mark) - 1 : text + strlen(text);
        line = next ? next + 1 : NULL;
    }
    free(texts);
    free(ids);
    return n_cases;
}

Test(tokenizer, of_gemma_4_encodes_as_its_makers_do)
{
    struct tokenizer *tok = open_folder(CARAT_DATA "/tokenizer", NULL);

    cr_expect_eq(tokenizer_size(tok), 262144);
    cr_expect_eq(check_lines(tok, TOKENIZE_SPECIAL, VECTORS "special-and-edge.jsonl"),
                 28);
    cr_expect_eq(check_lines(tok, TOKENIZE_SPECIAL, VECTORS "udhr.jsonl"), 105);
    cr_expect_eq(check_cases(tok), 46);
    tokenizer_free(tok);
}

/* A folder with a small tokenizer.model in it. */
static void small_model(char folder[FIXTURE_PATH])
{
    char path[FIXTURE_PATH], *bytes = NULL;
    size_t n;

    fixture_folder(folder);
    fixture_join(path, folder, "tokenizer.model");
    cr_assert_eq(file_read_all(VECTORS "small.model", 1 << 20, &bytes, &n, &err), OK,
                 "%s", err.text);
    fixture_write(path, bytes, n);
    free(bytes);
}

Test(tokenizer, reads_a_small_sentencepiece_model_as_sentencepiece_does)
{
    char folder[FIXTURE_PATH];
    struct tokenizer *tok;

    small_model(folder);
    tok = open_folder(folder, NULL);
    cr_expect_eq(check_lines(tok, 0, VECTORS "small.jsonl"), 59);
    cr_expect_eq(tokenizer_bos(tok), 2);
    cr_expect_eq(tokenizer_eos(tok), 1);
    tokenizer_free(tok);
    fixture_remove(folder);
}

/* transformers 5 writes the tokens of a fine-tune into tokenizer.json alone; a tokenizer_config.json
 * that lists them is heard first. */
Test(tokenizer, of_sentencepiece_takes_added_tokens_from_the_json_beside_it)
{
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"added_tokens\":["
        "{\"id\":5,\"content\":\"<turn_a>\",\"special\":true},"
        "{\"id\":6,\"content\":\"plain\",\"special\":false}]}";
    static const char decoder[] = "{\"added_tokens_decoder\":{\"6\":{\"content\":"
                                  "\"listed\",\"special\":false}}}";
    json_t *config = json_pack("{s:s}", "model_type", "gemma3_text");
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];

    small_model(folder);
    fixture_join(path, folder, "tokenizer.json");
    fixture_write(path, json, strlen(json));
    struct tokenizer *tok = open_folder(folder, config);

    cr_expect_eq(tokenizer_find(tok, "<turn_a>"), 5);
    cr_expect_eq(tok->types[5], PIECE_CONTROL);
    cr_expect_eq(tokenizer_find(tok, "plain"), 6);
    cr_expect_eq(tok->types[6], PIECE_USER);
    tokenizer_free(tok);
    fixture_join(path, folder, "tokenizer_config.json");
    fixture_write(path, decoder, strlen(decoder));
    tok = open_folder(folder, config);
    cr_expect_eq(tokenizer_find(tok, "listed"), 6);
    cr_expect_eq(tokenizer_find(tok, "<turn_a>"), -1);
    tokenizer_free(tok);
    json_decref(config);
    fixture_remove(folder);
}

/* ---- through a GGUF and back ---- */

static void hash_value(const struct gguf_value *value, char hex[65])
{
    struct sha256 *hash = sha256_new();
    uint8_t digest[32];

    for (uint64_t i = 0; i < value->count && value->element == GGUF_STRING; i++) {
        const struct gguf_str text = gguf_value_str(value, i);
        const uint64_t n = text.n;

        sha256_update(hash, &n, sizeof(n));
        sha256_update(hash, text.text, text.n);
    }
    if (value->element != GGUF_STRING)
        sha256_update(hash, value->data, value->count * 4);
    sha256_final(hash, digest);
    sha256_hex(digest, hex);
}

static const char *type_name(const struct gguf_value *value)
{
    const enum gguf_type type = value->type == GGUF_ARRAY ? value->element : value->type;
    static const char *const names[2][13] = {
        [0] = {[GGUF_U32] = "uint32", [GGUF_BOOL] = "bool", [GGUF_STRING] = "string"},
        [1] = {[GGUF_I32] = "array of int32",
               [GGUF_F32] = "array of float32",
               [GGUF_STRING] = "array of string"},
    };

    return names[value->type == GGUF_ARRAY][type];
}

static void check_value(const struct gguf_value *value, const json_t *want,
                        const char *member)
{
    const json_t *v = json_object_get(want, "value");
    const char *sha = json_string_value(json_object_get(want, "sha256_of_elements"));
    char hex[65];

    cr_expect_str_eq(type_name(value), json_string_value(json_object_get(want, "type")),
                     "%s: %s", member, value->key);
    if (sha) {
        hash_value(value, hex);
        cr_expect_str_eq(hex, sha, "%s: %s", member, value->key);
        cr_expect_eq((json_int_t)value->count,
                     json_integer_value(json_object_get(want, "count")), "%s: %s", member,
                     value->key);
    } else if (json_is_string(v)) {
        cr_expect_str_eq(gguf_value_str(value, 0).text, json_string_value(v), "%s: %s",
                         member, value->key);
    } else if (v) {
        cr_expect_eq(gguf_value_int(value, 0),
                     json_is_boolean(v) ? json_is_true(v) : json_integer_value(v),
                     "%s: %s", member, value->key);
    } else { /* the chat template */
        cr_expect_eq(gguf_value_str(value, 0).n,
                     (size_t)json_integer_value(json_object_get(want, "bytes")), "%s: %s",
                     member, value->key);
    }
}

static void check_member(const char *member)
{
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct chat_templates templates = {0};
    struct tokenizer *tok, *again = NULL;
    json_t *config = NULL, *inventory = NULL, *want;
    struct gguf_meta *meta = gguf_meta_new();
    uint8_t digest[32], digest_again[32];
    const char *key;
    size_t i = 0;

    fixture_join(folder, CARAT_DATA "/golden", member);
    fixture_join(path, folder, "config.json");
    cr_assert_eq(json_read_file(path, &config, &err), OK, "%s", err.text);
    fixture_join(path, folder, "gguf.inventory.json");
    cr_assert_eq(json_read_file(path, &inventory, &err), OK, "%s", err.text);
    tok = open_folder(folder, config);
    cr_assert_eq(chat_find_templates(folder, &templates, &err), OK, "%s", err.text);
    cr_assert_eq(tokenizer_to_meta(tok, "gemma4", &templates, meta, &err), OK, "%s",
                 err.text);

    json_object_foreach(json_object_get(inventory, "kv"), key, want)
    {
        const struct gguf_value *value = gguf_meta_at(meta, i);

        if (strncmp(key, "tokenizer.", 10) != 0)
            continue;
        cr_assert_lt(i, gguf_meta_count(meta), "%s: no %s", member, key);
        cr_expect_str_eq(value->key, key, "%s: key %zu", member, i);
        check_value(value, want, member);
        i++;
    }
    cr_expect_eq(i, gguf_meta_count(meta), "%s", member);

    cr_assert_eq(tokenizer_from_meta(meta, &again, &err), OK, "%s", err.text);
    tokenizer_digest(tok, digest);
    tokenizer_digest(again, digest_again);
    cr_expect_arr_eq(digest, digest_again, sizeof(digest), "%s", member);
    cr_expect_eq(tokenizer_bos(again), 2);
    cr_expect_eq(tokenizer_eos(again), 1);
    cr_expect(tokenizer_is_end(again, 106) && tokenizer_is_end(again, 50), "%s", member);
    tokenizer_free(tok);
    tokenizer_free(again);
    chat_templates_free(&templates);
    gguf_meta_free(meta);
    json_decref(config);
    json_decref(inventory);
}

Test(tokenizer, writes_the_keys_of_every_golden_member)
{
    static const char *const members[] = {"e2b", "e4b", "31b", "26b-a4b", "12b"};

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        check_member(members[i]);
}

/* ---- decoding ---- */

Test(tokenizer, turns_bytes_that_are_no_text_into_replacement_characters)
{
    struct tokenizer *tok = open_folder(CARAT_DATA "/golden/e2b", NULL);
    static const char text[] = "\xff\xfe"
                               "a\xc3";
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n_ids, n;

    cr_assert_eq(tokenizer_encode(tok, text, sizeof(text) - 1, 0, &ids, &n_ids, &err),
                 OK);
    cr_expect_eq(n_ids, 4);
    cr_expect_eq(ids[0], 238 + 0xff); /* <0x00> is 238 */
    cr_assert_eq(tokenizer_decode(tok, ids, n_ids, false, &back, &n, &err), OK);
    cr_expect_str_eq(back, "\xef\xbf\xbd\xef\xbf\xbd"
                           "a\xef\xbf\xbd");
    cr_expect_eq(
        tokenizer_decode(tok, (const int32_t[]){4096}, 1, false, &back, &n, &err),
        ERR_USAGE);
    free(ids);
    free(back);
    tokenizer_free(tok);
}
