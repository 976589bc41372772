/*
 * test_chat.c - templates are found where models keep them, and conversations become turns
 */
#include "formats/chat/chat.h"
#include "tests/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>

static char folder[FIXTURE_PATH];
static struct error err;
static char warning[512];

static void keep_warning(void *arg, const char *sentence)
{
    (void)arg;
    snprintf(warning, sizeof(warning), "%s", sentence);
}

static void make_folder(void)
{
    fixture_folder(folder);
    log_set_sink(keep_warning, NULL);
    warning[0] = '\0';
}

static void remove_folder(void)
{
    fixture_remove(folder);
}

TestSuite(chat, .init = make_folder, .fini = remove_folder);

static void put(const char *name, const char *text)
{
    char path[FIXTURE_PATH];

    fixture_join(path, folder, name);
    fixture_write(path, text, strlen(text));
}

static struct chat_templates find(void)
{
    struct chat_templates found;

    cr_assert_eq(chat_find_templates(folder, &found, &err), OK, "%s", err.text);
    return found;
}

static void expect_template(const struct chat_templates *found, const char *name,
                            const char *text)
{
    const struct chat_template *template = chat_template_named(found, name);

    cr_assert_not_null(template, "no template %s", name);
    cr_expect_str_eq(template->text, text);
    cr_expect_eq(template->n, strlen(text));
}

Test(chat, template_of_the_jinja_file_comes_first_and_a_different_one_is_told)
{
    struct chat_templates found;

    put("chat_template.jinja", "from the file\n");
    put("tokenizer_config.json", "{\"chat_template\": \"from the configuration\"}");
    put("chat_template.json", "{\"chat_template\": \"from the file\\n\"}");
    found = find();
    cr_expect_eq(found.n, 1);
    expect_template(&found, "default", "from the file\n");
    cr_expect_not_null(strstr(warning, "two different chat templates"), "%s", warning);
    chat_templates_free(&found);
}

Test(chat, template_of_the_configuration_may_be_a_text_a_list_or_a_mapping)
{
    static const char *const forms[] = {
        "{\"chat_template\": \"plain\"}",
        ("{\"chat_template\": [{\"name\": \"default\", \"template\": \"plain\"},"
         " {\"name\": \"tool_use\", \"template\": \"tools\"}]}"),
        "{\"chat_template\": {\"tool_use\": \"tools\", \"default\": \"plain\"}}",
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct chat_templates found;

        put("tokenizer_config.json", forms[i]);
        found = find();
        expect_template(&found, "default", "plain");
        cr_expect_eq(found.n, i == 0 ? 1 : 2);
        if (i > 0)
            expect_template(&found, "tool_use", "tools");
        cr_expect_str_eq(warning, "");
        chat_templates_free(&found);
    }
}

Test(chat, last_template_of_a_name_in_a_list_counts)
{
    struct chat_templates found;

    put("tokenizer_config.json",
        "{\"chat_template\": [{\"name\": \"default\", \"template\": \"first\"},"
        " {\"name\": \"tool_use\", \"template\": \"tools\"},"
        " {\"name\": \"default\", \"template\": \"last\"}]}");
    found = find();
    cr_expect_eq(found.n, 2);
    expect_template(&found, "default", "last");
    expect_template(&found, "tool_use", "tools");
    chat_templates_free(&found);
}

Test(chat, template_of_the_processor_is_the_last_resort)
{
    struct chat_templates found;

    put("tokenizer_config.json", "{}");
    put("chat_template.json", "{\"chat_template\": \"old\"}");
    found = find();
    expect_template(&found, "default", "old");
    chat_templates_free(&found);
}

Test(chat, model_without_a_template_is_told)
{
    struct chat_templates found = find();

    cr_expect_eq(found.n, 0);
    cr_expect_not_null(strstr(warning, "no chat template"), "%s", warning);
    chat_templates_free(&found);
}

Test(chat, templates_that_are_something_else_are_refused)
{
    struct chat_templates found;

    put("tokenizer_config.json", "{\"chat_template\": 7}");
    cr_expect_eq(chat_find_templates(folder, &found, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "tokenizer_config.json"), "%s", err.text);
    put("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"x\"}]}");
    cr_expect_eq(chat_find_templates(folder, &found, &err), ERR_CORRUPT);
    put("chat_template.jinja", "Gr\xfc\xdf Gott");
    cr_expect_eq(chat_find_templates(folder, &found, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "not a text in UTF-8"), "%s", err.text);
}

