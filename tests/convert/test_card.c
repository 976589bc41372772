/*
 * test_card.c - model cards say what gguf-py 0.19 takes from them, and hostile ones nothing
 *
 * data/vectors/cards/cards.json is printed by tests/reference/cards.py.
 */
#include "convert/gemma/card.h"
#include "convert/gemma/gemma.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The metadata of a folder of that name whose README.md is these bytes. */
static struct gguf_meta *describe_folder(const char *name, const char *card, size_t n,
                                         struct gemma_identity identity)
{
    char root[FIXTURE_PATH], folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct gguf_meta *meta = gguf_meta_new();
    struct error err = {0};

    fixture_folder(root);
    fixture_join(folder, root, name);
    cr_assert_eq(mkdir(folder, 0700), 0);
    fixture_join(path, folder, "README.md");
    fixture_write(path, card, n);
    identity.folder = folder;
    cr_assert_eq(gemma_describe_general("gemma4", &identity, meta, &err), OK, "%s",
                 err.text);
    fixture_remove(root);
    return meta;
}

static struct gguf_meta *describe(const char *card, size_t n, uint64_t n_params)
{
    return describe_folder("gemma-4-E2B-it", card, n,
                           (struct gemma_identity){.n_params = n_params});
}

static bool is_text(const struct gguf_value *value, uint64_t i, const json_t *want)
{
    const struct gguf_str text = gguf_value_str(value, i);

    return text.n == json_string_length(want) &&
           memcmp(text.text, json_string_value(want), text.n) == 0;
}

static bool is_equal(const struct gguf_value *value, const json_t *want)
{
    if (json_is_integer(want))
        return value->type == GGUF_U32 &&
               gguf_value_int(value, 0) == json_integer_value(want);
    if (json_is_string(want))
        return value->type == GGUF_STRING && is_text(value, 0, want);
    if (value->type != GGUF_ARRAY || value->element != GGUF_STRING ||
        value->count != json_array_size(want))
        return false;
    for (size_t i = 0; i < json_array_size(want); i++)
        if (!is_text(value, i, json_array_get(want, i)))
            return false;
    return true;
}

/* Every wanted key with its value, and no other but those that no card changes. */
static void check(const struct gguf_meta *meta, const json_t *wanted, size_t number)
{
    const char *key;
    json_t *want;

    json_object_foreach((json_t *)(uintptr_t)wanted, key, want)
    {
        const struct gguf_value *value = gguf_meta_find(meta, key);

        cr_expect(value && is_equal(value, want), "card %zu: %s", number, key);
    }
    for (size_t i = 0; i < gguf_meta_count(meta); i++) {
        const char *found = gguf_meta_at(meta, i)->key;

        cr_expect(json_object_get(wanted, found) ||
                      strcmp(found, "general.architecture") == 0 ||
                      strcmp(found, "general.type") == 0 ||
                      strcmp(found, "general.size_label") == 0,
                  "card %zu: %s is one too many", number, found);
    }
}

Test(card, says_what_gguf_py_takes_from_it)
{
    json_t *file = NULL;
    struct error err = {0};

    cr_assert_eq(json_read_file(CARAT_DATA "/vectors/cards/cards.json", &file, &err), OK,
                 "%s", err.text);
    const json_t *cases = json_object_get(file, "cases");
    cr_assert_geq(json_array_size(cases), 9);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        const json_t *card = json_object_get(item, "card");
        struct gguf_meta *meta =
            describe(json_string_value(card), json_string_length(card),
                     (uint64_t)json_integer_value(json_object_get(file, "params")));

        check(meta, json_object_get(item, "keys"), i);
        gguf_meta_free(meta);
    }
    json_decref(file);
}

/* What is in none of these is a licence. */
Test(card, hostile_heads_say_nothing_and_fail_nothing)
{
    static const struct {
        const char *text;
        size_t n;
    } cards[] = {
#define CARD(text) {text, sizeof(text) - 1}
        CARD("---\nlicense: mit"), /* never closed */
        CARD("---\nlicense: \x1b[31mmit\n---\n"),
        CARD("---\nlicense: m\0it\n---\n"),
        CARD("---\nlicense: \xff\xfe\n---\n"),
        CARD("---\nlicense: &a [*a, *a]\n---\n"),
        CARD("---\nlicense: !!python/object/apply:os.system ['id']\n---\n"),
        CARD("---\nlicense: {a: b}\n---\n"),
        CARD("---\nlicense: \"\\0\"\n---\n"),
        CARD("---\nlicense: \"\\ud800\"\n---\n"),
        CARD("---\nlicense: \"mit\n---\n"),
        CARD("---\nlicense: 'mit' x\n---\n"),
        CARD("---\nlicense: 'mit''\n---\n"),
        CARD("---\nlicense: [mit, {a: b}]\n---\n"),
        CARD("---\nlicense: a: b\n---\n"),
        CARD("---\nlicense: |\n  mit\n---\n"),
        CARD("---\n- license: mit\n---\n"),
        CARD("---\nlicense:\n  name: mit\n---\n"),
        CARD("---\nlicense:\n---\n"),
        CARD("\xef\xbb\xbf---\nlicense: mit\n---\n"),
#undef CARD
    };

    for (size_t i = 0; i < sizeof(cards) / sizeof(cards[0]); i++) {
        struct gguf_meta *meta = describe(cards[i].text, cards[i].n, 0);

        cr_expect_null(gguf_meta_find(meta, "general.license"), "card %zu", i);
        gguf_meta_free(meta);
    }
}

/* Each of a hundred thousand items, brackets or lines that go on costs no more than itself. */
Test(card, large_heads_are_read_in_linear_room)
{
    static const char *const lines[] = {"- x\n",  "  x\n", "[[[[",
                                        "a: b\n", "' ''",  "k: [\n"};
    enum { N = 1 << 20 };
    char *text = malloc(N + 32);

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        size_t n = (size_t)sprintf(text, "---\ntags: %s", i == 0 ? "\n" : "y\n");

        while (n + strlen(lines[i]) < N) {
            memcpy(text + n, lines[i], strlen(lines[i]));
            n += strlen(lines[i]);
        }
        memcpy(text + n, "\n---\n", 5);
        gguf_meta_free(describe(text, n + 5, 0));
    }
    free(text);
}

/* ---- what stands elsewhere ---- */

Test(general, a_folder_s_name_may_be_any_bytes_and_metadata_are_text)
{
    struct gguf_meta *meta =
        describe_folder("mod\xe8le-4B-it", "", 0, (struct gemma_identity){0});
    struct gguf_str name = {0};

    cr_assert(gguf_get_str(meta, "general.name", &name));
    cr_expect(utf8_is_valid(name.text, name.n), "%s", name.text);
    gguf_meta_free(meta);
}

Test(general, whole_numbers_that_do_not_fit_are_left_out)
{
    json_t *generation =
        json_pack("{s:I,s:I,s:i}", "top_k", (json_int_t)INT64_MIN, "penalty_last_n",
                  (json_int_t)INT32_MAX + 1, "mirostat", -1);
    struct gguf_meta *meta =
        describe_folder("x", "", 0, (struct gemma_identity){.generation = generation});
    int32_t mirostat = 0;

    cr_expect_null(gguf_meta_find(meta, "general.sampling.top_k"));
    cr_expect_null(gguf_meta_find(meta, "general.sampling.penalty_last_n"));
    cr_expect(gguf_get_i32(meta, "general.sampling.mirostat", &mirostat));
    cr_expect_eq(mirostat, -1);
    gguf_meta_free(meta);
    json_decref(generation);
}
