/*
 * test_logits.c - reference files come back as written, and damaged ones are refused
 */
#include "formats/logits/logits.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_VOCAB = 300, N_ENTRIES = 20, N_TOKENS = 12, N_SCORED = 6 };

static char folder[FIXTURE_PATH], path[FIXTURE_PATH];
static uint8_t *bytes;
static size_t n_bytes;

static uint32_t chunk_tokens[] = {6, 6};
static int32_t tokens[N_TOKENS] = {2, 7, 299, 0, 5, 9, 2, 8, 11, 12, 13, 14};
static uint8_t scored[N_TOKENS] = {0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1};

static const struct logits_facts facts = {
    .n_vocab = N_VOCAB,
    .n_entries = N_ENTRIES,
    .tokenizer = {1, 2, 3},
    .source = "Tiny",
    .text = {.n_ctx = 6,
             .n_chunks = 2,
             .n_tokens = N_TOKENS,
             .n_scored = N_SCORED,
             .chunk_tokens = chunk_tokens,
             .tokens = tokens,
             .scored = scored,
             .sha256 = {9}},
};

static void make_row(uint64_t seed, float *z, float *weights, struct logits_row *row)
{
    fixture_activations(z, N_VOCAB, seed);
    for (int i = 0; i < N_VOCAB; i++)
        z[i] = fminf(z[i], 6.0f);
    cr_assert(logits_row_make(z, N_VOCAB, weights, row));
}

static void begin(void)
{
    struct logits_writer *dst = NULL;
    uint8_t stored[32 + 8 * N_ENTRIES];
    struct logits_entry entries[N_ENTRIES];
    struct error err = {0};

    fixture_folder(folder);
    fixture_join(path, folder, "ref");
    cr_assert_eq(logits_create(path, &facts, false, &dst, &err), OK, "%s", err.text);
    for (uint64_t i = 0; i < N_SCORED; i++) {
        float z[N_VOCAB], weights[N_VOCAB];
        struct logits_record record = {.entries = entries};
        struct logits_row row;

        make_row(i, z, weights, &row);
        logits_record_make(&row, 5, i, N_ENTRIES, &record);
        logits_record_store(&record, N_ENTRIES, stored);
        cr_assert_eq(logits_append(dst, stored, 1, &err), OK);
    }
    cr_assert_eq(logits_commit(dst, &err), OK, "%s", err.text);
    cr_assert_eq(file_read_all(path, 1 << 20, (char **)&bytes, &n_bytes, &err), OK);
}

static void end(void)
{
    free(bytes);
    fixture_remove(folder);
}

TestSuite(logits, .init = begin, .fini = end);

Test(logits, a_file_comes_back_as_it_was_written)
{
    struct logits_file *file = NULL;
    struct logits_entry entries[N_ENTRIES];
    struct logits_record record = {.entries = entries};
    struct error err = {0};

    cr_assert_eq(logits_open(path, &file, &err), OK, "%s", err.text);
    const struct logits_facts *got = logits_facts(file);
    cr_expect_str_eq(got->source, "Tiny");
    cr_expect_arr_eq(got->tokenizer, facts.tokenizer, 32);
    cr_expect_arr_eq(got->text.sha256, facts.text.sha256, 32);
    cr_expect_arr_eq(got->text.tokens, tokens, sizeof(tokens));
    cr_expect_arr_eq(got->text.scored, scored, sizeof(scored));
    for (uint64_t i = 0; i < N_SCORED; i++) {
        float z[N_VOCAB], weights[N_VOCAB];
        struct logits_row row;

        make_row(i, z, weights, &row);
        cr_assert_eq(logits_read(file, i, &record, &err), OK, "%s", err.text);
        cr_expect_eq(record.lse, row.lse);
        cr_expect_eq(record.target, z[5]);
        cr_expect_eq(logits_record_argmax(&record), row.argmax);
        cr_expect_eq(record.n_top + record.n_tail, N_ENTRIES);
        for (uint32_t k = 0; k < N_ENTRIES; k++)
            cr_expect_eq(entries[k].logit, z[entries[k].id]);
    }
    logits_close(file);
}

/* The certain part and the tail add up, and no piece of the tail is as likely as a step. */
Test(logits, pieces_kept_by_chance_are_less_likely_than_a_step)
{
    float z[N_VOCAB], weights[N_VOCAB];
    struct logits_entry entries[N_ENTRIES];
    struct logits_record record = {.entries = entries};
    struct logits_row row;

    for (uint64_t seed = 0; seed < 50; seed++) {
        double certain = 0.0;
        bool is_top[N_VOCAB] = {false};

        make_row(seed, z, weights, &row);
        logits_record_make(&row, 0, seed, N_ENTRIES, &record);
        for (uint32_t k = 0; k < record.n_top; k++) {
            certain += (double)weights[entries[k].id] / row.sum;
            is_top[entries[k].id] = true;
        }
        cr_expect_float_eq(certain + record.tail, 1.0, 1e-12);
        for (uint32_t i = 0; i < N_VOCAB; i++)
            cr_expect(is_top[i] ||
                      (double)weights[i] / row.sum < record.tail / record.n_tail);
    }
}

/* Over many draws each piece of the tail is taken in proportion to its probability: of N draws
 * with chance pi the count has variance N pi (1 - pi); five deviations are allowed. */
