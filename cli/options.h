/*
 * options.h - the options every verb takes
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "cli/args.h"

enum { OPTIONS_COMMON = 7 };

/* Fill the table, ended by an option without a name, whose values lie in `args`. */
void options_common(struct args *args, struct option table[OPTIONS_COMMON]);

#endif
