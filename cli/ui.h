/*
 * ui.h - what a verb says while it works and when it is done
 *
 * stdout carries the answer, stderr the rest: warnings, progress, trouble. Progress is a bar on a
 * terminal and one line every few seconds elsewhere.
 */
#ifndef CLI_UI_H
#define CLI_UI_H

#include "base/base.h"
#include "cli/args.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum ui_unit { UI_BYTES, UI_ITEMS };

struct ui {
    bool json, quiet;
    bool color; /* on stdout */
    /* private */
    const char *verb;
    bool shows_progress, is_terminal, has_bar;
    enum ui_unit unit;
    double began, last; /* seconds; of the job in hand, and when it was last shown */
    uint64_t first;     /* done when it began: a resumed job starts in the middle */
    uint64_t done;      /* when last told; less than before is a new job */
    pthread_mutex_t lock;
};

/* Begin: remember what the user asked for and send warnings of the libraries to stderr. */
void ui_begin(struct ui *ui, const struct verb *verb, const struct args *args);

/* A progress for the libraries, drawn on stderr; may be called from any thread. Valid while ui
 * is. A new one starts the clock anew. */
struct progress ui_progress(struct ui *ui, enum ui_unit unit);

/* Remove the bar, so that lines can be written. */
void ui_clear(struct ui *ui);

/* One more line on stderr, unless --quiet. */
__attribute__((format(printf, 2, 3))) void ui_note(struct ui *ui, const char *fmt, ...);

/* Print a tree on stdout as one compact line, members in the order they were added; frees it.
 * NULL (no memory while it was built) is ERR_NOMEM. */
MUST_CHECK enum status ui_json(json_t *tree, struct error *err);

/* A number for JSON: null when it is not finite, which JSON cannot say. */
json_t *ui_json_real(double v);

/* n bytes of text for JSON: what is not UTF-8 is shown escaped. */
json_t *ui_json_text(const char *text, size_t n);
json_t *
ui_json_string(const char *text); /* the same of a NUL-terminated one: paths, names */

/* End: take down the bar, say the error's sentence when st is not OK, return the exit status
 * that fits st. */
int ui_end(struct ui *ui, enum status st, const struct error *err);

/* "carat: sentence" on stderr; the exit status that fits err->code. */
int ui_fail(const struct error *err);
int ui_exit_status(enum status st);

/* "1.50 GiB"; "812 B". */
enum { UI_SIZE_TEXT = 24 };
const char *ui_size(char text[UI_SIZE_TEXT], uint64_t n_bytes);
/* "0:07", "12:34", "1:02:03". */
const char *ui_time(char text[UI_SIZE_TEXT], double seconds);

/* Escape sequences when the user wants color, else "". */
const char *ui_bold(const struct ui *ui);
const char *ui_red(const struct ui *ui);
const char *ui_green(const struct ui *ui);
const char *ui_yellow(const struct ui *ui);
const char *ui_plain(const struct ui *ui); /* back to normal */

#endif
