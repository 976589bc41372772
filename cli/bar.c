/*
 * bar.c - progress: a bar on a terminal, a line every few seconds elsewhere
 */
#include "cli/ui.h"

#include <inttypes.h>
#include <string.h>

enum { BAR_COLUMNS = 24, WHAT_COLUMNS = 28, LINE_BYTES = 256 };

/* How often something new is shown. */
static const double bar_seconds = 0.1, line_seconds = 5.0;

/* "1.20 of 3.40 GiB, 310 MiB/s, 0:07 left" */
static void describe(const struct ui *ui, char line[LINE_BYTES], uint64_t done,
                     uint64_t total, double seconds)
{
    const uint64_t fresh = done > ui->first ? done - ui->first : 0;
    const double rate = seconds > 0 ? (double)fresh / seconds : 0;
    char so_far[UI_SIZE_TEXT], all[UI_SIZE_TEXT], speed[UI_SIZE_TEXT], left[UI_SIZE_TEXT];

    ui_time(left, rate > 0 && total > done ? (double)(total - done) / rate : 0);
    if (ui->unit == UI_BYTES)
        snprintf(line, LINE_BYTES, "%s of %s, %s/s, %s left", ui_size(so_far, done),
                 ui_size(all, total), ui_size(speed, (uint64_t)rate), left);
    else
        snprintf(line, LINE_BYTES, "%" PRIu64 " of %" PRIu64 ", %.3g/s, %s left", done,
                 total, rate, left);
}

static void draw_bar(struct ui *ui, const char *what, double share, const char *line)
{
    const int filled = (int)(share * BAR_COLUMNS);
    char bar[BAR_COLUMNS + 1], name[WHAT_COLUMNS + 1];

    for (int i = 0; i < BAR_COLUMNS; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_COLUMNS] = '\0';
    text_escape(name, sizeof(name), what, strlen(what));
    fprintf(stderr, "\r\x1b[K%3d%% %s %s  %s", (int)(100 * share), bar, line, name);
    fflush(stderr);
    ui->has_bar = true;
}

static void report(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct ui *ui = arg;
    char line[LINE_BYTES];
    double seconds, share;

    if (!ui->shows_progress)
        return;
    pthread_mutex_lock(&ui->lock);
    seconds = clock_seconds();
    if (ui->began < 0 || done < ui->done) {
        ui->began = ui->last = seconds;
        ui->first = done;
    }
    ui->done = done;
    if (seconds - ui->last >= (ui->is_terminal ? bar_seconds : line_seconds)) {
        ui->last = seconds;
        share = total > 0 && done < total ? (double)done / (double)total : 1.0;
        describe(ui, line, done, total, seconds - ui->began);
        if (ui->is_terminal)
            draw_bar(ui, what ? what : "", share, line);
        else
            fprintf(stderr, "carat: %s: %d%%: %s\n", ui->verb, (int)(100 * share), line);
    }
    pthread_mutex_unlock(&ui->lock);
}

struct progress ui_progress(struct ui *ui, enum ui_unit unit)
{
    ui_clear(ui);
    ui->unit = unit;
    ui->began = -1;
    return (struct progress){.arg = ui, .report = report};
}

void ui_clear(struct ui *ui)
{
    pthread_mutex_lock(&ui->lock);
    if (ui->has_bar) {
        fputs("\r\x1b[K", stderr);
        ui->has_bar = false;
    }
    pthread_mutex_unlock(&ui->lock);
}
