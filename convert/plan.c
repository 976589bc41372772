/*
 * plan.c - items, files and offsets: everything a dry run shows
 */
#include "convert/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char work_ple_table[] = "per_layer_token_embd.weight";
static const char default_type[] = "Q4_K_M";

/* ---- items ---- */

static bool is_quantized(enum block_type type)
{
    const struct block_info *info = block_type_info(type);
    return info && info->is_quantized;
}

bool work_is_repacked(const struct work_item *item)
{
    return is_quantized(item->type) && item->type == item->e->kept;
}

static enum status check_item(const struct work_item *item, struct error *err)
{
    const struct block_info *info = block_type_info(item->type);

    if (!info || (!work_is_repacked(item) && !quantize_can(item->type, METHOD_PLAIN)))
        return fail(err, ERR_UNSUPPORTED, "%s: type %s cannot be written", item->e->name,
                    block_type_name(item->type));
    if (item->e->ne[0] % info->weights != 0)
        return fail(err, ERR_SHAPE,
                    "%s: rows of %" PRIu64 " are not whole blocks of %s (%u)",
                    item->e->name, item->e->ne[0], info->name, info->weights);
    return OK;
}

static enum status find_importance(const struct work *work, struct work_item *item,
                                   struct error *err)
{
    const struct source_entry *e = item->e;
    const struct stats_entry *s = work->stats ? stats_find(work->stats, e->name) : NULL;

    if (!s || !is_quantized(item->type))
        return OK;
    if (!stats_shape(work->stats, e->name, e->ne[0], e->ne[2]))
        return fail(err, ERR_SHAPE,
                    "%s: the importance matrix has %" PRIu64 " x %" PRIu64
                    " values (%" PRIu64 " x %" PRIu64 " expected)",
                    e->name, s->n_mats, s->n_cols, e->ne[2], e->ne[0]);
    item->importance = s;
    return OK;
}

/* A type that holds whatever the source holds. */
static enum block_type wide_type(enum block_type kept)
{
    return is_quantized(kept) ? TYPE_F32 : kept;
}

static enum status add_item(struct work *work, const struct types *types, size_t i,
                            int file, const struct wider *wider, struct error *err)
{
    struct source_entry *e = &work->src->entries[i];
    struct work_item *item = &work->items[work->n_items];
    enum status st;

    *item = (struct work_item){
        .e = e, .type = types->of[i], .why = types->why[i], .file = file};
    if (wider && wider->at && wider->at[work->n_items]) {
        item->type = wide_type(e->kept);
        item->why = "a block's scale does not fit F16";
        item->is_widened = true;
    }
    work->n_items++;
    st = check_item(item, err);
    if (st != OK)
        return st;
    item->n_rows = e->ne[1] * e->ne[2] * e->ne[3];
    item->row_bytes = block_row_bytes(item->type, e->ne[0]);
    st = find_importance(work, item, err);
    return st == OK ? work_decide_method(work, item, err) : st;
}

/* Source order, but the per-layer table in a file of its own, or last. */
static enum status list_items(struct work *work, const struct types *types, bool is_split,
                              const struct wider *wider, struct error *err)
{
    const struct source *src = work->src;
    enum status st = OK;

    work->items = arena_array(&work->arena, src->n_entries + 1, sizeof(*work->items));
    if (!work->items)
        return fail(err, ERR_NOMEM, "no memory for the plan");
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; st == OK && i < src->n_entries; i++) {
            const bool is_ple = strcmp(src->entries[i].name, work_ple_table) == 0;

            /* split: one pass in source order; inline: the table in the second */
            if (src->entries[i].is_dead || (is_split ? pass == 1 : is_ple != (pass == 1)))
                continue;
            st = add_item(work, types, i, is_split && is_ple, wider, err);
        }
    return st;
}

/* ---- files ---- */

static enum status set_split_keys(struct gguf_meta *meta, uint16_t no, size_t n_tensors,
                                  struct error *err)
{
    enum status st = gguf_set_u16(meta, "split.no", no, err);

    if (st == OK)
        st = gguf_set_u16(meta, "split.count", MAX_FILES, err);
    if (st == OK)
        st = gguf_set_i32(meta, "split.tensors.count", (int32_t)n_tensors, err);
    return st;
}

const char *method_name(enum method method)
{
    static const char *const names[] = {[METHOD_PLAIN] = "plain",
                                        [METHOD_SEARCH] = "search",
                                        [METHOD_COMPENSATE] = "compensate",
                                        [METHOD_GRID] = "grid"};
    return names[method];
}