Test(logits, the_tail_is_drawn_with_the_chance_the_header_states)
{
    enum { DRAWS = 4000 };
    static int count[N_VOCAB];
    float z[N_VOCAB], weights[N_VOCAB];
    struct logits_entry entries[N_ENTRIES];
    struct logits_record record = {.entries = entries};
    struct logits_row row;

    make_row(3, z, weights, &row);
    for (uint64_t i = 0; i < DRAWS; i++) {
        logits_record_make(&row, 0, i, N_ENTRIES, &record);
        for (uint32_t k = 0; k < N_ENTRIES; k++)
            count[entries[k].id]++;
    }
    for (uint32_t i = 0; i < N_VOCAB; i++) {
        double chance = (double)weights[i] / row.sum * record.n_tail / record.tail;
        double want = DRAWS * fmin(chance, 1.0);
        double sigma = chance < 1.0 ? sqrt(want * (1.0 - chance)) : 0.0;

        cr_expect_float_eq(count[i], want, 5.0 * sigma + 1.0, "piece %u: %d for %g", i,
                           count[i], want);
    }
}

Test(logits, a_file_cut_short_anywhere_is_refused)
{
    for (size_t n = 0; n < n_bytes; n++) {
        uint8_t *cut = fixture_guarded(n);
        struct logits_file *file = NULL;
        struct error err = {0};

        memcpy(cut, bytes, n);
        cr_expect_neq(logits_parse(cut, n, &file, &err), OK, "%zu bytes", n);
        cr_expect(err.text[0] != '\0');
        fixture_unguard(cut, n);
    }
}

/* Hashes cover every byte: wherever one is changed, opening or reading tells. */
Test(logits, a_changed_byte_is_noticed_wherever_it_is)
{
    struct logits_entry entries[N_ENTRIES];

    for (size_t at = 0; at < n_bytes; at++) {
        struct logits_record record = {.entries = entries};
        struct logits_file *file = NULL;
        struct error err = {0};
        enum status st;

        bytes[at] ^= 0x10;
        st = logits_parse(bytes, n_bytes, &file, &err);
        for (uint64_t i = 0; i < N_SCORED && st == OK; i++)
            st = logits_read(file, i, &record, &err);
        cr_expect_neq(st, OK, "byte %zu", at);
        logits_close(file);
        bytes[at] ^= 0x10;
    }
}

/* Headers that lie, with a hash that fits the lie. */
Test(logits, headers_that_contradict_themselves_are_refused)
{
    static const struct {
        const char *why;
        size_t at;
        uint32_t value;
        enum status want;
        const char *says;
    } cases[] = {
        {"not ours", 0, 0x46554747, ERR_CORRUPT, "CARATREF"},
        {"a later version", 8, 2, ERR_UNSUPPORTED, "version 2"},
        {"a vocabulary too small for the ids", 12, 299, ERR_CORRUPT, "vocabulary of 299"},
        {"chunks longer than the context", 16, 5, ERR_CORRUPT, "chunk 0"},
        {"more chunks than there is room for", 20, UINT32_MAX, ERR_CORRUPT, "cut short"},
        {"more entries than there is room for", 24, 60000, ERR_CORRUPT, "cut short"},
        {"no entries", 24, 0, ERR_CORRUPT, "0 entries"},
        {"flags nobody defined", 28, 2, ERR_CORRUPT, "flags"},
        {"2^63 tokens", 36, 0x80000000, ERR_CORRUPT, "cut short"},
        {"a name without an end", 236, 0x41414141, ERR_CORRUPT, "no end"},
        {"a chunk without tokens", 240, 0, ERR_CORRUPT, "chunk 0"},
        {"an id below zero", 248, 0xffffffff, ERR_CORRUPT, "id -1"},
        {"a first token that is scored", 296, 0x0e39, ERR_CORRUPT, "first token"},
        {"other tokens scored than counted", 296, 0x0e30, ERR_CORRUPT, "marked"},
    };
    size_t n_header = n_bytes - N_SCORED * logits_record_bytes(N_ENTRIES);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *bad = malloc(n_bytes);
        struct logits_file *file = NULL;
        struct error err = {0};

        cr_assert_not_null(bad);
        memcpy(bad, bytes, n_bytes);
        store_u32(bad + cases[i].at, cases[i].value);
        store_u64(bad + n_header - 8, hash_bytes(bad, n_header - 8));
        cr_expect_eq(logits_parse(bad, n_bytes, &file, &err), cases[i].want, "%s: %s",
                     cases[i].why, err.text);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s: %s", cases[i].why,
                           err.text);
        logits_close(file);
        free(bad);
    }
}

Test(logits, rows_that_are_not_numbers_have_no_softmax)
{
    float weights[3];
    struct logits_row row;

    cr_expect_not(logits_row_make((float[]){1.0f, NAN, 0.0f}, 3, weights, &row));
    cr_expect_not(logits_row_make((float[]){1.0f, INFINITY, 0.0f}, 3, weights, &row));
    cr_expect_not(
        logits_row_make((float[]){-INFINITY, -INFINITY, -INFINITY}, 3, weights, &row));
    cr_expect(logits_row_make((float[]){-INFINITY, 2.0f, 2.0f}, 3, weights, &row));
    cr_expect_eq(row.argmax, 1);
    cr_expect_float_eq(row.lse, 2.0 + log(2.0), 1e-12);
}
