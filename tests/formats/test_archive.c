/*
 * test_archive.c - tensors of torch and NumPy files, whole and in slabs; gzipped text
 */
#include "formats/archive/archive.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

static char folder[FIXTURE_PATH];

static void make_folder(void)
{
    fixture_folder(folder);
}

static void remove_folder(void)
{
    fixture_remove(folder);
}

TestSuite(archive, .init = make_folder, .fini = remove_folder);
TestSuite(gzip, .init = make_folder, .fini = remove_folder);

#define MUST(call) cr_assert_eq((call), OK, "%s", err.text)

/* SHA-256 of tensor i in f32, read `slab` rows at a time. */
static void digest(const struct archive *archive, size_t i, uint64_t slab, char hex[65])
{
    const struct tensor *view = &archive_at(archive, i)->view;
    const size_t n = (size_t)tensor_elements(view);
    const uint64_t n_rows = tensor_rows(view);
    const size_t row_bytes = n_rows ? (size_t)(view->n_bytes / n_rows) : 0;
    uint8_t *bytes = fixture_guarded(view->n_bytes ? (size_t)view->n_bytes : 1), sum[32];
    float *x = malloc((n + 1) * sizeof(*x));
    struct error err;

    for (uint64_t row = 0; row < n_rows; row += slab) {
        uint64_t m = n_rows - row < slab ? n_rows - row : slab;

        MUST(archive_read(archive, i, row * row_bytes, (size_t)m * row_bytes,
                          bytes + row * row_bytes, &err));
    }
    dtype_widen(view->dtype, bytes, x, n);
    sha256_bytes(x, n * sizeof(*x), sum);
    sha256_hex(sum, hex);
    free(x);
    fixture_unguard(bytes, view->n_bytes ? (size_t)view->n_bytes : 1);
}

static void expect_digest(const struct archive *archive, const char *name,
                          const char *want)
{
    char hex[65];

    for (size_t i = 0; i < archive_count(archive); i++) {
        if (strcmp(archive_at(archive, i)->view.name, name) != 0)
            continue;
        digest(archive, i, 1, hex);
        cr_expect_str_eq(hex, want, "%s, row by row", name);
        digest(archive, i, 7, hex);
        cr_expect_str_eq(hex, want, "%s, in slabs", name);
        digest(archive, i, UINT64_MAX, hex);
        cr_expect_str_eq(hex, want, "%s, whole", name);
        return;
    }
    cr_expect_fail("%s is not there", name);
}

Test(archive, of_torch_gives_every_view_its_elements)
{
    FILE *f = fopen(CARAT_DATA "/vectors/torch/views.tsv", "r");
    struct archive *archive = NULL;
    char name[128], want[65];
    size_t n_gathered = 0, n = 0;
    struct error err;

    cr_assert_not_null(f);
    MUST(archive_open(CARAT_DATA "/vectors/torch/views.bin", &archive, &err));
    cr_assert_eq(archive_count(archive), 74);
    for (size_t i = 0; i < 74; i++)
        n_gathered += !archive_at(archive, i)->is_plain;
    cr_assert_eq(n_gathered, 1, "one tensor is a transposed view");
    while (fscanf(f, "%127s %64s", name, want) == 2) {
        expect_digest(archive, name, want);
        n++;
    }
    cr_assert_eq(n, 67);
    cr_assert_eq(
        archive_find(archive, "lm_head.weight")->view.offset,
        archive_find(archive, "model.language_model.embed_tokens.weight")->view.offset,
        "tied tensors share their bytes");
    archive_close(archive);
    fclose(f);
}

Test(archive, of_numpy_is_read_stored_deflated_and_transposed)
{
    FILE *f = fopen(CARAT_DATA "/vectors/numpy/arrays.tsv", "r");
    char file[32], name[32], want[65], path[512];
    struct error err;
    int n = 0;

    cr_assert_not_null(f);
    while (fscanf(f, "%31s %31s %64s", file, name, want) == 3) {
        struct archive *archive = NULL;

        snprintf(path, sizeof(path), "%s/vectors/numpy/%s", CARAT_DATA, file);
        MUST(archive_open(path, &archive, &err));
        expect_digest(archive, name, want);
        archive_close(archive);
        n++;
    }
    cr_assert_eq(n, 15);
    fclose(f);
}

