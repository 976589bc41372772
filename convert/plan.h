/*
 * plan.h - the whole conversion, decided: types, files, offsets, headers
 */
#ifndef CONVERT_PLAN_H
#define CONVERT_PLAN_H

#include "convert/recipe.h"
#include "convert/source.h"
#include "formats/moments/moments.h"
#include "formats/stats/stats.h"

enum { MAX_FILES = 2, FILE_ALIGNMENT = 32, PLE_ALIGNMENT = 4096 };

/* One output tensor: what goes in, what comes out, where to. */
struct work_item {
    struct source_entry *e; /* the source's */
    enum block_type type;
    const char *why;
    int file;
    uint64_t offset, n_bytes; /* in that file */
    uint64_t n_rows;
    size_t row_bytes;
    const struct stats_entry *importance; /* or NULL */
    enum method method;                   /* how its rows are rounded */
    bool is_widened; /* its type is not what was decided: struct wider */
};

/* Rows that keep their bytes and need no quantizer: they are blocks of that type already. */
bool work_is_repacked(const struct work_item *item);

/* "plain", ...: as it stands in metadata and plans. */
const char *method_name(enum method method);

struct work_file {
    char *path;             /* owned */
    struct gguf_meta *meta; /* owned */
    uint8_t *header;        /* owned */
    size_t n_header;
    uint64_t n_bytes; /* of the whole file */
};

struct work {
    struct arena arena;
    struct source *src;      /* owned */
    struct stats *stats;     /* owned; NULL without an importance matrix */
    struct moments *moments; /* owned; NULL without second moments, or before there are */
    const struct mix *mix;
    enum method method;
    size_t n_off_grid;                 /* items on a 4-bit grid whose type is not Q4_0 */
    struct recipe_origin origin;       /* when the types were chosen for a size */
    const char *verdict;               /* then: what came of it, for people; else NULL */
    struct equalization *equalization; /* the source's; NULL: nothing was looked at */
    struct work_item
        *items; /* in the order of writing; each file's are in order of offset */
    size_t n_items;
    struct work_file files[MAX_FILES];
    size_t n_files;
};

/* Tensors that must not be narrower than their source, found out on the way: their blocks would
 * need a scale beyond F16. Bits by position in work.items. */
struct wider {
    bool *at; /* owned; NULL: none */
    size_t n;
};

/* Types of all source entries, dead ones too, from the work's arena. */
struct types {
    enum block_type *of;
    const char **why;        /* static, or from the arena */
    bool *is_users;          /* decided by the recipe or --ple-type */
    enum block_type *of_mix; /* without either: as the mix and the source decide */
};

extern const char work_ple_table[]; /* the GGUF name of the per-layer table */

/* Ask the mix, the source, the recipe and the options, in that order. */
MUST_CHECK enum status work_decide_types(struct work *work,
                                         const struct convert_options *options,
                                         struct types *types, struct error *err);

/* How an item's rows are rounded: what the user asked for, where it can be done. Looks at its first
 * rows when that is not METHOD_PLAIN: weights on a 4-bit grid are left on it. */
MUST_CHECK enum status work_decide_method(struct work *work, struct work_item *item,
                                          struct error *err);

/* With compensation, hold the second moments of `path` to the model: ERR_SHAPE for an input of another
 * width, ERR_USAGE when there is none of all that are wanted; else a note says which matrices are
 * searched for the lack of them. ERR_NOMEM. */
MUST_CHECK enum status work_note_moments(struct work *work, const char *path,
                                         struct error *err);

/* Decide everything. Reads headers, configuration and tokenizer; writes nothing. */
MUST_CHECK enum status work_plan(const char *source, const char *out_path,
                                 const struct convert_options *options,
                                 const struct wider *wider, struct work **out,
                                 struct error *err);
void work_free(struct work *work); /* NULL is fine */

#endif
