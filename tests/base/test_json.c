/*
 * test_json.c - the scanner accepts what RFC 8259 accepts, and nothing else
 */
#include "base/base.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* The events of a text as letters: {}[] brackets, k key, s string, n number, t f 0 words,
 * . the end, ! bad. The text lies before a guard page: reading beyond it is a crash. */
static const char *events(const char *json, size_t n)
{
    static const char letters[] = {
        [SCAN_BAD] = '!',        [SCAN_END] = '.',         [SCAN_OBJECT_BEGIN] = '{',
        [SCAN_OBJECT_END] = '}', [SCAN_ARRAY_BEGIN] = '[', [SCAN_ARRAY_END] = ']',
        [SCAN_KEY] = 'k',        [SCAN_STRING] = 's',      [SCAN_NUMBER] = 'n',
        [SCAN_TRUE] = 't',       [SCAN_FALSE] = 'f',       [SCAN_NULL] = '0',
    };
    static char seen[256];
    char *copy = fixture_guarded(n);
    struct json_scanner scanner;
    enum json_event event;
    size_t i = 0;

    memcpy(copy, json, n);
    json_scan_begin(&scanner, copy, n);
    do {
        event = json_scan_next(&scanner);
        seen[i++] = letters[event];
    } while (event != SCAN_BAD && event != SCAN_END && i < sizeof(seen) - 1);
    seen[i] = '\0';
    cr_assert_eq(json_scan_next(&scanner), event, "an end stays an end");
    cr_assert(event == SCAN_END || scanner.why, "a refusal has a reason");
    json_scan_end(&scanner);
    fixture_unguard(copy, n);
    return seen;
}

static void expect_events(const char *json, const char *want)
{
    cr_expect_str_eq(events(json, strlen(json)), want, "%s", json);
}

Test(json_scan, walks_every_kind_of_value)
{
    expect_events("{}", "{}.");
    expect_events(" [ ] ", "[].");
    expect_events("\"a\"", "s.");
    expect_events("-0", "n.");
    expect_events("null\n", "0.");
    expect_events("{\"a\":[1,true,false,null,\"x\"],\"b\":{\"c\":-1.5e+10}}",
                  "{k[ntf0s]k{kn}}.");
    expect_events("\t[ 0 , 10 , 1E5 , 0.25 , 1e-2 ]\r\n", "[nnnnn].");
}

Test(json_scan, refuses_what_is_not_json)
{
    static const char *const cases[] = {
        "",
        " ",
        "[",
        "{",
        "]",
        "}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{1:2}",
        "{a:1}",
        "[1}",
        "{\"a\":1]",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "NaN",
        "Infinity",
        "tru",
        "nul",
        "True",
        "'a'",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u123g\"",
        "\"a\nb\"",
        "\"\t\"",
        "1 1",
        "{} {}",
        "[] x",
        "//c\n1",
        "[1]]",
        "\xef\xbb\xbf{}",
        "-01",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *seen = events(cases[i], strlen(cases[i]));
        cr_expect_eq(seen[strlen(seen) - 1], '!', "accepted: %s", cases[i]);
    }
}

static void expect_text(const char *json, const char *want, size_t n)
{
    struct json_scanner scanner;

    json_scan_begin(&scanner, json, strlen(json));
    cr_expect_eq(json_scan_next(&scanner), SCAN_STRING, "%s", json);
    cr_expect_eq(scanner.n_text, n, "%s", json);
    cr_expect_arr_eq(scanner.text, want, n + 1, "%s", json);
    json_scan_end(&scanner);
}

