/*
 * test_moments.c - second moments: sums that do not depend on the machine, a file that keeps them
 */
#include "formats/moments/gram.h"
#include "formats/moments/moments.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 52, N_ROWS = 1100 };

static float x[N_ROWS * N];

static void fill(void)
{
    fixture_activations(x, N_ROWS * N, 11);
}

TestSuite(moments, .init = fill);

/* Each f32 sum has at most 512 terms: relative to the sum of magnitudes, 513 * 2^-24. */
Test(moments, equal_sums_of_products)
{
    static float h[N * N];
    struct gram gram;
    struct error err = {0};

    cr_assert_eq(gram_new(N, &gram, &err), OK);
    gram_add(&gram, x, 700);
    gram_add(&gram, x + 700 * N, N_ROWS - 700);
    gram_mean(&gram, h);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0, size = 0;

            for (int t = 0; t < N_ROWS; t++) {
                double p = (double)x[t * N + i] * (double)x[t * N + j];

                sum += p;
                size += fabs(p);
            }
            cr_assert_float_eq((double)h[i * N + j], sum / N_ROWS,
                               513 * 0x1p-24 * size / N_ROWS, "(%d, %d)", i, j);
        }
    gram_free(&gram);
}

#ifdef CARAT_X86
Test(moments, every_tile_product_agrees_with_scalar)
{
    static double want[GRAM_TILE * GRAM_TILE], got[GRAM_TILE * GRAM_TILE];
    static const struct {
        enum cpu_level level;
        gram_tile *tile;
    } tables[] = {{CPU_AVX2, gram_tile_avx2}, {CPU_AVX512, gram_tile_avx512}};

    gram_tile_scalar(x, x + 640, 77, want, GRAM_TILE);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (!cpu_can_run(tables[i].level))
            continue;
        memset(got, 0, sizeof(got));
        tables[i].tile(x, x + 640, 77, got, GRAM_TILE);
        cr_expect_arr_eq(got, want, sizeof(want), "%s", cpu_level_name(tables[i].level));
    }
}
#endif

