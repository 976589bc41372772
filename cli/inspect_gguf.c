/*
 * inspect_gguf.c - what a GGUF holds
 */
#include "cli/inspect.h"
#include "cli/table.h"

#include <inttypes.h>
#include <string.h>

enum { VALUE_BYTES = 76, TYPE_NUMBERS = 64 };

/* How much of the file each tensor type takes. */
struct census {
    uint64_t tensors[TYPE_NUMBERS], elements[TYPE_NUMBERS], bytes[TYPE_NUMBERS];
    uint64_t all_elements, all_bytes, file_bytes;
};

static uint64_t elements(const struct gguf_tensor *t)
{
    return t->ne[0] * gguf_tensor_rows(t);
}

static struct census count(const struct gguf *file)
{
    struct census census = {0};

    for (size_t i = 0; i < gguf_count(file); i++) {
        const struct gguf_tensor *t = gguf_at(file, i);

        census.tensors[t->type % TYPE_NUMBERS]++;
        census.elements[t->type % TYPE_NUMBERS] += elements(t);
        census.bytes[t->type % TYPE_NUMBERS] += t->n_bytes;
        census.all_elements += elements(t);
        census.all_bytes += t->n_bytes;
    }
    for (size_t i = 0; i < gguf_n_files(file); i++)
        census.file_bytes += file_size(gguf_file(file, (int)i));
    return census;
}

/* ---- for people ---- */

static void heading(const struct ui *ui, const char *text)
{
    printf("\n%s%s%s\n", ui_bold(ui), text, ui_plain(ui));
}

static void print_summary(const struct gguf *file, const struct census *census)
{
    struct gguf_str arch = {"nothing said", 12};
    char size[UI_SIZE_TEXT], shown[80], weights[SHAPE_TEXT];

    (void)gguf_get_str(gguf_metadata(file), "general.architecture", &arch);
    text_escape(shown, sizeof(shown), arch.text, arch.n);
    for (size_t i = 0; i < gguf_n_files(file); i++) {
        const struct file *f = gguf_file(file, (int)i);

        printf("%s: GGUF, %s, data from byte %" PRIu64 ", alignment %" PRIu32 "\n",
               file_path(f), ui_size(size, file_size(f)), gguf_data_start(file, (int)i),
               gguf_alignment(file, (int)i));
    }
    printf("%s: %zu tensor%s, %s, %zu key%s\n", shown, gguf_count(file),
           gguf_count(file) == 1 ? "" : "s", weights_text(weights, census->all_elements),
           gguf_meta_count(gguf_metadata(file)),
           gguf_meta_count(gguf_metadata(file)) == 1 ? "" : "s");
}

static bool print_metadata(const struct gguf_meta *meta)
{
    struct table table;
    char type[40], text[VALUE_BYTES];

    table_begin(&table, "lll");
    for (size_t i = 0; i < gguf_meta_count(meta); i++) {
        const struct gguf_value *value = gguf_meta_at(meta, i);

        if (value->type == GGUF_ARRAY)
            snprintf(type, sizeof(type), "%s[%" PRIu64 "]",
                     gguf_type_name(value->element), value->count);
        else
            snprintf(type, sizeof(type), "%s", gguf_type_name(value->type));
        key_text(text, sizeof(text), value);
        table_cell(&table, "  %s", value->key);
        table_cell(&table, "%s", type);
        table_cell(&table, "%s", text);
    }
    return table_print(&table, stdout);
}

