/*
 * ui.c - warnings, notes, the answer, and how it ended
 */
#include "cli/ui.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void warn(void *arg, const char *sentence)
{
    struct ui *ui = arg;

    if (ui->quiet)
        return;
    ui_clear(ui);
    fprintf(stderr, "carat: warning: %s\n", sentence);
}

static bool wants_color(const struct args *args)
{
    const char *no_color = getenv("NO_COLOR");

    if (args->color != COLOR_AUTO)
        return args->color == COLOR_ALWAYS;
    return isatty(STDOUT_FILENO) && !(no_color && *no_color);
}

void ui_begin(struct ui *ui, const struct verb *verb, const struct args *args)
{
    *ui = (struct ui){
        .verb = verb->name,
        .json = args->json,
        .quiet = args->quiet,
        .color = wants_color(args) && !args->json,
        .shows_progress = !args->quiet && !args->no_progress,
        .is_terminal = isatty(STDERR_FILENO),
    };
    pthread_mutex_init(&ui->lock, NULL);
    log_set_sink(warn, ui);
}

void ui_note(struct ui *ui, const char *fmt, ...)
{
    va_list list;

    if (ui->quiet)
        return;
    ui_clear(ui);
    va_start(list, fmt);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fputc('\n', stderr);
}

enum status ui_json(json_t *tree, struct error *err)
{
    const size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17);
    int failed;

    if (!tree)
        return fail(err, ERR_NOMEM, "no memory for the answer");
    failed = json_dumpf(tree, stdout, flags);
    json_decref(tree);
    if (failed || fputc('\n', stdout) == EOF)
        return fail(err, ERR_IO, "stdout: cannot be written to");
    return OK;
}

json_t *ui_json_real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

json_t *ui_json_text(const char *text, size_t n)
{
    json_t *tree = json_stringn(text, n);
    char *shown;

    if (tree || n > SIZE_MAX / 4 - 1)
        return tree;
    shown = malloc(4 * n + 1);
    if (!shown)
        return NULL;
    text_escape(shown, 4 * n + 1, text, n);
    tree = json_string(shown);
    free(shown);
    return tree;
}

json_t *ui_json_string(const char *text)
{
    return ui_json_text(text, strlen(text));
}

int ui_exit_status(enum status st)
{
    switch (st) {
    case OK:
        return EXIT_YES;
    case ERR_USAGE:
    case ERR_CORRUPT:
    case ERR_UNSUPPORTED:
    case ERR_SHAPE:
        return EXIT_FAULT;
    case ERR_IO:
    case ERR_NOMEM:
        return EXIT_MACHINE;
    case ERR_INTERRUPTED:
        return EXIT_INTERRUPT;
    }
    return EXIT_MACHINE;
}

int ui_fail(const struct error *err)
{
    fprintf(stderr, "carat: %s\n", err->text);
    return ui_exit_status(err->code);
}

int ui_end(struct ui *ui, enum status st, const struct error *err)
{
    ui_clear(ui);
    log_set_sink(NULL, NULL);
    pthread_mutex_destroy(&ui->lock);
    return st == OK ? EXIT_YES : ui_fail(err);
}

const char *ui_size(char text[UI_SIZE_TEXT], uint64_t n_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n_bytes;
    size_t unit = 0;

    /* 1023.995 would be shown as 1024.00. */
    while (v >= 1023.995 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        v /= 1024.0;
        unit++;
    }
    if (unit == 0)
        snprintf(text, UI_SIZE_TEXT, "%" PRIu64 " B", n_bytes);
    else
        snprintf(text, UI_SIZE_TEXT, "%.2f %s", v, units[unit]);
    return text;
}

const char *ui_time(char text[UI_SIZE_TEXT], double seconds)
{
    const long s = seconds >= 0 && seconds < 1e8 ? (long)(seconds + 0.5) : 0;

    if (s < 3600)
        snprintf(text, UI_SIZE_TEXT, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(text, UI_SIZE_TEXT, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    return text;
}

const char *ui_bold(const struct ui *ui)
{
    return ui->color ? "\x1b[1m" : "";
}

const char *ui_red(const struct ui *ui)
{
    return ui->color ? "\x1b[31m" : "";
}

const char *ui_green(const struct ui *ui)
{
    return ui->color ? "\x1b[32m" : "";
}

const char *ui_yellow(const struct ui *ui)
{
    return ui->color ? "\x1b[33m" : "";
}

const char *ui_plain(const struct ui *ui)
{
    return ui->color ? "\x1b[0m" : "";
}
