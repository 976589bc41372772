/*
 * test_calibrate.c - what is gathered is what a plain run shows, and is the same every time
 */
#include "convert/calibrate/calibrate.h"
#include "convert/convert.h"
#include "formats/moments/moments.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Two batches a chunk, so that rings of local layers turn; of two chunks one is held out. */
enum { N_CTX = 560, N_CHUNKS = 2 };

static int32_t ids[N_CTX * N_CHUNKS];
static char folder[FIXTURE_PATH];

static void begin(void)
{
    for (size_t i = 0; i < N_CTX * N_CHUNKS; i++)
        ids[i] = (int32_t)(2 + i * 7919 % 251);
    fixture_folder(folder);
}

static void end(void)
{
    fixture_remove(folder);
}

TestSuite(calibrate, .init = begin, .fini = end);

static struct model *open_member(const char *member)
{
    struct model *model = NULL;
    struct error err = {0};
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", CARAT_DATA, member);
    cr_assert_eq(convert_open_source(path, NULL, &model, &err), OK, "%s", err.text);
    return model;
}

static const uint8_t is_held[N_CHUNKS] = {0, 1};

static const struct calibrate_text text = {.ids = ids,
                                           .is_held = is_held,
                                           .n_chunks = N_CHUNKS,
                                           .n_ctx = N_CTX,
                                           .names = (const char *const[]){"numbers"},
                                           .n_names = 1};

/* What gathering is asked for, in a folder of the test's own. */
static struct calibrate_options asked(char path[FIXTURE_PATH], const char *name)
{
    fixture_join(path, folder, name);
    return (struct calibrate_options){
        .moments = path, .force = true, .arithmetic = ARITH_F32};
}

static struct moments *gather(const struct model *model, const char *name)
{
    char path[FIXTURE_PATH];
    struct calibrate_options options = asked(path, name);
    struct calibrate_report report;
    struct moments *moments = NULL;
    struct error err = {0};

    cr_assert_eq(calibrate_run(model, &text, &options, NULL, &report, &err), OK, "%s",
                 err.text);
    cr_assert_eq(moments_open(path, &moments, &err), OK, "%s", err.text);
    return moments;
}

/* ---- the witness: every input as a plain run shows it ---- */

struct witness {
    const char *input, *weight; /* of which the first to read it counts */
    const char *what;
    int layer, expert;
    struct gram gram[2];
};

/* A witness of what one product reads. */
#define INPUT_OF(name, first_weight, of_layer, of_expert)                                \
    {                                                                                    \
        .input = (name), .weight = (first_weight), .what = "input", .layer = (of_layer), \
        .expert = (of_expert)                                                            \
    }

struct watch {
    struct witness *list;
    size_t n;
    bool is_held;
};

static void watch(void *arg, const struct tap_event *event)
{
    struct watch *watch = arg;

    for (size_t i = 0; i < watch->n; i++) {
        struct witness *w = &watch->list[i];

        if (strcmp(event->what, w->what) == 0 && event->layer == w->layer &&
            event->expert == w->expert &&
            (!w->weight || strcmp(event->weight, w->weight) == 0))
            gram_add(&w->gram[watch->is_held], event->x, event->n_rows);
    }
}

static void no_logits(void *arg, uint32_t position, size_t n_rows, const float *logits)
{
    (void)arg;
    (void)position;
    (void)n_rows;
    (void)logits;
}

static void run_plainly(const struct model *model, struct watch *w)
{
    struct runtime_options options = {.arithmetic = ARITH_F32};
    const struct logits_sink sink = {.rows = no_logits};
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct error err = {0};

    cr_assert_eq(runtime_open(model, &options, &rt, &err), OK, "%s", err.text);
    cr_assert_eq(sequence_new(rt, N_CTX, &seq, &err), OK);
    runtime_tap(rt, watch, w);
    for (size_t i = 0; i < N_CHUNKS; i++) {
        w->is_held = is_held[i];
        sequence_reset(seq);
        cr_assert_eq(runtime_eval(rt, seq, ids + i * N_CTX, N_CTX, &sink, &err), OK, "%s",
                     err.text);
    }
    sequence_free(seq);
    runtime_close(rt);
}

