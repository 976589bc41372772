/*
 * fuzz_chat.c - the places of chat templates, the metadata they become, and a conversation through
 * them
 */
#include "formats/chat/chat.h"
#include "tests/fuzz/fuzz_folder.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static const char *const names[] = {
    "chat_template.jinja", "tokenizer_config.json",
    "chat_template.json",  "additional_chat_templates/tool_use.jinja",
    "messages.json",       NULL};

static void render(const struct gguf_meta *meta, json_t *messages, json_t *tools)
{
    const struct chat_options options = {
        .tools = tools, .thinking = tools != NULL, .answer_next = true};
    struct error err = {.text = ""};
    char *text = NULL;

    if (chat_render(meta, messages, &options, &text, &err) != OK)
        expect(err.code != OK && err.text[0] != '\0');
    free(text);
}

static void converse(const struct gguf_meta *meta, const char *path)
{
    json_t *messages = NULL, *tools = json_loads("[{\"name\": \"f\"}]", 0, NULL);
    struct error err;

    if (file_exists(path) && json_read_list(path, &messages, &err) == OK) {
        render(meta, messages, NULL);
        render(meta, messages, tools);
    }
    json_decref(messages);
    json_decref(tools);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static struct scratch scratch = {.names = names};
    struct chat_templates templates = {0};
    struct gguf_meta *meta = gguf_meta_new();
    struct error err = {.text = ""};

    expect(meta != NULL);
    scratch_fill(&scratch, bytes, n_bytes);
    if (chat_find_templates(scratch.folder, &templates, &err) == OK &&
        chat_templates_to_meta(&templates, meta, &err) == OK)
        converse(meta, scratch_path(&scratch, "messages.json"));
    else
        expect(err.code != OK && err.text[0] != '\0');
    chat_templates_free(&templates);
    gguf_meta_free(meta);
    return 0;
}
