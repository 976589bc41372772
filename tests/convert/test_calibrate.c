/*
 * test_calibrate.c - what is gathered is what a plain run shows, and is the same every time
 */
#include "convert/calibrate/calibrate.h"
#include "convert/convert.h"
#include "formats/moments/moments.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* Two batches a chunk, so that rings of local layers turn; of two chunks one is held out. */
enum { N_CTX = 560, N_CHUNKS = 2, HELD_EVERY = 2 };

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

static const struct calibrate_text text = {.ids = ids,
                                           .n_chunks = N_CHUNKS,
                                           .n_ctx = N_CTX,
                                           .names = (const char *const[]){"numbers"},
                                           .n_names = 1};

static struct moments *gather(const struct model *model, const char *name)
{
    struct calibrate_options options = {
        .held_every = HELD_EVERY, .force = true, .arithmetic = ARITH_F32};
    struct calibrate_report report;
    struct moments *moments = NULL;
    struct error err = {0};
    char path[FIXTURE_PATH];

    fixture_join(path, folder, name);
    options.moments = path;
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
        w->is_held = i % HELD_EVERY == HELD_EVERY - 1;
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
        {.input = "ple_model_in",
         .weight = "per_layer_model_proj.weight",
         .what = "input",
         .layer = -1,
         .expert = -1},
        {.input = "blk.0.attn_in",
         .weight = "blk.0.attn_q.weight",
         .what = "input",
         .layer = 0,
         .expert = -1},
        {.input = "blk.2.ffn_mid",
         .weight = "blk.2.ffn_down.weight",
         .what = "input",
         .layer = 2,
         .expert = -1},
        {.input = "blk.3.ple_table", .what = "ple_gate", .layer = 3, .expert = -1},
        {.input = "blk.4.ple_mid",
         .weight = "blk.4.proj.weight",
         .what = "input",
         .layer = 4,
         .expert = -1},
        {.input = "blk.5.attn_out",
         .weight = "blk.5.attn_output.weight",
         .what = "input",
         .layer = 5,
         .expert = -1},
        {.input = "head_in",
         .weight = "token_embd.weight",
         .what = "input",
         .layer = -1,
         .expert = -1},
    };

    check_member("golden/e2b", e2b, sizeof(e2b) / sizeof(e2b[0]));
}

Test(calibrate, gathers_experts_one_by_one, .timeout = 300)
{
    static struct witness moe[] = {
        {.input = "blk.1.attn_out",
         .weight = "blk.1.attn_output.weight",
         .what = "input",
         .layer = 1,
         .expert = -1},
        {.input = "blk.1.exps_in.2",
         .weight = "blk.1.ffn_gate_up_exps.weight",
         .what = "input",
         .layer = 1,
         .expert = 2},
        {.input = "blk.2.exps_mid.1",
         .weight = "blk.2.ffn_down_exps.weight",
         .what = "input",
         .layer = 2,
         .expert = 1},
        {.input = "head_in",
         .weight = "token_embd.weight",
         .what = "input",
         .layer = -1,
         .expert = -1},
    };

    check_member("golden/26b-a4b", moe, sizeof(moe) / sizeof(moe[0]));
}

Test(calibrate, gathers_from_gemma_3, .timeout = 300)
{
    static struct witness gemma3[] = {
        {.input = "blk.1.attn_in",
         .weight = "blk.1.attn_q.weight",
         .what = "input",
         .layer = 1,
         .expert = -1},
        {.input = "blk.2.ffn_mid",
         .weight = "blk.2.ffn_down.weight",
         .what = "input",
         .layer = 2,
         .expert = -1},
    };

    check_member("golden/gemma3-text", gemma3, sizeof(gemma3) / sizeof(gemma3[0]));
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