/* The witness's sums, made ready. */
static void prepare(struct witness *w, const struct moments *moments)
{
    struct moments_entry entry;
    struct error err = {0};

    cr_assert(moments_find(moments, w->input, &entry), "%s is not there", w->input);
    for (int part = 0; part < 2; part++)
        cr_assert_eq(gram_new(entry.n, &w->gram[part], &err), OK);
}

static void check_input(const struct moments *moments, struct witness *w)
{
    struct moments_entry entry;
    struct error err = {0};
    float *got, *want;

    cr_assert(moments_find(moments, w->input, &entry));
    got = malloc(entry.n * entry.n * sizeof(*got));
    want = malloc(entry.n * entry.n * sizeof(*want));
    cr_assert(got && want);
    for (int part = 0; part < 2; part++) {
        cr_assert_eq(
            moments_read_square(moments, &entry, part == 1, 0, entry.n, got, &err), OK,
            "%s", err.text);
        gram_mean(&w->gram[part], want);
        cr_expect_gt(want[0], 0.0f, "%s: nothing was seen", w->input);
        cr_expect_arr_eq(got, want, entry.n * entry.n * sizeof(*got), "%s, part %d",
                         w->input, part);
        gram_free(&w->gram[part]);
    }
    free(got);
    free(want);
}

static void check_member(const char *member, struct witness *list, size_t n)
{
    struct model *model = open_member(member);
    struct moments *moments = gather(model, "moments.gguf");

    for (size_t i = 0; i < n; i++)
        prepare(&list[i], moments);
    run_plainly(model, &(struct watch){.list = list, .n = n});
    for (size_t i = 0; i < n; i++)
        check_input(moments, &list[i]);
    moments_close(moments);
    model_close(model);
}

/* Layers of every kind: local, global, sharing; the embedding, the head. */
Test(calibrate, gathers_what_a_plain_run_shows, .timeout = 300)
{
    static struct witness e2b[] = {
        INPUT_OF("ple_model_in", "per_layer_model_proj.weight", -1, -1),
        INPUT_OF("blk.0.attn_in", "blk.0.attn_q.weight", 0, -1),
        INPUT_OF("blk.2.ffn_mid", "blk.2.ffn_down.weight", 2, -1),
        {.input = "blk.3.ple_table", .what = "ple_gate", .layer = 3, .expert = -1},
        INPUT_OF("blk.4.ple_mid", "blk.4.proj.weight", 4, -1),
        INPUT_OF("blk.5.attn_out", "blk.5.attn_output.weight", 5, -1),
        INPUT_OF("head_in", "token_embd.weight", -1, -1),
    };

    check_member("golden/e2b", e2b, sizeof(e2b) / sizeof(e2b[0]));
}

Test(calibrate, gathers_experts_one_by_one, .timeout = 300)
{
    static struct witness moe[] = {
        INPUT_OF("blk.1.attn_out", "blk.1.attn_output.weight", 1, -1),
        INPUT_OF("blk.1.exps_in.2", "blk.1.ffn_gate_up_exps.weight", 1, 2),
        INPUT_OF("blk.2.exps_mid.1", "blk.2.ffn_down_exps.weight", 2, 1),
        INPUT_OF("head_in", "token_embd.weight", -1, -1),
    };

    check_member("golden/26b-a4b", moe, sizeof(moe) / sizeof(moe[0]));
}

static struct moments *gather_shared(const struct model *model)
{
    char path[FIXTURE_PATH];
    struct calibrate_options options = asked(path, "shared.gguf");
    struct calibrate_report report;
    struct moments *moments = NULL;
    struct error err = {0};

    options.experts = EXPERTS_SHARED;
    cr_assert_eq(calibrate_run(model, &text, &options, NULL, &report, &err), OK, "%s",
                 err.text);
    cr_assert_eq(moments_open(path, &moments, &err), OK, "%s", err.text);
    return moments;
}

/* The layer's matrix is every token's, once; an expert's diagonal and counts are, to the bit, those of the matrix
 * it would have had; what down reads stays a matrix each. */