/* The recipe in force: the user's file, or, for types chosen for a size, the one a plan writes. */
static enum status record_recipe(struct work *work, const struct convert_options *options,
                                 struct gguf_meta *meta, struct error *err)
{
    static const char key[] = "carat.recipe_sha256";
    struct recipe_entry *entries =
        arena_array(&work->arena, work->n_items + 1, sizeof(*entries));
    const char *text = NULL;
    uint8_t digest[32];
    char hex[65];
    enum status st = OK;

    for (size_t i = 0; entries && i < work->n_items; i++)
        entries[i] = (struct recipe_entry){work->items[i].e->name, work->items[i].type};
    if (entries)
        text = recipe_text(&work->arena, &work->origin, entries, work->n_items);
    if (!text)
        return fail(err, ERR_NOMEM, "no memory for the recipe");
    if (options->target_size)
        sha256_bytes(text, strlen(text), digest);
    else if (options->recipe)
        st = sha256_file(options->recipe, digest, err);
    else
        return OK;
    if (st != OK)
        return st;
    sha256_hex(digest, hex);
    st = gguf_set_str(meta, key, hex, 64, err);
    if (st == OK && work->origin.target_size)
        st = gguf_set_u64(meta, "carat.target_size", work->origin.target_size, err);
    if (st == OK && work->origin.sensitivity[0])
        st = gguf_set_str(meta, "carat.sensitivity_sha256", work->origin.sensitivity, 64,
                          err);
    return st;
}

/* How the file was made, so that a third person gets the same bytes. */
static enum status record_choices(struct work *work,
                                  const struct convert_options *options,
                                  struct gguf_meta *meta, struct error *err)
{
    uint8_t digest[32];
    char hex[65];
    const struct {
        const char *key, *path;
    } files[] = {{"carat.imatrix_sha256", options->imatrix},
                 {"carat.moments_sha256", options->moments}};
    const char *type = mix_name(work->mix), *method = method_name(work->method);
    enum status st =
        gguf_set_str(meta, "carat.version", CARAT_VERSION, strlen(CARAT_VERSION), err);

    if (st == OK)
        st = gguf_set_str(meta, "carat.type", type, strlen(type), err);
    if (st == OK)
        st = gguf_set_str(meta, "carat.method", method, strlen(method), err);
    if (st == OK)
        st = record_recipe(work, options, meta, err);
    if (st == OK && work->equalization)
        st = equalize_record(work->equalization, meta, err);
    for (size_t i = 0; st == OK && i < sizeof(files) / sizeof(files[0]); i++) {
        if (!files[i].path)
            continue;
        st = sha256_file(files[i].path, digest, err);
        if (st != OK)
            return st;
        sha256_hex(digest, hex);
        st = gguf_set_str(meta, files[i].key, hex, 64, err);
    }
    return st;
}

/* The same of an importance matrix that says it. */
static enum status record_stats_texts(const struct work *work, struct gguf_meta *meta,
                                      struct error *err)
{
    const struct stats *stats = work->stats;
    enum status st = OK;

    if (!stats || !stats->digests)
        return OK;
    st = gguf_set_texts(meta, "carat.calibration.texts",
                        (const char *const *)stats->datasets, stats->n_datasets, err);
    if (st == OK)
        st = gguf_set_texts(meta, "carat.calibration.sha256",
                            (const char *const *)stats->digests, stats->n_datasets, err);
    return st == OK ? gguf_set_u64(meta, "carat.calibration.tokens", stats->n_tokens, err)
                    : st;
}

/* What the statistics were gathered from, as their file says. */
static enum status record_texts(const struct work *work, struct gguf_meta *meta,
                                struct error *err)
{
    static const char *const keys[][2] = {
        {"moments.datasets", "carat.calibration.texts"},
        {"moments.digests", "carat.calibration.sha256"},
        {"moments.tokens", "carat.calibration.tokens"},
    };
    enum status st = OK;

    for (size_t i = 0; work->moments && st == OK && i < sizeof(keys) / sizeof(keys[0]);
         i++) {
        const struct gguf_value *found =
            gguf_meta_find(moments_meta(work->moments), keys[i][0]);

        if (found) {
            struct gguf_value value = *found;

            value.key = keys[i][1];
            st = gguf_set_value(meta, &value, err);
        }
    }
    return st;
}

static enum status main_metadata(struct work *work, const struct convert_options *options,
                                 struct error *err)
{
    struct work_file *file = &work->files[0];
    enum status st;

    file->meta = gguf_meta_copy(work->src->meta);
    if (!file->meta)
        return fail(err, ERR_NOMEM, "no memory for metadata");
    st = gguf_set_u32(file->meta, "general.quantization_version", 2, err);
    if (st == OK)
        st = gguf_set_u32(file->meta, "general.file_type", mix_file_type(work->mix), err);
    if (st == OK)
        st = record_choices(work, options, file->meta, err);
    if (st == OK)
        st = work->moments ? record_texts(work, file->meta, err)
                           : record_stats_texts(work, file->meta, err);
    if (st == OK && work->n_files > 1)
        st = set_split_keys(file->meta, 0, work->n_items, err);
    return st == OK ? gguf_set_slack(file->meta, err) : st;
}

