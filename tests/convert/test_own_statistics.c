/*
 * test_own_statistics.c - texts become chunks; a conversion gathers its statistics from them
 */
#include "convert/calibrate/calibrate.h"
#include "convert/convert.h"
#include "convert/own_statistics.h"
#include "convert/slabs.h"
#include "formats/tokenizer/tokenizer.h"
#include "tests/convert/tiny.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct tiny tiny;

static void begin(void)
{
    tiny_begin(&tiny, TINY_E2B);
    tiny_write(&tiny);
}

static void end(void)
{
    tiny_end(&tiny);
}

TestSuite(own_statistics, .init = begin, .fini = end);

static struct model *open_tiny(void)
{
    struct model *model = NULL;
    struct error err = {0};

    cr_assert_eq(convert_open_source(tiny.folder, NULL, &model, &err), OK, "%s",
                 err.text);
    return model;
}

/* n copies of a sentence. */
static char *repeat(const char *sentence, size_t n)
{
    const size_t length = strlen(sentence);
    char *text = malloc(n * length + 1);

    cr_assert_not_null(text);
    for (size_t i = 0; i < n; i++)
        memcpy(text + i * length, sentence, length);
    text[n * length] = '\0';
    return text;
}

static struct calibrate_document document(const char *name, const char *text)
{
    return (struct calibrate_document){name, text, strlen(text)};
}

