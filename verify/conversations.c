/*
 * conversations.c - JSONL of conversations as chunks, of which the model's turns are scored
 *
 * Every turn of the model becomes a chunk of its own: the prompt as the template renders it when
 * an answer is due, then the answer as the template writes it down, up to the token that ends the
 * turn. So each answer is judged behind exactly the prompt a user's program would have sent, also
 * where a template shows past turns differently (without their thoughts, for example).
 *
 * A line is {"messages": [{"role", "content"}, ...]}, the bare array, or {"conversations":
 * [{"from", "value"}, ...]}.
 */
#include "formats/chat/chat.h"
#include "verify/verify.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_CTX = 4096, MAX_TURNS = 4096 };

/* What is built, and what from. */
struct build {
    const struct tokenizer *tok;
    const struct gguf_meta *meta;
    struct logits_text text;
    uint32_t n_chunks_room;
    uint64_t n_tokens_room, n_skipped;
    uint32_t max_chunks;
};

/* ---- messages ---- */

static const char *role_of(const char *from)
{
    static const char *const names[][2] = {{"human", "user"},
                                           {"gpt", "assistant"},
                                           {"model", "assistant"},
                                           {"bot", "assistant"}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(from, names[i][0]) == 0)
            return names[i][1];
    return from;
}

/* A copy of one message with the keys templates expect; NULL when it is not a message. */
static json_t *make_message(json_t *item)
{
    const char *role = json_string_value(json_object_get(item, "role"));
    const char *from = json_string_value(json_object_get(item, "from"));
    json_t *content = json_object_get(item, role ? "content" : "value");
    json_t *message = json_copy(item);

    if (!json_is_object(item) || (!role && !from) || !content) {
        json_decref(message);
        return NULL;
    }
    if (json_object_set_new(message, "role", json_string(role_of(role ? role : from))) ||
        json_object_set(message, "content", content)) {
        json_decref(message);
        return NULL;
    }
    return message;
}

/* The messages of one line, owned by the caller; NULL when it is not a conversation. */
static json_t *read_line(const char *line, size_t n)
{
    json_t *tree = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
    json_t *list = json_object_get(tree, "messages");
    json_t *messages = json_array();
    size_t i;
    json_t *item;

    if (!list)
        list = json_object_get(tree, "conversations");
    if (!list)
        list = tree;
    json_array_foreach(list, i, item)
    {
        if (json_array_append_new(messages, make_message(item)) != 0) {
            json_decref(messages);
            messages = NULL;
            break;
        }
    }
    if (json_array_size(messages) == 0 || json_array_size(messages) > MAX_TURNS) {
        json_decref(messages);
        messages = NULL;
    }
    json_decref(tree);
    return messages;
}

static bool is_answer(const json_t *message)
{
    return strcmp(json_string_value(json_object_get(message, "role")), "assistant") == 0;
}

/* ---- tokens ---- */

static enum status grow(struct build *build, size_t n_more, struct error *err)
{
    struct logits_text *text = &build->text;
    uint64_t room = build->n_tokens_room;

    if (text->n_chunks == build->n_chunks_room) {
        uint32_t n = build->n_chunks_room ? 2 * build->n_chunks_room : 64;
        uint32_t *lengths = realloc(text->chunk_tokens, n * sizeof(*lengths));
        if (!lengths)
            return fail(err, ERR_NOMEM, "out of memory");
        text->chunk_tokens = lengths;
        build->n_chunks_room = n;
    }
    if (room - text->n_tokens >= n_more)
        return OK;
    while (room - text->n_tokens < n_more)
        room = room ? 2 * room : 4096;
    int32_t *tokens = realloc(text->tokens, (size_t)room * sizeof(*tokens));
    if (tokens)
        text->tokens = tokens;
    uint8_t *scored = realloc(text->scored, (size_t)room);
    if (scored)
        text->scored = scored;
    if (!tokens || !scored)
        return fail(err, ERR_NOMEM, "out of memory");
    build->n_tokens_room = room;
    return OK;
}

/* One chunk: n_prompt tokens that are given, then those of the answer, cut at the context. */
static enum status add_chunk(struct build *build, const int32_t *prompt, size_t n_prompt,
                             const int32_t *answer, size_t n_answer, struct error *err)
{
    struct logits_text *text = &build->text;

    if (n_prompt == 0 || n_prompt >= text->n_ctx || n_answer == 0) {
        build->n_skipped++;
        return OK;
    }
    if (n_answer > text->n_ctx - n_prompt)
        n_answer = text->n_ctx - n_prompt;
    if (grow(build, n_prompt + n_answer, err) != OK)
        return err->code;

    uint64_t at = text->n_tokens;
    memcpy(text->tokens + at, prompt, n_prompt * sizeof(*prompt));
    memcpy(text->tokens + at + n_prompt, answer, n_answer * sizeof(*answer));
    memset(text->scored + at, 0, n_prompt);
    memset(text->scored + at + n_prompt, 1, n_answer);
    text->chunk_tokens[text->n_chunks++] = (uint32_t)(n_prompt + n_answer);
    text->n_tokens += n_prompt + n_answer;
    text->n_scored += n_answer;
    return OK;
}

/* Tokens of the answer up to and with the one that ends the turn. */
static size_t until_end(const struct tokenizer *tok, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tokenizer_is_end(tok, ids[i]))
            return i + 1;
    return n;
}

