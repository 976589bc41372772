/*
 * test_default_text.c - the calibration text is what data/calibration/README.md says of it
 *
 * sections.tsv names every section of the plain files: where it is, its language or form, its
 * source. Sections lie one behind the other with an empty line between them.
 */
#include "base/base.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/utf8.h"
#include "convert/calibrate/calibrate.h"
#include "formats/tokenizer/tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTIONS CARAT_DATA "/calibration/sections.tsv"

static struct calibrate_document documents[N_CALIBRATE_DEFAULTS];

static void get_documents(void)
{
    calibrate_default_documents(documents);
}

TestSuite(default_text, .init = get_documents);

static const struct calibrate_document *named(const char *name)
{
    for (size_t i = 0; i < N_CALIBRATE_DEFAULTS; i++)
        if (strcmp(documents[i].name + strlen("carat:"), name) == 0)
            return &documents[i];
    cr_assert_fail("no document %s", name);
    return NULL;
}

static bool is_chat(const struct calibrate_document *document)
{
    return document == named("chat.jsonl");
}

/* ---- form ---- */

Test(default_text, is_the_files_of_data_calibration)
{
    for (size_t i = 0; i < N_CALIBRATE_DEFAULTS; i++) {
        char path[512], *bytes = NULL;
        struct error err = {0};
        size_t n = 0;

        snprintf(path, sizeof(path), CARAT_DATA "/calibration/%s",
                 documents[i].name + strlen("carat:"));
        cr_assert_eq(file_read_all(path, 1 << 24, &bytes, &n, &err), OK, "%s", err.text);
        cr_assert_eq(n, documents[i].n, "%s", path);
        cr_assert_eq(memcmp(bytes, documents[i].bytes, n + 1), 0, "%s", path);
        free(bytes);
    }
}

Test(default_text, is_utf8_without_controls)
{
    for (size_t i = 0; i < N_CALIBRATE_DEFAULTS; i++) {
        const struct calibrate_document *d = &documents[i];

        for (size_t at = 0, step; at < d->n; at += step) {
            step = utf8_length(d->bytes + at, d->n - at);
            cr_assert_gt(step, 0, "%s: byte %zu", d->name, at);
            uint32_t c = utf8_decode(d->bytes + at, step);

            cr_assert((c >= 0x20 || c == '\n' || c == '\t') && c != 0x7f && c != 0xfffd,
                      "%s: U+%04X at byte %zu", d->name, c, at);
        }
        cr_assert_eq(d->bytes[d->n - 1], '\n', "%s", d->name);
    }
}

/* ---- amount ---- */

/* Call `use` with each message's role and content. */
static size_t each_message(void (*use)(void *arg, size_t conversation, const char *role,
                                       const char *content, size_t n),
                           void *arg)
{
    const struct calibrate_document *chat = named("chat.jsonl");
    size_t n_lines = 0;

    for (const char *line = chat->bytes, *end; *line; line = end + 1, n_lines++) {
        json_error_t why;
        size_t i;
        json_t *message;

        end = strchr(line, '\n');
        cr_assert_not_null(end);
        json_t *tree =
            json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, &why);
        cr_assert_not_null(tree, "line %zu: %s", n_lines + 1, why.text);
        cr_assert_eq(json_object_size(tree), 1, "line %zu", n_lines + 1);
        json_array_foreach(json_object_get(tree, "messages"), i, message)
        {
            const json_t *content = json_object_get(message, "content");

            cr_assert(json_is_string(content) && json_string_length(content) > 0,
                      "line %zu", n_lines + 1);
            use(arg, n_lines, json_string_value(json_object_get(message, "role")),
                json_string_value(content), json_string_length(content));
        }
        json_decref(tree);
    }
    return n_lines;
}

struct turns {
    size_t conversation, n_turns, n_long, n_with_system;
    const char *last;
};