/* ---- chunks ---- */

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
Test(own_statistics, an_encoder_sees_prompts)
{
    static const char *const prompts[] = {
        "task: search result | query: ", "title: none | text: ",
        "task: sentence similarity | query: ", "task: classification | query: "};
    char *body = repeat("one two three four five six seven eight\n", 400);
    const struct calibrate_document d = document("text", body);
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
Test(own_statistics, texts_share_what_is_taken_and_what_is_held_out)
{
    char *longer = repeat("one two three four five six seven eight\n", 400);
    char *shorter = repeat("eins zwei drei vier\n", 8);
    const struct calibrate_document documents[] = {document("longer", longer),
                                                   document("shorter", shorter)};
    struct model *model = open_tiny();
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
Test(own_statistics, conversations_are_framed)
{
    static const char line[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"Why is "
        "the sky blue?\"}, {\"role\": \"assistant\", \"content\": "
        "\"Air scatters blue light most.\"}]}\n\n";
    char *lines = repeat(line, 8), *turns;
    struct model *model = open_tiny();
    struct calibrate_document d = document("chat.jsonl", lines);
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
    turns = repeat(
        "{\"text\": \"<|turn>user\\nWhy is the sky blue?<turn|>\\n<|turn>model\\nAir "
        "scatters blue light most.<turn|>\\n\"}\n",
        8);
    d = document("same.jsonl", turns);
    same = cut(model, &d, 1, 100);
    cr_assert_eq(same.n_chunks, text.n_chunks);
    cr_expect_arr_eq(same.ids, text.ids, text.n_chunks * N_CTX * sizeof(*text.ids));

    free(turns);
    turns = repeat("{\"text\": \"fine\"}\n[1, 2]\n", 1);
    d = document("bad.jsonl", turns);
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

/* ---- conversions ---- */

static struct convert_options asked(const struct calibrate_document *documents)
{
    return (struct convert_options){.type = "Q4_0",
                                    .ple_inline = true,
                                    .method = METHOD_COMPENSATE,
                                    .documents = documents,
                                    .n_documents = 1,
                                    .tokens = 1024,
                                    .force = true};
}

static void convert(const char *name, const struct convert_options *options,
                    char sha256[65])
{
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH];

    fixture_join(out, tiny.folder, name);
    cr_assert_eq(convert_run(tiny.folder, out, options, NULL, &result, &err), OK, "%s",
                 err.text);
    memcpy(sha256, result.files[0].sha256, 65);
    convert_result_free(&result);
}

static bool is_there(const char *name)
{
    char path[FIXTURE_PATH];

    fixture_join(path, tiny.folder, name);
    return file_exists(path);
}

/* One command gives what two give: `calibrate`, and `convert` with its file. */
Test(own_statistics, are_those_of_calibrate, .timeout = 300)
{
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    struct convert_options options = asked(&d);
    struct calibrate_options calibration = {.force = true};
    struct calibrate_report report;
    struct model *model = open_tiny();
    struct calibrate_text text;
    struct error err = {0};
    char moments[FIXTURE_PATH], one[65], two[65];

    convert("one.gguf", &options, one);
    cr_expect_not(is_there("one.gguf.moments"));

    fixture_join(moments, tiny.folder, "words.moments");
    calibration.moments = moments;
    cr_assert_eq(
        calibrate_text_make(model, &d, 1,
                            &(struct calibrate_cut){.tokens = 1024, .held_every = 8},
                            &text, &err),
        OK, "%s", err.text);
    cr_assert_eq(calibrate_run(model, &text, &calibration, NULL, &report, &err), OK, "%s",
                 err.text);
    options.n_documents = 0;
    options.moments = moments;
    convert("two.gguf", &options, two);
    cr_expect_str_eq(one, two);
    calibrate_text_free(&text);
    model_close(model);
    free(words);
}

/* What a conversion would gather from a text, to the files these options name. */
static void calibrate_to(const struct calibrate_options *options,
                         const struct calibrate_document *d)
{
    const struct calibrate_cut cut = {.tokens = 1024, .held_every = 8};
    struct model *model = open_tiny();
    struct calibrate_report report;
    struct calibrate_text text;
    struct error err = {0};

    cr_assert_eq(calibrate_text_make(model, d, 1, &cut, &text, &err), OK, "%s", err.text);
    cr_assert_eq(calibrate_run(model, &text, options, NULL, &report, &err), OK, "%s",
                 err.text);
    calibrate_text_free(&text);
    model_close(model);
}

/* True when a conversion of these options is not refused for the memory it takes. */
static bool fits_in(struct convert_options options, uint64_t max_memory)
{
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH];

    fixture_join(out, tiny.folder, "fits.gguf");
    options.force = true;
    options.max_memory = max_memory;
    if (convert_run(tiny.folder, out, &options, NULL, &result, &err) == OK) {
        convert_result_free(&result);
        return true;
    }
    cr_assert_not_null(strstr(err.text, "--max-memory"), "%s", err.text);
    return false;
}

/* Two squares of moments in f32, a metric in the making and the best one so far; and a slab's rows. */
Test(own_statistics, count_towards_the_memory_of_a_conversion, .timeout = 300)
{
    enum { SQUARE = 64 * 64 }; /* of the columns of the widest input */
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    char path[FIXTURE_PATH];
    struct convert_options options = {
        .type = "Q4_0", .method = METHOD_SEARCH, .moments = path};
    uint64_t low = 1 << 20, high = 1 << 28; /* what does not suffice, and what does */

    fixture_join(path, tiny.folder, "words.moments");
    calibrate_to(&(struct calibrate_options){.moments = path}, &d);
    while (high - low > SQUARE / 8) {
        const uint64_t middle = low + (high - low) / 2;

        *(fits_in(options, middle) ? &high : &low) = middle;
    }
    options.method = METHOD_COMPENSATE;
    low += 2 * sizeof(float) * SLAB_WEIGHTS;
    cr_expect_not(fits_in(options, low + 39 * SQUARE));
    cr_expect(fits_in(options, low + 41 * SQUARE));
    free(words);
}

static void interrupt(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    (void)total;
    if (done == *(const uint64_t *)arg)
        raise(SIGINT);
}

static void count_reports(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    (void)total;
    *(uint64_t *)arg = done;
}

static void put_a_file_there(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    if (done == total)
        fixture_write(arg, "here", 4);
}

/* In a process of its own, before the test computes anything: threads do not survive a fork.
 * Interrupted when `at` chunks of all steps are done. */
static void convert_and_stop(const char *name, struct convert_options options,
                             uint64_t at)
{
    const pid_t child = fork();
    int status = 0;

    if (child == 0) {
        const struct progress stop = {.arg = &at, .report = interrupt};
        struct convert_result result;
        struct error err = {0};
        char out[FIXTURE_PATH];

        interrupt_install();
        fixture_join(out, tiny.folder, name);
        options.calibration_progress = &stop;
        const enum status st =
            convert_run(tiny.folder, out, &options, NULL, &result, &err);
        _exit(st == ERR_INTERRUPTED ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "at %" PRIu64, at);
}

Test(own_statistics, a_conversion_goes_on_wherever_it_was_interrupted, .timeout = 300)
{
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    struct convert_options options = asked(&d);
    char one[65], two[65];

    convert_and_stop("one.gguf", options, 5); /* two chunks a step: in layer 1 */
    cr_expect(is_there(".one.gguf.moments.layers.partial"));
    options.resume = true;
    convert_and_stop("one.gguf", options, 12); /* all six steps are done */
    cr_expect(is_there("one.gguf.moments"));
    cr_expect_not(is_there(".one.gguf.moments.layers.partial"));
    convert("one.gguf", &options, one);
    cr_expect_not(is_there("one.gguf.moments"));
    cr_expect_not(is_there(".one.gguf.journal"));
    options.resume = false;
    convert("two.gguf", &options, two);
    cr_expect_str_eq(one, two);
    free(words);
}

/* The importance matrix that an interrupted run left is taken up with its own texts only. */
Test(own_statistics, of_other_texts_are_not_taken_up, .timeout = 300)
{
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    char *others = repeat("int main(void) { return 0; } /* nothing */ ", 300);
    const struct calibrate_document d = document("words", words),
                                    e = document("words", others);
    struct convert_options options = asked(&d);
    struct convert_result result;
    struct error err = {0};
    char whole[65], resumed[65], out[FIXTURE_PATH];

    options.method = METHOD_SEARCH;
    convert("whole.gguf", &options, whole);
    fixture_join(out, tiny.folder, "left.gguf.imatrix");
    calibrate_to(&(struct calibrate_options){.imatrix = out}, &d);
    fixture_join(out, tiny.folder, "left.gguf");
    options.resume = true;
    options.documents = &e;
    cr_expect_eq(convert_run(tiny.folder, out, &options, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "other texts"), "%s", err.text);

    options.documents = &d;
    convert("left.gguf", &options, resumed);
    cr_expect_str_eq(resumed, whole);
    free(words);
    free(others);
}

/* The journal lies beside the first file, which has another name where there are two. */
Test(own_statistics, go_with_a_conversion_that_was_begun_in_one_file_or_two,
     .timeout = 300)
{
    static const char *const begun[] = {".out-00001-of-00002.gguf.journal",
                                        ".out.gguf.journal"};
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    char out[FIXTURE_PATH], stats[FIXTURE_PATH], journal[FIXTURE_PATH];

    fixture_join(out, tiny.folder, "out.gguf");
    fixture_join(stats, tiny.folder, "out.gguf.imatrix");
    calibrate_to(&(struct calibrate_options){.imatrix = stats}, &d);
    for (int is_inline = 0; is_inline < 2; is_inline++)
        for (int is_begun = 0; is_begun < 2; is_begun++) {
            struct convert_options how = asked(&d);
            struct own_statistics own = {0};
            struct error err = {0};

            how.method = METHOD_SEARCH;
            how.ple_inline = is_inline;
            how.resume = true;
            fixture_join(journal, tiny.folder, begun[is_inline]);
            if (is_begun)
                fixture_write(journal, "", 0);
            cr_assert_eq(own_statistics_name(&own, out, &how, &err), OK, "%s", err.text);
            cr_assert_eq(own_statistics_gather(&own, tiny.folder, out, &how, &err), OK,
                         "%s", err.text);
            cr_expect_eq(how.resume, is_begun, "inline %d", is_inline);
            own_statistics_close(&own, ERR_IO);
            remove(journal);
        }
    free(words);
}

Test(own_statistics, are_not_gathered_beside_a_file_of_them)
{
    const struct calibrate_document d = document("words", "words");
    struct convert_options options = asked(&d);
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH];

    options.moments = "there.moments";
    fixture_join(out, tiny.folder, "out.gguf");
    cr_expect_eq(convert_run(tiny.folder, out, &options, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "--text"), "%s", err.text);
}

/* Nor removed when the conversion fails for it: they may have taken days. */
Test(own_statistics, do_not_replace_those_that_are_there)
{
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    struct convert_options options = asked(&d);
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH], there[FIXTURE_PATH];

    fixture_join(out, tiny.folder, "out.gguf");
    fixture_join(there, tiny.folder, "out.gguf.moments");
    fixture_write(there, "days", 4);
    for (int resume = 0; resume < 2; resume++) {
        options.force = !resume;
        options.resume = resume;
        cr_expect_neq(convert_run(tiny.folder, out, &options, NULL, &result, &err), OK);
        cr_expect(strstr(err.text, "out.gguf.moments"), "%s", err.text);
        cr_expect(is_there("out.gguf.moments"));
    }
    free(words);
}

/* ---- what compensation is told ---- */

static const struct rounded_tensor *rounded(const struct convert_result *result,
                                            const char *name)
{
    for (size_t i = 0; i < result->n_rounded; i++)
        if (strcmp(result->rounded[i].name, name) == 0)
            return &result->rounded[i];
    return NULL;
}

/* Without held-out tokens an expert, as a dense matrix, is judged by the others. */
Test(own_statistics, judge_experts_without_held_out_tokens_too, .timeout = 300)
{
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    char moments[FIXTURE_PATH], out[FIXTURE_PATH];
    struct convert_options options = {
        .type = "Q4_0", .method = METHOD_COMPENSATE, .moments = moments};
    struct calibrate_options calibration = {.moments = moments};
    struct calibrate_report report;
    struct calibrate_text text;
    struct convert_result result;
    struct error err = {0};

    tiny_end(&tiny);
    tiny_begin(&tiny, TINY_MOE);
    tiny_write(&tiny);
    fixture_join(moments, tiny.folder, "words.moments");
    fixture_join(out, tiny.folder, "out.gguf");
    struct model *model = open_tiny();
    cr_assert_eq(calibrate_text_make(
                     model, &d, 1, &(struct calibrate_cut){.tokens = 1024}, &text, &err),
                 OK, "%s", err.text);
    cr_assert_eq(calibrate_run(model, &text, &calibration, NULL, &report, &err), OK, "%s",
                 err.text);
    cr_assert_eq(convert_run(tiny.folder, out, &options, NULL, &result, &err), OK, "%s",
                 err.text);
    const struct rounded_tensor *up = rounded(&result, "blk.0.ffn_gate_up_exps.weight");
    cr_assert_not_null(up);
    cr_expect_lt(up->held_out_loss, 1.0);
    convert_result_free(&result);
    calibrate_text_free(&text);
    model_close(model);
    free(words);
}

/* A weight that no scale of the format reaches keeps its tensor as it is, as by the other methods. */
Test(own_statistics, do_not_saturate_a_weight, .timeout = 300)
{
    static const char name[] = "layers.0.mlp.gate_proj.weight";
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    struct convert_options options = asked(&d);
    char sha256[65], out[FIXTURE_PATH];
    struct gguf *file = NULL;
    struct error err = {0};

    tiny_tensor(&tiny, name)->bf16[3] = 0x4974; /* 999,424 */
    tiny_write(&tiny);
    options.equalize = EQUALIZE_OFF; /* which could bring it into reach */
    convert("out.gguf", &options, sha256);
    fixture_join(out, tiny.folder, "out.gguf");
    cr_assert_eq(gguf_open(out, &file, &err), OK, "%s", err.text);
    const struct gguf_tensor *gate = gguf_find(file, "blk.0.ffn_gate.weight");
    const struct gguf_tensor *up = gguf_find(file, "blk.0.ffn_up.weight");
    cr_assert(gate && up);
    cr_expect_eq(gate->type, TYPE_BF16);
    cr_expect_eq(up->type, TYPE_Q4_0);
    gguf_close(file);
    free(words);
}

static void must_refuse(const struct convert_options *options, const char *why)
{
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH];

    fixture_join(out, tiny.folder, "out.gguf");
    cr_expect_eq(convert_run(tiny.folder, out, options, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, why), "%s", err.text);
}

