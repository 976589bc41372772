/*
 * status.h - how every room of the house reports trouble
 *
 * A function that can fail returns `enum status` and takes `struct error *err` last. On
 * OK the error is untouched; otherwise it holds one sentence a user can act on. Only the
 * command line prints it; a library never prints and never exits.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

enum status {
    OK = 0,
    ERR_USAGE,       /* the caller asked for something impossible          exit 2 */
    ERR_CORRUPT,     /* the bytes contradict their own format              exit 2 */
    ERR_UNSUPPORTED, /* valid, but not something we handle                 exit 2 */
    ERR_SHAPE,       /* a tensor is not the shape the model demands        exit 2 */
    ERR_IO,          /* the operating system said no: disk full, read error  exit 3 */
    ERR_NOMEM,       /* an allocation failed                               exit 3 */
    ERR_INTERRUPTED, /* the user pressed Ctrl-C                          exit 130 */
};

struct error {
    enum status code;
    char text[480]; /* always NUL-terminated; one line, control characters escaped */
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* Record `code` and the formatted sentence; return `code`, so that a failing function can
 * end with `return fail(err, ERR_CORRUPT, "...", ...)`. Bytes below 0x20, 0x7f and bytes
 * that are not UTF-8 are written as \xNN, so a hostile name cannot disturb a terminal. */
__attribute__((format(printf, 3, 4))) enum status
fail(struct error *err, enum status code, const char *fmt, ...);

/* Put `where: ` in front of the sentence already recorded; return its code. */
enum status fail_at(struct error *err, const char *where);

#endif
