/*
 * template.h - render a chat template: the part of Jinja that chat templates use
 *
 * Statements: if, for (with filter, else and unpacking, not recursive), set (values, blocks,
 * namespace attributes), macro and call, filter, raw, break and continue, generation. Expressions as in
 * Jinja 3.1, with the filters, tests, methods and functions of the tables in template_filter.c,
 * template_test.c, template_method.c and template_function.c; what is not there is refused by name.
 * Blocks are trimmed as transformers asks for: the newline after a block goes (trim_blocks), and
 * the blanks before it on its line (lstrip_blocks); tojson does not escape HTML.
 *
 * Templates come from strangers: nothing can be reached from one but the context it is given, and
 * work, memory and depth are bounded.
 *
 * Source: the Jinja 3.1 template designer documentation; transformers, "Chat templates".
 */
#ifndef FORMATS_TEMPLATE_TEMPLATE_H
#define FORMATS_TEMPLATE_TEMPLATE_H

#include "base/base.h"

enum {
    TEMPLATE_MAX_SOURCE = 1 << 20, /* bytes */
    TEMPLATE_MAX_STEPS =
        10000000, /* nodes evaluated, items and 16 bytes looked at or made */
    TEMPLATE_MAX_MEMORY = 256 << 20,
    TEMPLATE_MAX_DEPTH =
        200, /* brackets and blocks in the source; twice that when running */
};

/* Render `source` with the members of the object `context` as its variables. *out is owned by the
 * caller (free), NUL-terminated. ERR_CORRUPT: not a template, with the line; ERR_UNSUPPORTED names
 * what is missing; ERR_USAGE: the template could not be rendered with this context, or called
 * raise_exception(), with its words; ERR_NOMEM. */
MUST_CHECK enum status template_render(const char *source, json_t *context, char **out,
                                       struct error *err);

#endif
