/*
 * test_gguf.c - metadata and tensor tables, written, read, split and cut
 */
#include "formats/gguf/gguf.h"
#include "formats/model/model.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[FIXTURE_PATH];

static void make_folder(void)
{
    fixture_folder(folder);
}

static void remove_folder(void)
{
    fixture_remove(folder);
}

TestSuite(gguf, .init = make_folder, .fini = remove_folder);
TestSuite(model, .init = make_folder, .fini = remove_folder);

#define MUST(call) cr_assert_eq((call), OK, "%s", err.text)

/* One key of every kind. */
static struct gguf_meta *make_meta(void)
{
    static const int32_t widths[] = {6, -12, 12};
    static const uint8_t pattern[] = {1, 0, 1};
    static const struct gguf_str pieces[] = {{"<pad>", 5}, {"", 0}, {"a\0b", 3}};
    struct gguf_meta *meta = gguf_meta_new();
    struct error err;

    MUST(gguf_set_str(meta, "general.architecture", "gemma4", 6, &err));
    MUST(gguf_set_u16(meta, "u16", 65535, &err));
    MUST(gguf_set_u32(meta, "u32", 4000000000u, &err));
    MUST(gguf_set_i32(meta, "i32", -7, &err));
    MUST(gguf_set_u64(meta, "u64", UINT64_MAX - 1, &err));
    MUST(gguf_set_f32(meta, "f32", 0.1f, &err));
    MUST(gguf_set_bool(meta, "bool", true, &err));
    MUST(gguf_set_array(meta, "widths", GGUF_I32, widths, 3, &err));
    MUST(gguf_set_array(meta, "pattern", GGUF_BOOL, pattern, 3, &err));
    MUST(gguf_set_array(meta, "empty", GGUF_F32, NULL, 0, &err));
    MUST(gguf_set_strings(meta, "pieces", pieces, 3, &err));
    MUST(gguf_set_strings(meta, "no pieces", NULL, 0, &err));
    return meta;
}

static void expect_meta(const struct gguf_meta *meta)
{
    const struct gguf_value *pieces = gguf_meta_find(meta, "pieces");
    struct gguf_str s;
    uint16_t u16;
    uint32_t u32;
    int32_t i32;
    float f32;
    bool b;

    cr_assert_eq(gguf_meta_count(meta), 12);
    cr_assert_str_eq(gguf_meta_at(meta, 0)->key, "general.architecture");
    cr_assert(gguf_get_str(meta, "general.architecture", &s) &&
              strcmp(s.text, "gemma4") == 0);
    cr_assert(gguf_get_u16(meta, "u16", &u16) && u16 == 65535);
    cr_assert(gguf_get_u32(meta, "u32", &u32) && u32 == 4000000000u);
    cr_assert(gguf_get_i32(meta, "i32", &i32) && i32 == -7);
    cr_assert(gguf_get_f32(meta, "f32", &f32) && f32 == 0.1f);
    cr_assert(gguf_get_bool(meta, "bool", &b) && b);
    cr_assert_not(gguf_get_u32(meta, "i32", &u32), "getters do not convert");
    cr_assert_not(gguf_get_u32(meta, "absent", &u32));
    cr_assert_eq(gguf_value_int(gguf_meta_find(meta, "widths"), 1), -12);
    cr_assert_eq(gguf_value_int(gguf_meta_find(meta, "pattern"), 1), 0);
    cr_assert_eq(gguf_value_real(gguf_meta_find(meta, "u64"), 0), 0x1p64);
    cr_assert_eq(gguf_meta_find(meta, "empty")->count, 0);
    cr_assert_eq(gguf_meta_find(meta, "no pieces")->count, 0);
    cr_assert_eq(pieces->count, 3);
    cr_assert_eq(gguf_value_str(pieces, 1).n, 0);
    s = gguf_value_str(pieces, 2);
    cr_assert(s.n == 3 && memcmp(s.text, "a\0b", 4) == 0, "the NUL behind it included");
}

static void write_file(const char *path, const struct gguf_meta *meta,
                       struct gguf_tensor *tensors, size_t n_tensors, uint32_t alignment)
{
    uint8_t *header = NULL, *whole;
    size_t n_header = 0;
    uint64_t n_file = 0;
    struct error err;

