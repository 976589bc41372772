/*
 * cmd_plan.c - carat plan: what convert would do, tensor by tensor; writes nothing
 */
#include "cli/cli.h"
#include "cli/conversion.h"
#include "cli/table.h"
#include "cli/ui.h"

#include <inttypes.h>

/* "1536 x 262144", as the file has it: the row length first. */
static void shape_text(char *text, size_t n_text, const struct plan_entry *e)
{
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < e->n_dims && at < n_text; i++)
        at += (size_t)snprintf(text + at, n_text - at, "%s%" PRIu64, i ? " x " : "",
                               e->ne[i]);
}

static bool print_tensors(const struct plan *plan)
{
    static const char *const heads[] = {"tensor", "shape", "from",   "as",  "by", "bytes",
                                        "offset", "file",  "source", "how", "why"};
    struct table table;
    char shape[96];

    table_begin(&table, "lrlllrrrlll");
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        table_cell(&table, "%s", heads[i]);
    for (size_t i = 0; i < plan->n_entries; i++) {
        const struct plan_entry *e = &plan->entries[i];

        shape_text(shape, sizeof(shape), e);
        table_cell(&table, "%s", e->name);
        table_cell(&table, "%s", shape);
        table_cell(&table, "%s", e->source_type);
        table_cell(&table, "%s", block_type_name(e->type));
        table_cell(&table, "%s", *e->rounding ? e->rounding : "copy");
        table_cell(&table, "%" PRIu64, e->n_bytes);
        table_cell(&table, "%" PRIu64, e->offset);
        table_cell(&table, "%d", e->file + 1);
        table_cell(&table, "%s", e->source);
        table_cell(&table, "%s", e->transform);
        table_cell(&table, "%s", e->why ? e->why : "");
    }
    return table_print(&table, stdout);
}

static void print_line(const char *what, const char *text)
{
    char shown[2048];

    text_escape(shown, sizeof(shown), text, strlen(text));
    printf("%s: %s\n", what, shown);
}

static enum status print_text(const struct plan *plan, struct error *err)
{
    print_line("layout", plan->layout);
    if (!print_tensors(plan))
        return fail(err, ERR_NOMEM, "no memory for the table");
    for (size_t i = 0; i < plan->n_notes; i++)
        print_line("note", plan->notes[i]);
    if (plan->verdict)
        print_line("target", plan->verdict);
    printf("source: %" PRIu64 " bytes\n", plan->source_bytes);
    for (size_t i = 0; i < plan->n_files; i++)
        printf("output: %s %" PRIu64 " bytes\n", plan->paths[i], plan->file_bytes[i]);
    return OK;
}

static json_t *entry_json(const struct plan_entry *e)
{
    json_t *shape = json_array();

    for (int i = 0; i < e->n_dims; i++)
        json_array_append_new(shape, json_integer((json_int_t)e->ne[i]));
    return json_pack("{s:s,s:o,s:o,s:s,s:s,s:s,s:s,s:I,s:I,s:i,s:s}", "name", e->name,
                     "source", ui_json_string(e->source), "ne", shape, "source_type",
                     e->source_type, "transform", e->transform, "type",
                     block_type_name(e->type), "rounding", e->rounding, "bytes",
                     (json_int_t)e->n_bytes, "offset", (json_int_t)e->offset, "file",
                     e->file, "why", e->why ? e->why : "");
}

static enum status print_json(const struct plan *plan, struct error *err)
{
    json_t *tensors = json_array(), *notes = json_array(), *files = json_array();

    for (size_t i = 0; i < plan->n_entries; i++)
        json_array_append_new(tensors, entry_json(&plan->entries[i]));
    for (size_t i = 0; i < plan->n_notes; i++)
        json_array_append_new(notes, ui_json_string(plan->notes[i]));
    for (size_t i = 0; i < plan->n_files; i++)
        json_array_append_new(files, json_pack("{s:o,s:I}", "path",
                                               ui_json_string(plan->paths[i]), "bytes",
                                               (json_int_t)plan->file_bytes[i]));
    return ui_json(json_pack("{s:s,s:I,s:o,s:o,s:o}", "layout", plan->layout,
                             "source_bytes", (json_int_t)plan->source_bytes, "files",
                             files, "notes", notes, "tensors", tensors),
                   err);
}

static enum status plan_source(const char *source, struct conversion *request,
                               const char *recipe_out, const struct ui *ui,
                               struct error *err)
{
    struct convert_options options;
    struct plan *plan = NULL;
    enum status st = conversion_options(request, &options, err);

    if (st == OK)
        st = convert_plan(source, request->out, &options, &plan, err);
    if (st == OK)
        st = ui->json ? print_json(plan, err) : print_text(plan, err);
    if (st == OK && recipe_out)
        st = convert_write_recipe(plan, recipe_out, request->force, err);
    plan_free(plan);
    return st;
}

int cmd_plan(int argc, char **argv)
{
    struct conversion request = {.type = "Q4_K_M"};
    const char *recipe_out = NULL;
    struct option options[CONVERSION_OPTIONS + 2] = {0};
    const struct verb verb = {
        .name = "plan",
        .operands = "SOURCE",
        .summary =
            "What convert would do with the same options, tensor by tensor, with exact "
            "byte counts. Writes nothing.",
        .examples =
            "  carat plan gemma-4-E2B-it --type Q4_0\n"
            "  carat plan gemma-4-E2B-it --type Q4_K_M --recipe-out types.txt\n"
            "  carat plan gemma-4-E2B-it --target-size 2.5G --sensitivity e2b.sens\n",
        .options = options,
        .min_operands = 1,
        .max_operands = 1,
    };
    struct error err = {0};
    struct args args;
    struct ui ui;
    int code;

    conversion_rows(&request, options);
    options[CONVERSION_OPTIONS] =
        (struct option){"recipe-out", 0,      OPTION_TEXT,
                        &recipe_out,  "FILE", "write the types in force as a recipe"};
    if (!args_parse(&verb, argc, argv, &args, &code))
        return code;
    ui_begin(&ui, &verb, &args);
    code =
        ui_end(&ui, plan_source(args.operands[0], &request, recipe_out, &ui, &err), &err);
    conversion_free(&request);
    return code;
}
