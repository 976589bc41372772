/*
 * value_text.c - values as text: str(), repr() and JSON, as Python writes them
 */
#include "base/utf8.h"
#include "formats/template/value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a text that grows ---- */

bool text_put(struct run *run, struct text *text, const char *bytes, size_t n)
{
    size_t room = text->room ? text->room : 64;
    char *grown;

    if (!run_step(run, 1 + n / 16))
        return false;
    while (room < text->n + n + 1)
        room *= 2;
    if (room > text->room) {
        grown = run_alloc(run, room);
        if (!grown)
            return false;
        if (text->n)
            memcpy(grown, text->bytes, text->n);
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->n, bytes, n);
    text->n += n;
    text->bytes[text->n] = '\0';
    return true;
}

bool text_put_str(struct run *run, struct text *text, const char *str)
{
    return text_put(run, text, str, strlen(str));
}

struct value *text_value(struct run *run, const struct text *text)
{
    return text->n ? value_borrow(run, text->bytes, text->n) : value_string(run, "", 0);
}

/* ---- numbers ---- */

/* The shortest decimal that reads back as v, in the form Python gives it. */
bool real_print(struct run *run, struct text *out, double v)
{
    char digits[40];
    int exponent;
    char *e;

    if (isnan(v) || isinf(v))
        return text_put_str(run, out, isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
    for (int precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*e", precision, v);
        if (strtod(digits, NULL) == v)
            break;
    }
    e = strchr(digits, 'e');
    exponent = atoi(e + 1);
    if (exponent >= -4 && exponent < 16) {
        const int n_digits =
            (int)(e - digits) - (digits[0] == '-') - (strchr(digits, '.') != NULL);
        const int decimals = n_digits - 1 - exponent;

        snprintf(digits, sizeof(digits), "%.*f", decimals > 1 ? decimals : 1, v);
        return text_put_str(run, out, digits);
    }
    snprintf(e, sizeof(digits) - (size_t)(e - digits), "e%c%02d",
             exponent < 0 ? '-' : '+', abs(exponent));
    return text_put_str(run, out, digits);
}

static bool integer_print(struct run *run, struct text *out, int64_t v)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%" PRId64, v);
    return text_put_str(run, out, digits);
}

/* ---- str() and repr() ---- */

