/*
 * test_template.c - templates render as Jinja renders them; hostile ones are stopped
 *
 * The expectations are Jinja 3.1.6's own: tests/reference/render_templates.py and
 * template_snippets.py.
 */
#include "formats/template/template.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#define VECTORS CARAT_DATA "/vectors/template/"

static struct error err;

static json_t *load(const char *path)
{
    json_t *tree = NULL;

    cr_assert_eq(json_read_file(path, &tree, &err), OK, "%s", err.text);
    return tree;
}

/* {"text": ...} must come out; {"refused": ...} must not render. */
static void check(const char *source, json_t *context, const json_t *want,
                  const char *where)
{
    const char *text = json_string_value(json_object_get(want, "text"));
    char *got = NULL;
    const enum status st = template_render(source, context, &got, &err);

    if (!text) {
        cr_expect_neq(st, OK, "%s rendered as \"%s\"", where, got);
    } else {
        cr_expect_eq(st, OK, "%s: %s", where, err.text);
        cr_expect(st == OK && strcmp(got, text) == 0, "%s: \"%s\" instead of \"%s\"",
                  where, got ? got : "", text);
    }
    free(got);
}

Test(template, renders_conversations_as_jinja_does)
{
    json_t *all = load(VECTORS "conversations.json"), *expected, *want;
    json_t *conversations = json_object_get(all, "conversations");
    const char *name, *title;

    json_object_foreach(json_object_get(all, "templates"), name, expected)
    {
        char path[FIXTURE_PATH], *source = NULL;
        size_t n;

        fixture_join(path, VECTORS "sources", name);
        cr_assert_eq(file_read_all(path, 1 << 20, &source, &n, &err), OK, "%s", err.text);
        json_object_foreach(expected, title, want)
        {
            char where[200];

            snprintf(where, sizeof(where), "%s, %s", name, title);
            check(source, json_object_get(conversations, title), want, where);
        }
        free(source);
    }
    json_decref(all);
}

Test(template, renders_each_feature_as_jinja_does)
{
    json_t *all = load(VECTORS "snippets.json"), *item;
    size_t i;

    json_array_foreach(json_object_get(all, "cases"), i, item)
    {
        const char *source = json_string_value(json_object_get(item, "template"));

        check(source, json_object_get(all, "context"), item, source);
    }
    cr_expect_gt(i, 100);
    json_decref(all);
}

static void expect_refusal(const char *source, enum status want, const char *says)
{
    json_t *context = json_object();
    char *got = NULL;

    cr_expect_eq(template_render(source, context, &got, &err), want, "%.60s", source);
    cr_expect_not_null(strstr(err.text, says), "%.60s: %s", source, err.text);
    free(got);
    json_decref(context);
}

Test(template, refusals_name_the_line_and_the_fault)
{
    expect_refusal("a\nb\n{{ raise_exception('Roles must alternate') }}", ERR_USAGE,
                   "line 3 of the template: Roles must alternate");
    expect_refusal("{% if x %}\n\n", ERR_CORRUPT, "endif");
    expect_refusal("\n{% include 'x' %}", ERR_UNSUPPORTED,
                   "line 2 of the template: the statement "
                   "include");
    expect_refusal("{{ 'a' | frobnicate }}", ERR_UNSUPPORTED,
                   "no filter named 'frobnicate'");
    expect_refusal("{{ a is frobnicated }}", ERR_UNSUPPORTED,
                   "no test named 'frobnicated'");
    expect_refusal("{{ who.name }}", ERR_USAGE, "'who' is undefined");
    expect_refusal("{{ who() }}", ERR_USAGE, "'who' is undefined");
    expect_refusal("{{ 'a' + 1 }}", ERR_USAGE, "str and int");
    expect_refusal("{{ \xff }}", ERR_CORRUPT, "UTF-8");
    expect_refusal("{{ 99999999999999999999 }}", ERR_CORRUPT, "digits");
    expect_refusal("{{ 9223372036854775807 + 1 }}", ERR_USAGE, "64 bits");
    expect_refusal("{{ '%d' % 1e300 }}", ERR_UNSUPPORTED, "float");
    expect_refusal("{{ 'abc'.find('c', 1) }}", ERR_UNSUPPORTED,
                   "find is supported with up to 1");
    expect_refusal("{{ '1f' | int(base=16) }}", ERR_UNSUPPORTED,
                   "int with an argument 'base'");
    expect_refusal("{{ ['a'] | map('upper', 1) | list }}", ERR_UNSUPPORTED,
                   "upper is supported with up to 0");
}

