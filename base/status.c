/*
 * status.c - record one sentence about what went wrong
 */
#include "base/status.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A name may need four bytes for each of its own before it is cut to fit. */
enum { RAW_BYTES = 2048 };

enum status fail(struct error *err, enum status code, const char *fmt, ...)
{
    char raw[RAW_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(raw, sizeof(raw), fmt, args);
    va_end(args);

    err->code = code;
    text_escape(err->text, sizeof(err->text), raw, strlen(raw));
    return code;
}

enum status fail_at(struct error *err, const char *where)
{
    struct error was = *err;

    return fail(err, was.code, "%s: %s", where, was.text);
}