    MUST(gguf_layout(meta, tensors, n_tensors, alignment, &header, &n_header, &n_file,
                     &err));
    whole = calloc((size_t)n_file, 1);
    memcpy(whole, header, n_header);
    for (size_t i = 0; i < n_tensors; i++)
        fixture_bytes(whole + tensors[i].offset, (size_t)tensors[i].n_bytes, i + 1);
    fixture_write(path, whole, (size_t)n_file);
    free(whole);
    free(header);
}

static const struct gguf_tensor two_tensors[] = {
    {.name = "token_embd.weight", .type = TYPE_Q4_K, .n_dims = 2, .ne = {256, 5}},
    {.name = "blk.0.scale", .type = TYPE_F32, .n_dims = 1, .ne = {3}},
};

Test(gguf, metadata_survive_a_file)
{
    struct gguf_tensor tensors[2];
    struct gguf_meta *meta = make_meta();
    struct gguf *gguf = NULL;
    char path[FIXTURE_PATH];
    struct error err;

    memcpy(tensors, two_tensors, sizeof(tensors));
    fixture_join(path, folder, "x.gguf");
    write_file(path, meta, tensors, 2, 32);
    MUST(gguf_open(path, &gguf, &err));
    expect_meta(gguf_metadata(gguf));
    cr_assert_eq(gguf_count(gguf), 2);
    cr_assert_eq(gguf_find(gguf, "blk.0.scale")->offset, tensors[1].offset);
    cr_assert_eq(gguf_at(gguf, 0)->n_bytes, 5 * 144);
    cr_assert_eq(gguf_tensor_rows(gguf_at(gguf, 0)), 5);
    cr_assert_eq(gguf_at(gguf, 1)->offset % 32, 0);
    gguf_close(gguf);
    gguf_meta_free(meta);
}

Test(gguf, numbers_are_asked_for_whatever_their_type)
{
    static const int32_t layers[] = {4, 2};
    const struct gguf_str text = {"x", 1};
    struct gguf_meta *meta = gguf_meta_new();
    struct error err;
    int64_t n = 7;
    double x = 7;

    MUST(gguf_set_u16(meta, "whole", 65535, &err));
    MUST(gguf_set_f32(meta, "real", 0.5f, &err));
    MUST(gguf_set_array(meta, "layers", GGUF_I32, layers, 2, &err));
    MUST(gguf_set_array(meta, "none", GGUF_I32, layers, 0, &err));
    MUST(gguf_set_strings(meta, "texts", &text, 1, &err));
    MUST(gguf_set_str(meta, "text", "4", 1, &err));
    cr_expect(gguf_get_int(meta, "whole", &n) && n == 65535);
    cr_expect(gguf_get_real(meta, "whole", &x) && x == 65535);
    cr_expect(gguf_get_int(meta, "layers", &n) && n == 4);
    cr_expect(gguf_get_real(meta, "real", &x) && x == 0.5);
    for (const char *const *key =
             (const char *const[]){"real", "none", "texts", "text", "absent", NULL};
         *key; key++)
        cr_expect_not(gguf_get_int(meta, *key, &n), "%s", *key);
    cr_expect_not(gguf_get_real(meta, "layers", &x));
    cr_expect_not(gguf_get_real(meta, "text", &x));
    gguf_meta_free(meta);
}

Test(gguf, metadata_keep_their_order_when_they_change)
{
    struct gguf_meta *meta = make_meta(), *copy = gguf_meta_copy(meta);
    struct error err;
    uint32_t v;

    expect_meta(copy);
    MUST(gguf_set_u32(copy, "u16", 5, &err));
    cr_assert_str_eq(gguf_meta_at(copy, 1)->key, "u16");
    cr_assert(gguf_get_u32(copy, "u16", &v) && v == 5);
    gguf_unset(copy, "u16");
    gguf_unset(copy, "absent");
    cr_assert_null(gguf_meta_find(copy, "u16"));
    cr_assert_str_eq(gguf_meta_at(copy, 1)->key, "u32");
    cr_assert(gguf_get_u32(copy, "u32", &v) && v == 4000000000u);
    MUST(gguf_set_value(copy, gguf_meta_find(meta, "u16"), &err));
    cr_assert_str_eq(gguf_meta_at(copy, 11)->key, "u16");
    gguf_meta_free(copy);
    expect_meta(meta);
    gguf_meta_free(meta);
}