static void check_turn(void *arg, size_t conversation, const char *role,
                       const char *content, size_t n)
{
    struct turns *turns = arg;

    (void)content;
    (void)n;
    if (conversation != turns->conversation) {
        cr_assert_str_eq(turns->last, "assistant", "line %zu", turns->conversation + 1);
        *turns = (struct turns){.conversation = conversation,
                                .n_long = turns->n_long,
                                .n_with_system = turns->n_with_system};
    }
    if (strcmp(role, "system") == 0) {
        cr_assert_null(turns->last, "line %zu: system first", conversation + 1);
        turns->n_with_system++;
        turns->last = "system";
        return;
    }
    const char *want =
        turns->last && strcmp(turns->last, "user") == 0 ? "assistant" : "user";

    cr_assert_str_eq(role, want, "line %zu", conversation + 1);
    turns->last = want;
    turns->n_long += ++turns->n_turns == 4;
}

Test(default_text, has_conversations_of_turns_that_alternate)
{
    struct turns turns = {0};

    cr_expect_geq(each_message(check_turn, &turns), 120);
    cr_assert_str_eq(turns.last, "assistant");
    cr_expect_geq(turns.n_long, 20, "%zu of several turns", turns.n_long);
    cr_expect_geq(turns.n_with_system, 5);
}

struct count {
    struct tokenizer *tok;
    size_t n;
};

static size_t tokens_of(const struct tokenizer *tok, const char *text, size_t n)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    struct error err = {0};

    cr_assert_eq(tokenizer_encode(tok, text, n, TOKENIZE_SPECIAL, &ids, &n_ids, &err), OK,
                 "%s", err.text);
    for (size_t i = 0; i < n_ids; i++)
        cr_assert(!tokenizer_is_end(tok, ids[i]) && ids[i] != tokenizer_bos(tok),
                  "a control token in the text");
    free(ids);
    return n_ids;
}

static void count_message(void *arg, size_t conversation, const char *role,
                          const char *content, size_t n)
{
    struct count *count = arg;

    (void)conversation;
    (void)role;
    count->n += tokens_of(count->tok, content, n);
}

/* Contents of conversations alone, without what frames them. */
Test(default_text, is_131072_tokens_of_gemma_4_at_least, .timeout = 300)
{
    struct count count = {0};
    struct error err = {0};

    cr_assert_eq(tokenizer_open_folder(CARAT_DATA "/tokenizer", NULL, &count.tok, &err),
                 OK, "%s", err.text);
    each_message(count_message, &count);
    cr_expect_geq(count.n, 131072 / 10, "conversations: %zu", count.n);
    for (size_t i = 0; i < N_CALIBRATE_DEFAULTS; i++)
        if (!is_chat(&documents[i]))
            count.n += tokens_of(count.tok, documents[i].bytes, documents[i].n);
    cr_expect_geq(count.n, 131072, "%zu", count.n);
    tokenizer_free(count.tok);
}

/* ---- variety ---- */

struct section {
    char file[32], kind[32], source[32];
    size_t first, n;
};

enum { MAX_SECTIONS = 400 };

static size_t read_sections(struct section *sections)
{
    FILE *file = fopen(SECTIONS, "r");
    char line[256];
    size_t n = 0;

    cr_assert_not_null(file);
    cr_assert_not_null(fgets(line, sizeof(line), file), "its heading");
    while (fgets(line, sizeof(line), file)) {
        struct section *s = &sections[n++];

        cr_assert_leq(n, MAX_SECTIONS);
        cr_assert_eq(sscanf(line, "%31[^\t]\t%zu\t%zu\t%31[^\t]\t%31s", s->file,
                            &s->first, &s->n, s->kind, s->source),
                     5, "%s", line);
    }
    fclose(file);
    return n;
}