static size_t common_prefix(const char *a, const char *b)
{
    size_t n = 0;

    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

/* Where the prompt's token begins that reaches beyond byte `cut`; `cut` itself between two
 * tokens, and where the pieces do not spell the prompt. */
static size_t token_start(const struct tokenizer *tok, const char *prompt,
                          const int32_t *ids, size_t n_ids, size_t cut)
{
    const size_t n_prompt = strlen(prompt);
    size_t at = 0;

    for (size_t i = 0; i < n_ids && at < cut; i++) {
        size_t n;
        const char *piece = tokenizer_piece(tok, ids[i], true, &n);
        const bool is_spelled = n <= n_prompt - at && memcmp(piece, prompt + at, n) == 0;

        if (!is_spelled && i == 0 && ids[i] == tokenizer_bos(tok))
            continue; /* not the template's: put there by the encoder */
        if (!is_spelled)
            return cut;
        if (at + n > cut)
            return at;
        at += n;
    }
    return cut;
}

/* The part of `whole` that answers `prompt`, whose tokens `ids` are. A prompt may end in what no
 * finished turn has, such as an empty thought, "<|channel>thought\n<channel|>". The two part at
 * its first byte, or later in its first token: "<" may as well be the answer's own. */
static const char *find_answer(const struct tokenizer *tok, const char *prompt,
                               const int32_t *ids, size_t n_ids, const char *whole)
{
    const size_t cut = common_prefix(prompt, whole);

    if (prompt[cut] == '\0')
        return whole + cut;
    return whole + token_start(tok, prompt, ids, n_ids, cut);
}

static enum status add_texts(struct build *build, const char *prompt, const char *whole,
                             struct error *err)
{
    int32_t *given = NULL, *scored = NULL;
    size_t n_given = 0, n_scored = 0;
    enum status st =
        tokenizer_encode(build->tok, prompt, strlen(prompt),
                         TOKENIZE_SPECIAL | TOKENIZE_BOS, &given, &n_given, err);

    if (st == OK) {
        const char *answer = find_answer(build->tok, prompt, given, n_given, whole);
        st = tokenizer_encode(build->tok, answer, strlen(answer), TOKENIZE_SPECIAL,
                              &scored, &n_scored, err);
    }
    if (st == OK)
        st = add_chunk(build, given, n_given, scored,
                       until_end(build->tok, scored, n_scored), err);
    free(given);
    free(scored);
    return st;
}

/* The answer at messages[at] behind the prompt that asks for it. */
static enum status add_answer(struct build *build, json_t *messages, size_t at,
                              struct error *err)
{
    json_t *past = json_array();
    char *prompt = NULL, *whole = NULL;
    enum status st;

    for (size_t i = 0; i < at; i++)
        json_array_append(past, json_array_get(messages, i));
    st = chat_render(build->meta, past, &(struct chat_options){.answer_next = true},
                     &prompt, err);
    json_array_append(past, json_array_get(messages, at));
    if (st == OK)
        st = chat_render(build->meta, past, &(struct chat_options){0}, &whole, err);
    if (st == OK)
        st = add_texts(build, prompt, whole, err);
    free(prompt);
    free(whole);
    json_decref(past);
    return st;
}

/* ---- lines ---- */

static enum status add_line(struct build *build, const char *line, size_t n,
                            size_t number, struct error *err)
{
    json_t *messages = read_line(line, n);
    enum status st = OK;

    if (!messages)
        return fail(err, ERR_CORRUPT,
                    "line %zu is not a conversation ({\"messages\": "
                    "[{\"role\", \"content\"}, ...]})",
                    number);
    for (size_t i = 1; i < json_array_size(messages) && st == OK; i++)
        if (is_answer(json_array_get(messages, i)) &&
            build->text.n_chunks < build->max_chunks)
            st = add_answer(build, messages, i, err);
    json_decref(messages);
    if (st != OK) {
        char where[32];
        (void)snprintf(where, sizeof(where), "line %zu", number);
        (void)fail_at(err, where);
    }
    return st;
}

static bool is_blank(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

static enum status add_lines(struct build *build, const char *bytes, size_t n,
                             struct error *err)
{
    size_t number = 1;

    for (size_t at = 0; at < n && build->text.n_chunks < build->max_chunks; number++) {
        const char *line = bytes + at;
        const char *end = memchr(line, '\n', n - at);
        size_t n_line = end ? (size_t)(end - line) : n - at;

        at += n_line + 1;
        if (!is_blank(line, n_line) && add_line(build, line, n_line, number, err) != OK)
            return err->code;
    }
    return OK;
}

enum status text_from_chat(const struct tokenizer *tok, const struct gguf_meta *meta,
                           const char *bytes, size_t n,
                           const struct text_options *options, struct logits_text *out,
                           struct error *err)
{
    struct build build = {
        .tok = tok,
        .meta = meta,
        .text = {.n_ctx = options->n_ctx ? options->n_ctx : DEFAULT_CTX, .is_chat = true},
        .max_chunks = options->n_chunks ? options->n_chunks : UINT32_MAX,
    };
    enum status st = add_lines(&build, bytes, n, err);

    if (st == OK && build.text.n_chunks == 0)
        st = fail(err, ERR_USAGE,
                  "no turn of the model to score (of %llu, none fits a context "
                  "of %u tokens)",
                  (unsigned long long)build.n_skipped, build.text.n_ctx);
    if (st != OK) {
        logits_text_free(&build.text);
        return st;
    }
    if (build.n_skipped > 0)
        log_warn("%llu turns of the model left out: they are empty, or their prompts do "
                 "not fit a context of %u "
                 "tokens",
                 (unsigned long long)build.n_skipped, build.text.n_ctx);
    sha256_bytes(bytes, n, build.text.sha256);
    *out = build.text;
    return OK;
}