Test(json_scan, decodes_escapes_and_surrogate_pairs)
{
    expect_text("\"plain text of more than eight bytes\"",
                "plain text of more than eight bytes", 35);
    expect_text("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8);
    expect_text("\"\\u0041\\u00e4\\u2581\"", "A\xc3\xa4\xe2\x96\x81", 6);
    expect_text("\"\\ud83d\\uDE00\"", "\xf0\x9f\x98\x80", 4);
    expect_text("\"a\\u0000b\"", "a\0b", 3);
    expect_text("\"\xe2\x96\x81 \xf0\x9f\x98\x80\"", "\xe2\x96\x81 \xf0\x9f\x98\x80", 8);
}

Test(json_scan, refuses_lone_surrogates_and_bad_utf8)
{
    static const char *const cases[] = {
        "\"\\ud83d\"",        "\"\\ude00\"",      "\"\\ud83dx\"",
        "\"\\ud83d\\u0041\"", "\"\\ud83d\\n\"",   "\"\xff\"",
        "\"\xc0\x80\"",       "\"\xed\xa0\x80\"", "\"\xe2\x96\""};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_str_eq(events(cases[i], strlen(cases[i])), "!", "case %zu", i);
}

/* Every byte at every place of an eight-byte step: the fast path agrees with the rule. */
Test(json_scan, every_byte_in_a_string_is_judged_wherever_it_stands)
{
    for (int byte = 0; byte < 256; byte++)
        for (int place = 0; place < 20; place++) {
            char json[24] = "\"zzzzzzzzzzzzzzzzzzzz\"";
            const bool is_plain =
                byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';

            json[1 + place] = (char)byte;
            cr_assert_eq(events(json, 22)[0] == 's' && events(json, 22)[1] == '.',
                         is_plain, "byte %02x at %d", byte, place);
        }
}

Test(json_scan, a_text_cut_anywhere_is_refused)
{
    static const char json[] =
        "{\"a\":[1.5e3,true,\"x\\u00e4\xe2\x96\x81\"],\"b\":{\"c\":null}}";

    for (size_t n = 0; n < sizeof(json) - 1; n++) {
        const char *seen = events(json, n);
        cr_expect_eq(seen[strlen(seen) - 1], '!', "cut at %zu", n);
    }
    expect_events(json, "{k[nts]k{k0}}.");
}

static size_t nest(char *json, int depth)
{
    for (int i = 0; i < depth; i++)
        json[i] = '[';
    for (int i = 0; i < depth; i++)
        json[depth + i] = ']';
    return 2 * (size_t)depth;
}

Test(json_scan, nests_as_deep_as_it_says_and_no_deeper)
{
    char json[2 * JSON_MAX_DEPTH + 2];
    const char *seen = events(json, nest(json, JSON_MAX_DEPTH));

    cr_assert_eq(seen[strlen(seen) - 1], '.');
    seen = events(json, nest(json, JSON_MAX_DEPTH + 1));
    cr_assert_eq(seen[strlen(seen) - 1], '!');
}

Test(json_scan, skips_a_value_whole)
{
    static const char json[] =
        "{\"a\":{\"x\":[1,{\"y\":2}]},\"b\":7,\"c\":[],\"d\":\"e\"}";
    struct json_scanner scanner;
    uint64_t seven = 0;

    json_scan_begin(&scanner, json, sizeof(json) - 1);
    cr_assert_eq(json_scan_next(&scanner), SCAN_OBJECT_BEGIN);
    cr_assert_eq(json_scan_next(&scanner), SCAN_KEY);
    cr_assert(json_scan_skip(&scanner));
    cr_assert_eq(json_scan_next(&scanner), SCAN_KEY);
    cr_assert_str_eq(scanner.text, "b");
    cr_assert_eq(json_scan_next(&scanner), SCAN_NUMBER);
    cr_assert(json_scan_u64(&scanner, &seven) && seven == 7);
    cr_assert_eq(json_scan_next(&scanner), SCAN_KEY);
    cr_assert(json_scan_skip(&scanner));
    cr_assert_eq(json_scan_next(&scanner), SCAN_KEY);
    cr_assert(json_scan_skip(&scanner));
    cr_assert_not(json_scan_skip(&scanner), "the end of the object is no value");
    cr_assert_eq(json_scan_next(&scanner), SCAN_END);
    json_scan_end(&scanner);
}

static bool is_u64(const char *json, uint64_t *v)
{
    struct json_scanner scanner;
    bool is;

    json_scan_begin(&scanner, json, strlen(json));
    cr_assert_eq(json_scan_next(&scanner), SCAN_NUMBER);
    is = json_scan_u64(&scanner, v);
    json_scan_end(&scanner);
    return is;
}

Test(json_scan, whole_numbers_are_read_to_the_last_and_others_refused)
{
    uint64_t v = 0;

    cr_assert(is_u64("0", &v) && v == 0);
    cr_assert(is_u64("18446744073709551615", &v) && v == UINT64_MAX);
    cr_assert_not(is_u64("18446744073709551616", &v));
    cr_assert_not(is_u64("-1", &v));
    cr_assert_not(is_u64("1.0", &v));
    cr_assert_not(is_u64("1e2", &v));
}

Test(json_read_file, keeps_to_its_rules)
{
    static const struct {
        const char *json;
        enum status want;
    } cases[] = {
        {"{\"a\": 1}", OK},
        {"[1]", ERR_CORRUPT},
        {"{\"a\": 1, \"a\": 2}", ERR_CORRUPT},
        {"{\"a\": NaN}", ERR_CORRUPT},
        {"{\"a\": \"\\u0000\"}", ERR_CORRUPT},
        {"{\"a\": 1", ERR_CORRUPT},
        {"", ERR_CORRUPT},
    };
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct error err = {0};

    fixture_folder(folder);
    fixture_join(path, folder, "config.json");
    cr_expect_eq(json_read_file(path, &(json_t *){NULL}, &err), ERR_USAGE);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *tree = NULL;

        fixture_write(path, cases[i].json, strlen(cases[i].json));
        cr_expect_eq(json_read_file(path, &tree, &err), cases[i].want, "%s",
                     cases[i].json);
        if (cases[i].want != OK)
            cr_expect_eq(strncmp(err.text, path, strlen(path)), 0, "%s", err.text);
        json_decref(tree);
    }
    fixture_remove(folder);
}

