/*
 * test_stats.c - importance matrices in both forms
 */
#include "formats/stats/stats.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const char legacy_path[] = CARAT_DATA "/vectors/imatrix/three-entries.dat";

static char folder[FIXTURE_PATH];

static void make_folder(void)
{
    fixture_folder(folder);
}

static void remove_folder(void)
{
    fixture_remove(folder);
}

TestSuite(stats, .init = make_folder, .fini = remove_folder);

#define MUST(call) cr_assert_eq((call), OK, "%s", err.text)

Test(stats, of_the_legacy_form_are_means_over_calls)
{
    const struct stats_entry *entry;
    struct stats *stats = NULL;
    float importance[2048];
    struct error err;

    MUST(stats_read(legacy_path, &stats, &err));
    cr_assert_eq(stats->n_entries, 3);
    cr_assert_eq(stats->n_chunks, 365);
    cr_assert_eq(stats->n_datasets, 1);
    cr_assert_str_eq(stats->datasets[0], "imatrix-training-full-3");
    cr_assert_str_eq(stats->entries[0].name, "blk.0.attn_q.weight", "sorted by name");
    entry = stats_find(stats, "blk.21.ffn_up.weight");
    cr_assert_not_null(entry);
    cr_assert_eq(entry->n_cols, 2048);
    stats_importance(entry, 0, importance);
    cr_assert_float_eq(importance[0], 27.72033f / 365.0f, 1e-7f, "%g",
                       (double)importance[0]);
    cr_assert_null(stats_find(stats, "blk.1.attn_q.weight"));
    stats_free(stats);
}

Test(stats, of_the_legacy_form_take_the_shape_of_their_tensor)
{
    struct stats *stats = NULL;
    float all[2048], part[512];
    struct error err;

    MUST(stats_read(legacy_path, &stats, &err));
    stats_importance(stats_find(stats, "blk.0.attn_q.weight"), 0, all);
    cr_assert_not(stats_shape(stats, "blk.0.attn_q.weight", 512, 3));
    cr_assert(stats_shape(stats, "blk.0.attn_q.weight", 512, 4));
    cr_assert_not(stats_shape(stats, "absent", 512, 4));
    stats_importance(stats_find(stats, "blk.0.attn_q.weight"), 3, part);
    cr_assert_arr_eq(part, all + 3 * 512, sizeof(part));
    stats_free(stats);
}

static float sums[] = {1.0f, 2.0f, 3.0f, 8.0f, 0.0f, 0.0f};
static float counts[] = {2.0f, 4.0f, 0.0f};
static float one_sum[] = {5.0f}, one_count[] = {10.0f};
static struct stats_entry entries[] = {
    {.name = "blk.0.exps.weight",
     .n_cols = 2,
     .n_mats = 3,
     .sum2 = sums,
     .counts = counts},
    {.name = "output.weight",
     .n_cols = 1,
     .n_mats = 1,
     .sum2 = one_sum,
     .counts = one_count},
};
static char first_text[] = "first.txt", second_text[] = "second.txt";
static char *texts[] = {first_text, second_text};
static const struct stats made = {
    .entries = entries,
    .n_entries = 2,
    .datasets = texts,
    .n_datasets = 2,
    .n_chunks = 7,
    .chunk_size = 2,
};

static void expect_importance(const struct stats *stats)
{
    static const float want[3][2] = {{0.5f, 1.0f}, {0.75f, 2.0f}, {1.0f, 1.0f}};
    float got[2];

    for (uint64_t m = 0; m < 3; m++) {
        stats_importance(stats_find(stats, "blk.0.exps.weight"), m, got);
        cr_assert_arr_eq(got, want[m], sizeof(got), "matrix %d", (int)m);
    }
    stats_importance(stats_find(stats, "output.weight"), 0, got);
    cr_assert_eq(got[0], 0.5f);
}

