/*
 * args.c - parse a command line by a table of options
 */
#include "cli/args.h"
#include "base/base.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/spelling.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { TEXT_BYTES = 480, NAMES_MAX = 64 };

/* What parsing carries around. */
struct parse {
    const struct verb *verb;
    const struct option *common;
    char **argv;
    int argc, at; /* argv[at] comes next */
    bool wants_help;
};

int args_refuse(const struct verb *verb, const char *fmt, ...)
{
    char raw[TEXT_BYTES], text[TEXT_BYTES];
    va_list list;

    va_start(list, fmt);
    vsnprintf(raw, sizeof(raw), fmt, list);
    va_end(list);
    text_escape(text, sizeof(text), raw, strlen(raw));
    fprintf(stderr, "carat: %s: %s\n", verb->name, text);
    return EXIT_FAULT;
}

/* " (did you mean --type?)" or nothing. */
static const char *hint(char out[TEXT_BYTES], const char *prefix, const char *nearest)
{
    out[0] = '\0';
    if (nearest)
        snprintf(out, TEXT_BYTES, " (did you mean %s%s?)", prefix, nearest);
    return out;
}

/* ---- values ---- */

bool args_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    double v;

    if (text[0] < '0' || text[0] > '9' || text[1] == 'x' || text[1] == 'X')
        return false;
    errno = 0;
    v = strtod(text, &end);
    if (errno != 0 || end == text)
        return false;
    if (*end) {
        const char *unit = strchr(units, toupper((unsigned char)*end));

        if (!unit)
            return false;
        v *= (double)((uint64_t)1 << (10 * (unit - units + 1)));
        end++;
        if (strcasecmp(end, "iB") == 0)
            end += 2;
        else if (strcasecmp(end, "B") == 0)
            end++;
    }
    if (*end || !(v < 0x1p63))
        return false;
    *out = (uint64_t)v;
    return true;
}

static bool in_range(const struct option *option, double v)
{
    return (option->min == 0 && option->max == 0) ||
           (v >= option->min && v <= option->max);
}

static int refuse_range(const struct verb *verb, const struct option *option,
                        const char *text)
{
    const char *what = option->kind == OPTION_INT ? "a whole number" : "a number";

    if (option->min == 0 && option->max == 0)
        return args_refuse(verb, "--%s: %s is not %s", option->name, text, what);
    if (option->max >= DBL_MAX)
        return args_refuse(verb, "--%s: %s is not %s of %g or more", option->name, text,
                           what, option->min);
    return args_refuse(verb, "--%s: %s is not %s from %.15g to %.15g", option->name, text,
                       what, option->min, option->max);
}

static int take_int(const struct verb *verb, const struct option *option,
                    const char *text)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end || !in_range(option, (double)v))
        return refuse_range(verb, option, text);
    *(int64_t *)option->value = v;
    return EXIT_YES;
}

static int take_real(const struct verb *verb, const struct option *option,
                     const char *text)
{
    char *end;
    double v = strtod(text, &end);

    if (end == text || *end || !isfinite(v) || !in_range(option, v))
        return refuse_range(verb, option, text);
    *(double *)option->value = v;
    return EXIT_YES;
}

static int take_choice(const struct verb *verb, const struct option *option,
                       const char *text)
{
    const char *names[NAMES_MAX];
    char list[TEXT_BYTES], near[TEXT_BYTES], *rest = NULL;
    size_t n = 0;

    snprintf(list, sizeof(list), "%s", option->arg);
    for (char *name = strtok_r(list, "|", &rest); name && n < NAMES_MAX;
         name = strtok_r(NULL, "|", &rest)) {
        if (strcasecmp(name, text) == 0) {
            *(int *)option->value = (int)n;
            return EXIT_YES;
        }
        names[n++] = name;
    }
    return args_refuse(verb, "--%s: %s is none of %s%s", option->name, text, option->arg,
                       hint(near, "", spelling_nearest(text, names, n)));
}

static int take_texts(const struct verb *verb, const struct option *option,
                      const char *text)
{
    struct texts *texts = option->value;

    if (texts->n == TEXTS_MAX)
        return args_refuse(verb, "--%s: given more than %d times", option->name,
                           TEXTS_MAX);
    texts->at[texts->n++] = text;
    return EXIT_YES;
}

static int take_value(const struct verb *verb, const struct option *option,
                      const char *text)
{
    switch (option->kind) {
    case OPTION_TEXT:
        *(const char **)option->value = text;
        return EXIT_YES;
    case OPTION_TEXTS:
        return take_texts(verb, option, text);
    case OPTION_SIZE:
        if (args_size(text, option->value))
            return EXIT_YES;
        return args_refuse(verb, "--%s: %s is not a size (a number, then K, M, G or T)",
                           option->name, text);
    case OPTION_INT:
        return take_int(verb, option, text);
    case OPTION_REAL:
        return take_real(verb, option, text);
    case OPTION_CHOICE:
        return take_choice(verb, option, text);
    case OPTION_FLAG:
        break;
    }
    return args_refuse(verb, "--%s takes no value", option->name);
}

