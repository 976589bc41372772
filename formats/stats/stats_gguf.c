/*
 * stats_gguf.c - the GGUF form
 */
#include "formats/gguf/gguf.h"
#include "formats/stats/stats_file.h"

#include <inttypes.h>
#include <stdlib.h>

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts";

enum { ALIGNMENT = 32, NAME_BYTES = 80 };

/* ---- reading ---- */

static enum status read_floats(const struct gguf *gguf, const struct gguf_tensor *t,
                               struct arena *arena, float **out, struct error *err)
{
    float *x;
    enum status st;

    if (t->type != TYPE_F32)
        return fail(err, ERR_CORRUPT, "%s: its type is %s, not F32", t->name,
                    block_type_name(t->type));
    x = arena_array(arena, (size_t)t->n_bytes, 1);
    if (!x)
        return fail(err, ERR_NOMEM, "%s: no memory for it", t->name);
    st = file_read(gguf_file(gguf, t->file), t->offset, x, (size_t)t->n_bytes, err);
    if (st == OK)
        st = stats_check_numbers(x, t->n_bytes / sizeof(*x), t->name, err);
    *out = x;
    return st;
}

/* The entry whose sums are `sums`; its counts must be there and as many. */
static enum status read_entry(const struct gguf *gguf, const struct gguf_tensor *sums,
                              struct stats *stats, struct error *err)
{
    struct stats_entry *entry = &stats->entries[stats->n_entries];
    const size_t n_name = strlen(sums->name) - strlen(sums_suffix);
    char counts_name[NAME_BYTES];
    const struct gguf_tensor *counts;
    enum status st;

    snprintf(counts_name, sizeof(counts_name), "%.*s%s", (int)n_name, sums->name,
             counts_suffix);
    counts = gguf_find(gguf, counts_name);
    entry->name = arena_strndup(&stats->arena, sums->name, n_name);
    entry->n_cols = sums->ne[0];
    entry->n_mats = gguf_tensor_rows(sums);
    if (!entry->name)
        return fail(err, ERR_NOMEM, "no memory for a name");
    if (!counts)
        return fail(err, ERR_CORRUPT, "%s is missing", counts_name);
    if (counts->ne[0] * gguf_tensor_rows(counts) != entry->n_mats)
        return fail(err, ERR_CORRUPT, "%s: %" PRIu64 " counts for %" PRIu64 " matrices",
                    counts_name, counts->ne[0] * gguf_tensor_rows(counts), entry->n_mats);
    st = read_floats(gguf, sums, &stats->arena, &entry->sum2, err);
    if (st == OK)
        st = read_floats(gguf, counts, &stats->arena, &entry->counts, err);
    if (st == OK)
        stats->n_entries++;
    return st;
}

static enum status read_entries(const struct gguf *gguf, struct stats *stats,
                                struct error *err)
{
    enum status st = OK;

    stats->entries =
        arena_array(&stats->arena, gguf_count(gguf) + 1, sizeof(*stats->entries));
    if (!stats->entries)
        return fail(err, ERR_NOMEM, "no memory for %zu entries", gguf_count(gguf));
    for (size_t i = 0; i < gguf_count(gguf) && st == OK; i++) {
        const struct gguf_tensor *t = gguf_at(gguf, i);
        size_t n = strlen(t->name);

        if (n > strlen(sums_suffix) &&
            strcmp(t->name + n - strlen(sums_suffix), sums_suffix) == 0)
            st = read_entry(gguf, t, stats, err);
    }
    if (st == OK && stats->n_entries == 0)
        return fail(err, ERR_CORRUPT, "no entry: no tensor is named *%s", sums_suffix);
    return st;
}

static const char names_key[] = "imatrix.datasets",
                  digests_key[] = "carat.calibration.sha256",
                  tokens_key[] = "carat.calibration.tokens";

/* The strings of an array, or NULL and none when there is no such array. */
static enum status read_strings(const struct gguf_meta *meta, const char *key,
                                struct arena *arena, char ***out, size_t *n,
                                struct error *err)
{
    const struct gguf_value *list = gguf_meta_find(meta, key);

    *n = 0;
    if (!list || list->type != GGUF_ARRAY || list->element != GGUF_STRING)
        return OK;
    *out = arena_array(arena, (size_t)list->count + 1, sizeof(**out));
    for (uint64_t i = 0; *out && i < list->count; i++) {
        const struct gguf_str s = gguf_value_str(list, i);
        char *copy = arena_strndup(arena, s.text, s.n);

        if (!copy)
            break;
        (*out)[(*n)++] = copy;
    }
    return *n == list->count ? OK : fail(err, ERR_NOMEM, "no memory for %s", key);
}

static enum status read_meta(const struct gguf_meta *meta, struct stats *stats,
                             struct error *err)
{
    const struct gguf_value *tokens = gguf_meta_find(meta, tokens_key);
    struct gguf_str type;
    size_t n_digests;
    enum status st;