/* The header written from what was read is the one another program wrote. */
Test(gguf, of_another_writer_is_reproduced_byte_for_byte)
{
    const char *path = CARAT_DATA "/vectors/gguf/ggml-vocab-phi-3.gguf";
    struct gguf *gguf = NULL;
    char *want = NULL;
    uint8_t *header = NULL;
    size_t n_want = 0, n_header = 0;
    uint64_t n_file = 0;
    struct error err;

    MUST(gguf_open(path, &gguf, &err));
    MUST(file_read_all(path, 1 << 20, &want, &n_want, &err));
    MUST(
        gguf_layout(gguf_metadata(gguf), NULL, 0, 32, &header, &n_header, &n_file, &err));
    cr_assert_eq(n_header, round_up_u64(n_want, 32), "that writer left the padding out");
    cr_assert_eq(memcmp(header, want, n_want), 0);
    free(header);
    free(want);
    gguf_close(gguf);
}

Test(gguf, cut_at_any_byte_is_refused)
{
    struct gguf_tensor tensors[2];
    struct gguf_meta *meta = make_meta();
    char path[FIXTURE_PATH], *bytes = NULL;
    struct error err = {0};
    size_t n = 0;

    memcpy(tensors, two_tensors, sizeof(tensors));
    fixture_join(path, folder, "x.gguf");
    write_file(path, meta, tensors, 2, 32);
    MUST(file_read_all(path, 4096, &bytes, &n, &err));
    /* The last tensor's padding is not needed to read it. */
    for (size_t cut = 0; cut < tensors[1].offset + tensors[1].n_bytes; cut++) {
        struct gguf *gguf = NULL;
        uint8_t *part = fixture_guarded(cut ? cut : 1);

        memcpy(part, bytes, cut);
        cr_assert_eq(gguf_parse(part, cut, &gguf, &err), ERR_CORRUPT, "%zu bytes", cut);
        fixture_unguard(part, cut ? cut : 1);
    }
    free(bytes);
    gguf_meta_free(meta);
}

Test(gguf, version_2_is_read_and_version_1_refused)
{
    struct gguf_meta *meta = make_meta();
    struct gguf *gguf = NULL;
    char path[FIXTURE_PATH], *bytes = NULL;
    struct error err;
    size_t n = 0;

    fixture_join(path, folder, "x.gguf");
    write_file(path, meta, NULL, 0, 32);
    MUST(file_read_all(path, 4096, &bytes, &n, &err));
    bytes[4] = 2;
    MUST(gguf_parse((const uint8_t *)bytes, n, &gguf, &err));
    gguf_close(gguf);
    bytes[4] = 1;
    cr_assert_eq(gguf_parse((const uint8_t *)bytes, n, &gguf, &err), ERR_UNSUPPORTED);
    free(bytes);
    gguf_meta_free(meta);
}

/* Each table that no file can have, and a word the user must see. */
Test(gguf, is_not_laid_out_when_it_could_not_be_read)
{
    static const struct {
        struct gguf_tensor tensors[2];
        size_t n;
        const char *says;
    } cases[] = {
        {{{.name = "x", .type = TYPE_Q4_0, .n_dims = 1, .ne = {33}}}, 1, "rows of 33"},
        {{{.name = "x", .type = TYPE_F32, .n_dims = 2, .ne = {3, 0}}},
         1,
         "dimension 1 is 0"},
        {{{.name = "x", .type = TYPE_F32, .n_dims = 1, .ne = {1}},
          {.name = "x", .type = TYPE_F32, .n_dims = 1, .ne = {1}}},
         2,
         "stands twice"},
        {{{.name = "0123456789012345678901234567890123456789012345678901234567890123",
           .type = TYPE_F32,
           .n_dims = 1,
           .ne = {1}}},
         1,
         "a name of 64 bytes"},
        {{{.name = "x", .type = TYPE_F32, .n_dims = 2, .ne = {1ull << 40, 1ull << 40}}},
         1,
         "dimension 1"},
    };
    struct gguf_meta *meta = gguf_meta_new();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gguf_tensor tensors[2];
        struct error err = {0};
        uint8_t *header = NULL;
        size_t n_header;
        uint64_t n_file;

        memcpy(tensors, cases[i].tensors, sizeof(tensors));
        cr_expect_eq(
            gguf_layout(meta, tensors, cases[i].n, 32, &header, &n_header, &n_file, &err),
            ERR_SHAPE);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s: %s", cases[i].says,
                           err.text);
    }
    gguf_meta_free(meta);
}

