/*
 * fuzz_archive.c - tensors of an archive that is accepted can be read, or say why not
 *
 * Archives are opened by path, so each input becomes a file that is gone when it is closed.
 */
#include "formats/archive/archive.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

enum { READ_MOST = 1 << 20 };

static void expect(bool is_true)
{
    if (!is_true)
        abort();
}

static void read_tensor(const struct archive *archive, size_t i, size_t n_bytes)
{
    const struct archive_tensor *t = archive_at(archive, i);
    struct error err = {0};
    void *rows;

    expect(archive_find(archive, t->view.name) == t);
    if (t->is_plain)
        expect(t->view.offset <= n_bytes && t->view.n_bytes <= n_bytes - t->view.offset);
    if (t->view.n_bytes > READ_MOST)
        return; /* a repeated element or a claim about deflated bytes: true, and too long here */
    rows = malloc((size_t)t->view.n_bytes + 1);
    if (rows && archive_read(archive, i, 0, (size_t)t->view.n_bytes, rows, &err) != OK)
        expect(err.code != OK && err.text[0] != '\0');
    free(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct archive *archive = NULL;
    struct error err = {0};
    FILE *file = tmpfile();
    char path[64];

    if (!file)
        return 0;
    if (fwrite(bytes, 1, n_bytes, file) != n_bytes || fflush(file) != 0)
        goto out;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(file));
    if (archive_open(path, &archive, &err) != OK) {
        expect(err.code != OK && err.text[0] != '\0');
        goto out;
    }
    for (size_t i = 0; i < archive_count(archive); i++)
        read_tensor(archive, i, n_bytes);
    archive_close(archive);

out:
    fclose(file);
    return 0;
}
