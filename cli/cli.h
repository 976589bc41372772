/*
 * cli.h - the verbs of the command line, and what their exit statuses mean
 *
 * Each verb is one file, cmd_VERB.c: it describes itself with a `struct verb` (args.h), parses,
 * makes its calls through the doors below, and prints one report (ui.h, table.h). A verb is added
 * by its prototype here, its row in main.c and its source in CMakeLists.txt.
 *
 *     int cmd_example(int argc, char **argv)
 *     {
 *         const char *out = NULL;
 *         const struct option options[] = {
 *             {"output", 'o', OPTION_TEXT, &out, "FILE", "where to write"},
 *             {0},
 *         };
 *         const struct verb verb = {.name = "example", .operands = "MODEL", .min_operands = 1,
 *                                   .max_operands = 1, .summary = "...", .options = options};
 *         struct error err = {0};
 *         struct args args;
 *         struct ui ui;
 *         enum status st;
 *         int code;
 *
 *         if (!args_parse(&verb, argc, argv, &args, &code))
 *             return code;
 *         ui_begin(&ui, &verb, &args);
 *         const struct progress progress = ui_progress(&ui, UI_BYTES);
 *         st = work(args.operands[0], out, &progress, &err);
 *         ...
 *         return ui_end(&ui, st, &err);
 *     }
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

enum exit_status {
    EXIT_YES = 0,         /* done, and the answer is yes */
    EXIT_NO = 1,          /* done, and the answer is no: verify, gate, diff, compare */
    EXIT_FAULT = 2,       /* the input or the command is at fault */
    EXIT_MACHINE = 3,     /* the machine is at fault: disk full, no memory, read error */
    EXIT_INTERRUPT = 130, /* the user pressed Ctrl-C */
};

int cmd_version(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_sensitivity(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_embed(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_patch(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_perplexity(int argc, char **argv);
int cmd_reference(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_calibrate(int argc, char **argv);
int cmd_bench(int argc, char **argv);

#endif
