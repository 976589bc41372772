/*
 * recipe.h - types by name: `pattern = TYPE` a line, first match wins
 *
 * A pattern is a GGUF tensor name in which '*' stands for any run of characters and '?' for one.
 * '#' begins a comment. Vectors, norms and the router's matrix stay F32 whatever matches them.
 *
 * `@target-size = BYTES` and `@sensitivity = SHA-256` say what types were chosen for: they go into the
 * metadata, so that a recipe gives the bytes of the conversion it came from.
 */
#ifndef CONVERT_RECIPE_H
#define CONVERT_RECIPE_H

#include "base/base.h"
#include "formats/blocks/blocks.h"

struct recipe_line {
    const char *pattern;
    enum block_type type;
    unsigned line; /* in the file, from 1 */
    bool was_matched;
};

struct recipe_origin {
    uint64_t target_size; /* 0: the types were not chosen for a size */
    char sensitivity[65]; /* of the file they were chosen by, in hex */
};

struct recipe {
    struct recipe_origin origin;
    struct recipe_line *lines;
    size_t n_lines;
    const char *path;
    struct arena arena; /* owns the above */
};

/* ERR_USAGE names the line that is not `pattern = TYPE`. */
MUST_CHECK enum status recipe_read(const char *path, struct recipe *out,
                                   struct error *err);

/* The first line that matches, or NULL; marks it. */
const struct recipe_line *recipe_match(struct recipe *recipe, const char *name);

/* A tensor of a recipe that is written. */
struct recipe_entry {
    const char *name;
    enum block_type type;
};

/* The text of a recipe: a line a tensor. NULL: memory. */
char *recipe_text(struct arena *arena, const struct recipe_origin *origin,
                  const struct recipe_entry *entries, size_t n);

void recipe_free(struct recipe *recipe);

#endif