/* n copies of `unit` between `head` and `tail`. */
static char *repeated(const char *head, const char *unit, size_t n, const char *tail)
{
    const size_t n_head = strlen(head), n_unit = strlen(unit);
    char *text = malloc(n_head + n * n_unit + strlen(tail) + 1), *at = text;

    memcpy(at, head, n_head);
    at += n_head;
    for (size_t i = 0; i < n; i++, at += n_unit)
        memcpy(at, unit, n_unit);
    strcpy(at, tail);
    return text;
}

static void expect_stopped(char *source, const char *says)
{
    expect_refusal(source, ERR_UNSUPPORTED, says);
    free(source);
}

Test(template, work_memory_and_depth_are_bounded)
{
    char *closed = repeated("1", ")", 5000, " }}");

    expect_stopped(repeated("{{ ", "(", 5000, closed), "deep");
    free(closed);
    expect_stopped(repeated("{{ ", "-", 5000, "1 }}"), "deep");
    expect_stopped(repeated("{{ ", "not ", 5000, "1 }}"), "deep");
    expect_stopped(repeated("{{ 1", " + 1", 5000, " }}"), "deep");
    expect_stopped(repeated("{{ 'a'", " | trim", 5000, " }}"), "deep");
    expect_stopped(repeated("{{ 'a' | map('map'", ", 'map'", 100000, ") | list }}"),
                   "deep");
    expect_stopped(repeated("", "{% if true %}", 5000, ""), "deep");
    expect_stopped(repeated("{% set x = [] %}", "{% set x = [x] %}", 5000, "{{ x }}"),
                   "deep");
    expect_stopped(repeated("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "", 0, ""),
                   "deep");
    expect_stopped(repeated("{% set ns = namespace(a=[]) %}{% for i in range(9999) %}"
                            "{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}",
                            "", 0, ""),
                   "deep");
    expect_stopped(repeated("{% set ns = namespace(s='abcd') %}{% for i in range(99) %}"
                            "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
                            "", 0, ""),
                   "more than");
    expect_stopped(repeated("{{ 'abcdefgh' * 9000000000 }}", "", 0, ""), "more than");
    expect_stopped(repeated("{{ range(100001) }}", "", 0, ""), "100000");
    expect_stopped(
        repeated("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}"
                 "{% endfor %}",
                 "", 0, ""),
        "more than");
    expect_stopped(
        repeated("{% for a in range(99999) %}{% for b in range(999) %}{% endfor %}"
                 "{% endfor %}",
                 "", 0, ""),
        "more than");
}

/* A template that looks at long texts and lists `times` times. */
static void look(char *source, size_t room, int times, const char *expression)
{
    snprintf(source, room,
             "{%% set s = 'a' * 999999 %%}{%% set t = 'a' * 999999 %%}"
             "{%% set blank = ' ' * 999999 %%}{%% set list = [7] * 99999 %%}"
             "{%% set two = [7] * 99999 %%}{%% set gaps = [nothing] * 99999 %%}"
             "{%% for i in range(%d) %%}{%% set x = %s %%}{%% endfor %%}",
             times, expression);
}

/* Looking at much, over and over, is work although nothing is made of it. */
Test(template, what_is_only_looked_at_counts_as_work)
{
    static const char *const expressions[] = {
        "s | length",  "s[-1]",       "s.strip('b')",    "s | trim('b')", "s.isalpha()",
        "s is upper",  "s.split()",   "s.count('b')",    "s.rfind('b')",  "'b' in s",
        "s == t",      "s < t",       "s.startswith(t)", "blank | int",   "blank.split()",
        "s|wordcount", "list == two", "list | max",      "list.count(9)", "-1 in list",
        "list < two",  "gaps | join"};
    json_t *none = json_object();
    char *text;

    for (size_t i = 0; i < sizeof(expressions) / sizeof(expressions[0]); i++) {
        char source[512];

        look(source, sizeof(source), 1, expressions[i]);
        text = NULL;
        cr_expect_eq(template_render(source, none, &text, &err), OK, "%s: %s",
                     expressions[i], err.text);
        free(text);
        look(source, sizeof(source), 999, expressions[i]);
        expect_refusal(source, ERR_UNSUPPORTED, "steps");
    }
    json_decref(none);
    expect_refusal("{{ ('a' * 999999).find('a' * 9999 ~ 'b') }}", ERR_UNSUPPORTED,
                   "steps");
    /* 2^26 pairs to compare in 26 lists of two */
    expect_refusal("{% set a = namespace(l=[1]) %}{% set b = namespace(l=[1]) %}"
                   "{% for i in range(26) %}{% set a.l = [a.l, a.l] %}"
                   "{% set b.l = [b.l, b.l] %}{% endfor %}{{ a.l == b.l }}",
                   ERR_UNSUPPORTED, "steps");
    expect_refusal("{% set a = namespace(l=[1]) %}{% set b = namespace(l=[1]) %}"
                   "{% for i in range(26) %}{% set a.l = [a.l, a.l] %}"
                   "{% set b.l = [b.l, b.l] %}{% endfor %}{% if a.l == b.l %}{% endif %}",
                   ERR_UNSUPPORTED, "steps");
}

Test(template, a_name_is_looked_for_within_the_work_allowed)
{
    enum { N = 5000 };
    char *source = malloc(N * 32 + 200), *at = source;

    for (int i = 0; i < N; i++)
        at += sprintf(at, "{%% set name%d = 1 %%}", i);
    strcpy(at, "{% for i in range(30000) %}{{ name0 }}{% endfor %}");
    expect_stopped(source, "steps");
}

Test(template, a_key_that_equals_nothing_is_written)
{
    json_t *none = json_object();
    char *text = NULL;

    cr_assert_eq(template_render("{{ {(1e308 * 10 - 1e308 * 10): 1} | tojson }}", none,
                                 &text, &err),
                 OK, "%s", err.text);
    cr_expect_str_eq(text, "{\"NaN\": 1}");
    free(text);
    json_decref(none);
}

/* Every prefix of a real template renders or is refused, with one sentence. */
Test(template, templates_cut_at_any_length_do_no_harm)
{
    json_t *all = load(VECTORS "conversations.json");
    json_t *context =
        json_object_get(json_object_get(all, "conversations"), "tools and thinking");
    char *source = NULL, *got;
    size_t n;

    cr_assert_eq(
        file_read_all(VECTORS "sources/chatml-tools.jinja", 1 << 20, &source, &n, &err),
        OK, "%s", err.text);
    for (size_t i = n; i > 0; i--) {
        source[i] = '\0';
        got = NULL;
        if (template_render(source, context, &got, &err) != OK)
            cr_expect_neq(err.text[0], '\0');
        free(got);
    }
    free(source);
    json_decref(all);
}

Test(template, strftime_now_is_a_date)
{
    json_t *context = json_object();
    char *got = NULL, year[8];
    const time_t now = time(NULL);
    struct tm tm;

    cr_assert_eq(template_render("{{ strftime_now('%Y') }}", context, &got, &err), OK,
                 "%s", err.text);
    strftime(year, sizeof(year), "%Y", localtime_r(&now, &tm));
    cr_expect_str_eq(got, year);
    free(got);
    json_decref(context);
}

Test(template, a_source_of_a_mebibyte_is_the_longest)
{
    json_t *context = json_object();
    char *source = malloc(TEMPLATE_MAX_SOURCE + 2), *got = NULL;

    cr_assert_not_null(source);
    memset(source, 'x', TEMPLATE_MAX_SOURCE + 1);
    source[TEMPLATE_MAX_SOURCE + 1] = '\0';
    cr_expect_eq(template_render(source, context, &got, &err), ERR_UNSUPPORTED);
    cr_expect_str_eq(err.text, "a template of 1048577 bytes is too long");
    source[TEMPLATE_MAX_SOURCE] = '\0';
    cr_expect_eq(template_render(source, context, &got, &err), OK, "%s", err.text);
    cr_expect(got && strcmp(got, source) == 0);
    free(got);
    free(source);
    json_decref(context);
}
