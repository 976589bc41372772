/*
 * cmd_convert.c - carat convert: one pass from a source to packed files
 */
#include "cli/cli.h"
#include "cli/conversion.h"
#include "cli/ui.h"

#include <inttypes.h>
#include <sys/resource.h>

/* The most memory this process ever had resident, in bytes. */
static uint64_t peak_rss(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (uint64_t)usage.ru_maxrss * 1024;
}

/* "PATH 123 bytes sha256 0123..., PATH ...": one line, the last of a conversion. */
static void print_files(const struct convert_result *result)
{
    for (size_t i = 0; i < result->n_files; i++)
        printf("%s%s %" PRIu64 " bytes sha256 %s", i ? ", " : "", result->files[i].path,
               result->files[i].bytes, result->files[i].sha256);
    putchar('\n');
}

static enum status print_json(const struct convert_result *result, const char *type,
                              struct error *err)
{
    json_t *files = json_array();

    for (size_t i = 0; i < result->n_files; i++)
        json_array_append_new(
            files,
            json_pack("{s:o,s:I,s:s}", "path",
                      ui_json_text(result->files[i].path, strlen(result->files[i].path)),
                      "bytes", (json_int_t)result->files[i].bytes, "sha256",
                      result->files[i].sha256));
    return ui_json(json_pack("{s:o,s:I,s:f,s:I,s:s}", "files", files, "tensors",
                             (json_int_t)result->n_tensors, "seconds", result->seconds,
                             "peak_rss", (json_int_t)peak_rss(), "type", type),
                   err);
}

/* Two jobs, one behind the other, that count different things. */
struct job {
    struct ui *ui;
    struct progress bar;
    enum ui_unit unit;
};

static void show(void *arg, const char *what, uint64_t done, uint64_t total)
{
    const struct job *job = arg;

    job->ui->unit = job->unit;
    progress_report(&job->bar, what, done, total);
}

static enum status convert(const char *source, struct conversion *request, struct ui *ui,
                           struct error *err)
{
    const struct progress bar = ui_progress(ui, UI_BYTES);
    struct job jobs[] = {{ui, bar, UI_BYTES}, {ui, bar, UI_ITEMS}};
    const struct progress packing = {.arg = &jobs[0], .report = show};
    const struct progress calibration = {.arg = &jobs[1], .report = show};
    struct convert_options options;
    struct convert_result result = {0};
    char size[UI_SIZE_TEXT];
    uint64_t bytes = 0;
    enum status st = conversion_options(request, &options, err);

    options.calibration_progress = &calibration;
    if (st == OK)
        st = convert_run(source, request->out, &options, &packing, &result, err);
    if (st != OK)
        return st;
    ui_clear(ui);
    for (size_t i = 0; i < result.n_files; i++)
        bytes += result.files[i].bytes;
    ui_note(ui, "%zu tensors, %s in %.1f s", result.n_tensors, ui_size(size, bytes),
            result.seconds);
    if (ui->json)
        st = print_json(&result, request->type, err);
    else
        print_files(&result);
    convert_result_free(&result);
    return st;
}

int cmd_convert(int argc, char **argv)
{
    struct conversion request = {.type = "Q4_K_M"};
    struct option options[CONVERSION_OPTIONS + 1] = {0};
    const struct verb verb = {
        .name = "convert",
        .operands = "SOURCE -o OUT.gguf",
        .summary =
            "Convert a checkpoint folder, a weights file beside its config.json, or a "
            "GGUF, in one streaming pass.",
        .examples =
            "  carat convert gemma-4-E2B-it -o e2b-q4_0.gguf --type Q4_0\n"
            "  carat convert gemma-4-E4B-it -o e4b.gguf --ple inline --type Q8_0\n"
            "  carat convert my-finetune -o mine.gguf --recipe types.txt --resume\n"
            "  carat convert my-finetune -o mine.gguf --method compensate --text "
            "mine.txt\n",
        .options = options,
        .min_operands = 1,
        .max_operands = 1,
    };
    struct error err = {0};
    struct args args;
    struct ui ui;
    int code;

    conversion_rows(&request, options);
    if (!args_parse(&verb, argc, argv, &args, &code))
        return code;
    if (!request.out)
        return args_refuse(&verb, "-o OUT.gguf is missing");
    ui_begin(&ui, &verb, &args);
    code = ui_end(&ui, convert(args.operands[0], &request, &ui, &err), &err);
    conversion_free(&request);
    return code;
}