Test(gguf, a_tensor_without_dimensions_is_one_number)
{
    struct gguf_tensor tensor = {.name = "x", .type = TYPE_F32, .n_dims = 0};
    struct gguf_meta *meta = gguf_meta_new();
    struct gguf *file = NULL;
    struct error err = {0};
    uint8_t *header = NULL, bytes[256] = {0};
    size_t n_header;
    uint64_t n_file;

    cr_assert_eq(gguf_layout(meta, &tensor, 1, 32, &header, &n_header, &n_file, &err), OK,
                 "%s", err.text);
    cr_assert_leq(n_file, sizeof(bytes));
    memcpy(bytes, header, n_header);
    cr_assert_eq(gguf_parse(bytes, (size_t)n_file, &file, &err), OK, "%s", err.text);
    cr_expect_eq(gguf_at(file, 0)->n_dims, 0);
    cr_expect_eq(gguf_at(file, 0)->n_bytes, 4);
    gguf_close(file);
    free(header);
    gguf_meta_free(meta);
}

Test(gguf, texts_that_could_not_be_read_are_not_laid_out)
{
    static const struct {
        const char *key, *text;
        size_t n;
        const char *says;
    } cases[] = {
        {"k", "\xff", 1, "k: the string is not UTF-8"},
        {"k", "a\0b", 3, "k: the string holds a NUL"},
        {"k\xc3", "a", 1, "is not UTF-8"},
        {"", "a", 1, "is empty"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gguf_meta *meta = gguf_meta_new();
        struct error err = {0};
        uint8_t *header = NULL;
        size_t n_header;
        uint64_t n_file;

        cr_assert_eq(gguf_set_str(meta, cases[i].key, cases[i].text, cases[i].n, &err),
                     OK);
        cr_expect_eq(gguf_layout(meta, NULL, 0, 32, &header, &n_header, &n_file, &err),
                     ERR_USAGE);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s", err.text);
        gguf_meta_free(meta);
    }
}

/* ---- splits ---- */

static void check_shard_path(const char *path, const char *want)
{
    char *got = gguf_shard_path(path, 1, 3);

    cr_expect_str_eq(got, want);
    free(got);
}

Test(gguf, shards_are_named_after_their_model)
{
    check_shard_path("a/m.gguf", "a/m-00002-of-00003.gguf");
    check_shard_path("a/m", "a/m-00002-of-00003.gguf");
    check_shard_path("m-00001-of-00002.gguf", "m-00002-of-00003.gguf");
    check_shard_path("m-0001-of-00002.gguf", "m-0001-of-00002-00002-of-00003.gguf");
    check_shard_path("", "-00002-of-00003.gguf");
}

enum { N_ROWS = 9 };

/* A split as the converter writes it: the per-layer table alone in the second file. */
static void write_split(char first[FIXTURE_PATH], int32_t said_tensors,
                        uint16_t second_no)
{
    struct gguf_tensor main_tensors[2],
        table[1] = {{.name = "per_layer_token_embd.weight",
                     .type = TYPE_Q8_0,
                     .n_dims = 2,
                     .ne = {64, N_ROWS}}};
    struct gguf_meta *meta = make_meta(), *other = gguf_meta_new();
    char second[FIXTURE_PATH];
    struct error err;

    memcpy(main_tensors, two_tensors, sizeof(main_tensors));
    MUST(gguf_set_u16(meta, "split.no", 0, &err));
    MUST(gguf_set_u16(meta, "split.count", 2, &err));
    MUST(gguf_set_i32(meta, "split.tensors.count", said_tensors, &err));
    MUST(gguf_set_u16(other, "split.no", second_no, &err));
    MUST(gguf_set_u16(other, "split.count", 2, &err));
    MUST(gguf_set_i32(other, "split.tensors.count", said_tensors, &err));
    MUST(gguf_set_u32(other, "general.alignment", 4096, &err));
    fixture_join(first, folder, "m-00001-of-00002.gguf");
    fixture_join(second, folder, "m-00002-of-00002.gguf");
    write_file(first, meta, main_tensors, 2, 32);
    write_file(second, other, table, 1, 4096);
    gguf_meta_free(meta);
    gguf_meta_free(other);
}

Test(gguf, a_split_opens_by_its_first_file)
{
    struct gguf *gguf = NULL;
    char path[FIXTURE_PATH];
    struct error err;

    write_split(path, 3, 1);
    MUST(gguf_open(path, &gguf, &err));
    cr_assert_eq(gguf_count(gguf), 3);
    cr_assert_eq(gguf_n_files(gguf), 2);
    cr_assert_eq(gguf_find(gguf, "per_layer_token_embd.weight")->file, 1);
    cr_assert_eq(gguf_alignment(gguf, 1), 4096);
    cr_assert_eq(gguf_data_start(gguf, 1), 4096);
    gguf_close(gguf);
}

Test(gguf, a_split_that_does_not_fit_together_is_refused)
{
    char path[FIXTURE_PATH], second[FIXTURE_PATH], renamed[FIXTURE_PATH];
    struct gguf *gguf = NULL;
    struct error err;

    write_split(path, 4, 1);
    cr_assert_eq(gguf_open(path, &gguf, &err), ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "split.tensors.count is 4"), "%s", err.text);

    write_split(path, 3, 2);
    cr_assert_eq(gguf_open(path, &gguf, &err), ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "split.no is 2, not 1"), "%s", err.text);

    write_split(path, 3, 1);
    fixture_join(second, folder, "m-00002-of-00002.gguf");
    cr_assert_eq(gguf_open(second, &gguf, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "open the first"), "%s", err.text);

    fixture_join(renamed, folder, "renamed.gguf");
    cr_assert_eq(rename(path, renamed), 0);
    cr_assert_eq(gguf_open(renamed, &gguf, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "-00001-of-00002.gguf"), "%s", err.text);

    cr_assert_eq(rename(renamed, path), 0);
    cr_assert_eq(unlink(second), 0);
    cr_assert_eq(gguf_open(path, &gguf, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.text, "m-00002-of-00002.gguf"), "%s", err.text);
}

