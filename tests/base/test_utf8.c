/*
 * test_utf8.c - well-formed sequences are those of the standard, and shown text is harmless
 */
#include "base/utf8.h"

#include <criterion/criterion.h>
#include <string.h>

Test(utf8, every_code_point_survives_a_round_trip)
{
    for (uint32_t c = 0; c < 0x110000; c++) {
        char text[4];
        size_t n = utf8_encode(c, text);
        int is_surrogate = c >= 0xd800 && c < 0xe000;

        cr_assert_eq(utf8_length(text, n), is_surrogate ? 0 : n, "U+%04X", c);
        if (!is_surrogate)
            cr_assert_eq(utf8_decode(text, n), c, "U+%04X", c);
        cr_assert_eq(utf8_length(text, n - 1), 0, "U+%04X cut short", c);
    }
}

/* Of all two-byte texts, only those that encode() makes are sequences of two. */
Test(utf8, no_other_two_bytes_are_a_sequence)
{
    int found = 0;

    for (int a = 0x80; a < 0x100; a++)
        for (int b = 0; b < 0x100; b++) {
            const char text[2] = {(char)a, (char)b};
            found += utf8_length(text, 2) != 0;
        }
    cr_assert_eq(found, 0x800 - 0x80);
}

Test(utf8, refuses_what_the_standard_refuses)
{
    static const char *const cases[] = {"\xc0\x80",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xfe",
                                        "\xff",
                                        "\x80"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(utf8_length(cases[i], strlen(cases[i])), 0, "case %zu", i);
}

Test(utf8, text_is_valid_to_its_last_byte)
{
    static const char text[] = "a\0\xc3\xa4\xe2\x96\x81\xf0\x9f\x98\x80";
    const size_t ends[] = {0, 1, 2, 4, 7, 11};

    for (size_t n = 0, at = 0; n < sizeof(text); n++) {
        at += n > ends[at];
        cr_expect_eq(utf8_is_valid(text, n), n == ends[at], "%zu bytes", n);
    }
}

static void expect_shown(const char *text, size_t n, const char *want)
{
    char out[64];

    cr_expect_eq(text_escape(out, sizeof(out), text, n), strlen(want));
    cr_expect_str_eq(out, want);
}

Test(text_escape, shows_what_would_disturb_a_terminal)
{
    expect_shown("plain, \xc3\xa4 \xe2\x96\x81 \xf0\x9f\x98\x80", 18,
                 "plain, \xc3\xa4 \xe2\x96\x81 \xf0\x9f\x98\x80");
    expect_shown("\x1b[2J\n\x7f", 6, "\\x1b[2J\\x0a\\x7f");
    expect_shown("a\0b", 3, "a\\x00b");
    expect_shown("\xff\xc2\x9b!", 4, "\\xff\\xc2\\x9b!");
}

Test(text_escape, cuts_at_a_whole_character)
{
    char out[8];

    for (size_t size = 1; size <= sizeof(out); size++) {
        memset(out, 'x', sizeof(out));
        cr_expect_eq(text_escape(out, size, "\xe2\x82\xac\xe2\x82\xac", 6),
                     (size - 1) / 3 * 3);
        cr_expect_eq(out[(size - 1) / 3 * 3], '\0');
    }
    cr_expect_eq(text_escape(out, 4, "\n", 1), 0);
    cr_expect_eq(text_escape(out, 5, "\n", 1), 4);
}