/* Hours of calibration come after everything that can be refused without them. */
Test(own_statistics, are_not_gathered_for_what_is_refused_anyway)
{
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    uint64_t never = UINT64_MAX;
    const struct progress watch = {.arg = &never, .report = count_reports};
    struct convert_options options = asked(&d);
    char out[FIXTURE_PATH];

    options.calibration_progress = &watch;
    fixture_join(out, tiny.folder, "out.gguf");
    fixture_write(out, "here", 4);
    options.force = false;
    must_refuse(&options, "exists");
    options.force = true;
    options.max_memory = 48 << 20; /* less than the program's share */
    must_refuse(&options, "--max-memory");
    options.max_memory = 0;
    options.type = "Q4_9";
    must_refuse(&options, "no such type");
    cr_expect_eq(never, UINT64_MAX, "%" PRIu64 " chunks were run", never);
    cr_expect_not(is_there("out.gguf.moments"));
    free(words);
}

/* What the memory bound says of moments to come is what it says of those that are there. */
Test(own_statistics, are_bounded_before_they_are_there, .timeout = 300)
{
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    struct convert_options there = asked(&d), to_come = asked(&d);
    struct convert_result result;
    struct error err = {0};
    char path[FIXTURE_PATH], out[FIXTURE_PATH];
    uint64_t low = 1 << 20, high = 1 << 28;

    fixture_join(path, tiny.folder, "words.moments");
    calibrate_to(&(struct calibrate_options){.moments = path}, &d);
    there.n_documents = 0;
    there.moments = path;
    there.equalize = EQUALIZE_OFF;
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;

        *(fits_in(there, middle) ? &high : &low) = middle;
    }
    to_come.equalize = EQUALIZE_OFF;
    fixture_join(out, tiny.folder, "to_come.gguf");
    to_come.max_memory = low - 4096; /* the header names no texts yet */
    cr_expect_eq(convert_run(tiny.folder, out, &to_come, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "converting it takes"), "%s", err.text);
    to_come.max_memory = high;
    cr_expect_eq(convert_run(tiny.folder, out, &to_come, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "calibrating it takes"), "%s", err.text);
    free(words);
}