static bool print_tensors(const struct gguf *file)
{
    struct table table;
    char shape[SHAPE_TEXT];

    table_begin(&table, "lllrrr");
    table_cell(&table, "  name");
    table_cell(&table, "type");
    table_cell(&table, "ne");
    table_cell(&table, "bytes");
    table_cell(&table, "file");
    table_cell(&table, "offset");
    for (size_t i = 0; i < gguf_count(file); i++) {
        const struct gguf_tensor *t = gguf_at(file, i);

        table_cell(&table, "  %s", t->name);
        table_cell(&table, "%s", block_type_name(t->type));
        table_cell(&table, "%s", shape_text(shape, t->ne, t->n_dims));
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

    table_begin(&table, "lrrrr");
    table_cell(&table, "  type");
    table_cell(&table, "tensors");
    table_cell(&table, "size");
    table_cell(&table, "share");
    table_cell(&table, "bits a weight");
    for (int type = 0; type < TYPE_NUMBERS; type++) {
        if (census->tensors[type] == 0)
            continue;
        table_cell(&table, "  %s", block_type_name((enum block_type)type));
        table_cell(&table, "%" PRIu64, census->tensors[type]);
        table_cell(&table, "%s", ui_size(size, census->bytes[type]));
        table_cell(&table, "%.1f%%",
                   100.0 * (double)census->bytes[type] / (double)census->all_bytes);
        table_cell(&table, "%.3f",
                   8.0 * (double)census->bytes[type] / (double)census->elements[type]);
    }
    return table_print(&table, stdout);
}

struct warnings {
    const struct ui *ui;
    int n;
};

static void print_warning(void *arg, const char *sentence)
{
    struct warnings *warnings = arg;
    char shown[512];

    if (warnings->n++ == 0)
        heading(warnings->ui, "what a loader may refuse");
    text_escape(shown, sizeof(shown), sentence, strlen(sentence));
    printf("  %s%s%s\n", ui_yellow(warnings->ui), shown, ui_plain(warnings->ui));
}

static enum status print_text(const struct gguf *file, const struct inspection *want,
                              const struct ui *ui, struct error *err)
{
    const struct census census = count(file);
    struct warnings warnings = {.ui = ui};
    bool is_whole;

    print_summary(file, &census);
    heading(ui, "metadata");
    is_whole = print_metadata(gguf_metadata(file));
    if (!want->is_brief && gguf_count(file) > 0) {
        heading(ui, "tensors");
        is_whole &= print_tensors(file);
    }
    if (gguf_count(file) > 0) {
        heading(ui, "types");
        is_whole &= print_types(&census);
    }
    loader_rules(file, print_warning, &warnings);
    return is_whole ? OK : fail(err, ERR_NOMEM, "no memory for a table");
}

/* ---- for machines ---- */

static json_t *files_json(const struct gguf *file)
{
    json_t *list = json_array();

    for (size_t i = 0; i < gguf_n_files(file); i++) {
        const struct file *f = gguf_file(file, (int)i);

        json_array_append_new(
            list, json_pack("{s:o, s:I, s:I, s:I}", "path", ui_json_string(file_path(f)),
                            "bytes", (json_int_t)file_size(f), "data_start",
                            (json_int_t)gguf_data_start(file, (int)i), "alignment",
                            (json_int_t)gguf_alignment(file, (int)i)));
    }
    return list;
}

static json_t *metadata_json(const struct gguf_meta *meta, bool is_full)
{
    json_t *tree = json_object();

    for (size_t i = 0; i < gguf_meta_count(meta); i++) {
        const struct gguf_value *value = gguf_meta_at(meta, i);

        json_object_set_new(tree, value->key, key_json(value, is_full));
    }
    return tree;
}

static json_t *tensors_json(const struct gguf *file)
{
    json_t *list = json_array();

    for (size_t i = 0; i < gguf_count(file); i++) {
        const struct gguf_tensor *t = gguf_at(file, i);
        json_t *ne = json_array();

        for (int d = 0; d < t->n_dims; d++)
            json_array_append_new(ne, json_integer((json_int_t)t->ne[d]));
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:o, s:I, s:i, s:I}", "name", t->name,
                                        "type", block_type_name(t->type), "ne", ne,
                                        "bytes", (json_int_t)t->n_bytes, "file", t->file,
                                        "offset", (json_int_t)t->offset));
    }
    return list;
}

static void append_warning(void *arg, const char *sentence)
{
    json_array_append_new(arg, json_string(sentence));
}

static enum status print_json(const struct gguf *file, const struct inspection *want,
                              struct error *err)
{
    json_t *warnings = json_array();
    json_t *tree =
        json_pack("{s:s, s:o, s:o}", "format", "gguf", "files", files_json(file),
                  "metadata", metadata_json(gguf_metadata(file), want->is_full));

    if (!want->is_brief)
        json_object_set_new(tree, "tensors", tensors_json(file));
    loader_rules(file, append_warning, warnings);
    json_object_set_new(tree, "warnings", warnings);
    return ui_json(tree, err);
}

/* ---- */

static enum status print_key(const struct gguf *file, const struct inspection *want,
                             const struct ui *ui, struct error *err)
{
    const struct gguf_value *value = gguf_meta_find(gguf_metadata(file), want->key);

    if (!value)
        return fail(err, ERR_USAGE, "%s: no key is called %s", want->path, want->key);
    if (ui->json)
        return ui_json(key_json(value, true), err);
    metadata_print(value);
    return OK;
}

enum status inspect_gguf(const struct inspection *want, const struct ui *ui,
                         struct error *err)
{
    struct gguf *file = NULL;
    enum status st = gguf_open(want->path, &file, err);

    if (st != OK)
        return st;
    if (want->key)
        st = print_key(file, want, ui, err);
    else if (ui->json)
        st = print_json(file, want, err);
    else
        st = print_text(file, want, ui, err);
    gguf_close(file);
    return st;
}
