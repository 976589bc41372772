/*
 * template_filter.c - value | filter(...)
 *
 * Source: jinja2/filters.py; tojson as transformers replaces it.
 */
#include "formats/template/list_filter.h"
#include "formats/template/number_filter.h"
#include "formats/template/str_method.h"
#include "formats/template/value.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

/* ---- texts ---- */

static struct value *trim(struct run *run, struct value *v, const struct arguments *args)
{
    struct str str;

    v = value_to_string(run, v);
    if (!v)
        return NULL;
    if (!run_step(run, str_search_steps(v->str, argument_str(args, 0, "chars", NULL))))
        return NULL;
    str = str_trim(v->str, argument_str(args, 0, "chars", NULL), true, true);
    return value_string(run, str.text, str.n);
}

static struct value *upper(struct run *run, struct value *v, const struct arguments *args)
{
    (void)args;
    v = value_to_string(run, v);
    return v ? str_map(run, v->str, to_upper) : NULL;
}

static struct value *lower(struct run *run, struct value *v, const struct arguments *args)
{
    (void)args;
    v = value_to_string(run, v);
    return v ? str_map(run, v->str, to_lower) : NULL;
}

static struct value *string(struct run *run, struct value *v,
                            const struct arguments *args)
{
    (void)args;
    return value_to_string(run, v);
}

/* The first character in capitals, the others small; `words`: at the start of each word. */
static struct value *capitals(struct run *run, struct value *v, bool words)
{
    struct text out = {0};
    bool is_first = true;

    v = value_to_string(run, v);
    for (size_t at = 0, n; v && at < v->str.n; at += n) {
        const struct str rest = {v->str.text + at, v->str.n - at};
        struct value *c;

        n = str_offset(rest, 1);
        c = str_map(run, (struct str){rest.text, n}, is_first ? to_upper : to_lower);
        if (!c || !text_put(run, &out, c->str.text, c->str.n))
            return NULL;
        is_first =
            words && n == 1 &&
            (is_space((unsigned char)*rest.text) || memchr("-({[<", *rest.text, 5));
    }
    return v ? text_value(run, &out) : NULL;
}

static struct value *capitalize(struct run *run, struct value *v,
                                const struct arguments *args)
{
    (void)args;
    return capitals(run, v, false);
}

static struct value *title(struct run *run, struct value *v, const struct arguments *args)
{
    (void)args;
    return capitals(run, v, true);
}

static struct value *replace(struct run *run, struct value *v,
                             const struct arguments *args)
{
    struct value *from = argument(args, 0, "old"), *to = argument(args, 1, "new");

    v = value_to_string(run, v);
    from = from ? value_to_string(run, from) : NULL;
    to = to ? value_to_string(run, to) : NULL;
    if (!v || !from || !to)
        return run_fail(run, ERR_USAGE, "replace needs two texts");
    return str_replace(run, v->str, from->str, to->str,
                       argument_integer(args, 2, "count", -1));
}

static struct value *escape(struct run *run, struct value *v,
                            const struct arguments *args)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    struct text out = {0};

    (void)args;
    v = value_to_string(run, v);
    for (size_t i = 0; v && i < v->str.n; i++) {
        const char *found = v->str.text[i] ? strchr(from, v->str.text[i]) : NULL;

        if (found ? !text_put_str(run, &out, to[found - from])
                  : !text_put(run, &out, v->str.text + i, 1))
            return NULL;
    }
    return v ? text_value(run, &out) : NULL;
}

