/*
 * test_sequence.c - how a text is cut into batches never shows in what comes out
 */
#include "tests/fixture.h"
#include "tests/runtime/golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Longer than a batch and than the ring of a local layer (a batch and a window of 8). */
enum { N_TOKENS = 600, N_LAST = 4 };

static int32_t ids[N_TOKENS];

static void fill(size_t n_vocab)
{
    uint64_t state = 600;

    for (int i = 0; i < N_TOKENS; i++)
        ids[i] = (int32_t)(fixture_random(&state) % (n_vocab - 8));
}

/* The last logits when the text is evaluated in pieces of `piece`. */
static float *in_pieces(struct runtime *rt, struct sequence *seq, size_t piece)
{
    struct error err = {0};
    size_t at = 0, end = N_TOKENS - N_LAST;

    sequence_reset(seq);
    for (size_t n; at < end; at += n) {
        n = end - at < piece ? end - at : piece;
        cr_assert_eq(runtime_eval(rt, seq, ids + at, n, NULL, &err), OK, "%s", err.text);
    }
    return golden_logits(rt, seq, ids + at, N_LAST, 0);
}

static void check_pieces(const char *member, enum arithmetic arithmetic)
{
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct golden g;

    golden_open(&g, member);
    golden_run(g.model, &(struct runtime_options){.arithmetic = arithmetic}, N_TOKENS,
               &rt, &seq);
    fill(runtime_facts(rt)->n_vocab);
    float *whole = golden_logits(rt, seq, ids, N_TOKENS, N_TOKENS - N_LAST);
    for (size_t piece = 37; piece < N_TOKENS; piece += 263) {
        float *got = in_pieces(rt, seq, piece);

        cr_expect_arr_eq(got, whole, N_LAST * runtime_facts(rt)->n_vocab * sizeof(*got),
                         "%s in pieces of %zu", member, piece);
        free(got);
    }
    free(whole);
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&g);
}

Test(sequence, pieces_of_a_text_give_the_same_bits)
{
    check_pieces("e2b", ARITH_F32);
    check_pieces("26b-a4b", ARITH_FAST);
}

/* The last logits of 40 tokens with the plain-C kernels, or with this machine's best. */
static float *with_kernels(const struct golden *g, enum arithmetic arithmetic,
                           bool scalar, size_t *n)
{
    const struct runtime_options options = {.arithmetic = arithmetic, .scalar = scalar};
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;

    golden_run(g->model, &options, 64, &rt, &seq);
    *n = runtime_facts(rt)->n_vocab;
    fill(*n);
    float *logits = golden_logits(rt, seq, ids, 40, 39);
    sequence_free(seq);
    runtime_close(rt);
    return logits;
}

Test(sequence, every_instruction_set_gives_the_same_bits)
{
    static const char *const some[] = {"e2b", "26b-a4b"};

    for (size_t m = 0; m < 2; m++) {
        struct golden g;
        size_t n;

        golden_open(&g, some[m]);
        float *scalar = with_kernels(&g, ARITH_F32, true, &n);
        float *best = with_kernels(&g, ARITH_F32, false, &n);
        cr_expect_arr_eq(scalar, best, n * sizeof(*best), "%s", some[m]);
        free(scalar);
        free(best);
        golden_close(&g);
    }
}

/* Layers that share keys skip rows nobody asked for; a tap forbids it. Either way it is the same
 * number. */
static void ignore(void *arg, const struct tap_event *event)
{
    (void)arg;
    (void)event;
}

Test(sequence, rows_left_out_change_nothing)
{
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct golden g;

    golden_open(&g, "e2b");
    golden_run(g.model, &(struct runtime_options){.arithmetic = ARITH_F32}, 64, &rt,
               &seq);
    fill(runtime_facts(rt)->n_vocab);
    float *last = golden_logits(rt, seq, ids, 40, 39);
    sequence_reset(seq);
    runtime_tap(rt, ignore, NULL);
    float *all = golden_logits(rt, seq, ids, 40, 0);
    size_t n_vocab = runtime_facts(rt)->n_vocab;

    cr_assert_arr_eq(last, all + 39 * n_vocab, n_vocab * sizeof(*last));
    free(last);
    free(all);
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&g);
}

Test(sequence, refuses_what_does_not_fit)
{
    struct runtime *rt = NULL;
    struct sequence *seq = NULL;
    struct error err = {0};
    struct golden g;

    golden_open(&g, "31b");
    golden_run(g.model, &(struct runtime_options){.arithmetic = ARITH_F32}, 8, &rt, &seq);
    cr_expect_eq(runtime_eval(rt, seq, (int32_t[9]){2}, 9, NULL, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "context of 8"), "%s", err.text);
    cr_expect_eq(runtime_eval(rt, seq, (int32_t[]){4096}, 1, NULL, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "4096"), "%s", err.text);
    cr_expect_eq(runtime_eval(rt, seq, (int32_t[]){-1}, 1, NULL, &err), ERR_USAGE);
    cr_expect_eq(sequence_length(seq), 0);
    sequence_free(seq);
    runtime_close(rt);
    golden_close(&g);
}
