/*
 * test_chunks.c - texts, prompts and conversations become chunks of tokens
 */
#include "formats/tokenizer/tokenizer.h"
#include "tests/convert/statistics.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(chunks, .init = statistics_begin, .fini = statistics_end);

enum { N_CTX = 32, EVERY = 4 };

static struct calibrate_text cut(const struct model *model,
                                 const struct calibrate_document *documents, size_t n,
                                 size_t n_chunks)
{
    const struct calibrate_cut how = {
        .n_ctx = N_CTX, .tokens = n_chunks * N_CTX, .held_every = EVERY};
    struct calibrate_text text;
    struct error err = {0};

    cr_assert_eq(calibrate_text_make(model, documents, n, &how, &text, &err), OK, "%s",
                 err.text);
    return text;
}

static bool is_chunk(const struct calibrate_text *text, size_t i,
                     const struct calibrate_text *of, size_t j)
{
    return memcmp(text->ids + i * N_CTX, of->ids + j * N_CTX, N_CTX * sizeof(*of->ids)) ==
           0;
}

/* An encoder's chunks begin with BOS and a prompt and end with EOS where the vocabulary wants it;
 * prompts take turns. */
Test(chunks, an_encoder_sees_prompts)
{
    static const char *const prompts[] = {
        "task: search result | query: ", "title: none | text: ",
        "task: sentence similarity | query: ", "task: classification | query: "};
    char *body = statistics_repeat("one two three four five six seven eight\n", 400);
    const struct calibrate_document d = statistics_document("text", body);
    const struct calibrate_cut how = {.n_ctx = 128, .tokens = 8 * 128};
    struct calibrate_text text;
    struct model *model = NULL;
    struct tokenizer *tok = NULL;
    struct error err = {0};

    cr_assert_eq(
        convert_open_source(CARAT_DATA "/golden/embeddinggemma", NULL, &model, &err), OK,
        "%s", err.text);
    cr_assert_eq(tokenizer_from_meta(model->meta, &tok, &err), OK, "%s", err.text);
    cr_assert_eq(calibrate_text_make(model, &d, 1, &how, &text, &err), OK, "%s",
                 err.text);
    cr_assert_eq(text.n_chunks, 8);
    for (size_t i = 0; i < text.n_chunks; i++) {
        int32_t *want = NULL;
        size_t n = 0;

        cr_assert_eq(tokenizer_encode(tok, prompts[i % 4], strlen(prompts[i % 4]),
                                      TOKENIZE_BOS, &want, &n, &err),
                     OK);
        cr_assert(n > 1 && n <= 64, "%zu", n);
        cr_expect_eq(want[0], tokenizer_bos(tok));
        cr_expect_arr_eq(text.ids + i * 128, want, n * sizeof(*want), "chunk %zu", i);
        cr_expect_eq(text.ids[i * 128 + 127] == tokenizer_eos(tok),
                     tokenizer_adds_eos(tok));
        free(want);
    }
    calibrate_text_free(&text);
    tokenizer_free(tok);
    model_close(model);
    free(body);
}

/* Chunks take turns while the shorter text has some; both have a part held out. */
Test(chunks, texts_share_what_is_taken_and_what_is_held_out)
{
    char *longer = statistics_repeat("one two three four five six seven eight\n", 400);
    char *shorter = statistics_repeat("eins zwei drei vier\n", 8);
    const struct calibrate_document documents[] = {
        statistics_document("longer", longer), statistics_document("shorter", shorter)};
    struct model *model = statistics_model();
    struct calibrate_text both = cut(model, documents, 2, 12);
    struct calibrate_text first = cut(model, documents, 1, 100);
    struct calibrate_text second = cut(model, documents + 1, 1, 100);
    const size_t n = second.n_chunks;

    cr_assert(n > 1 && n < EVERY, "%zu", n);
    cr_assert_eq(both.n_chunks, 12);
    for (size_t i = 0; i < n; i++) {
        cr_expect(is_chunk(&both, 2 * i, &first, i));
        cr_expect(is_chunk(&both, 2 * i + 1, &second, i));
        cr_expect_eq(both.is_held[2 * i + 1], i == n - 1);
    }
    for (size_t i = 2 * n; i < both.n_chunks; i++) {
        cr_expect(is_chunk(&both, i, &first, i - n));
        cr_expect_eq(both.is_held[i], (i - n) % EVERY == EVERY - 1);
    }
    cr_expect_str_eq(both.names[1], "shorter");
    cr_expect_str_eq(both.digests[1], second.digests[0]);
    calibrate_text_free(&both);
    calibrate_text_free(&first);
    calibrate_text_free(&second);
    free(longer);
    free(shorter);
    model_close(model);
}

/* A conversation is its template's text with control tokens read as such: what the same text, as a
 * plain document, encodes to. */
Test(chunks, conversations_are_framed)
{
    static const char line[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"Why is "
        "the sky blue?\"}, {\"role\": \"assistant\", \"content\": "
        "\"Air scatters blue light most.\"}]}\n\n";
    char *lines = statistics_repeat(line, 8), *turns;
    struct model *model = statistics_model();
    struct calibrate_document d = statistics_document("chat.jsonl", lines);
    struct calibrate_text text = cut(model, &d, 1, 100);
    struct calibrate_text same;
    struct tokenizer *tok = NULL;
    struct error err = {0};
    size_t n_turns = 0;
    int32_t turn, *ids = NULL;
    size_t n_ids = 0;

    cr_assert_eq(tokenizer_from_meta(model->meta, &tok, &err), OK);
    cr_assert_eq(
        tokenizer_encode(tok, "<|turn>", 7, TOKENIZE_SPECIAL, &ids, &n_ids, &err), OK);
    cr_assert_eq(n_ids, 1);
    turn = ids[0];
    for (size_t i = 0; i < text.n_chunks * N_CTX; i++)
        n_turns += text.ids[i] == turn;
    cr_expect_gt(n_turns, 8);

    /* the same, written down beforehand as {"text": ...} */
    turns = statistics_repeat(
        "{\"text\": \"<|turn>user\\nWhy is the sky blue?<turn|>\\n<|turn>model\\nAir "
        "scatters blue light most.<turn|>\\n\"}\n",
        8);
    d = statistics_document("same.jsonl", turns);
    same = cut(model, &d, 1, 100);
    cr_assert_eq(same.n_chunks, text.n_chunks);
    cr_expect_arr_eq(same.ids, text.ids, text.n_chunks * N_CTX * sizeof(*text.ids));

    free(turns);
    turns = statistics_repeat("{\"text\": \"fine\"}\n[1, 2]\n", 1);
    d = statistics_document("bad.jsonl", turns);
    cr_expect_eq(
        calibrate_text_make(model, &d, 1, &(struct calibrate_cut){0}, &same, &err),
        ERR_CORRUPT);
    cr_expect(strstr(err.text, "bad.jsonl: line 2"), "%s", err.text);
    calibrate_text_free(&text);
    tokenizer_free(tok);
    free(ids);
    free(lines);
    free(turns);
    model_close(model);
}
