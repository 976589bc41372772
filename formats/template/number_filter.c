/*
 * number_filter.c - filters that make numbers
 *
 * Source: jinja2/filters.py, and Python's int(), float() and round().
 */
#include "formats/template/number_filter.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct value *filter_abs(struct run *run, struct value *v, const struct arguments *args)
{
    (void)args;
    if (v->kind == VALUE_REAL)
        return value_real(run, fabs(v->real));
    if (v->kind == VALUE_BOOL)
        return value_integer(run, v->boolean);
    if (v->kind != VALUE_INTEGER || v->integer == INT64_MIN)
        return run_fail(run, ERR_USAGE, "abs of %s", value_type(v));
    return value_integer(run, v->integer < 0 ? -v->integer : v->integer);
}

enum { MAX_NUMBER = 64 }; /* bytes of a text that is read as a number */

/* A text without the blanks around it, and without "_" between digits; false when it cannot be a
 * number of Python's: nothing, too long, or what strtod() alone reads (0x10, nan(1)). */
static bool number_text(struct run *run, struct str str, char text[MAX_NUMBER])
{
    size_t n = 0;

    if (!run_step(run, str.n / 16))
        return false;
    str = str_trim(str, (struct str){0}, true, true);
    if (str.n == 0 || str.n >= MAX_NUMBER)
        return false;
    for (size_t i = 0; i < str.n; i++) {
        const char c = str.text[i];
        const bool joins = c == '_' && i > 0 && i + 1 < str.n &&
                           isdigit((unsigned char)str.text[i - 1]) &&
                           isdigit((unsigned char)str.text[i + 1]);

        if (c == '\0' || c == 'x' || c == 'X' || c == '(')
            return false;
        if (!joins)
            text[n++] = c;
    }
    text[n] = '\0';
    return true;
}

static bool parse_real(struct run *run, struct str str, double *out)
{
    char text[MAX_NUMBER], *end;

    if (!number_text(run, str, text))
        return false;
    *out = strtod(text, &end);
    return *end == '\0';
}

static struct value *beyond_integers(struct run *run)
{
    return run_fail(run, ERR_USAGE, "a number beyond 64 bits");
}

/* Digits are read as they are, anything else as a real number, cut. */
static struct value *text_to_integer(struct run *run, struct str str,
                                     struct value *otherwise)
{
    char text[MAX_NUMBER], *end;
    double v;

    if (!number_text(run, str, text))
        return otherwise;
    errno = 0;
    const long long whole = strtoll(text, &end, 10);
    if (*end == '\0')
        return errno ? beyond_integers(run) : value_integer(run, whole);
    v = strtod(text, &end);
    if (*end != '\0' || !isfinite(v))
        return otherwise;
    return fabs(v) < 0x1p63 ? value_integer(run, (int64_t)v) : beyond_integers(run);
}

struct value *filter_int(struct run *run, struct value *v, const struct arguments *args)
{
    struct value *otherwise = argument(args, 0, "default");

    if (!otherwise)
        otherwise = value_integer(run, 0);
    if (v->kind == VALUE_INTEGER || v->kind == VALUE_BOOL)
        return value_integer(run, v->kind == VALUE_BOOL ? v->boolean : v->integer);
    if (v->kind == VALUE_STRING)
        return text_to_integer(run, v->str, otherwise);
    if (v->kind != VALUE_REAL || !isfinite(v->real))
        return otherwise;
    return fabs(v->real) < 0x1p63 ? value_integer(run, (int64_t)v->real)
                                  : beyond_integers(run);
}

struct value *filter_float(struct run *run, struct value *v, const struct arguments *args)
{
    struct value *otherwise = argument(args, 0, "default");
    double out;

    if (value_is_number(v))
        return value_real(run, value_as_real(v));
    if (v->kind == VALUE_STRING && parse_real(run, v->str, &out))
        return value_real(run, out);
    return otherwise ? otherwise : value_real(run, 0.0);
}

/* A real number as its decimal digits round, half to even. */
static double round_real(double v, int64_t precision)
{
    char text[1024];

    if (!isfinite(v) || precision > 340) /* no double has more digits that count */
        return v;
    if (precision < 0) {
        const double unit = pow(10.0, (double)-precision);

        return isfinite(unit) ? nearbyint(v / unit) * unit : 0;
    }
    snprintf(text, sizeof(text), "%.*f", (int)precision, v);
    return strtod(text, NULL);
}

/* "common" rounds half to even, and leaves integers integers, as Python does; "ceil" and "floor"
 * as they say. */
struct value *filter_round(struct run *run, struct value *v, const struct arguments *args)
{
    const int64_t precision = argument_integer(args, 0, "precision", 0);
    const struct str method = argument_str(args, 1, "method", "common");
    const double scale = pow(10.0, (double)precision);
    double x;

    if (!value_is_number(v))
        return run_fail(run, ERR_USAGE, "round of %s", value_type(v));
    x = value_as_real(v);
    if (str_is(method, "common")) {
        if (v->kind == VALUE_REAL)
            return value_real(run, round_real(x, precision));
        if (precision >= 0)
            return value_integer(run, v->kind == VALUE_BOOL ? v->boolean : v->integer);
        x = round_real(x, precision);
        return fabs(x) < 0x1p63 ? value_integer(run, (int64_t)x) : beyond_integers(run);
    }
    if (!isfinite(scale) || scale == 0)
        return run_fail(run, ERR_USAGE, "round to %lld digits", (long long)precision);
    x = str_is(method, "ceil") ? ceil(x * scale) : floor(x * scale);
    return value_real(run, x / scale);
}