/* Codes and scales are read by bytes that are no whole rows, nor whole elements. */
static void expect_any_bytes(const struct archive *archive, size_t i)
{
    static const size_t runs[] = {1, 3, 64, 1000};
    const struct tensor *view = &archive_at(archive, i)->view;
    const size_t n = (size_t)view->n_bytes;
    uint8_t *whole = malloc(n), *part = malloc(n);
    struct error err;

    MUST(archive_read(archive, i, 0, n, whole, &err));
    for (size_t r = 0; r < sizeof(runs) / sizeof(runs[0]); r++) {
        for (size_t at = 0; at < n; at += runs[r])
            MUST(archive_read(archive, i, at, n - at < runs[r] ? n - at : runs[r],
                              part + at, &err));
        cr_expect_arr_eq(part, whole, n, "%s in runs of %zu", view->name, runs[r]);
    }
    free(whole);
    free(part);
}

Test(archive, of_a_strided_view_gives_any_bytes)
{
    struct archive *archive = NULL;
    struct error err = {0};
    size_t n = 0;

    MUST(archive_open(CARAT_DATA "/vectors/torch/views.bin", &archive, &err));
    for (size_t i = 0; i < archive_count(archive); i++)
        if (!archive_at(archive, i)->is_plain) {
            expect_any_bytes(archive, i);
            n++;
        }
    cr_expect_eq(n, 1);
    archive_close(archive);
}

static void copy_to(const char *name, const char *from)
{
    char path[FIXTURE_PATH], *bytes = NULL;
    struct error err;
    size_t n = 0;

    MUST(file_read_all(from, 1 << 20, &bytes, &n, &err));
    fixture_join(path, folder, name);
    fixture_write(path, bytes, n);
    free(bytes);
}

Test(archive, of_a_folder_is_the_one_its_index_names)
{
    static const char index[] =
        "{\"weight_map\":{\"x\":\"one.bin\",\"y\":\"one.bin\",\"z\":\"two.npz\"}}";
    struct archive *archive = NULL;
    char path[FIXTURE_PATH];
    struct error err;

    cr_assert_not(archive_is_in_folder(folder));
    cr_assert_eq(archive_open_folder(folder, &archive, &err), ERR_USAGE);
    fixture_join(path, folder, "pytorch_model.bin");
    fixture_write(path, "version https://git-lfs.github.com/spec/v1\n", 43);
    cr_assert_eq(archive_open_folder(folder, &archive, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "git-lfs pointer"), "%s", err.text);
    copy_to("pytorch_model.bin", CARAT_DATA "/vectors/torch/views.bin");
    MUST(archive_open_folder(folder, &archive, &err));
    cr_assert_eq(archive_count(archive), 74);
    archive_close(archive);

    copy_to("one.bin", CARAT_DATA "/vectors/torch/views.bin");
    copy_to("two.npz", CARAT_DATA "/vectors/numpy/stored.npz");
    fixture_join(path, folder, "pytorch_model.bin.index.json");
    fixture_write(path, index, strlen(index));
    cr_assert(archive_is_in_folder(folder));
    MUST(archive_open_folder(folder, &archive, &err));
    cr_assert_eq(archive_n_files(archive), 2);
    cr_assert_eq(archive_count(archive), 74 + 7);
    cr_assert_eq(archive_find(archive, "f32")->view.file, 1);
    archive_close(archive);
}

Test(archive, whose_files_hold_one_name_twice_is_refused)
{
    static const char index[] = "{\"weight_map\":{\"x\":\"one.bin\",\"y\":\"two.bin\"}}";
    struct archive *archive = NULL;
    char path[FIXTURE_PATH];
    struct error err;

    copy_to("one.bin", CARAT_DATA "/vectors/torch/views.bin");
    copy_to("two.bin", CARAT_DATA "/vectors/torch/views.bin");
    fixture_join(path, folder, "pytorch_model.bin.index.json");
    fixture_write(path, index, strlen(index));
    cr_assert_eq(archive_open_folder(folder, &archive, &err), ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "one.bin"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "two.bin"), "%s", err.text);
}