static bool put_escaped(struct run *run, struct text *out, uint32_t c, char quote)
{
    char text[12];

    if (c == '\n' || c == '\r' || c == '\t')
        return text_put_str(run, out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    if (c == '\\' || c == (unsigned char)quote) {
        text[0] = '\\';
        text[1] = (char)c;
        return text_put(run, out, text, 2);
    }
    snprintf(text, sizeof(text), "\\x%02x", (unsigned)c);
    return text_put_str(run, out, text);
}

static bool string_repr(struct run *run, struct text *out, struct str str)
{
    const bool has_single = memchr(str.text, '\'', str.n),
               has_double = memchr(str.text, '"', str.n);
    const char quote = has_single && !has_double ? '"' : '\'';
    size_t length;

    if (!text_put(run, out, &quote, 1))
        return false;
    for (size_t at = 0; at < str.n; at += length) {
        const char *p = str.text + at;
        uint32_t c;
        bool is_plain;

        length = utf8_length(p, str.n - at);
        length += length == 0;
        c = length == 1 ? (unsigned char)*p : utf8_decode(p, length);
        is_plain = c >= 0x20 && (c < 0x7f || c > 0xa0) && c != '\\' &&
                   c != (unsigned char)quote && c != 0xad;
        if (is_plain ? !text_put(run, out, p, length) : !put_escaped(run, out, c, quote))
            return false;
    }
    return text_put(run, out, &quote, 1);
}

static bool list_repr(struct run *run, struct text *out, const struct value *v)
{
    const bool is_tuple = v->kind == VALUE_TUPLE;

    if (!text_put_str(run, out, is_tuple ? "(" : "["))
        return false;
    for (size_t i = 0; i < v->list.n; i++)
        if ((i > 0 && !text_put_str(run, out, ", ")) ||
            !value_repr(run, out, v->list.items[i]))
            return false;
    if (is_tuple && v->list.n == 1 && !text_put_str(run, out, ","))
        return false;
    return text_put_str(run, out, is_tuple ? ")" : "]");
}

static bool dict_repr(struct run *run, struct text *out, const struct dict *dict)
{
    if (!text_put_str(run, out, "{"))
        return false;
    for (size_t i = 0; i < dict->n; i++)
        if ((i > 0 && !text_put_str(run, out, ", ")) ||
            !value_repr(run, out, dict->pairs[i].key) || !text_put_str(run, out, ": ") ||
            !value_repr(run, out, dict->pairs[i].value))
            return false;
    return text_put_str(run, out, "}");
}

bool value_repr(struct run *run, struct text *out, const struct value *v)
{
    switch (v->kind) {
    case VALUE_UNDEFINED:
        return text_put_str(run, out, "Undefined");
    case VALUE_NONE:
        return text_put_str(run, out, "None");
    case VALUE_BOOL:
        return text_put_str(run, out, v->boolean ? "True" : "False");
    case VALUE_INTEGER:
        return integer_print(run, out, v->integer);
    case VALUE_REAL:
        return real_print(run, out, v->real);
    case VALUE_STRING:
        return string_repr(run, out, v->str);
    case VALUE_LIST:
    case VALUE_TUPLE:
        return list_repr(run, out, v);
    case VALUE_DICT:
        return dict_repr(run, out, v->dict);
    default:
        run_fail(run, ERR_USAGE, "a %s cannot be printed", value_type(v));
        return false;
    }
}

bool value_print(struct run *run, struct text *out, const struct value *v)
{
    if (v->kind == VALUE_UNDEFINED)
        return true;
    if (v->kind == VALUE_STRING)
        return text_put(run, out, v->str.text, v->str.n);
    return value_repr(run, out, v);
}

struct value *value_to_string(struct run *run, struct value *v)
{
    struct text out = {0};

    if (v->kind == VALUE_STRING)
        return v;
    return value_print(run, &out, v) ? text_value(run, &out) : NULL;
}

/* ---- JSON ---- */

static bool json_escape(struct run *run, struct text *out, uint32_t c)
{
    static const char names[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *name = c && c < 0x80 ? strchr(names, (int)c) : NULL;
    char text[16];

    if (name)
        snprintf(text, sizeof(text), "\\%c", letters[name - names]);
    else if (c < 0x10000)
        snprintf(text, sizeof(text), "\\u%04x", (unsigned)c);
    else
        snprintf(text, sizeof(text), "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (c >> 10)),
                 (unsigned)(0xdc00 + (c & 0x3ff)));
    return text_put_str(run, out, text);
}

static bool json_string_put(struct run *run, struct text *out, struct str str, bool ascii)
{
    size_t length;

    if (!text_put_str(run, out, "\""))
        return false;
    for (size_t at = 0; at < str.n; at += length) {
        const char *p = str.text + at;
        uint32_t c;

        length = utf8_length(p, str.n - at);
        length += length == 0;
        c = length == 1 ? (unsigned char)*p : utf8_decode(p, length);
        if (c < 0x20 || c == '"' || c == '\\' || (ascii && c > 0x7e)
                ? !json_escape(run, out, c)
                : !text_put(run, out, p, length))
            return false;
    }
    return text_put_str(run, out, "\"");
}

struct json_writer {
    struct run *run;
    struct text *out;
    const struct json_style *style;
    int level;
};

static bool json_put(struct json_writer *w, const struct value *v);

static bool json_newline(struct json_writer *w)
{
    if (w->style->indent < 0)
        return true;
    if (!text_put_str(w->run, w->out, "\n"))
        return false;
    for (int i = 0; i < w->level * w->style->indent; i++)
        if (!text_put_str(w->run, w->out, " "))
            return false;
    return true;
}

static bool json_comma(struct json_writer *w, size_t i)
{
    return (i == 0 ||
            text_put(w->run, w->out, w->style->comma.text, w->style->comma.n)) &&
           json_newline(w);
}

static bool json_list(struct json_writer *w, const struct value *v)
{
    bool is_done = text_put_str(w->run, w->out, "[");

    w->level++;
    for (size_t i = 0; i < v->list.n && is_done; i++)
        is_done = json_comma(w, i) && json_put(w, v->list.items[i]);
    w->level--;
    return is_done && (v->list.n == 0 || json_newline(w)) &&
           text_put_str(w->run, w->out, "]");
}

/* Keys that are not texts are written as the text of the value, as json.dumps does. */
static bool json_key(struct json_writer *w, const struct value *key)
{
    struct text text = {0};

    if (key->kind == VALUE_STRING)
        return json_string_put(w->run, w->out, key->str, w->style->ascii);
    return json_put(&(struct json_writer){w->run, &text, w->style, 0}, key) &&
           json_string_put(w->run, w->out, (struct str){text.bytes, text.n},
                           w->style->ascii);
}

/* The pairs of a dict in the order they are written in. */
static struct value *sorted_pairs(struct json_writer *w, const struct dict *dict)
{
    struct value *pairs = value_list(w->run, VALUE_LIST, dict->n);
    struct value *keys = value_list(w->run, VALUE_LIST, dict->n);

    for (size_t i = 0; pairs && keys && i < dict->n; i++) {
        keys->list.items[i] = dict->pairs[i].key;
        pairs->list.items[i] =
            value_pair(w->run, dict->pairs[i].key, dict->pairs[i].value);
        if (!pairs->list.items[i])
            return NULL;
    }
    if (!pairs || !keys || !w->style->sorted)
        return keys ? pairs : NULL;
    return sort_values(w->run, pairs, keys, false);
}

static bool json_dict(struct json_writer *w, const struct dict *dict)
{
    const struct value *pairs = sorted_pairs(w, dict);
    bool is_done = pairs && text_put_str(w->run, w->out, "{");

    w->level++;
    for (size_t i = 0; is_done && i < dict->n; i++) {
        struct value *const *pair = pairs->list.items[i]->list.items;

        is_done = json_comma(w, i) && json_key(w, pair[0]) &&
                  text_put(w->run, w->out, w->style->colon.text, w->style->colon.n) &&
                  json_put(w, pair[1]);
    }
    w->level--;
    return is_done && (dict->n == 0 || json_newline(w)) &&
           text_put_str(w->run, w->out, "}");
}

static bool json_put(struct json_writer *w, const struct value *v)
{
    switch (v->kind) {
    case VALUE_NONE:
        return text_put_str(w->run, w->out, "null");
    case VALUE_BOOL:
        return text_put_str(w->run, w->out, v->boolean ? "true" : "false");
    case VALUE_INTEGER:
        return integer_print(w->run, w->out, v->integer);
    case VALUE_REAL:
        if (isnan(v->real) || isinf(v->real))
            return text_put_str(w->run, w->out,
                                isnan(v->real) ? "NaN"
                                : v->real > 0  ? "Infinity"
                                               : "-Infinity");
        return real_print(w->run, w->out, v->real);
    case VALUE_STRING:
        return json_string_put(w->run, w->out, v->str, w->style->ascii);
    case VALUE_LIST:
    case VALUE_TUPLE:
        return json_list(w, v);
    case VALUE_DICT:
        return json_dict(w, v->dict);
    default:
        run_fail(w->run, ERR_USAGE, "%s%s%s cannot be written as JSON", value_type(v),
                 v->kind == VALUE_UNDEFINED ? ": " : "",
                 v->kind == VALUE_UNDEFINED ? v->str.text : "");
        return false;
    }
}

bool value_to_json(struct run *run, struct text *out, const struct value *v,
                   const struct json_style *style)
{
    return json_put(&(struct json_writer){run, out, style, 0}, v);
}