static enum status ple_metadata(struct work *work, struct error *err)
{
    struct work_file *file = &work->files[1];

    file->meta = gguf_meta_new();
    if (!file->meta)
        return fail(err, ERR_NOMEM, "no memory for metadata");
    const enum status st = set_split_keys(file->meta, 1, work->n_items, err);
    return st == OK ? gguf_set_u32(file->meta, "general.alignment", PLE_ALIGNMENT, err)
                    : st;
}

/* Offsets and header of one file. */
static enum status lay_out(struct work *work, int file, struct error *err)
{
    struct work_file *f = &work->files[file];
    struct gguf_tensor *tensors =
        arena_array(&work->arena, work->n_items + 1, sizeof(*tensors));
    size_t n = 0;
    enum status st;

    if (!tensors)
        return fail(err, ERR_NOMEM, "no memory for the plan");
    for (size_t i = 0; i < work->n_items; i++) {
        const struct work_item *item = &work->items[i];

        if (item->file != file)
            continue;
        tensors[n] = (struct gguf_tensor){
            .name = item->e->name, .type = item->type, .n_dims = item->e->n_dims};
        memcpy(tensors[n++].ne, item->e->ne, sizeof(item->e->ne));
    }
    st = gguf_layout(f->meta, tensors, n, file ? PLE_ALIGNMENT : FILE_ALIGNMENT,
                     &f->header, &f->n_header, &f->n_bytes, err);
    for (size_t i = 0, t = 0; st == OK && i < work->n_items; i++) {
        struct work_item *item = &work->items[i];

        if (item->file != file)
            continue;
        item->offset = tensors[t].offset;
        item->n_bytes = tensors[t++].n_bytes;
    }
    return st;
}

static enum status make_files(struct work *work, const char *out_path,
                              const struct convert_options *options, struct error *err)
{
    enum status st = main_metadata(work, options, err);

    if (st == OK && work->n_files > 1)
        st = ple_metadata(work, err);
    for (size_t i = 0; st == OK && i < work->n_files; i++) {
        struct work_file *f = &work->files[i];

        f->path = work->n_files > 1 ? gguf_shard_path(out_path, (unsigned)i, MAX_FILES)
                                    : strdup(out_path);
        st = f->path ? lay_out(work, (int)i, err)
                     : fail(err, ERR_NOMEM, "no memory for a path");
    }
    return st;
}

static bool has_ple(const struct source *src)
{
    for (size_t i = 0; i < src->n_entries; i++)
        if (strcmp(src->entries[i].name, work_ple_table) == 0)
            return true;
    return false;
}

static void drop_files(struct work *work)
{
    for (size_t i = 0; i < MAX_FILES; i++) {
        free(work->files[i].path);
        free(work->files[i].header);
        gguf_meta_free(work->files[i].meta);
        work->files[i] = (struct work_file){0};
    }
    work->n_off_grid = 0;
    work->n_items = 0;
}

/* Items and files for the types. */
static enum status arrange(struct work *work, const char *out_path,
                           const struct convert_options *options,
                           const struct types *types, const struct wider *wider,
                           struct error *err)
{
    const bool is_split = !options->ple_inline && has_ple(work->src);
    enum status st;

    drop_files(work);
    work->n_files = is_split ? 2 : 1;
    st = list_items(work, types, is_split, wider, err);
    return st == OK ? make_files(work, out_path ? out_path : "OUT.gguf", options, err)
                    : st;
}

/* Choose types for the size, arrange anew, and look. */
static enum status fit(struct work *work, const char *out_path,
                       const struct convert_options *options, struct types *types,
                       const struct wider *wider, struct error *err)
{
    uint64_t sum = 0;
    enum status st = target_choose(work, options, wider, types, err);

    if (st == OK)
        st = arrange(work, out_path, options, types, wider, err);
    for (size_t i = 0; st == OK && i < work->n_files; i++)
        sum += work->files[i].n_bytes;
    if (st == OK && sum > options->target_size)
        st = fail(err, ERR_UNSUPPORTED,
                  "%s: %" PRIu64 " bytes came out for --target-size %" PRIu64,
                  work->src->path, sum, options->target_size);
    return st;
}

