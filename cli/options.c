/*
 * options.c - the options every verb takes, and the help that all tables of options give
 */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

enum { LEFT_COLUMNS = 30, MOST_THREADS = 1024 };

void options_common(struct args *args, struct option table[OPTIONS_COMMON])
{
    const struct option common[OPTIONS_COMMON] = {
        {"threads", 't', OPTION_INT, &args->threads, "N",
         "threads to compute with (the physical cores)", 1, MOST_THREADS},
        {"seed", 0, OPTION_INT, &args->seed, "N", "seed of whatever is random (0)", 0,
         0x1p53},
        {"json", 0, OPTION_FLAG, &args->json, NULL,
         "the answer as one line of JSON on stdout"},
        {"quiet", 0, OPTION_FLAG, &args->quiet, NULL, "no warnings, notes or progress"},
        {"no-progress", 0, OPTION_FLAG, &args->no_progress, NULL,
         "no progress on stderr"},
        {"color", 0, OPTION_CHOICE, &args->color, "auto|always|never",
         "color on stdout (auto: on a terminal, unless NO_COLOR is set)"},
        {0},
    };

    memcpy(table, common, sizeof(common));
}

static void print_option(const struct option *o)
{
    char left[128], letter[8] = "    ";

    if (o->letter)
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    snprintf(left, sizeof(left), "  %s--%s%s%s", letter, o->name, o->arg ? " " : "",
             o->arg ? o->arg : "");
    if (strlen(left) < LEFT_COLUMNS)
        printf("%-*s%s\n", LEFT_COLUMNS, left, o->help);
    else
        printf("%s\n%*s%s\n", left, LEFT_COLUMNS, "", o->help);
}

void args_help(const struct verb *verb)
{
    struct args args = {0};
    struct option common[OPTIONS_COMMON];

    printf("carat %s%s%s\n\n%s\n", verb->name, verb->operands[0] ? " " : "",
           verb->operands, verb->summary);
    if (verb->examples)
        printf("\nExamples\n%s", verb->examples);
    if (verb->options && verb->options->name)
        printf("\nOptions\n");
    for (const struct option *o = verb->options; o && o->name; o++)
        print_option(o);
    printf("\nOptions of every verb\n");
    options_common(&args, common);
    for (const struct option *o = common; o->name; o++)
        print_option(o);
}
