/*
 * frontmatter.h - the head of a model card: the YAML between two lines "---" of README.md
 *
 * A strict subset of YAML 1.2, what model cards use at the top level: keys with a scalar (plain,
 * folded over indented lines, or quoted on one line), a list of scalars in lines or in brackets.
 * What nests deeper, block scalars, anchors, tags and maps are passed over. Nothing is typed: "no"
 * is a language, 3 a version.
 */
#ifndef FORMATS_FRONTMATTER_FRONTMATTER_H
#define FORMATS_FRONTMATTER_FRONTMATTER_H

#include "base/base.h"

enum { FRONTMATTER_BYTES = 64 << 10 }; /* more of a card is not looked at */

/* One key with its scalars, none of which is empty or null. */
struct front_entry {
    const char *key;
    const char **items;
    size_t n_items, room;
    bool is_list;
};

struct frontmatter {
    const struct front_entry
        *entries; /* from the arena; each key once, the last one counts */
    size_t n_entries;
    const char
        *unread; /* the first line that is no such YAML, as a sentence; NULL: none */
};

/* Take the head of a card apart; *out is empty when there is none. The text needs no NUL and may be
 * anything. ERR_NOMEM only. */
MUST_CHECK enum status frontmatter_parse(struct arena *arena, const char *text, size_t n,
                                         struct frontmatter *out, struct error *err);

/* The entry of a key, or NULL; also NULL when it has no scalar. */
const struct front_entry *frontmatter_find(const struct frontmatter *front,
                                           const char *key);

#endif
