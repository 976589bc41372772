/*
 * fuzz_stats.c - an importance matrix in either form is sorted, finite and not negative, or refused
 */
#include "formats/stats/stats.h"
#include "tests/fuzz/fuzz_folder.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void check_entry(struct stats *stats, size_t i)
{
    const struct stats_entry *e = &stats->entries[i];
    float *x = malloc((size_t)e->n_cols * sizeof(*x) + 1);

    expect(x && stats_find(stats, e->name) == e);
    expect(i == 0 || strcmp(stats->entries[i - 1].name, e->name) < 0);
    if (e->is_flat && e->n_cols % 2 == 0)
        expect(stats_shape(stats, e->name, e->n_cols / 2, 2) || e->n_cols == 0);
    for (uint64_t mat = 0; mat < e->n_mats; mat++) {
        stats_importance(e, mat, x);
        for (uint64_t c = 0; c < e->n_cols; c++)
            expect(x[c] >= 0);
    }
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct stats *stats = NULL;
    struct error err = {.text = ""};

    if (stats_read(scratch_file(bytes, n_bytes), &stats, &err) != OK) {
        expect(err.code != OK && err.text[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < stats->n_entries; i++)
        check_entry(stats, i);
    for (size_t i = 0; i < stats->n_datasets; i++)
        expect(stats->datasets[i] != NULL);
    stats_free(stats);
    return 0;
}