Test(chat, more_named_templates_than_can_be_kept_are_refused)
{
    char path[FIXTURE_PATH], name[64];
    struct chat_templates found;

    put("chat_template.jinja", "plain");
    fixture_join(path, folder, "additional_chat_templates");
    cr_assert_eq(mkdir(path, 0700), 0);
    for (int i = 0; i < 65; i++) {
        snprintf(name, sizeof(name), "additional_chat_templates/%d.jinja", i);
        put(name, "one more");
    }
    cr_expect_eq(chat_find_templates(folder, &found, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.text, "more than 64"), "%s", err.text);
}

/* The keys gguf-py writes: the named ones, their names, then the plain one. */
Test(chat, named_templates_have_keys_of_their_own)
{
    struct gguf_meta *meta = gguf_meta_new();
    struct chat_templates found;
    char path[FIXTURE_PATH];
    struct gguf_str text;

    put("chat_template.jinja", "plain");
    fixture_join(path, folder, "additional_chat_templates");
    cr_assert_eq(mkdir(path, 0700), 0);
    put("additional_chat_templates/tool use.jinja", "tools");
    put("additional_chat_templates/rag.jinja", "search");
    found = find();
    cr_assert_eq(chat_templates_to_meta(&found, meta, &err), OK, "%s", err.text);
    cr_expect_eq(gguf_meta_count(meta), 4);
    cr_expect_str_eq(gguf_meta_at(meta, 0)->key, "tokenizer.chat_template.rag");
    cr_expect_str_eq(gguf_meta_at(meta, 1)->key, "tokenizer.chat_template.tool_use");
    cr_expect_str_eq(gguf_meta_at(meta, 2)->key, "tokenizer.chat_templates");
    cr_expect_str_eq(gguf_value_str(gguf_meta_at(meta, 2), 1).text, "tool_use");
    cr_expect(gguf_get_str(meta, "tokenizer.chat_template", &text));
    cr_expect_str_eq(text.text, "plain");
    chat_templates_free(&found);
    gguf_meta_free(meta);
}

/* ---- rendering ---- */

static void set_tokens(struct gguf_meta *meta, const char *turn)
{
    const struct gguf_str tokens[] = {{"<pad>", 5}, {"<bos>", 5}, {turn, strlen(turn)}};

    cr_assert_eq(gguf_set_strings(meta, "tokenizer.ggml.tokens", tokens, 3, &err), OK);
    cr_assert_eq(gguf_set_u32(meta, "tokenizer.ggml.bos_token_id", 1, &err), OK);
}

static void expect_chat(const struct gguf_meta *meta, const char *messages,
                        const struct chat_options *options, const char *want)
{
    json_t *tree = json_loads(messages, 0, NULL);
    char *text = NULL;

    cr_assert_not_null(tree);
    cr_assert_eq(chat_render(meta, tree, options, &text, &err), OK, "%s", err.text);
    cr_expect_str_eq(text, want);
    free(text);
    json_decref(tree);
}

#define TALK                                                                          \
    "[{\"role\": \"system\", \"content\": \" Be brief. \"}, {\"role\": \"user\", "    \
    "\"content\": [{\"type\": \"image\"}, {\"type\": \"text\", \"text\": \"Hi \"}]}," \
    "{\"role\": \"assistant\", \"content\": \"Yo\"}]"

Test(chat, of_a_model_without_a_template_has_the_turns_of_its_vocabulary)
{
    struct gguf_meta *meta = gguf_meta_new();
    const struct chat_options thinking = {.thinking = true, .answer_next = true};
    const struct chat_options plain = {.answer_next = false};

    set_tokens(meta, "<|turn>");
    expect_chat(meta, TALK, &thinking,
                "<bos><|turn>system\n<|think|>\nBe "
                "brief.<turn|>\n<|turn>user\n<|image|>Hi<turn|>\n"
                "<|turn>model\nYo<turn|>\n<|turn>model\n");
    expect_chat(meta, "[{\"role\": \"user\", \"content\": \"a\"}]", &plain,
                "<bos><|turn>user\na<turn|>\n");
    set_tokens(meta, "<start_of_turn>");
    expect_chat(meta, TALK, &plain,
                "<bos><start_of_turn>user\nBe brief.\n\n<start_of_image>Hi<end_of_turn>\n"
                "<start_of_turn>model\nYo<end_of_turn>\n");
    gguf_meta_free(meta);
}