/* ---- options ---- */

static const struct option *find_in(const struct option *options, const char *name,
                                    size_t n, char letter)
{
    for (const struct option *o = options; o && o->name; o++)
        if (letter ? o->letter == letter
                   : strlen(o->name) == n && memcmp(o->name, name, n) == 0)
            return o;
    return NULL;
}

static const struct option *find(const struct parse *parse, const char *name, size_t n,
                                 char letter)
{
    const struct option *own = find_in(parse->verb->options, name, n, letter);

    return own ? own : find_in(parse->common, name, n, letter);
}

static int refuse_option(const struct parse *parse, const char *name, size_t n)
{
    const char *names[2 * NAMES_MAX];
    char word[NAMES_MAX], near[TEXT_BYTES];
    size_t n_names = 0;

    for (const struct option *o = parse->verb->options;
         o && o->name && n_names < NAMES_MAX; o++)
        names[n_names++] = o->name;
    for (const struct option *o = parse->common; o->name; o++)
        names[n_names++] = o->name;
    snprintf(word, sizeof(word), "%.*s", (int)(n < NAMES_MAX ? n : 0), name);
    return args_refuse(parse->verb, "no option is called --%.*s%s", (int)n, name,
                       hint(near, "--", spelling_nearest(word, names, n_names)));
}

/* The option found takes the value written with it, the next word, or none. */
static int take(struct parse *parse, const struct option *option, const char *joined)
{
    if (option->kind == OPTION_FLAG && !joined) {
        *(bool *)option->value = true;
        return EXIT_YES;
    }
    if (option->kind != OPTION_FLAG && !joined) {
        if (parse->at == parse->argc)
            return args_refuse(parse->verb, "--%s needs a value: %s", option->name,
                               option->arg);
        joined = parse->argv[parse->at++];
    }
    return take_value(parse->verb, option, joined);
}

static int take_long(struct parse *parse, const char *word)
{
    const char *equals = strchr(word, '=');
    const size_t n = equals ? (size_t)(equals - word) : strlen(word);
    const struct option *option = find(parse, word, n, 0);

    if (!option)
        return refuse_option(parse, word, n);
    return take(parse, option, equals ? equals + 1 : NULL);
}

static int take_short(struct parse *parse, const char *word)
{
    const struct option *option = find(parse, NULL, 0, word[0]);

    if (!option)
        return args_refuse(parse->verb, "no option is called -%c", word[0]);
    return take(parse, option, word[1] ? word + 1 : NULL);
}

static int check_operands(const struct verb *verb, const struct args *args)
{
    if (args->n_operands < verb->min_operands)
        return args_refuse(verb, "something is missing: carat %s %s", verb->name,
                           verb->operands);
    if (args->n_operands > verb->max_operands)
        return args_refuse(verb, "%s is one word too many: carat %s%s%s",
                           args->operands[verb->max_operands], verb->name,
                           verb->operands[0] ? " " : "", verb->operands);
    return EXIT_YES;
}

/* Walk argv; operands are gathered at its front. */
static int walk(struct parse *parse, struct args *args)
{
    bool options_over = false;
    int code = EXIT_YES;

    while (code == EXIT_YES && parse->at < parse->argc && !parse->wants_help) {
        char *word = parse->argv[parse->at++];

        if (options_over || word[0] != '-' || word[1] == '\0')
            parse->argv[args->n_operands++] = word;
        else if (strcmp(word, "--") == 0)
            options_over = true;
        else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            parse->wants_help = true;
        else if (word[1] == '-')
            code = take_long(parse, word + 2);
        else
            code = take_short(parse, word + 1);
    }
    return code;
}

bool args_parse(const struct verb *verb, int argc, char **argv, struct args *args,
                int *code)
{
    struct option common[OPTIONS_COMMON];
    struct parse parse = {
        .verb = verb, .common = common, .argv = argv, .argc = argc, .at = 1};

    *args = (struct args){.operands = (const char *const *)argv};
    options_common(args, common);
    *code = walk(&parse, args);
    if (parse.wants_help) {
        args_help(verb);
        return false;
    }
    if (*code == EXIT_YES)
        *code = check_operands(verb, args);
    if (*code == EXIT_YES && args->threads > 0)
        parallel_set_threads((int)args->threads);
    return *code == EXIT_YES;
}
