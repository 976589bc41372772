/*
 * cmd_convert.c - carat convert: one pass from a source to packed files
 */
#include "cli/cli.h"
#include "cli/conversion.h"
#include "cli/ui.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
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

static json_t *rounded_json(const struct rounded_tensor *t)
{
    json_t *out = json_pack("{s:s,s:s,s:s}", "name", t->name, "type",
                            block_type_name(t->type), "method", t->rounding);

    if (t->n_blocks) {
        json_object_set_new(out, "blocks", json_integer((json_int_t)t->n_blocks));
        json_object_set_new(out, "exact_blocks", json_integer((json_int_t)t->n_exact));
    }
    if (t->n_matrices) {
        json_object_set_new(out, "judged", json_integer((json_int_t)t->n_matrices));
        json_object_set_new(out, "fell_back", json_integer((json_int_t)t->n_fell_back));
        json_object_set_new(out, "damping", ui_json_real(t->damping));
        json_object_set_new(out, "held_out_loss", ui_json_real(t->held_out_loss));
    }
    return out;
}

static json_t *all_rounded_json(const struct convert_result *result)
{
    json_t *out = json_array();

    for (size_t i = 0; i < result->n_rounded; i++)
        json_array_append_new(out, rounded_json(&result->rounded[i]));
    return out;
}

/* Blocks on a grid, tensor by tensor where some are not exact, and all together. */
static void note_grid(struct ui *ui, const struct convert_result *result)
{
    uint64_t n_blocks = 0, n_exact = 0;
    size_t n_tensors = 0;

    for (size_t i = 0; i < result->n_rounded; i++) {
        const struct rounded_tensor *t = &result->rounded[i];

        n_blocks += t->n_blocks;
        n_exact += t->n_exact;
        n_tensors += t->n_blocks > 0;
        if (t->n_exact < t->n_blocks)
            ui_note(ui, "%s: %.3f %% of its blocks are exact", t->name,
                    100.0 * (double)t->n_exact / (double)t->n_blocks);
    }
    if (n_blocks)
        ui_note(ui,
                "%zu tensors were trained on a 4-bit grid: %" PRIu64 " of %" PRIu64
                " blocks are exact",
                n_tensors, n_exact, n_blocks);
}

/* What feedback gained where the held-out inputs judged it. */
static void note_feedback(struct ui *ui, const struct convert_result *result)
{
    uint64_t n_judged = 0, n_fell_back = 0;
    double log_gain = 0;

    for (size_t i = 0; i < result->n_rounded; i++) {
        const struct rounded_tensor *t = &result->rounded[i];

        n_judged += t->n_matrices;
        n_fell_back += t->n_fell_back;
        log_gain += (double)(t->n_matrices - t->n_fell_back) * log(t->held_out_loss);
    }
    if (n_judged > n_fell_back)
        ui_note(ui,
                "error feedback: loss on held-out inputs %.0f %% of the search's over "
                "%" PRIu64 " matrices; %" PRIu64 " more are better searched",
                100 * exp(log_gain / (double)(n_judged - n_fell_back)),
                n_judged - n_fell_back, n_fell_back);
}

static void note_split(struct ui *ui, const struct convert_result *result)
{
    const struct feedback_seconds *split = &result->split;
    char before[64] = "";

    if (split->forward > 0)
        snprintf(before, sizeof(before), "forward %.0f s, second moments %.0f s, ",
                 split->forward, split->moments);
    if (split->rounding > 0)
        ui_note(ui, "%sfactors %.0f s, rounding %.0f s", before, split->factor,
                split->rounding);
}

static json_t *split_json(const struct feedback_seconds *split)
{
    return json_pack("{s:o,s:o,s:o,s:o}", "forward", ui_json_real(split->forward),
                     "second_moments", ui_json_real(split->moments), "factors",
                     ui_json_real(split->factor), "rounding",
                     ui_json_real(split->rounding));
}

static enum status print_json(const struct convert_result *result, const char *type,
                              struct error *err)
{
    json_t *files = json_array();

    for (size_t i = 0; i < result->n_files; i++)
        json_array_append_new(files,
                              json_pack("{s:o,s:I,s:s}", "path",
                                        ui_json_string(result->files[i].path), "bytes",
                                        (json_int_t)result->files[i].bytes, "sha256",
                                        result->files[i].sha256));
    return ui_json(
        json_pack("{s:o,s:I,s:f,s:o,s:I,s:s,s:I,s:I,s:o}", "files", files, "tensors",
                  (json_int_t)result->n_tensors, "seconds", result->seconds,
                  "feedback_seconds", split_json(&result->split), "peak_rss",
                  (json_int_t)peak_rss(), "type", type, "equalizable",
                  (json_int_t)result->n_equalizable, "equalized",
                  (json_int_t)result->n_equalized, "rounding", all_rounded_json(result)),
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
    note_grid(ui, &result);
    note_feedback(ui, &result);
    note_split(ui, &result);
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
    if (strcmp(request.out, "-") == 0)
        return args_refuse(&verb, "-o -: files are written out of order, not to stdout");
    ui_begin(&ui, &verb, &args);
    code = ui_end(&ui, convert(args.operands[0], &request, &ui, &err), &err);
    conversion_free(&request);
    return code;
}