/* A conversion that fails after its statistics were gathered leaves them. */
Test(own_statistics, outlive_a_conversion_that_fails, .timeout = 300)
{
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    struct convert_options options = asked(&d);
    struct convert_result result;
    struct error err = {0};
    char out[FIXTURE_PATH], one[65], two[65];
    const struct progress spoil = {.arg = out, .report = put_a_file_there};

    fixture_join(out, tiny.folder, "one.gguf");
    options.force = false;
    options.calibration_progress = &spoil;
    cr_expect_eq(convert_run(tiny.folder, out, &options, NULL, &result, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "exists"), "%s", err.text);
    cr_expect(is_there("one.gguf.moments"));

    options.calibration_progress = NULL;
    options.force = options.resume = true;
    convert("one.gguf", &options, one);
    cr_expect_not(is_there("one.gguf.moments"));
    options.resume = false;
    convert("two.gguf", &options, two);
    cr_expect_str_eq(one, two);
    free(words);
}

/* Statistics of another model are not passed over in silence. */
Test(own_statistics, of_another_model_are_told, .timeout = 300)
{
    static const struct {
        enum tiny_kind kind;
        enum status want;
        const char *says;
    } cases[] = {
        {TINY_E2B, OK, ""},
        {TINY_MOE, OK, "words.moments lacks"},
        {TINY_GEMMA3, ERR_SHAPE, "expected)"},
    };
    char *words = repeat("It was the best of times, it was the worst of times. ", 200);
    const struct calibrate_document d = document("words", words);
    char moments[FIXTURE_PATH];
    const struct convert_options options = {
        .type = "Q4_0", .method = METHOD_COMPENSATE, .moments = moments};

    fixture_join(moments, tiny.folder, "words.moments");
    calibrate_to(&(struct calibrate_options){.moments = moments}, &d);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan *plan = NULL;
        struct error err = {0};
        struct tiny other;
        size_t n_noted = 0;

        tiny_begin(&other, cases[i].kind);
        tiny_write(&other);
        cr_expect_eq(convert_plan(other.folder, NULL, &options, &plan, &err),
                     cases[i].want, "%zu: %s", i, err.text);
        for (size_t k = 0; plan && k < plan->n_notes; k++)
            n_noted += strstr(plan->notes[k], "words.moments lacks") != NULL;
        cr_expect_eq(n_noted, i == 1, "%zu: %zu", i, n_noted);
        cr_expect(plan || strstr(err.text, cases[i].says), "%zu: %s", i, err.text);
        plan_free(plan);
        tiny_end(&other);
    }
    free(words);
}