Test(calibrate, gathers_what_experts_share, .timeout = 300)
{
    static struct witness moe[] = {
        {.input = "blk.1.exps_in", .what = "exps_in", .layer = 1, .expert = -1},
        INPUT_OF("blk.2.exps_mid.1", "blk.2.ffn_down_exps.weight", 2, 1),
    };
    struct model *model = open_member("golden/26b-a4b");
    struct moments *shared = gather_shared(model), *own = gather(model, "own.gguf");
    struct moments_entry a, b, common;
    struct error err = {0};

    for (size_t i = 0; i < 2; i++)
        prepare(&moe[i], shared);
    run_plainly(model, &(struct watch){.list = moe, .n = 2});
    for (size_t i = 0; i < 2; i++)
        check_input(shared, &moe[i]);
    cr_assert(moments_find(shared, "blk.1.exps_in", &common));
    cr_expect_eq((int)(common.tokens + common.held_tokens), N_CTX * N_CHUNKS);
    cr_expect_not(moments_find(own, "blk.1.exps_in", &common));
    cr_assert(moments_find(shared, "blk.1.exps_in.2", &a));
    cr_assert(moments_find(own, "blk.1.exps_in.2", &b));
    cr_assert(a.is_diagonal && !b.is_diagonal && a.n == b.n);
    cr_expect_eq(a.tokens, b.tokens);
    cr_expect_gt(a.tokens, 0);
    float *x = malloc(2 * a.n * sizeof(*x));
    cr_assert_not_null(x);
    cr_assert_eq(moments_diagonal(shared, &a, x, &err), OK);
    cr_assert_eq(moments_diagonal(own, &b, x + a.n, &err), OK);
    cr_expect_arr_eq(x, x + a.n, a.n * sizeof(*x));
    free(x);
    moments_close(shared);
    moments_close(own);
    model_close(model);
}

Test(calibrate, gathers_from_gemma_3, .timeout = 300)
{
    static struct witness gemma3[] = {
        INPUT_OF("blk.1.attn_in", "blk.1.attn_q.weight", 1, -1),
        INPUT_OF("blk.2.ffn_mid", "blk.2.ffn_down.weight", 2, -1),
    };

    check_member("golden/gemma3-text", gemma3, sizeof(gemma3) / sizeof(gemma3[0]));
}

/* ---- encoders ---- */

enum { PASSAGES = N_CTX / 32 }; /* of a chunk */

struct pooling {
    struct gram gram[2];
    bool is_held;
};

/* What the first dense head reads, from the final norms of a whole chunk: the mean of each passage. */
static void pool(void *arg, const struct tap_event *event)
{
    struct pooling *pooling = arg;
    const size_t n = event->n_cols;
    float *means;

    if (strcmp(event->what, "final_norm") != 0)
        return;
    cr_assert_eq(event->n_rows, N_CTX);
    means = malloc(PASSAGES * n * sizeof(*means));
    cr_assert(means);
    for (size_t p = 0; p < PASSAGES; p++) {
        const size_t first = p * N_CTX / PASSAGES, end = (p + 1) * N_CTX / PASSAGES;

        for (size_t j = 0; j < n; j++) {
            double sum = 0;

            for (size_t r = first; r < end; r++)
                sum += (double)event->x[r * n + j];
            means[p * n + j] = (float)(sum / (double)(end - first));
        }
    }
    gram_add(&pooling->gram[pooling->is_held], means, PASSAGES);
    free(means);
}

static void pool_plainly(const struct model *model, struct pooling *pooling)
{
    struct runtime_options options = {.arithmetic = ARITH_F32};
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct error err = {0};

    cr_assert_eq(runtime_open(model, &options, &rt, &err), OK, "%s", err.text);
    cr_assert_eq(sequence_new(rt, N_CTX, &seq, &err), OK, "%s", err.text);
    runtime_tap(rt, pool, pooling);
    for (size_t i = 0; i < N_CHUNKS; i++) {
        pooling->is_held = is_held[i];
        sequence_reset(seq);
        cr_assert_eq(runtime_eval(rt, seq, ids + i * N_CTX, N_CTX, NULL, &err), OK, "%s",
                     err.text);
    }
    sequence_free(seq);
    runtime_close(rt);
}