/* A zip ends with its directory, so that any cut loses it. */
Test(archive, cut_anywhere_is_refused)
{
    char path[FIXTURE_PATH], *bytes = NULL;
    struct archive *archive = NULL;
    struct error err = {0};
    size_t n = 0;

    MUST(file_read_all(CARAT_DATA "/vectors/numpy/deflated.npz", 1 << 20, &bytes, &n,
                       &err));
    fixture_join(path, folder, "cut.npz");
    for (size_t cut = 0; cut<n; cut += cut> n - 200 ? 1 : 61) {
        fixture_write(path, bytes, cut);
        cr_assert_neq(archive_open(path, &archive, &err), OK, "%zu bytes", cut);
    }
    free(bytes);
}

Test(archive, whose_deflated_bytes_are_damaged_is_an_error_that_names_them)
{
    char path[FIXTURE_PATH], *bytes = NULL, *at;
    struct archive *archive = NULL;
    uint8_t *rows = malloc(100 * 700);
    struct error err = {0};
    enum status st = OK;
    size_t n = 0;

    MUST(file_read_all(CARAT_DATA "/vectors/numpy/deflated.npz", 1 << 20, &bytes, &n,
                       &err));
    fixture_join(path, folder, "damaged.npz");
    at = bytes + n - 3000; /* inside u8.npy, the last and largest */
    memset(at, 0xff, 64);
    fixture_write(path, bytes, n);
    MUST(archive_open(path, &archive, &err));
    for (size_t i = 0; i < archive_count(archive) && st == OK; i++)
        if (strcmp(archive_at(archive, i)->view.name, "u8") == 0)
            st = archive_read(archive, i, 0, 100 * 700, rows, &err);
    cr_assert_eq(st, ERR_CORRUPT);
    cr_assert_not_null(strstr(err.text, "u8"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "damaged.npz"), "%s", err.text);
    archive_close(archive);
    free(rows);
    free(bytes);
}

/* ---- gzip ---- */

static void write_gzip(const char *path, const char *text, const char *mode)
{
    gzFile f = gzopen(path, mode);

    cr_assert_not_null(f);
    cr_assert_eq(gzwrite(f, text, (unsigned)strlen(text)), (int)strlen(text));
    gzclose(f);
}

Test(gzip, text_comes_back_whole_from_all_its_members)
{
    char path[FIXTURE_PATH], *text = NULL;
    struct error err;
    size_t n = 0;

    fixture_join(path, folder, "t.gz");
    write_gzip(path, "one ", "wb");
    write_gzip(path, "two", "ab");
    MUST(archive_read_gzip(path, 100, &text, &n, &err));
    cr_assert_str_eq(text, "one two");
    cr_assert_eq(n, 7);
    free(text);
    cr_assert_eq(archive_read_gzip(path, 6, &text, &n, &err), ERR_CORRUPT,
                 "6 is too few");
}

Test(gzip, data_that_end_or_break_are_refused)
{
    char path[FIXTURE_PATH], *bytes = NULL, *text = NULL;
    struct error err;
    size_t n = 0, n_text = 0;

    fixture_join(path, folder, "t.gz");
    write_gzip(path, "some text that has an end", "wb");
    MUST(file_read_all(path, 1 << 10, &bytes, &n, &err));
    for (size_t cut = 0; cut < n; cut++) {
        fixture_write(path, bytes, cut);
        cr_assert_eq(archive_read_gzip(path, 1 << 10, &text, &n_text, &err), ERR_CORRUPT,
                     "%zu bytes", cut);
        cr_assert_not_null(strstr(err.text, "t.gz"));
    }
    bytes[n - 5] ^= 1; /* the checksum */
    fixture_write(path, bytes, n);
    cr_assert_eq(archive_read_gzip(path, 1 << 10, &text, &n_text, &err), ERR_CORRUPT);
    free(bytes);
}
