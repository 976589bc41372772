/*
 * cmd_version.c - carat version: what this program is and what it found here
 */
#include "cli/cli.h"
#include "cli/ui.h"

#if defined(__clang__)
#define COMPILER "Clang " __clang_version__
#else
#define COMPILER "GCC " __VERSION__
#endif

struct feature {
    const char *name;
    bool is_there;
};

enum { N_FEATURES = 7 };

static void list_features(struct feature list[N_FEATURES])
{
    const struct cpu_features *f = cpu_features();
    const struct feature found[N_FEATURES] = {
        {"avx2", f->avx2},
        {"avx512", f->avx512},
        {"avx512-vnni", f->avx512_vnni},
        {"avx512-bf16", f->avx512_bf16},
        {"neon", f->neon},
        {"neon-dotprod", f->neon_dotprod},
        {"neon-i8mm", f->neon_i8mm},
    };

    memcpy(list, found, sizeof(found));
}

static enum status print_json(const struct feature *features, struct error *err)
{
    json_t *found = json_array();

    for (int i = 0; i < N_FEATURES; i++)
        if (features[i].is_there)
            json_array_append_new(found, json_string(features[i].name));
    return ui_json(json_pack("{s:s, s:s, s:s, s:b, s:s, s:o, s:i}", "version",
                             CARAT_VERSION, "compiler", COMPILER, "build", CARAT_BUILD,
                             "sanitizers", CARAT_SANITIZED, "cpu",
                             cpu_level_name(cpu_level()), "features", found, "threads",
                             parallel_threads()),
                   err);
}

static void print_text(const struct feature *features)
{
    printf("carat %s\n", CARAT_VERSION);
    printf("built with %s, %s%s\n", COMPILER, CARAT_BUILD,
           CARAT_SANITIZED ? ", address and undefined-behaviour sanitizers" : "");
    printf("runs the %s path;", cpu_level_name(cpu_level()));
    for (int i = 0; i < N_FEATURES; i++)
        if (features[i].is_there)
            printf(" %s", features[i].name);
    printf(" found\n");
    printf("computes with %d threads\n", parallel_threads());
}

int cmd_version(int argc, char **argv)
{
    const struct verb verb = {
        .name = "version",
        .operands = "",
        .summary =
            "Version, compiler, and the instruction sets of this machine that are used.",
    };
    struct feature features[N_FEATURES];
    struct error err = {0};
    enum status st = OK;
    struct args args;
    struct ui ui;
    int code;

    if (!args_parse(&verb, argc, argv, &args, &code))
        return code;
    ui_begin(&ui, &verb, &args);
    list_features(features);
    if (ui.json)
        st = print_json(features, &err);
    else
        print_text(features);
    return ui_end(&ui, st, &err);
}
