/*
 * cmd_inspect.c - carat inspect: what a model file holds, and what a loader may refuse
 */
#include "cli/cli.h"
#include "cli/inspect.h"

#include <string.h>

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), n_end = strlen(end);

    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

/* GGUF says so in its first bytes; what calls itself .gguf is judged by that reader too. */
static enum status choose(const struct inspection *want, const struct ui *ui,
                          struct error *err)
{
    struct file *file = NULL;
    char magic[4] = "";
    enum status st;

    if (file_is_folder(want->path))
        return inspect_safetensors(want, ui, err);
    st = file_open(want->path, &file, err);
    if (st == OK && file_size(file) >= sizeof(magic))
        st = file_read(file, 0, magic, sizeof(magic), err);
    file_close(file);
    if (st != OK)
        return st;
    if (memcmp(magic, "GGUF", sizeof(magic)) == 0 || ends_with(want->path, ".gguf"))
        return inspect_gguf(want, ui, err);
    if (ends_with(want->path, ".safetensors"))
        return inspect_safetensors(want, ui, err);
    return fail(err, ERR_UNSUPPORTED, "%s: neither GGUF nor safetensors", want->path);
}

int cmd_inspect(int argc, char **argv)
{
    struct inspection want = {0};
    const struct option options[] = {
        {"key", 'k', OPTION_TEXT, &want.key, "KEY",
         "print the whole value of this key only"},
        {"brief", 'b', OPTION_FLAG, &want.is_brief, NULL, "do not list the tensors"},
        {"full", 0, OPTION_FLAG, &want.is_full, NULL, "with --json: long values too"},
        {0},
    };
    const struct verb verb = {
        .name = "inspect",
        .operands = "FILE",
        .summary = "Show what a GGUF, a safetensors file or a folder of shards holds, "
                   "and what a\n"
                   "loader may refuse.",
        .examples = "  carat inspect model.gguf\n"
                    "  carat inspect model.gguf --key tokenizer.chat_template\n"
                    "  carat inspect gemma-4-E2B-it --json | jq '.tensors[].name'\n",
        .options = options,
        .min_operands = 1,
        .max_operands = 1,
    };
    struct error err = {0};
    struct args args;
    struct ui ui;
    int code;

    if (!args_parse(&verb, argc, argv, &args, &code))
        return code;
    ui_begin(&ui, &verb, &args);
    want.path = args.operands[0];
    return ui_end(&ui, choose(&want, &ui, &err), &err);
}