/* Blanks before every line but the first, and not before empty ones, unless asked for. */
static struct value *indent(struct run *run, struct value *v,
                            const struct arguments *args)
{
    const int64_t width = argument_integer(args, 0, "width", 4);
    struct str by = argument_str(args, 0, "width", NULL);
    const bool first = argument_true(args, 1, "first", false);
    const bool blank = argument_true(args, 2, "blank", false);
    struct text out = {0};
    bool begins = true, is_first = true;

    if (!by.text) {
        struct value *space = value_string(run, " ", 1);
        struct value *times = value_integer(run, width);
        const struct value *spaces =
            space && times ? apply_binary(run, (struct str){"*", 1}, space, times) : NULL;

        if (!spaces)
            return NULL;
        by = spaces->str;
    }
    v = value_to_string(run, v);
    for (size_t i = 0; v && i < v->str.n; i++) {
        const bool is_empty = v->str.text[i] == '\n';

        if (begins && (is_first ? first : blank || !is_empty) &&
            !text_put(run, &out, by.text, by.n))
            return NULL;
        if (!text_put(run, &out, v->str.text + i, 1))
            return NULL;
        begins = v->str.text[i] == '\n';
        is_first = is_first && !begins;
    }
    /* What follows the last newline is a line, too. */
    if (v && begins && (is_first ? first : blank) && !text_put(run, &out, by.text, by.n))
        return NULL;
    return v ? text_value(run, &out) : NULL;
}

/* Runs of letters, digits and "_"; beyond ASCII everything counts as a letter. */
static struct value *wordcount(struct run *run, struct value *v,
                               const struct arguments *args)
{
    int64_t n = 0;
    bool in_word = false;

    (void)args;
    v = value_to_string(run, v);
    if (!v || !run_step(run, v->str.n / 16))
        return NULL;
    for (size_t i = 0; i < v->str.n; i++) {
        const unsigned char c = (unsigned char)v->str.text[i];
        const bool is_word = isalnum(c) || c == '_' || c >= 0x80;

        n += is_word && !in_word;
        in_word = is_word;
    }
    return value_integer(run, n);
}

/* One conversion of a format: %s, %r, %d or %i, as they stand. */
static bool put_conversion(struct run *run, struct text *out, char kind,
                           const struct value *v)
{
    if (kind == 's')
        return value_print(run, out, v);
    if (kind == 'r')
        return value_repr(run, out, v);
    if ((kind == 'd' || kind == 'i') && value_is_number(v) &&
        (v->kind != VALUE_REAL || fabs(v->real) < 0x1p63)) {
        const struct value whole = {
            .kind = VALUE_INTEGER,
            .integer = v->kind == VALUE_INTEGER ? v->integer : (int64_t)value_as_real(v)};
        return value_print(run, out, &whole);
    }
    run_fail(run, ERR_UNSUPPORTED, "the conversion %%%c of %s is not supported", kind,
             value_type(v));
    return false;
}

static struct value *format(struct run *run, struct value *v,
                            const struct arguments *args)
{
    struct text out = {0};
    size_t used = 0;

    v = value_to_string(run, v);
    for (size_t i = 0; v && i < v->str.n; i++) {
        const char *p = v->str.text + i;

        if (*p != '%') {
            if (!text_put(run, &out, p, 1))
                return NULL;
            continue;
        }
        i++;
        if (p[1] == '%'
                ? text_put_str(run, &out, "%")
                : used < args->n && put_conversion(run, &out, p[1], args->list[used++]))
            continue;
        return run_fail(run, ERR_USAGE, "not enough arguments for format string");
    }
    /* A dict or list behind % may have more than the format asks for. */
    if (v && used < args->n &&
        !(args->n == 1 &&
          (args->list[0]->kind == VALUE_DICT || args->list[0]->kind == VALUE_LIST)))
        return run_fail(run, ERR_USAGE,
                        "not all arguments converted during string formatting");
    return v ? text_value(run, &out) : NULL;
}

/* ---- anything ---- */

static struct value *otherwise(struct run *run, struct value *v,
                               const struct arguments *args)
{
    struct value *instead = argument(args, 0, "default_value");
    const bool by_truth = argument_true(args, 1, "boolean", false);

    if (v->kind != VALUE_UNDEFINED && !(by_truth && !value_true(v)))
        return v;
    return instead ? instead : value_string(run, "", 0);
}

static struct value *length(struct run *run, struct value *v,
                            const struct arguments *args)
{
    const int64_t n =
        run_step(run, v->kind == VALUE_STRING ? v->str.n / 16 : 0) ? value_length(v) : 0;

    (void)args;
    return n < 0 ? run_fail(run, ERR_USAGE, "object of type '%s' has no len()",
                            value_type(v))
                 : value_integer(run, n);
}

