/*
 * test_compare.c - what a compact reference says is what the whole vocabulary says
 */
#include "tests/fixture.h"
#include "tests/verify/fake_source.h"
#include "verify/kld.h"
#include "verify/verify.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_VOCAB = 4096, N_CTX = 128, N_CHUNKS = 10 };

static char folder[FIXTURE_PATH], path[FIXTURE_PATH];
static float base_row[N_VOCAB], model_row[N_VOCAB];
static struct logits_text text;

static void begin(void)
{
    fixture_folder(folder);
    fixture_join(path, folder, "ref");
    text = fake_text(N_VOCAB, N_CTX, N_CHUNKS);
}

static void end(void)
{
    logits_text_free(&text);
    fixture_remove(folder);
}

TestSuite(compare, .init = begin, .fini = end);

/* Perplexity of these is about 40, like the small trained models': a broad distribution with a
 * quarter of its mass outside the certain part. */
static struct fake base_model(void)
{
    return (struct fake){
        .n_vocab = N_VOCAB, .spread = 2.2f, .noise_seed = 77, .row = base_row};
}

static void write_reference(struct fake *base, uint32_t n_entries)
{
    struct logits_facts facts = {
        .n_vocab = N_VOCAB, .n_entries = n_entries, .source = "fake", .text = text};
    struct logits_source source = fake_source(base);
    struct perplexity ppl;
    struct error err = {0};

    cr_assert_eq(verify_reference(&source, &facts, path, true, 1, NULL, &ppl, &err), OK,
                 "%s", err.text);
}

static struct comparison compare_with(struct fake *model)
{
    struct logits_source source = fake_source(model);
    struct logits_file *file = NULL;
    struct comparison out = {0};
    struct error err = {0};

    cr_assert_eq(logits_open(path, &file, &err), OK, "%s", err.text);
    cr_assert_eq(verify_compare(&source, file, 0, 1, NULL, &out, &err), OK, "%s",
                 err.text);
    logits_close(file);
    return out;
}

Test(compare, a_record_takes_two_kilobytes_whatever_the_vocabulary)
{
    cr_assert_eq(logits_record_bytes(LOGITS_ENTRIES), 2048);
}

/* The bound printed is a 99.9 % one: of 4 seeded cases all must keep it. */
Test(compare, the_compact_divergence_is_that_of_the_whole_vocabulary_within_its_bound)
{
    static const float noises[] = {0.005f, 0.05f, 0.3f, 0.8f};
    struct fake base = base_model();

    write_reference(&base, LOGITS_ENTRIES);
    for (size_t i = 0; i < sizeof(noises) / sizeof(noises[0]); i++) {
        struct fake model = base;
        model.noise = noises[i];
        model.noise_seed = 77 + i;
        model.row = model_row;

        struct comparison got = compare_with(&model);
        struct full_figures want = fake_full(&base, &model, &text);
        cr_expect_float_eq(got.kld.mean, want.kld, got.kld_error,
                           "noise %g: %g for %g +- %g", (double)noises[i], got.kld.mean,
                           want.kld, got.kld_error);
        cr_expect_float_eq(got.kld.mean, want.kld, 0.01 * want.kld, "noise %g: %g for %g",
                           (double)noises[i], got.kld.mean, want.kld);
        cr_expect_leq(got.kld_certain, want.kld, "noise %g", (double)noises[i]);
        cr_expect_float_eq(got.same_top, want.same_top, 1e-12);
        cr_expect_float_eq(log(got.ppl_base), want.nll_base, 1e-6);
        cr_expect_float_eq(log(got.ppl_model), want.nll_model, 1e-6);
        comparison_free(&got);
    }
}

/* Nothing is sampled then; floats of the softmax leave 2^-24 a piece, doubles the rest. */
Test(compare, with_as_many_entries_as_pieces_it_is_exact)
{
    struct fake base = base_model(), model = base;

    model.noise = 0.05f;
    model.row = model_row;
    write_reference(&base, N_VOCAB);
    struct comparison got = compare_with(&model);
    struct full_figures want = fake_full(&base, &model, &text);
    cr_expect_float_eq(got.kld.mean, want.kld, 1e-6 * want.kld, "%.12g for %.12g",
                       got.kld.mean, want.kld);
    cr_expect_eq(got.kld_error, 0.0);
    comparison_free(&got);
}

