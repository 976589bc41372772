/*
 * json_scan.c - walk strict JSON (RFC 8259) without recursion
 *
 * What may come next is one of a few states; which brackets are open is one bit a level. Text
 * is copied to the scanner's buffer in runs: up to the next quote, backslash, control character
 * or byte beyond ASCII.
 */
#include "base/bytes.h"
#include "base/json.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    WANT_VALUE,        /* at the top, after a key, after a comma in an array */
    WANT_VALUE_OR_END, /* after [ */
    WANT_KEY_OR_END,   /* after { */
    WANT_COMMA_OR_END, /* after a value inside something */
    WANT_NOTHING,      /* after the value at the top */
    IS_OVER,           /* SCAN_END was said */
    IS_BAD,
};

static enum json_event bad(struct json_scanner *scanner, const char *why)
{
    scanner->why = why;
    scanner->state = IS_BAD;
    scanner->text = "";
    scanner->n_text = 0;
    return SCAN_BAD;
}

static bool refuse(struct json_scanner *scanner, const char *why)
{
    bad(scanner, why);
    return false;
}

void json_scan_begin(struct json_scanner *scanner, const char *bytes, size_t n_bytes)
{
    *scanner = (struct json_scanner){
        .bytes = bytes, .n_bytes = n_bytes, .text = "", .state = WANT_VALUE};
}

void json_scan_end(struct json_scanner *scanner)
{
    free(scanner->buffer);
    *scanner =
        (struct json_scanner){.text = "", .state = IS_BAD, .why = "the scan is over"};
}

/* ---- text ---- */

/* Room for n more bytes and the NUL after `used`. Grows by doubling what is needed, which is
 * never more than the bytes already seen. */
static bool reserve(struct json_scanner *scanner, size_t used, size_t n)
{
    const size_t need = used + n + 1;
    char *buffer;

    if (need <= scanner->buffer_size)
        return true;
    buffer = realloc(scanner->buffer, 2 * need);
    if (!buffer)
        return refuse(scanner, "no memory for a string");
    scanner->buffer = buffer;
    scanner->buffer_size = 2 * need;
    return true;
}

static bool append(struct json_scanner *scanner, const char *text, size_t n)
{
    if (!reserve(scanner, scanner->n_text, n))
        return false;
    memcpy(scanner->buffer + scanner->n_text, text, n);
    scanner->n_text += n;
    return true;
}

static void finish_text(struct json_scanner *scanner)
{
    scanner->buffer[scanner->n_text] = '\0';
    scanner->text = scanner->buffer;
}

/* The high bit of each byte of v that is a quote, a backslash, a control character or beyond
 * ASCII; the lowest bit set is exact, those above it may be false alarms. */
static uint64_t special_bytes(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    const uint64_t quote = v ^ (ones * '"'), slash = v ^ (ones * '\\');

    return ((v - ones * 0x20) | (quote - ones) | (slash - ones) | v) & highs;
}

