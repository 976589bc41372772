/*
 * test_no_memory.c - every reader survives the failure of any one of its allocations
 *
 * The linker sends the allocations of the readers here (--wrap in CMakeLists.txt); the n-th of
 * them fails, for n = 1, 2, 3 ... until the reader succeeds. Leaks are the sanitizer's to find.
 */
#include "formats/archive/archive.h"
#include "formats/model/model.h"
#include "formats/safetensors/safetensors.h"
#include "formats/stats/stats.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static long left = -1; /* allocations that succeed before one fails; negative: all do */

static bool fails(void)
{
    if (left < 0)
        return false;
    return left-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return fails() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

/* Fail the allocations of `read` one after the other; it must succeed in the end, and must
 * have had some to fail. */
static void starve(enum status (*read)(struct error *err))
{
    for (long n = 0; n < 100000; n++) {
        struct error err = {0};
        enum status st;

        left = n;
        st = read(&err);
        if (left >= 0) { /* none failed */
            left = -1;
            cr_assert_eq(st, OK, "%s", err.text);
            cr_assert_gt(n, 3);
            return;
        }
        left = -1;
        cr_assert_neq(st, OK, "allocation %ld failed", n);
        cr_assert_not_null(strstr(err.text, "memory"), "allocation %ld: %s", n, err.text);
    }
    cr_assert_fail("it never succeeds");
}

static enum status read_safetensors(struct error *err)
{
    struct shards *set = NULL;
    enum status st =
        shards_open_file(CARAT_DATA "/vectors/quant/quantize.safetensors", &set, err);

    shards_close(set);
    return st;
}

static enum status read_folder(struct error *err)
{
    struct shards *set = NULL;
    enum status st = shards_open(CARAT_DATA "/vectors/safetensors", &set, err);

    shards_close(set);
    /* Four files, none of them a model: what it must survive is looking. */
    return st == ERR_USAGE && strstr(err->text, "no weights") ? OK : st;
}

static enum status read_gguf(struct error *err)
{
    struct model *model = NULL;
    struct gguf_meta *copy = NULL;
    uint8_t *header = NULL;
    size_t n_header;
    uint64_t n_file;
    enum status st =
        model_open_gguf(CARAT_DATA "/vectors/gguf/ggml-vocab-phi-3.gguf", &model, err);

    if (st != OK)
        return st;
    copy = gguf_meta_copy(model->meta);
    st = copy ? gguf_layout(copy, NULL, 0, 32, &header, &n_header, &n_file, err)
              : fail(err, ERR_NOMEM, "no memory for a copy");
    free(header);
    gguf_meta_free(copy);
    model_close(model);
    return st;
}

static enum status read_torch(struct error *err)
{
    struct archive *archive = NULL;
    enum status st = archive_open(CARAT_DATA "/vectors/torch/views.bin", &archive, err);

    archive_close(archive);
    return st;
}

static enum status read_numpy(struct error *err)
{
    struct archive *archive = NULL;
    uint8_t rows[4];
    enum status st =
        archive_open(CARAT_DATA "/vectors/numpy/deflated.npz", &archive, err);

    for (size_t i = 0; st == OK && i < archive_count(archive); i++)
        if (archive_at(archive, i)->view.n_dims == 0)
            st = archive_read(archive, i, 0, (size_t)archive_at(archive, i)->view.n_bytes,
                              rows, err);
    archive_close(archive);
    return st;
}

static enum status read_stats(struct error *err)
{
    struct stats *stats = NULL;
    enum status st =
        stats_read(CARAT_DATA "/vectors/imatrix/three-entries.dat", &stats, err);

    stats_free(stats);
    return st;
}

Test(no_memory, for_safetensors_is_survived)
{
    starve(read_safetensors);
}

Test(no_memory, for_a_folder_is_survived)
{
    starve(read_folder);
}

Test(no_memory, for_gguf_is_survived)
{
    starve(read_gguf);
}

Test(no_memory, for_torch_is_survived)
{
    starve(read_torch);
}

Test(no_memory, for_numpy_is_survived)
{
    starve(read_numpy);
}

Test(no_memory, for_importance_matrices_is_survived)
{
    starve(read_stats);
}
