/*
 * inspect_safetensors.c - what a safetensors file, or a folder of shards, holds
 */
#include "cli/inspect.h"
#include "cli/table.h"
#include "formats/safetensors/safetensors.h"

#include <inttypes.h>
#include <string.h>

struct census {
    uint64_t tensors[DTYPE_COUNT], bytes[DTYPE_COUNT];
    uint64_t all_elements, all_bytes;
};

static struct census count(const struct shards *set)
{
    struct census census = {0};

    for (size_t i = 0; i < shards_count(set); i++) {
        const struct tensor *t = shards_at(set, i);

        census.tensors[t->dtype]++;
        census.bytes[t->dtype] += t->n_bytes;
        census.all_elements += tensor_elements(t);
        census.all_bytes += t->n_bytes;
    }
    return census;
}

static bool print_tensors(const struct shards *set)
{
    struct table table;
    char shape[SHAPE_TEXT];

    table_begin(&table, "lllrrr");
    table_cell(&table, "  name");
    table_cell(&table, "type");
    table_cell(&table, "shape");
    table_cell(&table, "bytes");
    table_cell(&table, "file");
    table_cell(&table, "offset");
    for (size_t i = 0; i < shards_count(set); i++) {
        const struct tensor *t = shards_at(set, i);

        table_cell(&table, "  %s", t->name);
        table_cell(&table, "%s", dtype_name(t->dtype));
        table_cell(&table, "%s", shape_text(shape, t->dims, t->n_dims));
        table_cell(&table, "%" PRIu64, t->n_bytes);
        table_cell(&table, "%d", t->file + 1);
        table_cell(&table, "%" PRIu64, t->offset);
    }
    return table_print(&table, stdout);
}

static bool print_types(const struct census *census)
{
    struct table table;
    char size[UI_SIZE_TEXT];

    table_begin(&table, "lrrr");
    table_cell(&table, "  type");
    table_cell(&table, "tensors");
    table_cell(&table, "size");
    table_cell(&table, "share");
    for (int type = 0; type < DTYPE_COUNT; type++) {
        if (census->tensors[type] == 0)
            continue;
        table_cell(&table, "  %s", dtype_name((enum dtype)type));
        table_cell(&table, "%" PRIu64, census->tensors[type]);
        table_cell(&table, "%s", ui_size(size, census->bytes[type]));
        table_cell(&table, "%.1f%%",
                   census->all_bytes
                       ? 100.0 * (double)census->bytes[type] / (double)census->all_bytes
                       : 0.0);
    }
    return table_print(&table, stdout);
}

static enum status print_text(const struct shards *set, const struct inspection *want,
                              const struct ui *ui, struct error *err)
{
    const struct census census = count(set);
    char size[UI_SIZE_TEXT], weights[SHAPE_TEXT];
    bool is_whole = true;

    for (size_t i = 0; i < shards_n_files(set); i++) {
        const struct file *f = shards_file(set, (int)i);

        printf("%s: safetensors, %s\n", file_path(f), ui_size(size, file_size(f)));
    }
    printf("%zu tensor%s, %s\n", shards_count(set), shards_count(set) == 1 ? "" : "s",
           weights_text(weights, census.all_elements));
    if (!want->is_brief) {
        printf("\n%stensors%s\n", ui_bold(ui), ui_plain(ui));
        is_whole = print_tensors(set);
    }
    printf("\n%stypes%s\n", ui_bold(ui), ui_plain(ui));
    is_whole &= print_types(&census);
    return is_whole ? OK : fail(err, ERR_NOMEM, "no memory for a table");
}

static json_t *tensors_json(const struct shards *set)
{
    json_t *list = json_array();

    for (size_t i = 0; i < shards_count(set); i++) {
        const struct tensor *t = shards_at(set, i);
        json_t *shape = json_array();

        for (int d = 0; d < t->n_dims; d++)
            json_array_append_new(shape, json_integer((json_int_t)t->dims[d]));
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:o, s:I, s:i, s:I}", "name", t->name,
                                        "type", dtype_name(t->dtype), "shape", shape,
                                        "bytes", (json_int_t)t->n_bytes, "file", t->file,
                                        "offset", (json_int_t)t->offset));
    }
    return list;
}

static enum status print_json(const struct shards *set, const struct inspection *want,
                              struct error *err)
{
    json_t *files = json_array(), *tree;

    for (size_t i = 0; i < shards_n_files(set); i++) {
        const struct file *f = shards_file(set, (int)i);

        json_array_append_new(files, json_pack("{s:o, s:I}", "path",
                                               ui_json_string(file_path(f)), "bytes",
                                               (json_int_t)file_size(f)));
    }
    tree = json_pack("{s:s, s:o}", "format", "safetensors", "files", files);
    if (!want->is_brief)
        json_object_set_new(tree, "tensors", tensors_json(set));
    return ui_json(tree, err);
}

enum status inspect_safetensors(const struct inspection *want, const struct ui *ui,
                                struct error *err)
{
    struct shards *set = NULL;
    enum status st;

    if (want->key)
        return fail(err, ERR_USAGE, "%s: only a GGUF has keys", want->path);
    st = file_is_folder(want->path) ? shards_open(want->path, &set, err)
                                    : shards_open_file(want->path, &set, err);
    if (st != OK)
        return st;
    st = ui->json ? print_json(set, want, err) : print_text(set, want, ui, err);
    shards_close(set);
    return st;
}
