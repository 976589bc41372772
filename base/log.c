/*
 * log.c - warnings, progress, and the wish of a user to stop
 */
#include "base/log.h"
#include "base/utf8.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct {
    void (*sink)(void *arg, const char *sentence);
    void *arg;
} log_to; /* set once by the command line, before any thread */

static volatile sig_atomic_t stop_wanted;

void log_set_sink(void (*sink)(void *arg, const char *sentence), void *arg)
{
    log_to.sink = sink;
    log_to.arg = arg;
}

void log_warn(const char *fmt, ...)
{
    char raw[2048], sentence[2048];
    va_list args;

    if (!log_to.sink)
        return;
    va_start(args, fmt);
    vsnprintf(raw, sizeof(raw), fmt, args);
    va_end(args);
    text_escape(sentence, sizeof(sentence), raw, strlen(raw));
    log_to.sink(log_to.arg, sentence);
}

void progress_report(const struct progress *progress, const char *what, uint64_t done,
                     uint64_t total)
{
    if (progress && progress->report)
        progress->report(progress->arg, what, done, total);
}

static void want_stop(int number)
{
    (void)number;
    stop_wanted = 1;
}

void interrupt_install(void)
{
    /* Once only: a second Ctrl-C ends a program that does not listen. */
    struct sigaction stop = {.sa_handler = want_stop, .sa_flags = (int)SA_RESETHAND};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction hang_up;

    sigemptyset(&stop.sa_mask);
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    /* A terminal that closes asks to stop, unless nohup said that it does not matter. */
    if (sigaction(SIGHUP, NULL, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &stop, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
}

bool interrupt_pending(void)
{
    return stop_wanted != 0;
}

enum status interrupt_check(struct error *err)
{
    if (!interrupt_pending())
        return OK;
    return fail(err, ERR_INTERRUPTED, "interrupted");
}