static struct value *attribute(struct run *run, struct value *v,
                               const struct arguments *args)
{
    return get_attribute(run, v, argument_str(args, 0, "name", ""));
}

/* A style for tojson: indent alone changes the comma, as json.dumps has it. */
static bool json_style(struct run *run, const struct arguments *args,
                       struct json_style *style)
{
    const struct value *separators = argument(args, 2, "separators");
    const struct value *indent_by = argument(args, 1, "indent");

    *style = (struct json_style){.ascii = argument_true(args, 0, "ensure_ascii", false),
                                 .sorted = argument_true(args, 3, "sort_keys", false),
                                 .indent = -1,
                                 .comma = {", ", 2},
                                 .colon = {": ", 2}};
    if (indent_by && indent_by->kind == VALUE_INTEGER) {
        style->indent = (int)(indent_by->integer > 64 ? 64 : indent_by->integer);
        style->comma = (struct str){",", 1};
    }
    if (!separators || separators->kind == VALUE_NONE)
        return true;
    if (!value_is_list(separators) || separators->list.n != 2 ||
        separators->list.items[0]->kind != VALUE_STRING ||
        separators->list.items[1]->kind != VALUE_STRING)
        return run_fail(run, ERR_USAGE, "separators are two texts");
    style->comma = separators->list.items[0]->str;
    style->colon = separators->list.items[1]->str;
    return true;
}

static struct value *tojson(struct run *run, struct value *v,
                            const struct arguments *args)
{
    struct json_style style;
    struct text out = {0};

    return json_style(run, args, &style) && value_to_json(run, &out, v, &style)
               ? text_value(run, &out)
               : NULL;
}

/* ---- the table ---- */

static const struct function filters[] = {
    {"abs", filter_abs, ""},
    {"attr", attribute, "name"},
    {"batch", filter_batch, "linecount fill_with"},
    {"capitalize", capitalize, ""},
    {"count", length, ""},
    {"d", otherwise, "default_value boolean"},
    {"default", otherwise, "default_value boolean"},
    {"dictsort", filter_dictsort, "case_sensitive by reverse"},
    {"e", escape, ""},
    {"escape", escape, ""},
    {"first", filter_first, ""},
    {"float", filter_float, "default"},
    {"format", format, NULL},
    {"indent", indent, "width first blank"},
    {"int", filter_int, "default"},
    {"items", filter_items, ""},
    {"join", filter_join, "d attribute"},
    {"last", filter_last, ""},
    {"length", length, ""},
    {"list", filter_list, ""},
    {"lower", lower, ""},
    {"map", filter_map, NULL},
    {"max", filter_max, "case_sensitive attribute"},
    {"min", filter_min, "case_sensitive attribute"},
    {"reject", filter_reject, NULL},
    {"rejectattr", filter_rejectattr, NULL},
    {"replace", replace, "old new count"},
    {"reverse", filter_reverse, ""},
    {"round", filter_round, "precision method"},
    {"safe", string, ""},
    {"select", filter_select, NULL},
    {"selectattr", filter_selectattr, NULL},
    {"sort", filter_sort, "reverse case_sensitive attribute"},
    {"string", string, ""},
    {"sum", filter_sum, "attribute start"},
    {"title", title, ""},
    {"tojson", tojson, "ensure_ascii indent separators sort_keys"},
    {"trim", trim, "chars"},
    {"unique", filter_unique, "case_sensitive attribute"},
    {"upper", upper, ""},
    {"wordcount", wordcount, ""},
};

struct value *apply_filter(struct run *run, struct str name, struct value *v,
                           const struct arguments *args)
{
    const struct function *f =
        find_function(filters, sizeof(filters) / sizeof(filters[0]), name);
    struct value *out;

    if (!f)
        return run_fail(run, ERR_UNSUPPORTED, "no filter named '%.*s'",
                        name.n < 40 ? (int)name.n : 40, name.text);
    if (!run_enter(run)) /* map("map", "map", ...) */
        return NULL;
    out = call_function(run, f, v, args);
    run->depth--;
    return out;
}
