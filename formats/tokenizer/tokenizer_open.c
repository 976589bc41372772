/*
 * tokenizer_open.c - find the files of a tokenizer in a checkpoint folder and read them in order
 */
#include "formats/tokenizer/token_source.h"

#include <stdlib.h>
#include <string.h>

enum { JSON_TEXT, JSON_GZ, SENTENCEPIECE, N_FILES };

static const char *const file_names[N_FILES] = {"tokenizer.json", "tokenizer.json.gz",
                                                "tokenizer.model"};

static char *path_in(struct arena *arena, const char *folder, const char *name)
{
    return arena_printf(arena, "%s/%s", folder, name);
}

enum status check_pointer(const char *path, const char *bytes, size_t n_bytes,
                          struct error *err)
{
    if (!file_is_pointer(bytes, n_bytes))
        return OK;
    return fail(err, ERR_CORRUPT,
                "%s: a git-lfs pointer; the file itself was not downloaded", path);
}

/* A configuration file that may be missing. */
static enum status read_optional(struct arena *arena, const char *folder,
                                 const char *name, json_t **out, struct error *err)
{
    const char *path = path_in(arena, folder, name);

    if (!path)
        return fail(err, ERR_NOMEM, "no memory for a path");
    return file_exists(path) ? json_read_file(path, out, err) : OK;
}

static enum status read_configs(struct arena *arena, struct token_source *source,
                                struct error *err)
{
    const struct {
        const char *name;
        json_t **tree;
    } files[] = {
        {"tokenizer_config.json", &source->tokenizer_config},
        {"special_tokens_map.json", &source->special_map},
        {"added_tokens.json", &source->added_map},
        {"generation_config.json", &source->generation},
    };
    enum status st = OK;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && st == OK; i++)
        st = read_optional(arena, source->folder, files[i].name, files[i].tree, err);
    return st;
}

/* Families whose official tokenizer is the SentencePiece model. */
static bool is_older_family(const json_t *config)
{
    static const char *const families[] = {"gemma2", "gemma3", "shieldgemma2",
                                           "paligemma"};
    const char *type = json_string_value(json_object_get(config, "model_type"));

    if (!type)
        return false;
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strncmp(type, families[i], strlen(families[i])) == 0)
            return true;
    return strcmp(type, "gemma") == 0;
}

static uint64_t table_rows(const json_t *config)
{
    const json_t *rows =
        json_object_get(json_object_get(config, "text_config"), "vocab_size");

    if (!json_is_integer(rows))
        rows = json_object_get(config, "vocab_size");
    return json_integer_value(rows) > 0 ? (uint64_t)json_integer_value(rows) : 0;
}

/* Everything of a tokenizer.json. */
static enum status read_json(const char *path, struct token_source *source,
                             struct tokenizer *tok, struct error *err)
{
    enum status st = tokenizer_json_read(path, source, tok, err);

    if (st == OK)
        st = tokenizer_json_check(source, err);
    if (st == OK && added_tokens_apply(source, tok, err) != OK)
        st = fail_at(err, path);
    return st;
}

/* A SentencePiece model, with the little that a tokenizer.json beside it adds. */
static enum status read_model(char *const paths[N_FILES], struct token_source *source,
                              struct tokenizer *tok, struct error *err)
{
    enum status st = OK;

    if (file_exists(paths[JSON_TEXT]))
        st = tokenizer_json_read(paths[JSON_TEXT], source, NULL, err);
    return st == OK ? sentencepiece_read(paths[SENTENCEPIECE], source, tok, err) : st;
}

static enum status read_files(struct arena *arena, struct token_source *source,
                              struct tokenizer *tok, struct error *err)
{
    char *paths[N_FILES];
    bool is_there[N_FILES];
    enum status st;

    for (int i = 0; i < N_FILES; i++) {
        paths[i] = path_in(arena, source->folder, file_names[i]);
        if (!paths[i])
            return fail(err, ERR_NOMEM, "no memory for a path");
        is_there[i] = file_exists(paths[i]);
    }
    if (!is_there[JSON_TEXT] && !is_there[JSON_GZ] && !is_there[SENTENCEPIECE])
        return fail(err, ERR_USAGE,
                    "%s: no tokenizer: neither tokenizer.json, tokenizer.json.gz nor "
                    "tokenizer.model is there",
                    source->folder);
    st = read_configs(arena, source, err);
    if (st != OK)
        return st;
    if (is_there[SENTENCEPIECE] &&
        (source->is_older || (!is_there[JSON_TEXT] && !is_there[JSON_GZ])))
        return read_model(paths, source, tok, err);
    return read_json(paths[is_there[JSON_TEXT] ? JSON_TEXT : JSON_GZ], source, tok, err);
}

static void source_free(struct token_source *source)
{
    json_decref(source->added);
    json_decref(source->normalizer);
    json_decref(source->pre_tokenizer);
    json_decref(source->post_processor);
    json_decref(source->tokenizer_config);
    json_decref(source->special_map);
    json_decref(source->added_map);
    json_decref(source->generation);
}

enum status tokenizer_open_folder(const char *folder, const json_t *config,
                                  struct tokenizer **out, struct error *err)
{
    struct token_source source = {.folder = folder,
                                  .config = config,
                                  .rows = table_rows(config),
                                  .is_older = is_older_family(config)};
    struct arena arena = {0};
    struct tokenizer *tok = vocabulary_new();
    enum status st = tok ? OK : fail(err, ERR_NOMEM, "no memory for a tokenizer");

    if (st == OK)
        st = read_files(&arena, &source, tok, err);
    if (st == OK)
        st = special_tokens_apply(&source, tok, err);
    if (st == OK && vocabulary_finish(tok, err) != OK)
        st = fail_at(err, folder);
    source_free(&source);
    arena_free(&arena);
    if (st == OK)
        *out = tok;
    else
        tokenizer_free(tok);
    return st;
}