Test(json_read_file, a_byte_order_mark_is_named)
{
    static const char marked[] = "\xef\xbb\xbf{}";
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct error err = {0};

    fixture_folder(folder);
    fixture_join(path, folder, "config.json");
    fixture_write(path, marked, sizeof(marked) - 1);
    cr_expect_eq(json_read_file(path, &(json_t *){NULL}, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "begins with a byte order mark"), "%s", err.text);
    fixture_remove(folder);
}

/* {"a": [1,1,...,1]}: the object, the list and n numbers are n + 2 values. */
static enum status read_numbers(const char *path, size_t n, struct error *err)
{
    static const char head[] = "{\",[,[\": [";
    const size_t n_head = sizeof(head) - 1, n_bytes = n_head + 2 * n + 1;
    char *text = malloc(n_bytes);
    json_t *tree = NULL;
    enum status st;

    memcpy(text, head, n_head);
    for (size_t i = 0; i < n; i++)
        memcpy(text + n_head + 2 * i, "1,", 2);
    memcpy(text + n_bytes - 2, "]}", 2);
    fixture_write(path, text, n_bytes);
    st = json_read_file(path, &tree, err);
    json_decref(tree);
    free(text);
    return st;
}

Test(json_read_file, holds_a_million_values_and_no_more)
{
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct error err = {0};

    fixture_folder(folder);
    fixture_join(path, folder, "config.json");
    cr_expect_eq(read_numbers(path, (1 << 20) - 2, &err), OK, "%s", err.text);
    cr_expect_eq(read_numbers(path, (1 << 20) - 1, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "1048576 values"), "%s", err.text);
    fixture_remove(folder);
}

/* As a tokenizer_config.json without a limit has it. */
Test(json_read_file, integers_beyond_64_bits_become_reals)
{
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    static const char json[] =
        "{\"a\": [1000000000000000019884624838656, 9223372036854775807, "
        "-9223372036854775809], \"b\": \"18446744073709551616\"}";
    struct error err = {0};
    json_t *tree = NULL, *a;

    fixture_folder(folder);
    fixture_join(path, folder, "config.json");
    fixture_write(path, json, sizeof(json) - 1);
    cr_assert_eq(json_read_file(path, &tree, &err), OK, "%s", err.text);
    a = json_object_get(tree, "a");
    cr_assert_eq(json_real_value(json_array_get(a, 0)), 1e30);
    cr_assert_eq(json_integer_value(json_array_get(a, 1)), INT64_MAX);
    cr_assert_eq(json_real_value(json_array_get(a, 2)), -0x1p63);
    cr_assert_str_eq(json_string_value(json_object_get(tree, "b")),
                     "18446744073709551616");
    json_decref(tree);
    fixture_remove(folder);
}
