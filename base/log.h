/*
 * log.h - warnings a library has, and progress it makes; the caller decides who sees them
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* Where warnings go; process-wide, set once by the command line. NULL drops them. The text is
 * one sentence without a newline, control characters escaped. */
void log_set_sink(void (*sink)(void *arg, const char *sentence), void *arg);

/* Say one sentence: something the user should know that does not stop the work. */
__attribute__((format(printf, 1, 2))) void log_warn(const char *fmt, ...);

/* A long job reports here now and then; NULL members are fine. */
struct progress {
    void *arg;
    /* `done` of `total` bytes (or items); `what` is the thing in hand, borrowed for the call. */
    void (*report)(void *arg, const char *what, uint64_t done, uint64_t total);
};

void progress_report(const struct progress *progress, const char *what, uint64_t done,
                     uint64_t total); /* progress may be NULL */

/* True once SIGINT, SIGTERM or SIGHUP arrived, after interrupt_install(); SIGHUP counts unless it
 * was ignored then, as nohup has it. Long loops look at it and return ERR_INTERRUPTED through
 * interrupt_check(). A second signal ends the program. Writing beyond a file size limit becomes an
 * error of that write, no longer a signal. */
void interrupt_install(void);
bool interrupt_pending(void);
MUST_CHECK enum status interrupt_check(struct error *err);

#endif