/* Bytes from `at` that stand for themselves in a string. Eight at a time; little-endian. */
static size_t plain_run(const struct json_scanner *scanner)
{
    const unsigned char *begin = (const unsigned char *)scanner->bytes + scanner->at;
    const unsigned char *end = (const unsigned char *)scanner->bytes + scanner->n_bytes;
    const unsigned char *p = begin;

    while (end - p >= 8) {
        uint64_t special = special_bytes(load_u64(p));

        if (special)
            return (size_t)(p - begin) + (size_t)__builtin_ctzll(special) / 8;
        p += 8;
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return (size_t)(p - begin);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The four hex digits at `at`, stepped over; -1 when they are not there. */
static int32_t hex4(struct json_scanner *scanner)
{
    int32_t v = 0;

    if (scanner->n_bytes - scanner->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(scanner->bytes[scanner->at + (size_t)i]);

        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    scanner->at += 4;
    return v;
}

/* After \u: one code point, of one or two escapes. */
static bool unicode_escape(struct json_scanner *scanner)
{
    int32_t low, code_point = hex4(scanner);
    char utf8[4];

    if (code_point < 0)
        return refuse(scanner, "\\u without four hex digits");
    if (code_point >= 0xdc00 && code_point < 0xe000)
        return refuse(scanner, "a lone surrogate");
    if (code_point >= 0xd800 && code_point < 0xdc00) {
        if (scanner->n_bytes - scanner->at < 2 ||
            memcmp(scanner->bytes + scanner->at, "\\u", 2) != 0)
            return refuse(scanner, "a lone surrogate");
        scanner->at += 2;
        low = hex4(scanner);
        if (low < 0xdc00 || low >= 0xe000)
            return refuse(scanner, "a lone surrogate");
        code_point = 0x10000 + ((code_point - 0xd800) << 10) + (low - 0xdc00);
    }
    return append(scanner, utf8, utf8_encode((uint32_t)code_point, utf8));
}

/* After a backslash. */
static bool escape(struct json_scanner *scanner)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name;
    char c;

    if (scanner->at == scanner->n_bytes)
        return refuse(scanner, "a string without its end");
    c = scanner->bytes[scanner->at++];
    if (c == 'u')
        return unicode_escape(scanner);
    name = c ? strchr(names, c) : NULL;
    if (!name)
        return refuse(scanner, "an escape JSON does not have");
    return append(scanner, values + (name - names), 1);
}

/* One character beyond ASCII. */
static bool wide(struct json_scanner *scanner)
{
    const char *text = scanner->bytes + scanner->at;
    const size_t length = utf8_length(text, scanner->n_bytes - scanner->at);

    if (length == 0)
        return refuse(scanner, "a string that is not UTF-8");
    scanner->at += length;
    return append(scanner, text, length);
}

/* The string whose opening quote is at `at`, to its end. */
static bool string(struct json_scanner *scanner)
{
    scanner->at++;
    for (;;) {
        size_t run = plain_run(scanner);
        unsigned char c;

        if (!append(scanner, scanner->bytes + scanner->at, run))
            return false;
        scanner->at += run;
        if (scanner->at == scanner->n_bytes)
            return refuse(scanner, "a string without its end");
        c = (unsigned char)scanner->bytes[scanner->at];
        if (c == '"')
            break;
        if (c < 0x20)
            return refuse(scanner, "a control character in a string");
        scanner->at += c == '\\';
        if (c == '\\' ? !escape(scanner) : !wide(scanner))
            return false;
    }
    scanner->at++;
    finish_text(scanner);
    return true;
}

/* ---- numbers and words ---- */

static size_t digits_at(const struct json_scanner *scanner, size_t at)
{
    size_t n = 0;

    while (at + n < scanner->n_bytes && scanner->bytes[at + n] >= '0' &&
           scanner->bytes[at + n] <= '9')
        n++;
    return n;
}

static bool is_at(const struct json_scanner *scanner, size_t at, char c)
{
    return at < scanner->n_bytes && scanner->bytes[at] == c;
}

/* number = [-] int [. digits] [e [+-] digits] */
static enum json_event number(struct json_scanner *scanner)
{
    const size_t begin = scanner->at;
    size_t at = begin + is_at(scanner, begin, '-'), n = digits_at(scanner, at);

    if (n == 0 || (n > 1 && scanner->bytes[at] == '0'))
        return bad(scanner, n ? "a number that starts with 0" : "not a value");
    at += n;
    if (is_at(scanner, at, '.')) {
        n = digits_at(scanner, at + 1);
        if (n == 0)
            return bad(scanner, "a number that ends in its point");
        at += 1 + n;
    }
    if (is_at(scanner, at, 'e') || is_at(scanner, at, 'E')) {
        at++;
        at += is_at(scanner, at, '+') || is_at(scanner, at, '-');
        n = digits_at(scanner, at);
        if (n == 0)
            return bad(scanner, "a number without its exponent");
        at += n;
    }
    scanner->at = at;
    if (!append(scanner, scanner->bytes + begin, at - begin))
        return SCAN_BAD;
    finish_text(scanner);
    return SCAN_NUMBER;
}

static enum json_event word(struct json_scanner *scanner)
{
    static const struct {
        const char *word;
        size_t n;
        enum json_event event;
    } words[] = {
        {"true", 4, SCAN_TRUE}, {"false", 5, SCAN_FALSE}, {"null", 4, SCAN_NULL}};
    const char *text = scanner->bytes + scanner->at;

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (scanner->n_bytes - scanner->at < words[i].n ||
            memcmp(text, words[i].word, words[i].n) != 0)
            continue;
        scanner->at += words[i].n;
        return words[i].event;
    }
    return bad(scanner, "not a value");
}

/* ---- structure ---- */

static bool in_object(const struct json_scanner *scanner)
{
    return scanner->is_object >> (scanner->depth - 1) & 1;
}

static enum json_event begin(struct json_scanner *scanner, bool is_object)
{
    if (scanner->depth == JSON_MAX_DEPTH)
        return bad(scanner, "nested beyond a depth of 64");
    const uint64_t bit = (uint64_t)1 << scanner->depth++;

    scanner->at++;
    scanner->is_object = is_object ? scanner->is_object | bit : scanner->is_object & ~bit;
    scanner->state = is_object ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    return is_object ? SCAN_OBJECT_BEGIN : SCAN_ARRAY_BEGIN;
}

static void value_done(struct json_scanner *scanner)
{
    scanner->state = scanner->depth == 0 ? WANT_NOTHING : WANT_COMMA_OR_END;
}

static enum json_event end(struct json_scanner *scanner)
{
    const bool is_object = in_object(scanner);

    scanner->at++;
    scanner->depth--;
    value_done(scanner);
    return is_object ? SCAN_OBJECT_END : SCAN_ARRAY_END;
}

static enum json_event value(struct json_scanner *scanner)
{
    enum json_event event;

    switch (scanner->bytes[scanner->at]) {
    case '{':
        return begin(scanner, true);
    case '[':
        return begin(scanner, false);
    case '"':
        event = string(scanner) ? SCAN_STRING : SCAN_BAD;
        break;
    case 't':
    case 'f':
    case 'n':
        event = word(scanner);
        break;
    default:
        event = number(scanner);
    }
    if (event != SCAN_BAD)
        value_done(scanner);
    return event;
}

static void skip_space(struct json_scanner *scanner)
{
    while (scanner->at < scanner->n_bytes) {
        char c = scanner->bytes[scanner->at];

        if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
            return;
        scanner->at++;
    }
}

static enum json_event key(struct json_scanner *scanner)
{
    if (scanner->bytes[scanner->at] != '"')
        return bad(scanner, "a member without a name");
    if (!string(scanner))
        return SCAN_BAD;
    skip_space(scanner);
    if (!is_at(scanner, scanner->at, ':'))
        return bad(scanner, "a name without a colon after it");
    scanner->at++;
    scanner->state = WANT_VALUE;
    return SCAN_KEY;
}

/* After a value inside something: its closing bracket, or a comma and the next thing. */
static enum json_event next_member(struct json_scanner *scanner)
{
    const bool is_object = in_object(scanner);

    if (is_at(scanner, scanner->at, is_object ? '}' : ']'))
        return end(scanner);
    if (!is_at(scanner, scanner->at, ','))
        return bad(scanner,
                   is_object ? "neither a comma nor }" : "neither a comma nor ]");
    scanner->at++;
    skip_space(scanner);
    if (scanner->at == scanner->n_bytes)
        return bad(scanner, "the text ends too early");
    return is_object ? key(scanner) : value(scanner);
}

enum json_event json_scan_next(struct json_scanner *scanner)
{
    if (scanner->state == IS_BAD)
        return SCAN_BAD;
    scanner->n_text = 0;
    scanner->text = "";
    skip_space(scanner);
    if (scanner->state == IS_OVER || scanner->state == WANT_NOTHING) {
        if (scanner->at < scanner->n_bytes)
            return bad(scanner, "trailing text after the value");
        scanner->state = IS_OVER;
        return SCAN_END;
    }
    if (scanner->at == scanner->n_bytes)
        return bad(scanner, "the text ends too early");

    switch (scanner->state) {
    case WANT_VALUE:
        return value(scanner);
    case WANT_VALUE_OR_END:
        return scanner->bytes[scanner->at] == ']' ? end(scanner) : value(scanner);
    case WANT_KEY_OR_END:
        return scanner->bytes[scanner->at] == '}' ? end(scanner) : key(scanner);
    default:
        return next_member(scanner);
    }
}

bool json_scan_skip(struct json_scanner *scanner)
{
    const int depth = scanner->depth;
    enum json_event event = json_scan_next(scanner);

    while (event != SCAN_BAD && event != SCAN_END && scanner->depth > depth)
        event = json_scan_next(scanner);
    return event != SCAN_BAD && event != SCAN_END && scanner->depth == depth;
}

bool json_scan_u64(const struct json_scanner *scanner, uint64_t *out)
{
    uint64_t v = 0;

    if (scanner->n_text == 0)
        return false;
    for (size_t i = 0; i < scanner->n_text; i++) {
        unsigned digit = (unsigned)(unsigned char)scanner->text[i] - '0';

        if (digit > 9 || !mul_u64(v, 10, &v) || !add_u64(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}
