/*
 * sensitivity.c - read and write files of sensitivity
 */
#include "convert/sensitivity/sensitivity.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BYTES = 16 << 20, MAX_FIELDS = 4, MAX_NAME = 63 };

static const char magic[] = "carat-sensitivity";

struct line {
    const char *path;
    unsigned number;
    char *fields[MAX_FIELDS];
    size_t n;
};

/* Cut at tabs; more fields than MAX_FIELDS count but are not kept. */
static void cut_line(char *text, struct line *line)
{
    text[strcspn(text, "#\r")] = '\0';
    line->n = 0;
    while (*text) {
        const size_t n = strcspn(text, "\t");
        char *next = text[n] ? text + n + 1 : text + n;

        text[n] = '\0';
        if (line->n < MAX_FIELDS)
            line->fields[line->n] = text;
        line->n++;
        text = next;
    }
}

static enum status bad_line(const struct line *line, const char *what, struct error *err)
{
    return fail(err, ERR_CORRUPT, "%s:%u: %s", line->path, line->number, what);
}

/* A whole field that is a finite number of at least 0. */
static bool read_number(const char *text, double *out)
{
    char *end = NULL;

    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out) && *out >= 0;
}

static enum status read_fact(struct sensitivity *s, const struct line *line,
                             struct error *err)
{
    const char *key = line->fields[0], *value = line->fields[1];
    double number;

    if (strcmp(key, "source") == 0)
        s->source = value;
    else if (strcmp(key, "text") == 0)
        s->text = value;
    else if (strcmp(key, "method") == 0)
        s->method = value;
    else if (strcmp(key, "tokens") != 0)
        return bad_line(line, "not a fact this version knows", err);
    else if (!read_number(value, &number) || number >= 0x1p63)
        return bad_line(line, "the number of tokens is not a number", err);
    else
        s->n_tokens = (uint64_t)number;
    return OK;
}

/* Rows of one tensor stand together, so a tensor that comes again further down is found by looking
 * at the first row of each. */
static enum status check_order(const struct sensitivity *s, const struct line *line,
                               const struct sensitivity_row *row, struct error *err)
{
    size_t same = 0;

    while (same < s->n_rows &&
           strcmp(s->rows[s->n_rows - 1 - same].tensor, row->tensor) == 0) {
        if (s->rows[s->n_rows - 1 - same].type == row->type)
            return bad_line(line, "this tensor and type stand twice", err);
        same++;
    }
    for (size_t i = 0; same == 0 && i < s->n_rows; i++)
        if (strcmp(s->rows[i].tensor, row->tensor) == 0)
            return bad_line(line, "the rows of this tensor do not stand together", err);
    return OK;
}

static enum status read_row(struct sensitivity *s, const struct line *line,
                            struct error *err)
{
    struct sensitivity_row row = {.tensor = line->fields[0]};

    if (!*row.tensor || strlen(row.tensor) > MAX_NAME)
        return bad_line(line, "not a tensor's name", err);
    if (!block_type_from_name(line->fields[1], &row.type) ||
        !quantize_can(row.type, METHOD_PLAIN))
        return bad_line(line, "not a type that can be written", err);
    if (!read_number(line->fields[2], &row.kld))
        return bad_line(line, "the divergence is not a number of at least 0", err);
    row.is_measured = strcmp(line->fields[3], "measured") == 0;
    if (!row.is_measured && strcmp(line->fields[3], "scaled") != 0)
        return bad_line(line, "neither \"measured\" nor \"scaled\"", err);
    const enum status st = check_order(s, line, &row, err);
    if (st == OK)
        s->rows[s->n_rows++] = row;
    return st;
}

static enum status read_lines(const char *path, char *text, struct sensitivity *s,
                              struct error *err)
{
    enum status st = OK;
    char *next;
    bool is_ours = false;

