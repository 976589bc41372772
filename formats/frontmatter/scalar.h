/*
 * scalar.h - one YAML scalar on one line
 */
#ifndef FORMATS_FRONTMATTER_SCALAR_H
#define FORMATS_FRONTMATTER_SCALAR_H

#include "base/base.h"

enum scalar_kind {
    SCALAR_TEXT,
    SCALAR_NULL,  /* nothing, null or ~ */
    SCALAR_OTHER, /* the beginning of something that is no scalar of this subset */
    SCALAR_BAD,   /* a quote without its end, an escape that is none */
    SCALAR_NO_MEMORY,
};

/* Read a scalar from `text`, up to the end of the line or, inside brackets (`is_flow`), up to ',' or
 * ']'. *end is where it stops; *out its text, in the arena. */
enum scalar_kind scalar_read(struct arena *arena, const char *text, bool is_flow,
                             const char **end, const char **out);

#endif