Test(stats, are_written_as_gguf_and_read_back)
{
    struct stats *stats = NULL;
    char path[FIXTURE_PATH];
    struct error err;

    fixture_join(path, folder, "x.gguf");
    MUST(stats_write(&made, path, false, false, &err));
    MUST(stats_read(path, &stats, &err));
    expect_importance(stats);
    cr_assert_eq(stats->n_chunks, 7);
    cr_assert_eq(stats->chunk_size, 2);
    cr_assert_eq(stats->n_datasets, 2);
    cr_assert_str_eq(stats->datasets[1], "second.txt");
    cr_assert(stats_shape(stats, "blk.0.exps.weight", 2, 3));
    cr_assert_not(stats_shape(stats, "blk.0.exps.weight", 3, 2), "its shape is known");
    stats_free(stats);
}

Test(stats, written_as_legacy_say_the_same_of_every_column)
{
    struct stats *stats = NULL;
    char path[FIXTURE_PATH];
    struct error err;

    fixture_join(path, folder, "x.dat");
    MUST(stats_write(&made, path, true, false, &err));
    MUST(stats_read(path, &stats, &err));
    cr_assert_eq(stats_find(stats, "blk.0.exps.weight")->counts[0], 2.0f,
                 "four tokens in chunks of two are two calls");
    cr_assert(stats_shape(stats, "blk.0.exps.weight", 2, 3));
    expect_importance(stats);
    cr_assert_str_eq(stats->datasets[0], "second.txt");
    stats_free(stats);
}

Test(stats, of_the_legacy_form_survive_being_written_again)
{
    struct stats *stats = NULL;
    struct error err;
    char path[FIXTURE_PATH];
    struct stats *again = NULL;
    float a[2048], b[2048];

    fixture_join(path, folder, "x.dat");
    MUST(stats_read(legacy_path, &stats, &err));
    MUST(stats_write(stats, path, true, false, &err));
    MUST(stats_read(path, &again, &err));
    stats_importance(stats_find(stats, "blk.21.ffn_up.weight"), 0, a);
    stats_importance(stats_find(again, "blk.21.ffn_up.weight"), 0, b);
    /* Dividing by the calls and multiplying again rounds twice. */
    for (int i = 0; i < 2048; i++)
        cr_assert_float_eq(a[i], b[i], 0x1p-22f * a[i]);
    cr_assert_eq(again->n_chunks, stats->n_chunks);
    stats_free(again);
    stats_free(stats);
}

Test(stats, cut_in_an_entry_are_refused)
{
    char path[FIXTURE_PATH], *bytes = NULL;
    struct stats *stats = NULL;
    struct error err;
    size_t n = 0, tail = 31;

    MUST(file_read_all(legacy_path, 1 << 20, &bytes, &n, &err));
    fixture_join(path, folder, "cut.dat");
    for (size_t cut = 0; cut < n; cut += cut < 100 || cut > n - 100 ? 1 : 997) {
        if (cut == n - tail || cut == n - tail + 4)
            continue; /* the number of chunks and the text's name may be missing */
        fixture_write(path, bytes, cut);
        cr_assert_eq(stats_read(path, &stats, &err), ERR_CORRUPT, "%zu bytes", cut);
    }
    free(bytes);
}

Test(stats, that_are_not_numbers_are_refused)
{
    static float bad[] = {1.0f, -1.0f};
    static struct stats_entry one = {
        .name = "x.weight", .n_cols = 2, .n_mats = 1, .sum2 = bad, .counts = one_count};
    const struct stats negative = {.entries = &one, .n_entries = 1};
    struct stats *stats = NULL;
    char path[FIXTURE_PATH];
    struct error err;

    fixture_join(path, folder, "x.gguf");
    MUST(stats_write(&negative, path, false, false, &err));
    cr_assert_eq(stats_read(path, &stats, &err), ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "x.weight.in_sum2: value 1 is -1"), "%s",
                       err.text);
}
