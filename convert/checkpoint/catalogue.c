/*
 * catalogue.c - the lists a checkpoint is made of, and looking things up in them
 */
#include "convert/checkpoint/catalogue.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int by_raw_name(const void *key, const void *item)
{
    return strcmp(key, ((const struct raw_tensor *)item)->name);
}

struct raw_tensor *catalogue_raw(struct checkpoint *cp, const char *name)
{
    return bsearch(name, cp->raws, cp->n_raws, sizeof(*cp->raws), by_raw_name);
}

/* Make room for one more pointer in a growing array of `room` places. */
static void *grow(void *array, size_t n, size_t *room)
{
    if (n < *room)
        return array;

    const size_t more = *room ? 2 * *room : 64;
    void *bigger = realloc(array, more * sizeof(void *));
    if (bigger)
        *room = more;
    return bigger;
}

static int by_name(const void *a, const void *b)
{
    const struct source_tensor *const *x = a;
    const struct source_tensor *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int by_key(const void *key, const void *item)
{
    const struct source_tensor *const *t = item;
    return strcmp(key, (*t)->name);
}

/* The lookup table is made anew when a search follows a change: steps add in bulk, then search. */
bool catalogue_sort(struct checkpoint *cp)
{
    if (cp->sorted)
        return true;

    struct source_tensor **table =
        realloc(cp->by_name, (cp->n_tensors + 1) * sizeof(struct source_tensor *));
    if (!table)
        return false;
    cp->by_name = table;
    for (size_t i = 0; i < cp->n_tensors; i++)
        table[i] = cp->tensors[i];
    qsort(table, cp->n_tensors, sizeof(struct source_tensor *), by_name);
    cp->sorted = true;
    return true;
}

/* Put t into the sorted table where it belongs. */
static bool insert_sorted(struct checkpoint *cp, struct source_tensor *t)
{
    struct source_tensor **table =
        realloc(cp->by_name, (cp->n_tensors + 1) * sizeof(struct source_tensor *));
    size_t at = cp->n_tensors;

    if (!table)
        return false;
    cp->by_name = table;
    for (; at > 0 && strcmp(table[at - 1]->name, t->name) > 0; at--)
        table[at] = table[at - 1];
    table[at] = t;
    return true;
}

struct source_tensor *catalogue_add(struct checkpoint *cp, const char *name)
{
    struct source_tensor *t = arena_alloc(&cp->arena, sizeof(*t));
    struct source_tensor **bigger = grow(cp->tensors, cp->n_tensors, &cp->room);

    if (bigger)
        cp->tensors = bigger;
    if (!t || !bigger)
        return NULL;
    t->name = arena_strdup(&cp->arena, name);
    if (!t->name || (cp->sorted && !insert_sorted(cp, t)))
        return NULL;
    cp->tensors[cp->n_tensors++] = t;
    return t;
}

struct source_tensor *catalogue_find(struct checkpoint *cp, const char *name)
{
    if (!catalogue_sort(cp))
        return NULL;

    struct source_tensor **hit =
        bsearch(name, cp->by_name, cp->n_tensors, sizeof(struct source_tensor *), by_key);
    return hit ? *hit : NULL;
}

const struct source_tensor *checkpoint_find(const struct checkpoint *cp, const char *name)
{
    struct source_tensor *const *hit =
        bsearch(name, cp->by_name, cp->n_tensors, sizeof(struct source_tensor *), by_key);
    return hit ? *hit : NULL;
}

void catalogue_drop_parts(struct checkpoint *cp)
{
    size_t kept = 0;

    for (size_t i = 0; i < cp->n_tensors; i++)
        if (!cp->tensors[i]->is_part)
            cp->tensors[kept++] = cp->tensors[i];
    cp->n_tensors = kept;
    cp->sorted = false;
}

bool catalogue_config_u64(const struct checkpoint *cp, const char *key, uint64_t *out)
{
    const json_t *value =
        json_object_get(json_object_get(cp->config, "text_config"), key);

    if (!value || json_is_null(value))
        value = json_object_get(cp->config, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

enum status catalogue_note(struct checkpoint *cp, struct error *err, const char *fmt, ...)
{
    const char **bigger = grow(cp->notes, cp->n_notes, &cp->notes_room);
    va_list args, again;
    char *text = NULL;

    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    if (n >= 0)
        text = arena_alloc(&cp->arena, (size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);

    if (bigger)
        cp->notes = bigger;
    if (!bigger || !text)
        return fail(err, ERR_NOMEM, "no memory for notes");
    cp->notes[cp->n_notes++] = text;
    return OK;
}