/* ---- models ---- */

Test(model, of_a_split_reads_its_table_and_maps_the_rest)
{
    struct model *model = NULL;
    uint8_t want[5 * 144], row[144];
    char path[FIXTURE_PATH];
    struct error err;
    int64_t embd, table;

    write_split(path, 3, 1);
    MUST(model_open_gguf(path, &model, &err));
    embd = model_find(model, "token_embd.weight");
    table = model_find(model, "per_layer_token_embd.weight");
    cr_assert(embd >= 0 && table >= 0);
    cr_assert_eq(model_find(model, "absent"), -1);

    fixture_bytes(want, sizeof(want), 1);
    cr_assert_eq(memcmp(model_map(model, (size_t)embd), want, sizeof(want)), 0);
    MUST(model_read_rows(model, (size_t)embd, 3, 1, row, &err));
    cr_assert_eq(memcmp(row, want + 3 * 144, sizeof(row)), 0);
    cr_assert_null(model_map(model, (size_t)table), "the table's file is never mapped");
    model_close(model);
}

Test(model, gives_a_tensor_whole_as_floats)
{
    uint8_t blocks[N_ROWS * 68];
    float want[N_ROWS * 64], *got = NULL;
    struct model *model = NULL;
    char path[FIXTURE_PATH];
    struct error err;

    write_split(path, 3, 1);
    MUST(model_open_gguf(path, &model, &err));
    MUST(model_read_f32(model, (size_t)model_find(model, "per_layer_token_embd.weight"),
                        &got, &err));
    fixture_bytes(blocks, sizeof(blocks), 1);
    block_decode(TYPE_Q8_0, blocks, want, N_ROWS * 64);
    cr_assert_eq(memcmp(got, want, sizeof(want)), 0);
    free(got);
    model_close(model);
}

/* A file that shrinks after its header was read is an error that names it, not a crash. */
Test(model, that_shrinks_while_it_is_open_is_an_error)
{
    struct model *model = NULL;
    char path[FIXTURE_PATH], second[FIXTURE_PATH];
    struct error err;
    float *x = NULL;

    write_split(path, 3, 1);
    fixture_join(second, folder, "m-00002-of-00002.gguf");
    MUST(model_open_gguf(path, &model, &err));
    cr_assert_eq(truncate(second, 4100), 0);
    cr_assert_eq(model_read_f32(model,
                                (size_t)model_find(model, "per_layer_token_embd.weight"),
                                &x, &err),
                 ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "m-00002-of-00002.gguf"), "%s", err.text);
    model_close(model);
}