Test(default_text, sections_make_up_the_plain_files)
{
    static struct section sections[MAX_SECTIONS];
    size_t n = read_sections(sections), end[N_CALIBRATE_DEFAULTS] = {0};

    for (size_t i = 0; i < n; i++) {
        const struct calibrate_document *d = named(sections[i].file);
        size_t *at = &end[d - documents];

        cr_assert_eq(sections[i].first, *at ? *at + 1 : 0, "section %zu", i);
        *at = sections[i].first + sections[i].n;
        cr_assert_leq(*at, d->n);
        cr_assert_eq(d->bytes[*at - 1], '\n');
    }
    for (size_t i = 0; i < N_CALIBRATE_DEFAULTS; i++)
        if (!is_chat(&documents[i]))
            cr_assert_eq(end[i], documents[i].n, "%s", documents[i].name);
}

/* How many different kinds a file's sections have. */
static size_t n_kinds(const char *file)
{
    static struct section sections[MAX_SECTIONS];
    size_t n = read_sections(sections), kinds = 0;

    for (size_t i = 0; i < n; i++) {
        bool is_new = strcmp(sections[i].file, file) == 0;

        for (size_t j = 0; j < i && is_new; j++)
            is_new = strcmp(sections[j].file, file) != 0 ||
                     strcmp(sections[j].kind, sections[i].kind) != 0;
        kinds += is_new;
    }
    return kinds;
}

Test(default_text, has_twenty_languages_and_six_of_programming)
{
    cr_expect_geq(n_kinds("multilingual.txt"), 20);
    cr_expect_geq(n_kinds("code.txt"), 6);
}

/* Languages that are not written in Latin letters, and where theirs are in Unicode. */
static const struct {
    const char *language;
    uint32_t first, last;
} scripts[] = {
    {"am", 0x1200, 0x137f},      {"ar", 0x0600, 0x06ff}, {"as", 0x0980, 0x09ff},
    {"bg", 0x0400, 0x04ff},      {"bn", 0x0980, 0x09ff}, {"el", 0x0370, 0x03ff},
    {"fa", 0x0600, 0x06ff},      {"gu", 0x0a80, 0x0aff}, {"he", 0x0590, 0x05ff},
    {"hi", 0x0900, 0x097f},      {"hy", 0x0530, 0x058f}, {"ja", 0x3000, 0x9fff},
    {"ka", 0x10a0, 0x10ff},      {"ko", 0xac00, 0xd7a3}, {"ml", 0x0d00, 0x0d7f},
    {"mr", 0x0900, 0x097f},      {"ru", 0x0400, 0x04ff}, {"sr", 0x0400, 0x04ff},
    {"ta", 0x0b80, 0x0bff},      {"te", 0x0c00, 0x0c7f}, {"th", 0x0e00, 0x0e7f},
    {"uk", 0x0400, 0x04ff},      {"ur", 0x0600, 0x06ff}, {"zh", 0x3000, 0x9fff},
    {"zh-Hant", 0x3000, 0x9fff},
};

/* More than half of the letters: program names and commands stay Latin everywhere. */
Test(default_text, each_language_is_in_its_own_script)
{
    static struct section sections[MAX_SECTIONS];
    size_t n = read_sections(sections), n_checked = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t s = 0; s < sizeof(scripts) / sizeof(*scripts); s++) {
            const struct calibrate_document *d = named(sections[i].file);
            const char *text = d->bytes + sections[i].first;
            size_t own = 0, latin = 0;

            if (strcmp(sections[i].file, "multilingual.txt") != 0 ||
                strcmp(sections[i].kind, scripts[s].language) != 0)
                continue;
            for (size_t at = 0, step; at < sections[i].n; at += step) {
                step = utf8_length(text + at, sections[i].n - at);
                uint32_t c = utf8_decode(text + at, step);

                own += c >= scripts[s].first && c <= scripts[s].last;
                latin += (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
            }
            cr_expect_gt(own, latin, "section %zu, %s", i, sections[i].kind);
            n_checked++;
        }
    cr_expect_geq(n_checked, sizeof(scripts) / sizeof(*scripts));
}