    for (unsigned number = 1; st == OK && text; number++, text = next) {
        struct line line = {.path = path, .number = number};

        next = strchr(text, '\n');
        if (next)
            *next++ = '\0';
        cut_line(text, &line);
        if (number == 1) {
            is_ours = line.n == 2 && strcmp(line.fields[0], magic) == 0;
            if (!is_ours)
                return fail(err, ERR_USAGE,
                            "%s: not a file of sensitivity (as carat sensitivity writes)",
                            path);
            if (strcmp(line.fields[1], "1") != 0)
                st = fail(err, ERR_UNSUPPORTED, "%s: version %s (1 expected)", path,
                          line.fields[1]);
        } else if (line.n == 2) {
            st = read_fact(s, &line, err);
        } else if (line.n == MAX_FIELDS) {
            st = read_row(s, &line, err);
        } else if (line.n > 0) {
            st = bad_line(&line, "neither a fact nor a row of four fields", err);
        }
    }
    return st;
}

enum status sensitivity_read(const char *path, struct sensitivity *out, struct error *err)
{
    char *bytes = NULL;
    size_t n_bytes = 0, n_lines = 1;
    enum status st = file_read_all(path, MAX_BYTES, &bytes, &n_bytes, err);

    *out = (struct sensitivity){.source = "", .text = "", .method = ""};
    if (st != OK)
        return st;
    char *text = arena_strndup(&out->arena, bytes, n_bytes);
    for (size_t i = 0; i < n_bytes; i++)
        n_lines += bytes[i] == '\n';
    free(bytes);
    out->rows = arena_array(&out->arena, n_lines, sizeof(*out->rows));
    if (!text || !out->rows)
        st = fail(err, ERR_NOMEM, "%s: no memory to read it", path);
    else if (strlen(text) != n_bytes)
        st = fail(err, ERR_CORRUPT, "%s: a NUL byte in a text", path);
    else
        st = read_lines(path, text, out, err);
    if (st == OK && out->n_rows == 0)
        st = fail(err, ERR_CORRUPT, "%s: no tensor in it", path);
    if (st != OK)
        sensitivity_free(out);
    return st;
}

const struct sensitivity_row *sensitivity_find(const struct sensitivity *s,
                                               const char *tensor, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        if (strcmp(s->rows[i].tensor, tensor) != 0)
            continue;
        while (i + *n < s->n_rows && strcmp(s->rows[i + *n].tensor, tensor) == 0)
            ++*n;
        return &s->rows[i];
    }
    return NULL;
}

void sensitivity_free(struct sensitivity *s)
{
    arena_free(&s->arena);
    *s = (struct sensitivity){0};
}

/* ---- writing ---- */

/* A fact must stay one field of one line. */
static char *one_field(struct arena *arena, const char *text)
{
    char *copy = arena_strdup(arena, text);

    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == '#')
            *c = ' ';
    return copy;
}

enum status sensitivity_write(const struct sensitivity *s, const char *path, bool force,
                              struct error *err)
{
    enum { HEADER = 256, ROW = 128 };
    struct arena arena = {0};
    char *source = one_field(&arena, s->source);
    const size_t room = HEADER + strlen(s->source) + strlen(s->text) + strlen(s->method) +
                        s->n_rows * ROW;
    char *text = arena_alloc(&arena, room);
    size_t at;

    if (!source || !text) {
        arena_free(&arena);
        return fail(err, ERR_NOMEM, "%s: no memory to write it", path);
    }
    at = (size_t)snprintf(text, room,
                          "%s\t1\nsource\t%s\ntext\t%s\ntokens\t%" PRIu64
                          "\nmethod\t%s\n# tensor\ttype\tKLD, nats a token\thow\n",
                          magic, *source ? source : "?", s->text, s->n_tokens, s->method);
    for (size_t i = 0; i < s->n_rows && at < room; i++)
        at += (size_t)snprintf(text + at, room - at, "%s\t%s\t%.6e\t%s\n",
                               s->rows[i].tensor, block_type_name(s->rows[i].type),
                               s->rows[i].kld,
                               s->rows[i].is_measured ? "measured" : "scaled");
    const enum status st = file_write_all(path, text, at, force, err);
    arena_free(&arena);
    return st;
}
