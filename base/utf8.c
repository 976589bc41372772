/*
 * utf8.c - the shape of UTF-8, and text that is safe to show
 */
#include "base/utf8.h"

#include <string.h>

static size_t continuations(const unsigned char *s, size_t count, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

size_t utf8_length(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;

    if (n == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    if (s[0] < 0xe0)
        return n >= 2 ? continuations(s + 1, 1, 2) : 0;
    if (s[0] < 0xf0) {
        if (n < 3 || (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
            return 0;
        return continuations(s + 1, 2, 3);
    }
    if (n < 4 || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return continuations(s + 1, 3, 4);
}

bool utf8_is_valid(const char *text, size_t n)
{
    size_t length;

    for (size_t at = 0; at < n; at += length) {
        length = utf8_length(text + at, n - at);
        if (length == 0)
            return false;
    }
    return true;
}

uint32_t utf8_decode(const char *text, size_t length)
{
    static const unsigned char lead_mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *s = (const unsigned char *)text;
    uint32_t code_point = s[0] & (uint32_t)lead_mask[length];

    for (size_t i = 1; i < length; i++)
        code_point = code_point << 6 | (s[i] & 0x3fu);
    return code_point;
}

size_t utf8_encode(uint32_t code_point, char out[4])
{
    static const unsigned char lead[5] = {0, 0x00, 0xc0, 0xe0, 0xf0};
    size_t length = code_point < 0x80      ? 1
                    : code_point < 0x800   ? 2
                    : code_point < 0x10000 ? 3
                                           : 4;

    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code_point & 0x3f));
        code_point >>= 6;
    }
    out[0] = (char)(lead[length] | code_point);
    return length;
}

/* C1 controls (U+0080 to U+009F) are two bytes in UTF-8 and move the cursor all the same. */
static int is_control(const unsigned char *s, size_t length)
{
    return (length == 1 && (s[0] < 0x20 || s[0] == 0x7f)) ||
           (length == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

size_t text_escape(char *out, size_t size, const char *text, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0, length;

    for (size_t i = 0; i < n; i += length) {
        const unsigned char *s = (const unsigned char *)text + i;

        length = utf8_length(text + i, n - i);
        if (length == 0 || is_control(s, length)) {
            length = 1;
            if (size - at <= 4)
                break;
            memcpy(out + at, "\\x", 2);
            out[at + 2] = digits[s[0] >> 4];
            out[at + 3] = digits[s[0] & 15];
            at += 4;
        } else {
            if (size - at <= length)
                break;
            memcpy(out + at, s, length);
            at += length;
        }
    }
    out[at] = '\0';
    return at;
}
