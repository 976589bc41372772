/*
 * cmd_tokenize.c - carat tokenize: text to token ids, and back
 */
#include "cli/cli.h"
#include "cli/source_tokenizer.h"
#include "cli/token_ids.h"
#include "cli/ui.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct request {
    const char *text, *file; /* --prompt, --text */
    bool decode, pieces, no_bos, no_special, whole;
};

/* ---- encoding ---- */

static unsigned flags_of(const struct request *request)
{
    return (request->no_bos ? 0u : (unsigned)TOKENIZE_BOS) |
           (request->no_special ? 0u : (unsigned)TOKENIZE_SPECIAL);
}

/* A piece as it prints, with what would disturb a terminal escaped, in quotes. */
static void print_piece(const struct tokenizer *tok, int32_t id)
{
    char shown[256];
    size_t n;
    const char *piece = tokenizer_piece(tok, id, true, &n);

    text_escape(shown, sizeof(shown), piece, n);
    printf("%6" PRId32 "  \"%s\"\n", id, shown);
}

static void print_ids(const struct tokenizer *tok, const struct request *request,
                      const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (request->pieces)
            print_piece(tok, ids[i]);
        else
            printf("%s%" PRId32, i ? " " : "", ids[i]);
    }
    if (!request->pieces)
        putchar('\n');
}

static json_t *ids_json(const int32_t *ids, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static json_t *pieces_json(const struct tokenizer *tok, const int32_t *ids, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        size_t length;
        const char *piece = tokenizer_piece(tok, ids[i], true, &length);

        json_array_append_new(list, ui_json_text(piece, length));
    }
    return list;
}

static enum status encode_one(const struct tokenizer *tok, const struct request *request,
                              const char *text, size_t n, json_t *lines,
                              struct error *err)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    json_t *line;
    enum status st = tokenizer_encode(tok, text, n, flags_of(request), &ids, &n_ids, err);

    if (st != OK)
        return st;
    if (lines) {
        line = json_pack("{s:o}", "ids", ids_json(ids, n_ids));
        if (request->pieces)
            json_object_set_new(line, "pieces", pieces_json(tok, ids, n_ids));
        json_array_append_new(lines, line);
    } else {
        print_ids(tok, request, ids, n_ids);
    }
    free(ids);
    return OK;
}

/* ---- decoding ---- */

static enum status decode_one(const struct tokenizer *tok, const struct request *request,
                              const char *text, size_t n, json_t *lines,
                              struct error *err)
{
    int32_t *ids = NULL;
    size_t n_ids = 0, n_out = 0;
    char *out = NULL;
    enum status st = token_ids_parse(text, n, &ids, &n_ids, err);

    if (st == OK)
        st = tokenizer_decode(tok, ids, n_ids, !request->no_special, &out, &n_out, err);
    if (st == OK && lines) {
        json_array_append_new(lines,
                              json_pack("{s:o}", "text", ui_json_text(out, n_out)));
    } else if (st == OK) {
        fwrite(out, 1, n_out, stdout);
        putchar('\n');
    }
    free(ids);
    free(out);
    return st;
}

/* ---- lines ---- */

/* Line by line (or all at once); a last line without an end counts, an empty rest does not. */
static enum status each_line(const struct tokenizer *tok, const struct request *request,
                             const char *text, size_t n, json_t *lines, struct error *err)
{
    enum status st = OK;

    for (size_t at = 0; st == OK && at < n;) {
        const char *newline = request->whole ? NULL : memchr(text + at, '\n', n - at);
        const size_t length = newline ? (size_t)(newline - text) - at : n - at;

        st = request->decode ? decode_one(tok, request, text + at, length, lines, err)
                             : encode_one(tok, request, text + at, length, lines, err);
        at += length + (newline != NULL);
    }
    return st;
}

static enum status tokenize(const char *model, const struct request *request,
                            const struct ui *ui, struct error *err)
{
    struct tokenizer *tok = NULL;
    json_t *lines = ui->json ? json_array() : NULL;
    char *text = NULL;
    size_t n = 0;
    enum status st = source_tokenizer(model, &tok, err);

    if (st == OK && request->text) {
        st = each_line(tok, request, request->text, strlen(request->text), lines, err);
    } else if (st == OK) {
        st = source_text(request->file, &text, &n, err);
        if (st == OK)
            st = each_line(tok, request, text, n, lines, err);
    }
    if (st == OK && ui->json)
        st = ui_json(json_incref(lines), err);
    json_decref(lines);
    free(text);
    tokenizer_free(tok);
    return st;
}

int cmd_tokenize(int argc, char **argv)
{
    struct request request = {.file = "-"};
    const struct option options[] = {
        {"text", 0, OPTION_TEXT, &request.file, "FILE",
         "read this file; - is stdin (the default)"},
        {"prompt", 'p', OPTION_TEXT, &request.text, "TEXT",
         "this text instead of a file"},
        {"decode", 'd', OPTION_FLAG, &request.decode, NULL, "lines of ids to text"},
        {"whole", 'w', OPTION_FLAG, &request.whole, NULL,
         "the whole text at once, not by lines"},
        {"pieces", 0, OPTION_FLAG, &request.pieces, NULL, "show each id with its piece"},
        {"no-bos", 0, OPTION_FLAG, &request.no_bos, NULL, "do not put BOS first"},
        {"no-special", 0, OPTION_FLAG, &request.no_special, NULL,
         "control tokens written in the text are text; decoding leaves them out"},
        {0},
    };
    const struct verb verb = {
        .name = "tokenize",
        .operands = "MODEL",
        .summary =
            "Token ids of each line of a text, one line of ids a line; or text of ids.",
        .examples = "  carat tokenize model.gguf -p 'Hello, world'\n"
                    "  carat tokenize gemma-4-E2B-it --text corpus.txt > ids.txt\n"
                    "  carat tokenize model.gguf --decode < ids.txt\n",
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
    return ui_end(&ui, tokenize(args.operands[0], &request, &ui, &err), &err);
}