/* ---- apart from evaluation ---- */

enum { COMMON = 80, BLOCK = COMMON / 2 };

struct block {
    uint64_t hash;
    const char *at;
};

/* A copy with every run of white space as one blank. */
static char *squeeze(const char *text, size_t n, size_t *n_out)
{
    char *out = malloc(n + 1);
    size_t k = 0;

    cr_assert_not_null(out);
    for (size_t i = 0; i < n; i++) {
        bool is_blank = strchr(" \t\r\n", text[i]) && text[i];

        if (!is_blank || (k > 0 && out[k - 1] != ' '))
            out[k++] = is_blank ? ' ' : text[i];
    }
    out[k] = '\0';
    *n_out = k;
    return out;
}

static int by_hash(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    return (x->hash > y->hash) - (x->hash < y->hash);
}

/* The longest run of bytes that two texts share, when it is COMMON or longer: such a run holds a
 * whole BLOCK that begins at a multiple of BLOCK in `b`. */
static size_t longest_common(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t n = n_b / BLOCK, longest = 0;
    struct block *blocks = malloc((n + 1) * sizeof(*blocks));

    cr_assert_not_null(blocks);
    for (size_t i = 0; i < n; i++)
        blocks[i] = (struct block){hash_bytes(b + i * BLOCK, BLOCK), b + i * BLOCK};
    qsort(blocks, n, sizeof(*blocks), by_hash);
    for (const char *at = a; at + BLOCK <= a + n_a; at++) {
        struct block key = {hash_bytes(at, BLOCK), NULL};
        const struct block *hit = bsearch(&key, blocks, n, sizeof(*blocks), by_hash);

        if (!hit || memcmp(hit->at, at, BLOCK) != 0)
            continue;
        size_t before = 0, after = BLOCK;

        while (at - before > a && hit->at - before > b &&
               at[-1 - (long)before] == hit->at[-1 - (long)before])
            before++;
        while (at + after < a + n_a && hit->at + after < b + n_b &&
               at[after] == hit->at[after])
            after++;
        longest = before + after > longest ? before + after : longest;
    }
    free(blocks);
    return longest;
}

/* What is in data/ of texts that models are judged by. */
static char *evaluation_text(size_t *n)
{
    static const char *const files[] = {
        CARAT_DATA "/text/wiki-heldout.txt",
        CARAT_DATA "/vectors/tokenizer/udhr.jsonl",
        CARAT_DATA "/vectors/tokenizer/small.jsonl",
        CARAT_DATA "/vectors/tokenizer/ggml-vocab-gemma-4.gguf.inp",
    };
    char *all = NULL;

    *n = 0;
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        struct error err = {0};
        char *bytes = NULL;
        size_t n_bytes = 0;

        cr_assert_eq(file_read_all(files[i], 1 << 24, &bytes, &n_bytes, &err), OK, "%s",
                     err.text);
        all = realloc(all, *n + n_bytes + 1);
        cr_assert_not_null(all);
        memcpy(all + *n, bytes, n_bytes);
        *n += n_bytes;
        all[(*n)++] = '\n';
        free(bytes);
    }
    return all;
}

Test(default_text, shares_no_80_bytes_with_evaluation_text)
{
    size_t n_all = 0, n_eval = 0;
    char *all = evaluation_text(&n_all), *evaluation = squeeze(all, n_all, &n_eval);

    for (size_t i = 0; i < N_CALIBRATE_DEFAULTS; i++) {
        size_t n = 0;
        char *text = squeeze(documents[i].bytes, documents[i].n, &n);

        cr_expect_lt(longest_common(text, n, evaluation, n_eval), COMMON, "%s",
                     documents[i].name);
        free(text);
    }
    /* The search finds what is there. */
    cr_assert_eq(longest_common(evaluation + 1003, 120, evaluation, n_eval), 120);
    free(evaluation);
    free(all);
}
