/*
 * lexer.c - a template's source as tokens
 *
 * Blanks around tags: "-" inside a tag's edge strips all white space on that side, "+" keeps it.
 * Otherwise the blanks between a line's start and a block or comment go, and so does one newline
 * right after it. Source: jinja2/lexer.py with trim_blocks and lstrip_blocks.
 */
#include "base/utf8.h"
#include "formats/template/syntax.h"

#include <string.h>

struct lexer {
    struct run *run;
    const char *text;
    size_t n, at;
    int line;
    bool after_newline; /* what came before `at` ended a line */
    struct token *tokens;
    size_t n_tokens, room;
};

static bool wrong(struct lexer *lx, const char *what)
{
    lx->run->line = lx->line;
    run_fail(lx->run, ERR_CORRUPT, "%s", what);
    return false;
}

static bool add(struct lexer *lx, enum token_kind kind, const char *text, size_t n)
{
    if (lx->n_tokens == lx->room) {
        const size_t room = lx->room ? 2 * lx->room : 256;
        struct token *tokens = run_array(lx->run, room, sizeof(*tokens));

        if (!tokens)
            return false;
        if (lx->n_tokens)
            memcpy(tokens, lx->tokens, lx->n_tokens * sizeof(*tokens));
        lx->tokens = tokens;
        lx->room = room;
    }
    lx->tokens[lx->n_tokens++] =
        (struct token){.kind = kind, .line = lx->line, .text = {text, n}};
    return true;
}

static void advance(struct lexer *lx, size_t n)
{
    for (size_t i = 0; i < n; i++)
        lx->line += lx->text[lx->at + i] == '\n';
    lx->at += n;
    if (n)
        lx->after_newline = lx->text[lx->at - 1] == '\n';
}

static bool is_at(const struct lexer *lx, size_t at, const char *text)
{
    const size_t n = strlen(text);

    return lx->n - at >= n && memcmp(lx->text + at, text, n) == 0;
}

static size_t spaces_at(const struct lexer *lx, size_t at)
{
    const size_t begin = at;
    size_t length;

    while (at < lx->n && (length = utf8_length(lx->text + at, lx->n - at)) > 0 &&
           is_space(utf8_decode(lx->text + at, length)))
        at += length;
    return at - begin;
}

/* ---- text between tags ---- */

static size_t next_tag(const struct lexer *lx)
{
    size_t at = lx->at;

    while (at < lx->n && !is_at(lx, at, "{{") && !is_at(lx, at, "{%") &&
           !is_at(lx, at, "{#"))
        at++;
    return at;
}

/* The text before a tag, less what the tag takes away. `mark` is the byte after "{%". */
static size_t trimmed(const struct lexer *lx, size_t end, bool is_print, char mark)
{
    const struct str text = {lx->text + lx->at, end - lx->at};
    size_t line_begin = text.n;

    if (mark == '-')
        return str_trim(text, (struct str){0}, false, true).n;
    if (mark == '+' || is_print)
        return text.n;
    while (line_begin > 0 && text.text[line_begin - 1] != '\n')
        line_begin--;
    if (line_begin == 0 && !lx->after_newline)
        return text.n;
    return line_begin + spaces_at(lx, lx->at + line_begin) >= text.n ? line_begin
                                                                     : text.n;
}

/* ---- inside a tag ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \xNN, \uNNNN, \UNNNNNNNN: the character, or false when the digits are not there. */
static bool code_escape(struct str str, size_t *at, char *out, size_t *n_out)
{
    const char kind = str.text[*at];
    const size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
    uint32_t c = 0;

    if (str.n - *at <= digits)
        return false;
    for (size_t i = 1; i <= digits; i++) {
        const int digit = hex_digit(str.text[*at + i]);

        if (digit < 0 || c >= 0x1000000)
            return false;
        c = c << 4 | (uint32_t)digit;
    }
    if (c >= 0x110000 || (c >= 0xd800 && c < 0xe000))
        return false;
    *at += digits + 1;
    *n_out += utf8_encode(c, out + *n_out);
    return true;
}

