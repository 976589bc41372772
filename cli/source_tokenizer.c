/*
 * source_tokenizer.c - the tokenizer of whatever the user calls a model, and text from a file
 */
#include "cli/source_tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MOST = 1 << 30, TEXT_STEP = 1 << 16 };

static enum status of_folder(const char *folder, struct tokenizer **out,
                             struct error *err)
{
    struct arena arena = {0};
    json_t *config = NULL;
    enum status st = OK;
    char *path = arena_printf(&arena, "%s/config.json", folder);

    if (!path)
        st = fail(err, ERR_NOMEM, "%s: no memory for a name", folder);
    else if (file_exists(path))
        st = json_read_file(path, &config, err);
    if (st == OK)
        st = tokenizer_open_folder(folder, config, out, err);
    json_decref(config);
    arena_free(&arena);
    return st;
}

static enum status of_gguf(const char *path, struct tokenizer **out, struct error *err)
{
    struct gguf *file = NULL;
    enum status st = gguf_open(path, &file, err);

    if (st != OK)
        return st;
    st = tokenizer_from_meta(gguf_metadata(file), out, err);
    if (st != OK)
        st = fail_at(err, path);
    gguf_close(file);
    return st;
}

static enum status of_neighbour(const char *path, struct tokenizer **out,
                                struct error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    enum status st;

    if (!folder)
        return fail(err, ERR_NOMEM, "%s: no memory for a name", path);
    st = of_folder(folder, out, err);
    free(folder);
    return st;
}

enum status source_tokenizer(const char *path, struct tokenizer **out, struct error *err)
{
    struct file *file = NULL;
    char magic[4] = "";
    enum status st;

    if (file_is_folder(path))
        return of_folder(path, out, err);
    st = file_open(path, &file, err);
    if (st == OK && file_size(file) >= sizeof(magic))
        st = file_read(file, 0, magic, sizeof(magic), err);
    file_close(file);
    if (st != OK)
        return st;
    return memcmp(magic, "GGUF", sizeof(magic)) == 0 ? of_gguf(path, out, err)
                                                     : of_neighbour(path, out, err);
}

static enum status of_stdin(char **out, size_t *n_bytes, struct error *err)
{
    size_t room = TEXT_STEP, n = 0, got;
    char *text = malloc(room), *larger;

    while (text && (got = fread(text + n, 1, room - n - 1, stdin)) > 0 && n < TEXT_MOST) {
        n += got;
        if (room - n > 1)
            continue;
        room *= 2;
        larger = realloc(text, room);
        if (!larger)
            free(text);
        text = larger;
    }
    if (!text)
        return fail(err, ERR_NOMEM, "stdin: no memory for its text");
    text[n] = '\0';
    if (ferror(stdin) || n >= TEXT_MOST || interrupt_pending()) {
        free(text);
        if (interrupt_pending())
            return interrupt_check(err);
        if (n >= TEXT_MOST)
            return fail(err, ERR_USAGE, "stdin: more than 1 GiB of text");
        return fail(err, ERR_IO, "stdin: %s", strerror(errno));
    }
    *out = text;
    *n_bytes = n;
    return OK;
}

enum status source_text(const char *path, char **out, size_t *n, struct error *err)
{
    if (strcmp(path, "-") == 0)
        return of_stdin(out, n, err);
    return file_read_all(path, TEXT_MOST, out, n, err);
}