/* The witness for all: is it rounded plainly, and on a grid? */
static enum status is_rounded_off_grid(const struct work *work, const char *witness,
                                       bool *answer, struct error *err)
{
    *answer = false;
    for (size_t i = 0; work->method == METHOD_PLAIN && i < work->n_items; i++) {
        const struct work_item *item = &work->items[i];

        if (strcmp(item->e->name, witness) != 0)
            continue;
        if (!is_quantized(item->type) || work_is_repacked(item))
            return OK;
        const enum status st = source_find_grid(item->e->t, &item->e->grid, err);

        *answer = item->e->grid == GRID_ON;
        return st;
    }
    return OK;
}

/* Rounding plainly misses some blocks of a 4-bit grid, and other types nearly all: the user is told how
 * to keep them. One matrix speaks for all when nothing else was looked at. */
static enum status note_grid(struct work *work, struct error *err)
{
    static const char witness[] = "blk.0.ffn_up.weight";
    bool is_off = false;
    enum status st = is_rounded_off_grid(work, witness, &is_off, err);

    if (st == OK && is_off)
        st = source_note(work->src, err,
                         "%s lies on a 4-bit grid, as quantization-aware training leaves "
                         "weights; --type Q4_0 --method search keeps such blocks exactly",
                         witness);
    if (st == OK && work->n_off_grid)
        st =
            source_note(work->src, err,
                        "%zu tensors lie on a 4-bit grid, as quantization-aware training "
                        "leaves weights; --type Q4_0 keeps them exactly, %s does not",
                        work->n_off_grid, mix_name(work->mix));
    return st;
}

/* What equalization takes for the types to be. When they are chosen for a size it comes first, since what
 * it rewrites is kept in F32 and takes more bytes; so it goes by the mix. The recipe of such a choice,
 * which tells the user's own lines from the others no longer, must lead to the same factors. What is in
 * 16 bits is no exception: the user wants it as it is, or it was chosen for a tensor that was left alone. */
static const enum block_type *types_before_size(const struct work *work,
                                                const struct convert_options *options,
                                                const struct types *types)
{
    if (!options->target_size && !work->origin.target_size)
        return types->of;
    for (size_t i = 0; i < work->src->n_entries; i++)
        if (types->of[i] == TYPE_F16 || types->of[i] == TYPE_BF16)
            types->of_mix[i] = types->of[i];
    return types->of_mix;
}

static enum status equalize(struct work *work, const struct convert_options *options,
                            const struct types *types, struct error *err)
{
    const enum equalize how = options->equalize != EQUALIZE_USUAL ? options->equalize
                              : work->method == METHOD_PLAIN      ? EQUALIZE_OFF
                                                                  : EQUALIZE_AUTO;
    const struct equalize_choice choice = {.is_gated = how == EQUALIZE_AUTO,
                                           .method = work->method,
                                           .moments = work->moments,
                                           .stats = work->stats};

    if (how == EQUALIZE_OFF)
        return OK;
    return source_equalize(work->src, types_before_size(work, options, types), &choice,
                           &work->equalization, err);
}

enum status work_plan(const char *source, const char *out_path,
                      const struct convert_options *options, const struct wider *wider,
                      struct work **out, struct error *err)
{
    const char *type = options->type ? options->type : default_type;
    struct work *work = calloc(1, sizeof(*work));
    struct types types;
    enum status st = OK;

    if (!work)
        return fail(err, ERR_NOMEM, "%s: no memory for a plan", source);
    work->mix = mix_find(type);
    work->method = options->method;
    if (!work->mix)
        st = fail(err, ERR_USAGE, "--type %s: no such type", type);
    if (st == OK && options->imatrix)
        st = stats_read(options->imatrix, &work->stats, err);
    if (st == OK && work->method == METHOD_COMPENSATE && !options->moments &&
        options->n_documents == 0)
        st = fail(err, ERR_USAGE,
                  "--method compensate needs --text, or --stats, a file that `carat "
                  "calibrate --hessian` writes");
    if (st == OK && options->moments)
        st = moments_open(options->moments, &work->moments, err);
    if (st == OK)
        st = source_open(source, &options->source, &work->src, err);
    if (st == OK)
        st = work_decide_types(work, options, &types, err);
    if (st == OK)
        st = equalize(work, options, &types, err);
    if (st == OK && options->target_size)
        st = target_origin(work, options, err);
    if (st == OK)
        st = arrange(work, out_path, options, &types, wider, err);
    if (st == OK && options->target_size)
        st = fit(work, out_path, options, &types, wider, err);
    if (st == OK)
        st = note_grid(work, err);
    if (st == OK)
        st = work_note_moments(work, options->moments, err);
    if (st != OK) {
        work_free(work);
        return st;
    }
    *out = work;
    return OK;
}

void work_free(struct work *work)
{
    if (!work)
        return;
    drop_files(work);
    stats_free(work->stats);
    moments_close(work->moments);
    source_close(work->src);
    arena_free(&work->arena);
    free(work);
}