/* The same conversations through the template of a released model. */
Test(chat, without_a_template_agrees_with_the_released_one)
{
    static const char *const talks[] = {
        "[{\"role\": \"user\", \"content\": \" Hello \"}]",
        ("[{\"role\": \"developer\", \"content\": \"Be kind. \"}, {\"role\": \"user\", "
         "\"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b \"}, "
         "{\"role\": \"user\","
         " \"content\": \"c\"}]"),
        ("[{\"role\": \"system\", \"content\": [{\"type\": \"text\", \"text\": \" x "
         "\"}]},"
         "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"y\"}]}]"),
    };
    struct gguf_meta *bare = gguf_meta_new(), *full = gguf_meta_new();
    char *source = NULL;
    size_t n;

    set_tokens(bare, "<|turn>");
    set_tokens(full, "<|turn>");
    cr_assert_eq(file_read_all(CARAT_DATA
                               "/vectors/template/sources/gemma-4-e2b-it.july.jinja",
                               1 << 20, &source, &n, &err),
                 OK, "%s", err.text);
    cr_assert_eq(gguf_set_str(full, "tokenizer.chat_template", source, n, &err), OK);
    for (size_t i = 0; i < 2 * sizeof(talks) / sizeof(talks[0]); i++) {
        const struct chat_options options = {.thinking = i % 2, .answer_next = true};
        json_t *tree = json_loads(talks[i / 2], 0, NULL);
        char *text = NULL;

        cr_assert_eq(chat_render(full, tree, &options, &text, &err), OK, "%s", err.text);
        expect_chat(bare, talks[i / 2], &options, text);
        free(text);
        json_decref(tree);
    }
    free(source);
    gguf_meta_free(bare);
    gguf_meta_free(full);
}

Test(chat, tools_use_the_template_made_for_them)
{
    struct gguf_meta *meta = gguf_meta_new();
    struct chat_options options = {.tools = json_pack("[{s:s}]", "name", "f")};

    set_tokens(meta, "x");
    cr_assert_eq(gguf_set_str(meta, "tokenizer.chat_template", "plain{{ tools is none }}",
                              24, &err),
                 OK);
    cr_assert_eq(gguf_set_str(meta, "tokenizer.chat_template.tool_use",
                              "{{ bos_token }}{{ tools[0].name }}", 34, &err),
                 OK);
    expect_chat(meta, "[]", &options, "<bos>f");
    json_decref(options.tools);
    options.tools = NULL;
    expect_chat(meta, "[]", &options, "plainTrue");
    gguf_meta_free(meta);
}

/* A broken template is told apart from one that wants something else of a conversation. */
Test(chat, broken_template_is_found_before_it_is_used)
{
    static const struct {
        const char *source;
        enum status want;
        const char *says;
    } cases[] = {
        {"{{ messages[0].content }}", OK, ""},
        {"{{ raise_exception('roles must alternate') }}", OK, ""},
        {"\n{% for m in messages %}{{ m.", ERR_CORRUPT, "line 2"},
        {"{{ messages | shuffled }}", ERR_UNSUPPORTED, "'shuffled'"},
    };
    struct gguf_meta *meta = gguf_meta_new();

    cr_expect_eq(chat_check(meta, &err), OK, "no template: %s", err.text);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_assert_eq(gguf_set_str(meta, "tokenizer.chat_template", cases[i].source,
                                  strlen(cases[i].source), &err),
                     OK);
        err = (struct error){0};
        cr_expect_eq(chat_check(meta, &err), cases[i].want, "%s: %s", cases[i].source,
                     err.text);
        cr_expect_not_null(strstr(err.text, cases[i].says), "%s", err.text);
    }
    gguf_meta_free(meta);
}

Test(chat, template_that_refuses_is_heard)
{
    static const char source[] = "{{ raise_exception('no ' ~ messages | length) }}";
    struct gguf_meta *meta = gguf_meta_new();
    json_t *messages = json_array();
    char *text = NULL;

    cr_assert_eq(
        gguf_set_str(meta, "tokenizer.chat_template", source, strlen(source), &err), OK);
    cr_expect_eq(chat_render(meta, messages, &(struct chat_options){0}, &text, &err),
                 ERR_USAGE);
    cr_expect_not_null(strstr(err.text, "no 0"), "%s", err.text);
    json_decref(messages);
    gguf_meta_free(meta);
}