/* Pieces so improbable that their weights are 0 as floats are still not impossible. */
Test(compare, a_model_that_all_but_excludes_the_tail_is_a_finite_way_off)
{
    enum { N = 64, ENTRIES = 4 };
    const float z = -200.0f;
    const double lse = log1p((N - 1) * exp((double)z));
    const double exact = -log(N) + lse - (N - 1) * (double)z / N;
    float even[N] = {0}, sharp[N], weights[2][N];
    struct logits_entry entries[ENTRIES];
    struct logits_record record = {.entries = entries};
    struct logits_row p, q;

    for (int i = 0; i < N; i++)
        sharp[i] = i ? z : 0.0f;
    cr_assert(logits_row_make(even, N, weights[0], &p));
    cr_assert(logits_row_make(sharp, N, weights[1], &q));
    logits_record_make(&p, 0, 0, ENTRIES, &record);
    const struct kld_token got = kld_token(&record, 0, &q);
    cr_expect(isfinite(got.certain) && got.certain > 1.0, "%g", got.certain);
    cr_expect(got.certain <= exact, "%g of %g", got.certain, exact);
}

Test(compare, a_model_does_not_differ_from_itself)
{
    struct fake base = base_model();

    write_reference(&base, LOGITS_ENTRIES);
    struct comparison got = compare_with(&base);
    cr_expect_eq(got.kld.mean, 0.0, "%g", got.kld.mean);
    cr_expect_eq(got.kld.max, 0.0);
    cr_expect_eq(got.kld_error, 0.0);
    cr_expect_eq(got.same_top, 1.0);
    cr_expect_eq(got.ppl_ratio, 1.0);
    cr_expect_eq(got.rms_dp, 0.0);
    comparison_free(&got);
}

/* Draws depend on the tokens' indexes, not on who computes them. */
Test(compare, the_file_is_the_same_for_any_number_of_threads)
{
    struct fake base = base_model();
    char *once = NULL, *again = NULL;
    size_t n_once = 0, n_again = 0;
    struct error err = {0};

    parallel_set_threads(1);
    write_reference(&base, LOGITS_ENTRIES);
    cr_assert_eq(file_read_all(path, 1 << 24, &once, &n_once, &err), OK);
    parallel_set_threads(3);
    write_reference(&base, LOGITS_ENTRIES);
    cr_assert_eq(file_read_all(path, 1 << 24, &again, &n_again, &err), OK);
    cr_expect_eq(n_once, n_again);
    cr_expect_arr_eq(once, again, n_once);
    free(once);
    free(again);
}

Test(compare, sources_that_differ_by_rounding_show_as_noise)
{
    struct fake base = base_model(), model = base;
    struct logits_source a = fake_source(&base), b = fake_source(&model);
    struct comparison noise;
    struct error err = {0};

    model.noise = 1e-4f;
    model.row = model_row;
    cr_assert_eq(verify_noise(&a, &b, &text, 2, &noise, &err), OK, "%s", err.text);
    cr_expect_eq(noise.n_tokens, 2 * (N_CTX - 1 - N_CTX / 2));
    /* Half the variance of the disturbance: (0.7 e + 0.2 e^3)^2 of a four-fold uniform has mean
     * 0.49 + 0.28 E[e^4] + 0.04 E[e^6], between 1 and 2. */
    cr_expect(noise.kld.mean > 0.5e-8 && noise.kld.mean < 1e-8, "%g", noise.kld.mean);
    comparison_free(&noise);
}

Test(compare, refuses_a_vocabulary_of_another_size)
{
    struct fake base = base_model(), other = base;
    struct logits_source source;
    struct logits_file *file = NULL;
    struct comparison out;
    struct error err = {0};

    write_reference(&base, LOGITS_ENTRIES);
    cr_assert_eq(logits_open(path, &file, &err), OK);
    other.n_vocab = N_VOCAB - 1;
    source = fake_source(&other);
    cr_expect_eq(verify_compare(&source, file, 0, 1, NULL, &out, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "4095"), "%s", err.text);
    logits_close(file);
}

/* The better of two models is told apart more sharply when both are drawn with the same chunks. */
Test(compare, differences_of_two_models_are_paired)
{
    struct fake base = base_model(), small = base, large = base;

    small.noise = 0.20f;
    large.noise = 0.21f;
    small.row = large.row = model_row;
    write_reference(&base, LOGITS_ENTRIES);
    struct comparison a = compare_with(&small), b = compare_with(&large);
    struct interval paired = verify_paired(&a, &b, 1);
    cr_expect(paired.is_known && paired.lo > 0.0, "%g .. %g", paired.lo, paired.hi);
    cr_expect_lt(paired.hi - paired.lo, b.kld.ci95.hi - b.kld.ci95.lo);
    comparison_free(&a);
    comparison_free(&b);
}

Test(compare, logits_that_are_not_numbers_are_told_with_their_position)
{
    struct fake base = base_model();
    struct logits_source source;
    struct perplexity ppl;
    struct error err = {0};

    base.spread = NAN;
    source = fake_source(&base);
    cr_expect_eq(verify_perplexity(&source, &text, 1, NULL, &ppl, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "position 64"), "%s", err.text);
}