Test(moments, name_the_input_a_weight_reads)
{
    static const struct {
        const char *weight;
        int expert;
        const char *input; /* NULL: none */
    } cases[] = {
        {"blk.3.attn_q.weight", -1, "blk.3.attn_in"},
        {"blk.3.attn_v.weight", -1, "blk.3.attn_in"},
        {"blk.17.ffn_down_exps.weight", 5, "blk.17.exps_mid.5"},
        {"token_embd.weight", -1, "head_in"},
        {"blk.3.attn_norm.weight", -1, NULL},
        {"attn_q.weight", -1, NULL},
        {"blk.3.token_embd.weight", -1, NULL},
        {"blk.x.attn_q.weight", -1, NULL},
        {"per_layer_token_embd.weight", -1, NULL},
        {"per_layer_token_embd.weight", 3, "blk.3.ple_table"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[MOMENTS_NAME] = "";
        bool found = moments_input(cases[i].weight, cases[i].expert, name);

        cr_expect_eq(found, cases[i].input != NULL, "%s", cases[i].weight);
        cr_expect_str_eq(name, cases[i].input ? cases[i].input : "", "%s",
                         cases[i].weight);
    }
}

Test(moments, survive_the_file)
{
    static const char *const datasets[] = {"prose", "code"};
    struct moments_header header = {
        .datasets = datasets, .n_datasets = 2, .chunk_size = 512, .source = "abc"};
    struct moments_item items[2] = {{.name = "blk.0.attn_in", .n = N},
                                    {.name = "blk.0.ffn_in", .n = 16}};
    static float want[N * N], got[N * N], diagonal[N];
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct moments_writer *writer = NULL;
    struct moments *moments = NULL;
    struct moments_entry entry;
    struct gram train, held, small;
    struct error err = {0};

    fixture_folder(folder);
    fixture_join(path, folder, "m.gguf");
    cr_assert_eq(gram_new(N, &train, &err), OK);
    cr_assert_eq(gram_new(N, &held, &err), OK);
    cr_assert_eq(gram_new(16, &small, &err), OK);
    gram_add(&train, x, 900);
    gram_add(&held, x + 900 * N, 200);
    cr_assert_eq(moments_create(path, &header, items, 2, &(struct output_options){0},
                                &writer, &err),
                 OK, "%s", err.text);
    cr_assert_eq(moments_put(writer, 0, &train, &held, &err), OK);
    cr_assert_eq(moments_put(writer, 1, &small, &small, &err), OK);
    cr_assert_eq(moments_finish(writer, &err), OK, "%s", err.text);

    cr_assert_eq(moments_open(path, &moments, &err), OK, "%s", err.text);
    cr_assert_not(moments_find(moments, "blk.1.attn_in", &entry));
    cr_assert(moments_find(moments, "blk.0.attn_in", &entry));
    cr_assert_eq(entry.n, N);
    cr_assert_eq((int)entry.tokens, 900);
    cr_assert_eq((int)entry.held_tokens, 200);
    cr_assert_eq(moments_read(moments, &entry, false, got, &err), OK);
    gram_mean(&train, want);
    cr_assert_arr_eq(got, want, sizeof(want));
    cr_assert_eq(entry.group, N);
    cr_assert_eq(moments_diagonal(moments, &entry, diagonal, &err), OK);
    for (int j = 0; j < N; j++)
        cr_assert_eq(diagonal[j], want[j * N + j]);
    moments_close(moments);
    gram_free(&train);
    gram_free(&held);
    gram_free(&small);
    fixture_remove(folder);
}

static enum status read_spoilt(const struct moments *moments, const char *input,
                               bool held, const char *says)
{
    static float h[32 * 32], diagonal[32];
    struct moments_entry entry;
    struct error err = {0};

    cr_assert(moments_find(moments, input, &entry));
    const enum status st = moments_read(moments, &entry, held, h, &err);

    cr_expect(!says || strstr(err.text, says), "%s", err.text);
    cr_expect_eq(moments_diagonal(moments, &entry, diagonal, &err),
                 says ? ERR_CORRUPT : OK);
    return st;
}

/* A number that is none would poison whatever is rounded by it. */
Test(moments, that_are_not_finite_are_refused)
{
    static const float spoilt[32] = {[3] = NAN};
    const struct moments_item items[] = {
        {.name = "blk.0.exps_in", .n = 32},
        {.name = "blk.0.exps_in.0", .n = 32, .is_diagonal = true},
        {.name = "blk.1.attn_in", .n = 32}};
    const struct moments_header header = {.chunk_size = 512};
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct moments_writer *writer = NULL;
    struct moments *moments = NULL;
    struct gram whole, diagonal, bad, bad_diagonal;
    struct error err = {0};

    fixture_folder(folder);
    fixture_join(path, folder, "m.gguf");
    cr_assert_eq(gram_new(32, &whole, &err), OK);
    cr_assert_eq(gram_new(32, &bad, &err), OK);
    cr_assert_eq(gram_new_diagonal(32, &diagonal, &err), OK);
    cr_assert_eq(gram_new_diagonal(32, &bad_diagonal, &err), OK);
    gram_add(&bad, spoilt, 1);
    gram_add(&bad_diagonal, spoilt, 1);
    cr_assert_eq(moments_create(path, &header, items, 3, &(struct output_options){0},
                                &writer, &err),
                 OK, "%s", err.text);
    cr_assert_eq(moments_put(writer, 0, &whole, &whole, &err), OK);
    cr_assert_eq(moments_put(writer, 1, &bad_diagonal, &diagonal, &err), OK);
    cr_assert_eq(moments_put(writer, 2, &bad, &whole, &err), OK);
    cr_assert_eq(moments_finish(writer, &err), OK, "%s", err.text);
    cr_assert_eq(moments_open(path, &moments, &err), OK, "%s", err.text);
    cr_expect_eq(read_spoilt(moments, "blk.0.exps_in", false, NULL), OK);
    cr_expect_eq(read_spoilt(moments, "blk.0.exps_in.0", false, "exps_in.0.d: number 3 "),
                 ERR_CORRUPT);
    cr_expect_eq(read_spoilt(moments, "blk.1.attn_in", false, "m.gguf: blk.1.attn_in.h"),
                 ERR_CORRUPT);
    moments_close(moments);
    gram_free(&whole);
    gram_free(&bad);
    gram_free(&diagonal);
    gram_free(&bad_diagonal);
    fixture_remove(folder);
}

Test(moments, are_cut_into_the_fewest_groups_of_whole_super_blocks)
{
    static const struct {
        size_t n, group;
    } cases[] = {{0, 0},        {52, 52},      {4096, 4096},  {4352, 256},
                 {5376, 1792},  {10240, 2560}, {12288, 4096}, {16384, 4096},
                 {21504, 3584}, {4128, 1376},  {5001, 1667}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(moments_group_columns(cases[i].n), cases[i].group, "%zu: %zu",
                     cases[i].n, moments_group_columns(cases[i].n));
}

/* ---- a wide input: WIDE columns in groups of GROUP ---- */

enum { WIDE = 4352, GROUP = 256, WIDE_ROWS = 600 };

static void file_wide(const char *path, struct gram *train)
{
    struct moments_header header = {.chunk_size = 512};
    struct moments_item item = {.name = "blk.0.ffn_mid", .n = WIDE};
    struct moments_writer *writer = NULL;
    struct gram held;
    struct error err = {0};
    float *wide = malloc(sizeof(*wide) * WIDE * WIDE_ROWS);

    cr_assert_not_null(wide);
    fixture_activations(wide, WIDE * WIDE_ROWS, 5);
    cr_assert_eq(gram_new(WIDE, train, &err), OK);
    cr_assert_eq(gram_new(WIDE, &held, &err), OK);
    gram_add(train, wide, WIDE_ROWS);
    cr_assert_eq(moments_create(path, &header, &item, 1,
                                &(struct output_options){.force = true}, &writer, &err),
                 OK, "%s", err.text);
    cr_assert_eq(moments_put(writer, 0, train, &held, &err), OK);
    cr_assert_eq(moments_finish(writer, &err), OK, "%s", err.text);
    gram_free(&held);
    free(wide);
}

/* Each group's square is, bit for bit, what its columns alone would have given. */
Test(moments, of_groups_are_those_of_their_columns)
{
    static float part[GROUP * WIDE_ROWS], want[GROUP * GROUP], got[GROUP * GROUP];
    static float diagonal[WIDE];
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    float *wide = malloc(sizeof(*wide) * WIDE * WIDE_ROWS);
    struct moments *moments = NULL;
    struct moments_entry entry;
    struct gram whole;
    struct error err = {0};

    fixture_folder(folder);
    fixture_join(path, folder, "wide.gguf");
    file_wide(path, &whole);
    gram_free(&whole);
    cr_assert_not_null(wide);
    fixture_activations(wide, WIDE * WIDE_ROWS, 5);
    cr_assert_eq(moments_open(path, &moments, &err), OK, "%s", err.text);
    cr_assert(moments_find(moments, "blk.0.ffn_mid", &entry));
    cr_assert_eq(entry.n, WIDE);
    cr_assert_eq(entry.group, GROUP);
    cr_assert_eq(moments_diagonal(moments, &entry, diagonal, &err), OK);
    for (size_t first = 0; first < WIDE; first += 8 * GROUP) {
        struct gram gram;

        for (size_t t = 0; t < WIDE_ROWS; t++)
            memcpy(part + t * GROUP, wide + t * WIDE + first, GROUP * sizeof(*part));
        cr_assert_eq(gram_new(GROUP, &gram, &err), OK);
        gram_add(&gram, part, WIDE_ROWS);
        gram_mean(&gram, want);
        gram_free(&gram);
        cr_assert_eq(moments_read_square(moments, &entry, false, first, GROUP, got, &err),
                     OK);
        cr_assert_arr_eq(got, want, sizeof(want), "columns from %zu", first);
        for (size_t j = 0; j < GROUP; j++)
            cr_assert_eq(diagonal[first + j], want[j * GROUP + j]);
        cr_assert_eq(
            moments_read_square(moments, &entry, false, first + 32, 64, got, &err), OK);
        cr_assert_eq(got[65], want[33 * GROUP + 33]);
        cr_assert_eq(got[1], want[32 * GROUP + 33]);
    }
    moments_close(moments);
    free(wide);
    fixture_remove(folder);
}

/* ---- experts that share correlations ---- */

enum { N_SHARED = 32, N_MINE = 60 };

/* Three items of one layer: what all rows show, the first rows' diagonal, and the first rows' whole matrix. */
static void file_shared(const char *path)
{
    const struct moments_item items[3] = {
        {.name = "blk.2.exps_in", .n = N_SHARED},
        {.name = "blk.2.exps_in.7", .n = N_SHARED, .is_diagonal = true},
        {.name = "blk.9.exps_in", .n = N_SHARED}};
    struct moments_header header = {.chunk_size = 512};
    struct moments_writer *writer = NULL;
    struct gram gram[3], none[3];
    struct error err = {0};

    cr_assert_eq(moments_create(path, &header, items, 3, &(struct output_options){0},
                                &writer, &err),
                 OK, "%s", err.text);
    for (size_t i = 0; i < 3; i++) {
        struct gram *both[2] = {&gram[i], &none[i]};

        for (size_t k = 0; k < 2; k++)
            cr_assert_eq(items[i].is_diagonal ? gram_new_diagonal(N_SHARED, both[k], &err)
                                              : gram_new(N_SHARED, both[k], &err),
                         OK);
        gram_add(&gram[i], x, i == 0 ? 1000 : N_MINE);
        cr_assert_eq(moments_put(writer, i, &gram[i], &none[i], &err), OK);
        gram_free(&gram[i]);
        gram_free(&none[i]);
    }
    cr_assert_eq(moments_finish(writer, &err), OK, "%s", err.text);
}

/* H_e has the expert's diagonal to the bit and the layer's correlations to a few roundings. */
Test(moments, of_an_expert_with_a_diagonal_have_its_layers_correlations)
{
    static float all[N_SHARED * N_SHARED], mine[N_SHARED * N_SHARED],
        got[N_SHARED * N_SHARED];
    static float diagonal[N_SHARED], twice[N_SHARED], s[N_SHARED];
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct moments *moments = NULL;
    struct moments_entry common, expert, whole;
    struct error err = {0};
    const size_t n = N_SHARED;

    fixture_folder(folder);
    fixture_join(path, folder, "shared.gguf");
    file_shared(path);
    cr_assert_eq(moments_open(path, &moments, &err), OK, "%s", err.text);
    cr_assert(moments_find(moments, "blk.2.exps_in", &common));
    cr_assert(moments_find(moments, "blk.2.exps_in.7", &expert));
    cr_assert(moments_find(moments, "blk.9.exps_in", &whole));
    cr_assert_not(moments_find(moments, "blk.2.exps_in.8", &whole));
    cr_assert(expert.is_diagonal && !common.is_diagonal);
    cr_assert_eq((int)expert.tokens, N_MINE);
    cr_assert_eq(moments_read(moments, &common, false, all, &err), OK);
    cr_assert_eq(moments_read(moments, &whole, false, mine, &err), OK);
    cr_assert_eq(moments_read(moments, &expert, false, got, &err), OK);
    cr_assert_eq(moments_diagonal(moments, &expert, diagonal, &err), OK);
    for (size_t i = 0; i < n; i++) {
        cr_expect_eq(got[i * n + i], mine[i * n + i], "column %zu", i);
        cr_expect_eq(diagonal[i], mine[i * n + i], "column %zu", i);
        for (size_t j = 0; j < i; j++) {
            const double r = (double)all[i * n + j] /
                             sqrt((double)all[i * n + i] * (double)all[j * n + j]);
            const double want =
                r * sqrt((double)mine[i * n + i] * (double)mine[j * n + j]);

            cr_expect_float_eq((double)got[i * n + j], want, 8 * 0x1p-24 * fabs(want));
            cr_expect_eq(got[i * n + j], got[j * n + i]);
        }
    }
    for (size_t j = 0; j < n; j++)
        s[j] = j % 2 ? 2.0f : 0.5f;
    cr_assert_eq(moments_rescale(moments, "blk.2.exps_in.7", s, n, &err), OK);
    cr_assert_eq(moments_read_common(moments, &expert, false, 0, n, got, &err), OK);
    cr_expect_eq(got[1], all[1]);
    cr_expect_eq(got[2], 0.25f * all[2]);
    cr_assert_eq(moments_diagonal(moments, &expert, twice, &err), OK);
    cr_expect_eq(twice[3], 4 * diagonal[3]);
    moments_close(moments);
    fixture_remove(folder);
}

/* ---- files that are not what they should be ---- */

/* The file with `n` bytes at `skip` behind the first `mark` replaced; what opening it says. */
static enum status open_changed(const char *path, const char *mark, size_t skip,
                                const void *bytes, size_t n, struct error *err)
{
    struct moments *moments = NULL;
    char changed[FIXTURE_PATH + 8];
    char *text = NULL, *at = NULL;
    size_t n_text = 0;
    enum status st;

    cr_assert_eq(file_read_all(path, 1 << 30, &text, &n_text, err), OK);
    for (size_t i = 0; i + strlen(mark) < n_text && !at; i++)
        if (memcmp(text + i, mark, strlen(mark)) == 0)
            at = text + i + strlen(mark) + skip;
    cr_assert_not_null(at, "%s", mark);
    memcpy(at, bytes, n);
    snprintf(changed, sizeof(changed), "%s.bad", path);
    fixture_write(changed, text, n_text);
    free(text);
    st = moments_open(changed, &moments, err);
    moments_close(moments);
    return st;
}

/* Behind a key of a u32 stand its type and the number; behind a tensor's name the count of its
 * dimensions (u32) and the dimensions (u64). */
Test(moments, of_a_broken_file_are_refused)
{
    const uint64_t two = 2, many = (uint64_t)1 << 40;
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct error err = {0};
    struct gram gram;

    fixture_folder(folder);
    fixture_join(path, folder, "wide.gguf");
    file_wide(path, &gram);
    gram_free(&gram);
    cr_expect_eq(open_changed(path, "moments.version", 4, "\2", 1, &err), ERR_USAGE);
    cr_expect(strstr(err.text, "version 2"), "%s", err.text);
    cr_expect_eq(open_changed(path, "moments.versio", 0, "m", 1, &err), ERR_USAGE);
    cr_expect_eq(open_changed(path, "blk.0.ffn_mid.", 0, "x", 1, &err), ERR_CORRUPT);
    cr_expect_eq(open_changed(path, "blk.0.ffn_mid.hel", 0, "x", 1, &err), ERR_CORRUPT);
    cr_expect_eq(open_changed(path, "blk.0.ffn_mid.held", 4, &two, 8, &err), ERR_CORRUPT);
    cr_expect_eq(open_changed(path, "blk.0.ffn_mid.held", 20, &two, 8, &err),
                 ERR_CORRUPT);
    cr_expect_eq(open_changed(path, "blk.0.ffn_mid.h", 4, &many, 8, &err), ERR_CORRUPT);
    cr_expect_eq(open_changed(path, "general.type", 12, "x", 1, &err), ERR_USAGE);
    fixture_remove(folder);
}