/* A text makes one vector; every passage of a chunk counts as a text. */
Test(calibrate, gathers_what_dense_heads_read_passage_by_passage, .timeout = 300)
{
    struct model *model = open_member("golden/embeddinggemma");
    struct moments *moments = gather(model, "heads.gguf");
    struct witness first = {.input = "dense_2_in"};
    struct pooling pooling = {0};
    struct moments_entry entry;

    prepare(&first, moments);
    memcpy(pooling.gram, first.gram, sizeof(first.gram));
    pool_plainly(model, &pooling);
    memcpy(first.gram, pooling.gram, sizeof(first.gram));
    check_input(moments, &first);
    cr_assert(moments_find(moments, "dense_3_in", &entry));
    cr_expect_eq(entry.tokens, PASSAGES);
    cr_expect_eq(entry.held_tokens, PASSAGES);
    moments_close(moments);
    model_close(model);
}

Test(calibrate, gives_the_same_file_for_any_number_of_threads, .timeout = 300)
{
    struct model *model = open_member("golden/e2b");
    struct moments *one, *two;

    parallel_set_threads(1);
    one = gather(model, "one.gguf");
    parallel_set_threads(3);
    two = gather(model, "two.gguf");
    cr_expect_str_eq(moments_sha256(one), moments_sha256(two));
    moments_close(one);
    moments_close(two);
    model_close(model);
}

/* Less memory than a layer's sums take: more turns, the same bytes. */
Test(calibrate, gives_the_same_file_in_any_memory, .timeout = 300)
{
    struct model *model = open_member("golden/e2b");
    char path[FIXTURE_PATH], part[FIXTURE_PATH];
    struct calibrate_options options = asked(path, "all.gguf");
    struct calibrate_report report;
    struct moments *all = NULL, *parts = NULL;
    struct error err = {0};
    uint64_t low = 0, high = (uint64_t)1 << 30;

    cr_assert_eq(calibrate_run(model, &text, &options, NULL, &report, &err), OK, "%s",
                 err.text);
    cr_expect_eq(report.passes, 1);
    cr_assert_eq(moments_open(path, &all, &err), OK, "%s", err.text);

    options = asked(part, "parts.gguf");
    options.max_memory = 1 << 20;
    cr_expect_eq(calibrate_run(model, &text, &options, NULL, &report, &err), ERR_USAGE);
    /* the sentence names the least that will do */
    cr_assert_eq(sscanf(strstr(err.text, "takes "), "takes %" SCNu64, &low), 1, "%s",
                 err.text);
    options.max_memory = low << 20;
    cr_expect_lt(options.max_memory, high);
    cr_assert_eq(calibrate_run(model, &text, &options, NULL, &report, &err), OK, "%s",
                 err.text);
    cr_assert_eq(moments_open(part, &parts, &err), OK, "%s", err.text);
    cr_expect_str_eq(moments_sha256(parts), moments_sha256(all));
    moments_close(all);
    moments_close(parts);
    model_close(model);
}

/* ---- interrupted ---- */

static void interrupt_at(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    (void)total;
    if (done == *(const uint64_t *)arg)
        raise(SIGINT);
}

/* In a process of its own, which is interrupted after so many chunks of all steps. To be called
 * before the test itself computes: threads do not survive a fork. */
