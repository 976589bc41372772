/*
 * chat.h - where a model keeps its chat templates, and a conversation as the text it becomes
 *
 * A checkpoint folder may hold templates in four places. The first that has one wins, as in
 * transformers: chat_template.jinja (with additional_chat_templates/NAME.jinja beside it), then
 * "chat_template" of tokenizer_config.json (a text, a list of {name, template}, or a mapping),
 * then chat_template.json. In a GGUF the keys are tokenizer.chat_template, and for named ones
 * tokenizer.chat_template.NAME with their names in tokenizer.chat_templates.
 */
#ifndef FORMATS_CHAT_CHAT_H
#define FORMATS_CHAT_CHAT_H

#include "base/base.h"
#include "formats/gguf/gguf.h"

struct chat_template {
    const char *name; /* "default", "tool_use", ... */
    const char *text;
    size_t n; /* bytes of text */
};

/* All templates of a model. Starts as `= {0}`; n == 0 means the model has none. */
struct chat_templates {
    struct chat_template *list; /* in arena; no name twice */
    size_t n;
    struct arena arena;
};

/* Find the templates of a checkpoint folder. Warns when there is none and when two places hold
 * different ones. ERR_CORRUPT when a file is there but is not what it should be. */
MUST_CHECK enum status chat_find_templates(const char *folder, struct chat_templates *out,
                                           struct error *err);

/* One template from a file, as "default": what a user put in the place of the model's. */
MUST_CHECK enum status chat_read_template(const char *path, struct chat_templates *out,
                                          struct error *err);

/* Write the tokenizer.chat_template* keys, as gguf-py does; characters of names that are neither
 * letters nor digits become '_'. ERR_NOMEM. */
MUST_CHECK enum status chat_templates_to_meta(const struct chat_templates *templates,
                                              struct gguf_meta *meta, struct error *err);

/* The template of a file in the place of all that the metadata have. ERR_USAGE when it is missing;
 * ERR_CORRUPT, ERR_NOMEM. */
MUST_CHECK enum status chat_replace_template(struct gguf_meta *meta, const char *path,
                                             struct error *err);

/* The template called `name` ("default" for the plain one), or NULL. Borrowed. */
const struct chat_template *chat_template_named(const struct chat_templates *templates,
                                                const char *name);

void chat_templates_free(struct chat_templates *templates); /* leaves = {0} */

struct chat_options {
    json_t *tools;    /* array of function descriptions, or NULL; borrowed */
    json_t *extra;    /* object: further variables for the template, or NULL; borrowed */
    bool thinking;    /* enable_thinking */
    bool answer_next; /* add_generation_prompt */
};

/* Turn `messages` (an array of {role, content, ...}) into text with the template in a model's
 * metadata (tool_use when there are tools and it has one), or with Gemma 4's turn format when
 * the model has none. The text contains control tokens, BOS among them where the template prints
 * it: encode it with TOKENIZE_SPECIAL. *text is owned by the caller (free). ERR_USAGE when the
 * template refuses the conversation, in its own words; ERR_CORRUPT when the template is broken;
 * ERR_UNSUPPORTED when it needs something template.h does not have. */
MUST_CHECK enum status chat_render(const struct gguf_meta *meta, json_t *messages,
                                   const struct chat_options *options, char **text,
                                   struct error *err);

/* Whether the template in a model's metadata turns a user's message into text. ERR_CORRUPT or
 * ERR_UNSUPPORTED, as chat_render() says it; a refusal in the template's own words is none of its
 * faults, and no template has none. ERR_NOMEM. */
MUST_CHECK enum status chat_check(const struct gguf_meta *meta, struct error *err);

#endif