/* The text of a string literal between its quotes. Escapes never become longer. */
static bool unescape(struct lexer *lx, struct str str, struct str *out)
{
    static const char names[] = "\\'\"abfnrtv0", values[] = "\\'\"\a\b\f\n\r\t\v\0";
    char *text = run_alloc(lx->run, str.n + 1);
    size_t n = 0;

    for (size_t at = 0; text && at < str.n;) {
        const char *name;

        if (str.text[at] != '\\' || at + 1 == str.n) {
            text[n++] = str.text[at++];
            continue;
        }
        at++;
        name = memchr(names, str.text[at], sizeof(names) - 1);
        if (name) {
            text[n++] = values[name - names];
            at++;
        } else if (str.text[at] == '\n') { /* a line that goes on */
            at++;
        } else if (!memchr("xuU", str.text[at], 3)) {
            text[n++] = '\\';
        } else if (!code_escape(str, &at, text, &n)) {
            return wrong(lx, "a string with a broken escape");
        }
    }
    *out = (struct str){text, n};
    return text;
}

static bool string(struct lexer *lx)
{
    const char quote = lx->text[lx->at];
    size_t end = lx->at + 1;
    struct str text = {"", 0};

    while (end < lx->n && lx->text[end] != quote)
        end += lx->text[end] == '\\' ? 2 : 1;
    if (end >= lx->n)
        return wrong(lx, "a string without its end");
    if (!unescape(lx, (struct str){lx->text + lx->at + 1, end - lx->at - 1}, &text) ||
        !add(lx, TOKEN_STRING, text.text, text.n))
        return false;
    advance(lx, end + 1 - lx->at);
    return true;
}

static bool number(struct lexer *lx)
{
    const size_t begin = lx->at;
    size_t at = begin;
    bool is_real = false;

    while (at < lx->n && (is_digit(lx->text[at]) || lx->text[at] == '_'))
        at++;
    if (at + 1 < lx->n && lx->text[at] == '.' && is_digit(lx->text[at + 1])) {
        is_real = true;
        for (at++; at < lx->n && is_digit(lx->text[at]);)
            at++;
    }
    if (at + 1 < lx->n && (lx->text[at] | 0x20) == 'e') {
        const size_t sign = lx->text[at + 1] == '-' || lx->text[at + 1] == '+';

        if (at + 1 + sign < lx->n && is_digit(lx->text[at + 1 + sign])) {
            is_real = true;
            for (at += 1 + sign; at < lx->n && is_digit(lx->text[at]);)
                at++;
        }
    }
    advance(lx, at - begin);
    return add(lx, is_real ? TOKEN_REAL : TOKEN_INTEGER, lx->text + begin, at - begin);
}

static bool operator_token(struct lexer *lx)
{
    static const char *const operators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
        if (is_at(lx, lx->at, operators[i])) {
            const size_t n = strlen(operators[i]);

            if (!add(lx, TOKEN_OPERATOR, operators[i], n))
                return false;
            advance(lx, n);
            return true;
        }
    return wrong(lx, "a character no expression has");
}

/* The length of the tag's end at `at` with what it takes away behind it; 0 when it is not there. */
static size_t tag_end(const struct lexer *lx, bool is_print, const char *end)
{
    const char sign = lx->text[lx->at];
    const size_t signed_at = lx->at + (sign == '-' || (sign == '+' && !is_print));
    const size_t n = signed_at - lx->at + 2;

    if (!is_at(lx, signed_at, end))
        return 0;
    if (sign == '-')
        return n + spaces_at(lx, lx->at + n);
    return n + (!is_print && sign != '+' && is_at(lx, lx->at + n, "\n"));
}

static bool one_token(struct lexer *lx)
{
    const char c = lx->text[lx->at];
    size_t n = 1;

    if (c == '"' || c == '\'')
        return string(lx);
    if (is_digit(c))
        return number(lx);
    if (!is_letter(c))
        return operator_token(lx);
    while (lx->at + n < lx->n &&
           (is_letter(lx->text[lx->at + n]) || is_digit(lx->text[lx->at + n])))
        n++;
    if (!add(lx, TOKEN_NAME, lx->text + lx->at, n))
        return false;
    advance(lx, n);
    return true;
}

