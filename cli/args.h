/*
 * args.h - one table of options parses a command line and prints its help
 *
 * `--name VALUE`, `--name=VALUE`, `-n VALUE`, `-nVALUE`; options and operands in any order; `--`
 * ends the options; `-` alone is an operand. When an option is given twice the last one counts,
 * except for OPTION_TEXTS. Whatever does not fit is one sentence on stderr and EXIT_FAULT, with
 * the nearest spelling where there is one.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,   /* bool *: becomes true */
    OPTION_TEXT,   /* const char **: borrowed from argv */
    OPTION_TEXTS,  /* struct texts *: may be given several times */
    OPTION_SIZE,   /* uint64_t *: bytes; K, M, G, T are powers of 1024; "1.5G" is fine */
    OPTION_INT,    /* int64_t *: between min and max, when they are not both 0 */
    OPTION_REAL,   /* double *: finite, between min and max, when they are not both 0 */
    OPTION_CHOICE, /* int *: the position in `arg`, "split|inline"; any case */
};

enum { TEXTS_MAX = 64 };

/* Values of an option that may be repeated, in the order given; borrowed from argv. */
struct texts {
    size_t n;
    const char *at[TEXTS_MAX];
};

/* One row of a table, written as { "output", 'o', OPTION_TEXT, &out, "FILE", "where to write" }. */
struct option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum option_kind kind;
    void *value; /* holds the default before, the answer after */
    const char
        *arg; /* what its value is called in the help: "FILE"; the list of a choice */
    const char *help; /* one line; says the default */
    double min, max;  /* OPTION_INT and OPTION_REAL */
};

/* A verb: enough to parse its command line and to print its help. */
struct verb {
    const char *name;
    const char *operands;         /* "SOURCE -o OUT.gguf", as usage shows it */
    const char *summary;          /* one sentence */
    const char *examples;         /* whole lines, each ending in \n; NULL: none */
    const struct option *options; /* its own, ended by one without a name */
    int min_operands, max_operands;
};

enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* What every verb takes, and the operands. */
struct args {
    int64_t threads; /* 0: the default; already told to parallel_set_threads() */
    int64_t seed;
    bool json, quiet, no_progress;
    int color; /* enum color */
    int n_operands;
    const char *const *operands; /* borrowed from argv, which is put in order */
};

/* Parse argv (argv[0] is the verb). True: go on. False: *code is the exit status, and what there
 * was to say (help on stdout, a sentence on stderr) has been said. */
bool args_parse(const struct verb *verb, int argc, char **argv, struct args *args,
                int *code);

/* For what only the verb can see: "carat: VERB: sentence" and how to get help on stderr; returns
 * EXIT_FAULT. */
__attribute__((format(printf, 2, 3))) int args_refuse(const struct verb *verb,
                                                      const char *fmt, ...);

/* The help of a verb, as `--help` prints it: usage, examples, options. */
void args_help(const struct verb *verb);

/* "64K" to bytes; false when it is not a size. */
bool args_size(const char *text, uint64_t *out);

#endif