    if (!gguf_get_str(meta, "general.type", &type) || strcmp(type.text, "imatrix") != 0)
        return fail(err, ERR_UNSUPPORTED,
                    "not an importance matrix: general.type is not \"imatrix\"");
    (void)gguf_get_u32(meta, "imatrix.chunk_count", &stats->n_chunks);
    (void)gguf_get_u32(meta, "imatrix.chunk_size", &stats->chunk_size);
    if (tokens && tokens->type == GGUF_U64)
        stats->n_tokens = (uint64_t)gguf_value_int(tokens, 0);
    st = read_strings(meta, names_key, &stats->arena, &stats->datasets,
                      &stats->n_datasets, err);
    if (st == OK)
        st = read_strings(meta, digests_key, &stats->arena, &stats->digests, &n_digests,
                          err);
    if (st == OK && n_digests != stats->n_datasets)
        stats->digests = NULL; /* of something else */
    return st;
}

enum status stats_read_gguf(const char *path, struct stats *stats, struct error *err)
{
    struct gguf *gguf = NULL;
    enum status st = gguf_open(path, &gguf, err);

    if (st != OK)
        return st;
    st = read_meta(gguf_metadata(gguf), stats, err);
    if (st == OK)
        st = read_entries(gguf, stats, err);
    gguf_close(gguf);
    return st;
}

/* ---- writing ---- */

static enum status make_meta(const struct stats *stats, struct gguf_meta *meta,
                             struct error *err)
{
    enum status st = gguf_set_str(meta, "general.type", "imatrix", 7, err);

    if (st == OK)
        st = gguf_set_texts(meta, names_key, (const char *const *)stats->datasets,
                            stats->n_datasets, err);
    if (st == OK)
        st = gguf_set_u32(meta, "imatrix.chunk_count", stats->n_chunks, err);
    if (st == OK)
        st = gguf_set_u32(meta, "imatrix.chunk_size", stats->chunk_size, err);
    if (st == OK && stats->digests)
        st = gguf_set_texts(meta, digests_key, (const char *const *)stats->digests,
                            stats->n_datasets, err);
    if (st == OK && stats->n_tokens)
        st = gguf_set_u64(meta, tokens_key, stats->n_tokens, err);
    return st;
}

/* Two tensors an entry: sums, counts. */
static enum status make_tensors(const struct stats *stats, struct arena *arena,
                                struct gguf_tensor *tensors, struct error *err)
{
    for (size_t i = 0; i < stats->n_entries; i++) {
        const struct stats_entry *entry = &stats->entries[i];
        const uint64_t n_counts = entry->is_flat ? 1 : entry->n_mats;
        /* A flat entry has one count, so it is one matrix here whatever shape it took on. */
        const uint64_t n_cols = entry->n_cols * entry->n_mats / n_counts;
        char *sums = arena_printf(arena, "%s%s", entry->name, sums_suffix);
        char *counts = arena_printf(arena, "%s%s", entry->name, counts_suffix);

        if (!sums || !counts)
            return fail(err, ERR_NOMEM, "%s: no memory to write it", entry->name);
        tensors[2 * i] = (struct gguf_tensor){
            .name = sums, .type = TYPE_F32, .n_dims = 2, .ne = {n_cols, n_counts, 1, 1}};
        tensors[2 * i + 1] = (struct gguf_tensor){
            .name = counts, .type = TYPE_F32, .n_dims = 2, .ne = {1, n_counts, 1, 1}};
    }
    return OK;
}

static enum status write_data(const struct stats *stats,
                              const struct gguf_tensor *tensors, struct output *dst,
                              struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < stats->n_entries && st == OK; i++) {
        const struct gguf_tensor *sums = &tensors[2 * i], *counts = sums + 1;

        st = output_write(dst, sums->offset, stats->entries[i].sum2,
                          (size_t)sums->n_bytes, err);
        if (st == OK)
            st = output_write(dst, counts->offset, stats->entries[i].counts,
                              (size_t)counts->n_bytes, err);
    }
    return st;
}

enum status stats_write_gguf(const struct stats *stats, struct output *dst,
                             uint64_t *n_bytes, struct error *err)
{
    struct gguf_meta *meta = gguf_meta_new();
    struct gguf_tensor *tensors = calloc(2 * stats->n_entries + 1, sizeof(*tensors));
    struct arena arena = {0};
    uint8_t *header = NULL;
    size_t n_header = 0;
    enum status st = OK;

    if (!meta || !tensors) {
        st = fail(err, ERR_NOMEM, "no memory to write an importance matrix");
        goto out;
    }
    st = make_meta(stats, meta, err);
    if (st == OK)
        st = make_tensors(stats, &arena, tensors, err);
    if (st == OK)
        st = gguf_layout(meta, tensors, 2 * stats->n_entries, ALIGNMENT, &header,
                         &n_header, n_bytes, err);
    if (st == OK)
        st = output_write(dst, 0, header, n_header, err);
    if (st == OK)
        st = write_data(stats, tensors, dst, err);

out:
    free(header);
    free(tensors);
    gguf_meta_free(meta);
    arena_free(&arena);
    return st;
}
