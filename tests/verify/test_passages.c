/*
 * test_passages.c - which tokens of a text are scored, and behind what
 */
#include "convert/convert.h"
#include "verify/verify.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct model *model;
static struct tokenizer *tok;

static void open_golden(const char *name)
{
    struct error err = {0};
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/golden/%s", CARAT_DATA, name);
    cr_assert_eq(convert_open_model(path, &(struct source_options){0}, &model, &err), OK,
                 "%s", err.text);
    cr_assert_eq(tokenizer_from_meta(model->meta, &tok, &err), OK, "%s", err.text);
}

static void begin(void)
{
    open_golden("e2b");
}

static void end(void)
{
    tokenizer_free(tok);
    model_close(model);
}

TestSuite(passages, .init = begin, .fini = end);

static const char PROSE[] =
    "One two three four five six seven eight nine ten. One two three "
    "four five six seven eight nine ten. And so on, and so on.";

Test(passages, the_second_half_of_every_chunk_is_scored_behind_bos)
{
    const struct text_options options = {.n_ctx = 8};
    struct logits_text text = {0};
    struct error err = {0};

    cr_assert_eq(text_from_prose(tok, PROSE, strlen(PROSE), &options, &text, &err), OK,
                 "%s", err.text);
    cr_assert_geq(text.n_chunks, 2);
    cr_expect_eq(text.n_scored, text.n_chunks * 3);
    for (uint64_t i = 0; i < text.n_tokens; i++)
        cr_expect_eq(text.scored[i], i % 8 > 4, "token %d", (int)i);
    for (uint32_t c = 0; c < text.n_chunks; c++)
        cr_expect_eq(text.tokens[8 * c], tokenizer_bos(tok));
    logits_text_free(&text);
}

Test(passages, a_text_shorter_than_a_context_is_refused)
{
    struct logits_text text = {0};
    struct error err = {0};

    cr_expect_eq(text_from_prose(tok, "Hi.", 3, &(struct text_options){0}, &text, &err),
                 ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "less than one context of 512"), "%s", err.text);
}

/* The scored tokens of every chunk decode to these texts, and nothing else is scored. */
static void expect_scored(const char *lines, const char *const want[], uint32_t n_chunks)
{
    struct logits_text text = {0};
    struct error err = {0};
    uint64_t at = 0;

    cr_assert_eq(text_from_chat(tok, model->meta, lines, strlen(lines),
                                &(struct text_options){0}, &text, &err),
                 OK, "%s", err.text);
    cr_assert_eq(text.n_chunks, n_chunks);
    for (uint32_t c = 0; c < n_chunks; c++) {
        uint32_t n = text.chunk_tokens[c], first = 0;
        char *said = NULL;
        size_t n_said;

        while (first < n && !text.scored[at + first])
            first++;
        cr_expect_eq(text.tokens[at], tokenizer_bos(tok));
        cr_assert_eq(tokenizer_decode(tok, text.tokens + at + first, n - first, true,
                                      &said, &n_said, &err),
                     OK);
        cr_expect_str_eq(said, want[c]);
        free(said);
        at += n;
    }
    logits_text_free(&text);
}

Test(passages, only_the_turns_of_the_model_are_scored)
{
    static const char lines[] = "{\"messages\": [{\"role\": \"user\", \"content\": "
                                "\"Hi\"}, {\"role\": \"assistant\", "
                                "\"content\": \"Hello.\"}, {\"role\": \"user\", "
                                "\"content\": \"Bye\"}, {\"role\": "
                                "\"assistant\", \"content\": \"So long.\"}]}\n\n"
                                "{\"conversations\": [{\"from\": \"human\", \"value\": "
                                "\"A\"}, {\"from\": \"gpt\", "
                                "\"value\": \"B\"}]}\n";
    static const char *const want[] = {"Hello.<turn|>", "So long.<turn|>", "B<turn|>"};

    expect_scored(lines, want, 3);
}

/* The prompt of this template ends in an empty thought, "<|channel>thought\n<channel|>", which the
 * finished turn does not have: what an answer shares with its first token is the answer's. */
Test(passages, an_answer_keeps_its_first_characters_behind_an_empty_thought)
{
    static const char line[] = "[{\"role\": \"user\", \"content\": \"Hi\"}, "
                               "{\"role\": \"assistant\", \"content\": \"%s\"}]\n";
    static const char *const answers[] = {"The hill", "b>x", "<b>x",
                                          "<|x",      "<",   "\\n\\n1"};
    static const char *const want[] = {"The hill<turn|>", "b>x<turn|>", "<b>x<turn|>",
                                       "<|x<turn|>",      "<<turn|>",   "1<turn|>"};
    enum { N = sizeof(answers) / sizeof(answers[0]) };
    char lines[N * 128] = "";
    size_t n = 0;

    end();
    open_golden("12b");
    for (size_t i = 0; i < N; i++)
        n += (size_t)snprintf(lines + n, sizeof(lines) - n, line, answers[i]);
    expect_scored(lines, want, N);
}

Test(passages, a_line_that_is_no_conversation_is_named)
{
    static const char *const bad[] = {"{\"x\": 1}", "[1, 2]", "{\"messages\": []}",
                                      "not JSON",
                                      "{\"messages\": [{\"role\": \"user\"}]}"};
    struct logits_text text = {0};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error err = {0};
        cr_expect_eq(text_from_chat(tok, model->meta, bad[i], strlen(bad[i]),
                                    &(struct text_options){0}, &text, &err),
                     ERR_CORRUPT, "%s", bad[i]);
        cr_expect_not_null(strstr(err.text, "line 1"), "%s", err.text);
    }
}
