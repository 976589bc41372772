/*
 * chat_render.c - a conversation through the template of a model
 */
#include "formats/chat/chat.h"
#include "formats/template/template.h"

#include <stdlib.h>
#include <string.h>

/* For models without a template: turns, system text and thinking as Gemma 4's own template prints
 * them, without tools. */
static const char gemma4_turns[] =
    "{{ bos_token }}"
    "{%- set has_system = messages and messages[0]['role'] in ['system', 'developer'] -%}"
    "{%- if enable_thinking or has_system -%}"
    "<|turn>system\n"
    "{{ '<|think|>\n' if enable_thinking else '' }}"
    "{%- if has_system -%}"
    "{%- if messages[0]['content'] is string -%}{{ messages[0]['content'] | trim }}"
    "{%- else -%}{%- for part in messages[0]['content'] -%}{{ part.text | trim ~ ' ' }}"
    "{%- endfor -%}{%- endif -%}"
    "{%- endif -%}"
    "{{ '<turn|>\n' }}"
    "{%- endif -%}"
    "{%- for message in (messages[1:] if has_system else messages) -%}"
    "{{ '<|turn>' ~ ('model' if message['role'] == 'assistant' else message['role']) ~ "
    "'\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] | trim }}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{{ part.text | trim if part.type == 'text' else '<|' ~ part.type ~ '|>' }}"
    "{%- endfor -%}{%- endif -%}"
    "{{ '<turn|>\n' }}"
    "{%- endfor -%}"
    "{{ '<|turn>model\n' if add_generation_prompt else '' }}";

/* The same for vocabularies of Gemma 2 and 3, where the system text goes before the first turn. */
static const char gemma3_turns[] =
    "{{ bos_token }}"
    "{%- set has_system = messages and messages[0]['role'] in ['system', 'developer'] -%}"
    "{%- for message in (messages[1:] if has_system else messages) -%}"
    "{{ '<start_of_turn>' ~ ('model' if message['role'] == 'assistant' else "
    "message['role']) ~ '\n' }}"
    "{{ messages[0]['content'] | trim ~ '\n\n' if has_system and loop.first else '' }}"
    "{%- if message['content'] is string -%}{{ message['content'] | trim }}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{{ part.text | trim if part.type == 'text' else '<start_of_' ~ part.type ~ '>' }}"
    "{%- endfor -%}{%- endif -%}"
    "{{ '<end_of_turn>\n' }}"
    "{%- endfor -%}"
    "{{ '<start_of_turn>model\n' if add_generation_prompt else '' }}";

/* Whether the vocabulary has a piece of that text. */
static bool has_piece(const struct gguf_meta *meta, const char *piece)
{
    const struct gguf_value *tokens = gguf_meta_find(meta, "tokenizer.ggml.tokens");
    const size_t n = strlen(piece);

    if (!tokens || tokens->type != GGUF_ARRAY || tokens->element != GGUF_STRING)
        return false;
    for (uint64_t i = 0; i < tokens->count; i++) {
        const struct gguf_str text = gguf_value_str(tokens, i);

        if (text.n == n && memcmp(text.text, piece, n) == 0)
            return true;
    }
    return false;
}

static const char *choose_template(const struct gguf_meta *meta,
                                   const struct chat_options *options)
{
    struct gguf_str text;

    if (options->tools && gguf_get_str(meta, "tokenizer.chat_template.tool_use", &text))
        return text.text;
    if (gguf_get_str(meta, "tokenizer.chat_template", &text))
        return text.text;
    return !has_piece(meta, "<|turn>") && has_piece(meta, "<start_of_turn>")
               ? gemma3_turns
               : gemma4_turns;
}

/* ---- variables ---- */

/* The text of a special token, or "". */
static json_t *token_text(const struct gguf_meta *meta, const char *id_key)
{
    const struct gguf_value *tokens = gguf_meta_find(meta, "tokenizer.ggml.tokens");
    struct gguf_str text;
    uint32_t id;

    if (!tokens || tokens->type != GGUF_ARRAY || tokens->element != GGUF_STRING ||
        !gguf_get_u32(meta, id_key, &id) || id >= tokens->count)
        return json_string("");
    text = gguf_value_str(tokens, id);
    return json_stringn(text.text, text.n);
}

static json_t *make_context(const struct gguf_meta *meta, json_t *messages,
                            const struct chat_options *options)
{
    json_t *context = json_object(),
           *tools = options->tools ? options->tools : json_null();
    int trouble = context ? 0 : -1;

    if (options->extra)
        trouble |= json_object_update(context, options->extra);
    trouble |= json_object_set(context, "messages", messages);
    trouble |= json_object_set(context, "tools", tools);
    trouble |= json_object_set_new(context, "documents", json_null());
    trouble |=
        json_object_set_new(context, "enable_thinking", json_boolean(options->thinking));
    trouble |= json_object_set_new(context, "add_generation_prompt",
                                   json_boolean(options->answer_next));
    trouble |= json_object_set_new(context, "bos_token",
                                   token_text(meta, "tokenizer.ggml.bos_token_id"));
    trouble |= json_object_set_new(context, "eos_token",
                                   token_text(meta, "tokenizer.ggml.eos_token_id"));
    if (trouble == 0)
        return context;
    json_decref(context);
    return NULL;
}

enum status chat_render(const struct gguf_meta *meta, json_t *messages,
                        const struct chat_options *options, char **text,
                        struct error *err)
{
    json_t *context;
    enum status st;

    if (!json_is_array(messages))
        return fail(err, ERR_USAGE, "a conversation is a list of messages");
    context = make_context(meta, messages, options);
    if (!context)
        return fail(err, ERR_NOMEM, "no memory for a conversation");
    st = template_render(choose_template(meta, options), context, text, err);
    json_decref(context);
    return st == OK ? OK : fail_at(err, "chat template");
}

enum status chat_check(const struct gguf_meta *meta, struct error *err)
{
    const struct chat_options options = {.answer_next = true};
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "Hello");
    struct error why = {0};
    char *text = NULL;
    const enum status st = messages
                               ? chat_render(meta, messages, &options, &text, &why)
                               : fail(&why, ERR_NOMEM, "no memory for a conversation");

    json_decref(messages);
    free(text);
    if (st == OK || st == ERR_USAGE)
        return OK;
    *err = why;
    return st;
}