static void gather_and_stop(const struct calibrate_options *options, uint64_t after)
{
    const pid_t child = fork();
    int status = 0;

    if (child == 0) {
        const struct progress progress = {.arg = &after, .report = interrupt_at};
        struct model *model = open_member("golden/e2b");
        struct calibrate_report report;
        struct error err = {0};

        interrupt_install();
        const enum status st =
            calibrate_run(model, &text, options, &progress, &report, &err);
        _exit(st == ERR_INTERRUPTED && strstr(err.text, "--resume") ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool is_there(const char *name)
{
    char path[FIXTURE_PATH];

    fixture_join(path, folder, name);
    return file_exists(path);
}

Test(calibrate, goes_on_where_it_was_interrupted, .timeout = 300)
{
    struct model *model = open_member("golden/e2b");
    char path[FIXTURE_PATH], imatrix[2][FIXTURE_PATH];
    struct moments *whole = NULL, *resumed = NULL;
    struct calibrate_options options = asked(path, "again.gguf");
    struct calibrate_report report;
    struct error err = {0};
    char *bytes[2] = {NULL, NULL};
    size_t n[2] = {0, 0};

    fixture_join(imatrix[0], folder, "again.imatrix");
    options.imatrix = imatrix[0];
    gather_and_stop(&options, 3 * N_CHUNKS + 1); /* in the middle of layer 2 */
    cr_expect(is_there(".again.gguf.layers.partial"));
    options.resume = true;
    gather_and_stop(&options, 6 * N_CHUNKS - 1); /* and once more */
    cr_assert_eq(calibrate_run(model, &text, &options, NULL, &report, &err), OK, "%s",
                 err.text);
    cr_expect_eq(report.n_resumed, 5);
    cr_expect_not(is_there(".again.gguf.layers.partial"));
    cr_expect_not(is_there(".again.gguf.partial"));

    cr_assert_eq(moments_open(path, &resumed, &err), OK, "%s", err.text);

    options = asked(path, "whole.gguf");
    fixture_join(imatrix[1], folder, "whole.imatrix");
    options.imatrix = imatrix[1];
    cr_assert_eq(calibrate_run(model, &text, &options, NULL, &report, &err), OK, "%s",
                 err.text);
    cr_assert_eq(moments_open(path, &whole, &err), OK, "%s", err.text);
    cr_expect_str_eq(moments_sha256(resumed), moments_sha256(whole));
    for (int i = 0; i < 2; i++)
        cr_assert_eq(file_read_all(imatrix[i], 1 << 24, &bytes[i], &n[i], &err), OK);
    cr_expect_eq(n[0], n[1]);
    cr_expect_arr_eq(bytes[0], bytes[1], n[0]);
    free(bytes[0]);
    free(bytes[1]);
    moments_close(whole);
    moments_close(resumed);
    model_close(model);
}

Test(calibrate, resumes_only_its_own_work, .timeout = 300)
{
    struct model *model = open_member("golden/e2b");
    char path[FIXTURE_PATH];
    struct calibrate_options options = asked(path, "again.gguf");
    struct calibrate_report report;
    struct error err = {0};

    options.resume = true;
    cr_expect_eq(calibrate_run(model, &text, &options, NULL, &report, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "nothing to resume"), "%s", err.text);
    cr_expect_not(is_there(".again.gguf.layers.partial"));
    options.resume = false;
    gather_and_stop(&options, 2 * N_CHUNKS + 1);
    options.resume = true;
    options.arithmetic = ARITH_FAST;
    cr_expect_eq(calibrate_run(model, &text, &options, NULL, &report, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "another model, text or option"), "%s", err.text);
    options.arithmetic = ARITH_F32;
    options.max_memory = 1 << 20;
    cr_expect_eq(calibrate_run(model, &text, &options, NULL, &report, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "--max-memory"), "%s", err.text);
    options.max_memory = 0;
    cr_expect_eq(calibrate_run(model, &text, &options, NULL, &report, &err), OK, "%s",
                 err.text);
    cr_expect_eq(report.n_resumed, 2);
    model_close(model);
}

/* ---- a disk that fails ---- */

static int syncs_left = INT_MAX;

/* In the place of the C library's. */
int fsync(int fd)
{
    if (--syncs_left == 0) {
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

/* Sums that were saved, of a step that was not marked as done: it is run again, and counts once. */
Test(calibrate, counts_a_repeated_step_once, .timeout = 300)
{
    struct model *model = open_member("golden/e2b");
    char path[2][FIXTURE_PATH];
    char *bytes[2] = {NULL, NULL};
    size_t n[2] = {0, 0};
    struct calibrate_report report;
    struct error err = {0};

    for (int is_broken = 0; is_broken < 2; is_broken++) {
        struct calibrate_options options = {.imatrix = path[is_broken],
                                            .arithmetic = ARITH_F32};

        fixture_join(path[is_broken], folder, is_broken ? "broken" : "whole");
        if (is_broken) {
            syncs_left = 3; /* one a step */
            cr_expect_eq(calibrate_run(model, &text, &options, NULL, &report, &err),
                         ERR_IO);
            syncs_left = INT_MAX;
            options.resume = true;
        }
        cr_assert_eq(calibrate_run(model, &text, &options, NULL, &report, &err), OK, "%s",
                     err.text);
        cr_expect_eq(report.n_resumed, is_broken ? 2 : 0);
        cr_assert_eq(file_read_all(path[is_broken], 1 << 24, &bytes[is_broken],
                                   &n[is_broken], &err),
                     OK);
    }
    cr_expect_eq(n[0], n[1]);
    cr_expect_arr_eq(bytes[0], bytes[1], n[0]);
    free(bytes[0]);
    free(bytes[1]);
    model_close(model);
}
