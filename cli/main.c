/*
 * main.c - the table of verbs
 */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/spelling.h"
#include "cli/ui.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int help(int argc, char **argv);

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *operands;
    const char *help;
} commands[] = {
    /* in the order a model travels */
    {"convert", cmd_convert, "SOURCE -o OUT.gguf",
     "one streaming pass from source to packed files"},
    {"plan", cmd_plan, "SOURCE", "what convert would do, tensor by tensor"},
    {"inspect", cmd_inspect, "FILE", "metadata, tensors, types, sizes, warnings"},
    {"patch", cmd_patch, "FILE.gguf", "other metadata, tensors untouched"},
    {"run", cmd_run, "MODEL [-p TEXT]", "generate"},
    {"logits", cmd_logits, "MODEL --ids FILE -o OUT", "what the runtime computes"},
    {"embed", cmd_embed, "MODEL --text FILE -o OUT", "sentence embeddings"},
    {"tokenize", cmd_tokenize, "MODEL", "text to token ids, and back"},
    {"perplexity", cmd_perplexity, "MODEL --text FILE",
     "by the protocol of llama-perplexity"},
    {"reference", cmd_reference, "MODEL --text FILE -o REF",
     "keep what a model says of a text"},
    {"compare", cmd_compare, "MODEL --reference REF",
     "divergence, agreement, perplexity ratio"},
    {"verify", cmd_verify, "MODEL --source SOURCE",
     "is this file the quantization of that source?"},
    {"calibrate", cmd_calibrate, "MODEL --text FILE -o STATS",
     "what the inputs of its weights look like"},
    {"sensitivity", cmd_sensitivity, "MODEL --text FILE -o FILE",
     "what each tensor costs in each type"},
    {"bench", cmd_bench, "MODEL",
     "tokens a second and the share of this machine's limits"},
    {"help", help, "[VERB]", "examples and options of a verb"},
    {"version", cmd_version, "", "version, build, instruction sets found"},
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static int usage(FILE *to)
{
    fprintf(to, "carat VERB [...]: convert, quantize, run and verify Gemma models\n\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-11s %-24s %s\n", commands[i].name, commands[i].operands,
                commands[i].help);
    fprintf(to, "\n`carat help VERB` shows its examples and options.\n");
    return to == stdout ? EXIT_YES : EXIT_FAULT;
}

static const struct command *find(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int refuse(const char *name)
{
    const char *names[N_COMMANDS], *nearest;
    char shown[128];

    for (int i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    nearest = spelling_nearest(name, names, N_COMMANDS);
    text_escape(shown, sizeof(shown), name, strlen(name));
    if (nearest)
        fprintf(stderr, "carat: no verb is called %s (did you mean %s?)\n", shown,
                nearest);
    else
        fprintf(stderr, "carat: no verb is called %s (carat help lists them)\n", shown);
    return EXIT_FAULT;
}

static int help(int argc, char **argv)
{
    static char wish[] = "--help";
    const struct command *command;

    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return usage(stdout);
    command = find(argv[1]);
    if (!command)
        return refuse(argv[1]);
    return command->run(2, (char *[]){argv[1], wish, NULL});
}

static int run(int argc, char **argv)
{
    const struct command *command;

    if (argc < 2)
        return usage(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return usage(stdout);
    if (strcmp(argv[1], "--version") == 0)
        return cmd_version(1, argv + 1);
    command = find(argv[1]);
    return command ? command->run(argc - 1, argv + 1) : refuse(argv[1]);
}

/* Only what a signal handler may call. */
static void say_lost(int number, siginfo_t *info, void *context)
{
    static const char sentence[] =
        "carat: a mapped file became shorter, or its disk failed, while it was read\n";

    (void)context;
    if (info->si_code == BUS_ADRERR) {
        const ssize_t told = write(STDERR_FILENO, sentence, sizeof(sentence) - 1);

        (void)told; /* there may be nobody to tell */
        _exit(EXIT_MACHINE);
    }
    signal(number, SIG_DFL); /* on return it happens again */
}

/* Weights are computed with where they are mapped: a page that is gone has no other way to say so. */
static void catch_lost_pages(void)
{
    struct sigaction lost = {.sa_sigaction = say_lost, .sa_flags = SA_SIGINFO};

    sigemptyset(&lost.sa_mask);
    sigaction(SIGBUS, &lost, NULL);
}

/* A file opened while 0, 1 or 2 is free would take its number, and then what is printed would be written
 * into it. Whatever is missing becomes something that can be neither read from nor written to. */
static bool hold_standard_numbers(void)
{
    const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", modes[fd]) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    int code;

    if (!hold_standard_numbers())
        return EXIT_MACHINE;
    catch_lost_pages();
    if (cpu_check_environment(&err) != OK)
        return ui_fail(&err);
    interrupt_install();
    file_guard_sources();
    code = run(argc, argv);
    /* A full disk shows itself only when the last bytes leave. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_YES) {
        fprintf(stderr, "carat: stdout: %s\n", strerror(errno));
        return EXIT_MACHINE;
    }
    return code;
}
