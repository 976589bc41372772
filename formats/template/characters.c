/*
 * characters.c - strings by code points: length, white space, letter case
 *
 * Case is mapped for Latin, Greek, Cyrillic and Armenian, one to one but for "ß"; other letters
 * stay as they are.
 */
#include "base/utf8.h"
#include "formats/template/value.h"

#include <string.h>

/* Bytes of the character at `at`; a byte that is not UTF-8 counts as one. */
static size_t step(struct str str, size_t at)
{
    const size_t length = utf8_length(str.text + at, str.n - at);

    return length ? length : 1;
}

size_t str_length(struct str str)
{
    size_t n = 0;

    for (size_t at = 0; at < str.n; at += step(str, at))
        n++;
    return n;
}

size_t str_offset(struct str str, size_t character)
{
    size_t at = 0;

    for (; character > 0 && at < str.n; character--)
        at += step(str, at);
    return at;
}

bool is_space(uint32_t c)
{
    return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f) || c == 0x85 ||
           c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Capitals [first, last] and their small letters: `by` further on, or, for pairs, one further on
 * each, the capitals those of the parity of `first`. */
static const struct {
    uint32_t first, last;
    int32_t by;
} cases[] = {
    {'A', 'Z', 32},     {0xc0, 0xd6, 32},    {0xd8, 0xde, 32},    {0x100, 0x12e, 1},
    {0x132, 0x136, 1},  {0x139, 0x147, 1},   {0x14a, 0x176, 1},   {0x179, 0x17d, 1},
    {0x386, 0x386, 38}, {0x388, 0x38a, 37},  {0x38c, 0x38c, 64},  {0x38e, 0x38f, 63},
    {0x391, 0x3a1, 32}, {0x3a3, 0x3ab, 32},  {0x400, 0x40f, 80},  {0x410, 0x42f, 32},
    {0x460, 0x480, 1},  {0x48a, 0x4be, 1},   {0x4c1, 0x4cd, 1},   {0x4d0, 0x52e, 1},
    {0x531, 0x556, 48}, {0x1e00, 0x1e94, 1}, {0x1ea0, 0x1efe, 1}, {0xff21, 0xff3a, 32},
};

enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

uint32_t to_lower(uint32_t c)
{
    for (int i = 0; i < N_CASES; i++)
        if (c >= cases[i].first && c <= cases[i].last)
            return cases[i].by > 1 || (c - cases[i].first) % 2 == 0
                       ? c + (uint32_t)cases[i].by
                       : c;
    return c;
}

uint32_t to_upper(uint32_t c)
{
    if (c == 0xff || c == 0x3c2) /* two small letters outside the pattern */
        return c == 0xff ? 0x178 : 0x3a3;
    for (int i = 0; i < N_CASES; i++) {
        const uint32_t by = (uint32_t)cases[i].by;

        if (c >= cases[i].first + by && c <= cases[i].last + by)
            return by > 1 || (c - cases[i].first) % 2 == 1 ? c - by : c;
    }
    return c;
}

struct value *str_map(struct run *run, struct str str, uint32_t (*map)(uint32_t))
{
    struct text out = {0};
    size_t length;

    for (size_t at = 0; at < str.n; at += length) {
        char utf8[4];
        uint32_t c;

        length = step(str, at);
        c = map(utf8_decode(str.text + at, length));
        if (c == 0xdf && map == to_upper
                ? !text_put_str(run, &out, "SS")
                : !text_put(run, &out, utf8, utf8_encode(c, utf8)))
            return NULL;
    }
    return text_value(run, &out);
}

/* Whether a character is one of those to strip. */
static bool is_stripped(const char *p, size_t length, struct str chars)
{
    if (!chars.text)
        return is_space(utf8_length(p, length) ? utf8_decode(p, length) : 0);
    for (size_t at = 0; at < chars.n; at += step(chars, at))
        if (step(chars, at) == length && memcmp(chars.text + at, p, length) == 0)
            return true;
    return false;
}

/* Where the last character of str begins. */
static size_t last_character(struct str str)
{
    size_t at = str.n - 1;

    while (at > 0 && str.n - at < 4 && ((unsigned char)str.text[at] & 0xc0) == 0x80)
        at--;
    return utf8_length(str.text + at, str.n - at) == str.n - at ? at : str.n - 1;
}

struct str str_trim(struct str str, struct str chars, bool left, bool right)
{
    while (left && str.n > 0 && is_stripped(str.text, step(str, 0), chars)) {
        const size_t length = step(str, 0);

        str.text += length;
        str.n -= length;
    }
    while (right && str.n > 0) {
        const size_t at = last_character(str);

        if (!is_stripped(str.text + at, str.n - at, chars))
            break;
        str.n = at;
    }
    return str;
}
