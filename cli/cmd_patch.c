/*
 * cmd_patch.c - carat patch: other metadata for a GGUF, its tensors untouched
 */
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/ui.h"
#include "formats/chat/chat.h"
#include "formats/gguf/gguf.h"

#include <stdio.h>
#include <string.h>

struct request {
    const char *chat_template;
    struct texts metadata;
};

/* A template that is broken is written all the same: others may read it. */
static enum status warn_of_template(const struct gguf_meta *meta, struct error *err)
{
    const enum status st = chat_check(meta, err);

    if (st != ERR_CORRUPT && st != ERR_UNSUPPORTED)
        return st;
    log_warn("%s; written as it is", err->text);
    return OK;
}

static enum status change(struct gguf_meta *meta, const struct request *request,
                          struct error *err)
{
    enum status st = OK;

    if (request->chat_template)
        st = chat_replace_template(meta, request->chat_template, err);
    for (size_t i = 0; st == OK && i < request->metadata.n; i++)
        st = gguf_assign(meta, request->metadata.at[i], err);
    if (st == OK && request->chat_template)
        st = warn_of_template(meta, err);
    return st;
}

static enum status report(const struct ui *ui, const char *path, bool in_place,
                          struct error *err)
{
    if (ui->json)
        return ui_json(
            json_pack("{s:o,s:b}", "path", ui_json_string(path), "in_place", in_place),
            err);
    printf("%s: %s\n", path,
           in_place ? "metadata written in place"
                    : "metadata longer than before: file written anew");
    return OK;
}

static enum status patch(const char *path, const struct request *request, struct ui *ui,
                         struct error *err)
{
    const struct progress progress = ui_progress(ui, UI_BYTES);
    struct gguf *file = NULL;
    struct gguf_meta *meta = NULL;
    bool in_place = false;
    enum status st = gguf_open(path, &file, err);

    if (st != OK)
        return st;
    meta = gguf_meta_copy(gguf_metadata(file));
    st = meta ? change(meta, request, err)
              : fail(err, ERR_NOMEM, "%s: no memory for metadata", path);
    if (st == OK)
        st = gguf_patch(path, file, meta, &progress, &in_place, err);
    ui_clear(ui);
    if (st == OK)
        st = report(ui, path, in_place, err);
    gguf_meta_free(meta);
    gguf_close(file);
    return st;
}

int cmd_patch(int argc, char **argv)
{
    struct request request = {0};
    const struct option options[] = {
        {"chat-template", 0, OPTION_TEXT, &request.chat_template, "FILE",
         "the template that takes the place of the file's"},
        {"metadata", 0, OPTION_TEXTS, &request.metadata, "KEY=VALUE",
         "set a key, as the type it has; new ones are strings; may be repeated"},
        {0},
    };
    const struct verb verb = {
        .name = "patch",
        .operands = "FILE.gguf",
        .summary = "Change metadata and leave every tensor's bytes alone: in place where "
                   "the new "
                   "header fits, otherwise by a new file that replaces the old one.",
        .examples = "  carat patch e2b.gguf --chat-template chat_template.jinja\n"
                    "  carat patch e2b.gguf --metadata general.name='My model'\n",
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
    if (!request.chat_template && request.metadata.n == 0)
        return args_refuse(&verb, "nothing to change (--chat-template, --metadata)");
    ui_begin(&ui, &verb, &args);
    return ui_end(&ui, patch(args.operands[0], &request, &ui, &err), &err);
}