/* From behind "{{" or "{%" to behind its end. A "}" that closes a bracket ends nothing. */
static bool tag(struct lexer *lx, bool is_print)
{
    const char *end = is_print ? "}}" : "%}";
    int open = 0;

    for (;;) {
        size_t n;
        struct str last;

        advance(lx, spaces_at(lx, lx->at));
        if (lx->at == lx->n)
            return wrong(lx, "a tag without its end");
        n = open ? 0 : tag_end(lx, is_print, end);
        if (n) {
            advance(lx, n);
            return add(lx, is_print ? TOKEN_PRINT_END : TOKEN_BLOCK_END, "", 0);
        }
        if (!one_token(lx))
            return false;
        last = lx->tokens[lx->n_tokens - 1].text;
        if (lx->tokens[lx->n_tokens - 1].kind != TOKEN_OPERATOR || last.n != 1)
            continue;
        open += memchr("([{", last.text[0], 3) != NULL;
        open -= memchr(")]}", last.text[0], 3) != NULL;
        if (open < 0)
            return wrong(lx, "a bracket that was not opened");
    }
}

/* ---- comments and raw text ---- */

static bool comment(struct lexer *lx)
{
    while (lx->at < lx->n) {
        const char c = lx->text[lx->at];
        const size_t n = c == '-' || c == '+' || c == '#' ? tag_end(lx, false, "#}") : 0;

        advance(lx, n ? n : 1);
        if (n)
            return true;
    }
    return wrong(lx, "a comment without its end");
}

/* Whether "{% NAME %}" is here, from behind "{%" and its sign; *n up to behind its end. Only
 * endraw takes a newline with it. */
static bool is_plain_tag(struct lexer *lx, size_t at, const char *name, size_t *n)
{
    const bool takes_newline = name[0] == 'e';
    struct lexer ahead = *lx;

    at += spaces_at(lx, at);
    if (!is_at(lx, at, name))
        return false;
    at += strlen(name);
    ahead.at = at + spaces_at(lx, at);
    if (ahead.at >= lx->n)
        return false;
    *n = tag_end(&ahead, !takes_newline, "%}");
    *n += *n ? ahead.at - lx->at : 0;
    return *n > 0;
}

/* From behind "{% raw %}": everything up to "{% endraw %}" is text. */
static bool raw(struct lexer *lx)
{
    for (size_t at = lx->at; at < lx->n; at++) {
        size_t keep, n;
        char mark;

        if (!is_at(lx, at, "{%") || at + 2 == lx->n)
            continue;
        mark = lx->text[at + 2];
        if (!is_plain_tag(lx, at + 2 + (mark == '-' || mark == '+'), "endraw", &n))
            continue;
        keep = trimmed(lx, at, false, mark);
        if (!add(lx, TOKEN_TEXT, lx->text + lx->at, keep))
            return false;
        advance(lx, n);
        return true;
    }
    return wrong(lx, "raw text without its end");
}

/* ---- all of it ---- */

static bool text_and_tag(struct lexer *lx)
{
    const size_t begin = next_tag(lx);
    const char kind = begin < lx->n ? lx->text[begin + 1] : 0;
    const char mark = begin + 2 < lx->n ? lx->text[begin + 2] : 0;
    const bool has_mark = mark == '-' || mark == '+';
    const size_t keep = kind ? trimmed(lx, begin, kind == '{', mark) : lx->n - lx->at;
    size_t n;

    if (keep > 0 && !add(lx, TOKEN_TEXT, lx->text + lx->at, keep))
        return false;
    advance(lx, begin - lx->at);
    if (!kind)
        return true;
    lx->after_newline = false;
    if (kind == '%' && is_plain_tag(lx, begin + 2 + has_mark, "raw", &n)) {
        advance(lx, n);
        return raw(lx);
    }
    advance(lx, 2 + (size_t)has_mark);
    if (kind == '#')
        return comment(lx);
    return add(lx, kind == '{' ? TOKEN_PRINT_BEGIN : TOKEN_BLOCK_BEGIN, "", 0) &&
           tag(lx, kind == '{');
}

/* Line ends as \n, and without the last one. */
static bool normalize(struct lexer *lx, const char *source, size_t n)
{
    char *text = run_alloc(lx->run, n + 1);

    if (!text)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n')
            continue;
        text[lx->n++] = source[i] == '\r' ? '\n' : source[i];
    }
    lx->n -= lx->n > 0 && text[lx->n - 1] == '\n';
    text[lx->n] = '\0';
    lx->text = text;
    return true;
}

struct token *lex(struct run *run, const char *source, size_t n)
{
    struct lexer lx = {.run = run, .line = 1, .after_newline = true};

    if (!normalize(&lx, source, n))
        return NULL;
    while (lx.at < lx.n)
        if (!text_and_tag(&lx))
            return NULL;
    return add(&lx, TOKEN_END, "", 0) ? lx.tokens : NULL;
}
