/*
 * beside.c - the tokenizer and the chat template that lie beside an adapter's weights
 *
 * Trainers save both with an adapter. What goes into the file is the base's: where the adapter was
 * trained with others, a note says so.
 */
#include "convert/source.h"

#include <string.h>

/* The same bytes; two empty files too. */
static enum status same_bytes(const char *const paths[2], bool *same, struct error *err)
{
    struct file *files[2] = {NULL, NULL};
    const uint8_t *bytes[2] = {NULL, NULL};
    enum status st = OK;

    for (int i = 0; i < 2 && st == OK; i++) {
        st = file_open(paths[i], &files[i], err);
        if (st == OK)
            st = file_map(files[i], &bytes[i], err);
    }
    if (st == OK)
        *same = file_size(files[0]) == file_size(files[1]) &&
                memcmp(bytes[0], bytes[1], (size_t)file_size(files[0])) == 0;
    file_close(files[0]);
    file_close(files[1]);
    return st;
}

/* Trainers write padding and truncation of their own into it: only other tokens are another one. */
static enum status note_tokenizer(struct source *src, const char *folder,
                                  const struct tokenizer *base, struct error *err)
{
    const char *const paths[2] = {
        arena_printf(&src->arena, "%s/tokenizer.json", folder),
        arena_printf(&src->arena, "%s/tokenizer.json", checkpoint_folder(src->cp))};
    struct tokenizer *own = NULL;
    uint8_t digests[2][32];
    bool same = false;

    if (!paths[0] || !paths[1])
        return fail(err, ERR_NOMEM, "no memory for a path");
    if (!file_exists(paths[0]) || !file_exists(paths[1]))
        return OK;
    enum status st = same_bytes(paths, &same, err);
    if (st != OK || same)
        return st;
    st = tokenizer_open_folder(folder, checkpoint_config(src->cp), &own, err);
    if (st == OK) {
        tokenizer_digest(base, digests[0]);
        tokenizer_digest(own, digests[1]);
        same = memcmp(digests[0], digests[1], sizeof(digests[0])) == 0;
        tokenizer_free(own);
    }
    if (st == ERR_NOMEM || st == ERR_IO || same)
        return st;
    return source_note(src, err,
                       "%s has other tokens than the base's tokenizer, which is used",
                       paths[0]);
}

static enum status note_template(struct source *src, const char *folder,
                                 const struct chat_templates *base, struct error *err)
{
    const struct chat_template *used = chat_template_named(base, "default");
    const char *path = arena_printf(&src->arena, "%s/chat_template.jinja", folder);
    struct chat_templates own = {0};
    bool same = false;
    enum status st;

    if (!path)
        return fail(err, ERR_NOMEM, "no memory for a path");
    if (!file_exists(path))
        return OK;
    st = chat_read_template(path, &own, err);
    const struct chat_template *its = chat_template_named(&own, "default");
    if (used && its)
        same = used->n == its->n && memcmp(used->text, its->text, its->n) == 0;
    chat_templates_free(&own);
    if (st == ERR_NOMEM || st == ERR_IO || same)
        return st;
    return source_note(src, err, "%s %s (--chat-template FILE takes another)", path,
                       used ? "differs from the base's, which is used"
                            : "is not used, and the base has none");
}

enum status source_note_beside(struct source *src, const struct source_options *options,
                               const struct chat_templates *templates,
                               const struct tokenizer *tok, struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; i < options->n_loras && st == OK; i++) {
        const char *folder = checkpoint_folder_of(&src->arena, options->loras[i].path);

        if (!folder)
            return fail(err, ERR_NOMEM, "no memory for a path");
        st = note_tokenizer(src, folder, tok, err);
        if (st == OK && !options->chat_template)
            st = note_template(src, folder, templates, err);
    }
    return st;
}
