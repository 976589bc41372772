/*
 * types.c - which type each tensor gets, and who said so
 *
 * The last one that speaks decides: the mix, the source (numbers that are already blocks and fit as
 * they are, or lie on a block type's grid), the recipe, --ple-type.
 */
#include "convert/plan.h"

#include <stdio.h>

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

bool convert_is_free(const char *name, int n_dims)
{
    return n_dims >= 2 && ends_with(name, ".weight") &&
           !ends_with(name, "_norm.weight") && !strstr(name, "ffn_gate_inp.");
}

static bool is_free(const struct source_entry *e)
{
    return convert_is_free(e->name, e->n_dims);
}

static bool is_quantized(enum block_type type)
{
    const struct block_info *info = block_type_info(type);
    return info && info->is_quantized;
}

/* F32, F16 and BF16 are the converter's output types, not llama-quantize's: they are given to every
 * matrix, also to those that quantizing leaves alone. */
static void widen_all(const struct work *work, struct types *types)
{
    enum block_type type;

    if (!block_type_from_name(mix_name(work->mix), &type) || is_quantized(type))
        return;
    for (size_t i = 0; i < work->src->n_entries; i++)
        if (is_free(&work->src->entries[i]))
            types->of[i] = type;
}

static enum status types_by_mix(struct work *work, struct types *types, struct error *err)
{
    const struct source *src = work->src;
    struct mix_facts facts = src->facts;
    struct gguf_tensor *tensors =
        arena_array(&work->arena, src->n_entries + 1, sizeof(*tensors));

    if (!tensors)
        return fail(err, ERR_NOMEM, "no memory for the plan");
    for (size_t i = 0; i < src->n_entries; i++) {
        const struct source_entry *e = &src->entries[i];

        tensors[i] =
            (struct gguf_tensor){.name = e->name, .type = e->kept, .n_dims = e->n_dims};
        memcpy(tensors[i].ne, e->ne, sizeof(e->ne));
    }
    facts.has_importance = work->stats != NULL;
    const enum status st =
        mix_apply(work->mix, &facts, tensors, src->n_entries, types->of, types->why, err);
    if (st == OK)
        widen_all(work, types);
    return st;
}

/* A checkpoint whose codes fit a block type loses nothing in it; the mix would round again. */
static void types_by_source(const struct work *work, struct types *types)
{
    for (size_t i = 0; work->src->cp && i < work->src->n_entries; i++) {
        const struct source_entry *e = &work->src->entries[i];

        if (!is_quantized(e->kept) || !is_quantized(types->of[i]))
            continue;
        types->of[i] = e->kept;
        types->why[i] = "exact: the source's own codes and scales";
    }
}

/* Weights trained on a 4-bit grid are exact in Q4_0, and in nothing wider: the mix's exceptions would
 * spend more bytes and lose them. Not with METHOD_PLAIN, which promises llama-quantize's types. */
static enum status types_by_grid(const struct work *work, struct types *types,
                                 struct error *err)
{
    enum block_type base;
    enum status st = OK;

    if (work->method == METHOD_PLAIN ||
        !block_type_from_name(mix_name(work->mix), &base) || base != TYPE_Q4_0)
        return OK;
    for (size_t i = 0; st == OK && i < work->src->n_entries; i++) {
        struct source_entry *e = &work->src->entries[i];

        if (e->is_dead || !is_quantized(types->of[i]) || types->of[i] == base ||
            types->of[i] == e->kept)
            continue;
        st = source_find_grid(e->t, &e->grid, err);
        if (st == OK && e->grid == GRID_ON) {
            types->of[i] = base;
            types->why[i] = "exact: weights on a 4-bit grid";
        }
    }
    return st;
}

static enum status types_by_recipe(struct work *work, const char *path,
                                   struct types *types, struct error *err)
{
    struct recipe recipe;
    enum status st = recipe_read(path, &recipe, err);

    for (size_t i = 0; st == OK && i < work->src->n_entries; i++) {
        const struct source_entry *e = &work->src->entries[i];
        const struct recipe_line *line = recipe_match(&recipe, e->name);

        if (!line || !is_free(e))
            continue;
        types->of[i] = mix_fallback(line->type, e->ne[0]);
        types->is_users[i] = true;
        types->why[i] =
            arena_printf(&work->arena, "recipe line %u%s", line->line,
                         types->of[i] == line->type ? "" : ", fallback for its rows");
        if (!types->why[i])
            st = fail(err, ERR_NOMEM, "no memory for the plan");
    }
    for (size_t i = 0; st == OK && i < recipe.n_lines; i++)
        if (!recipe.lines[i].was_matched)
            st = source_note(work->src, err, "%s:%u: no tensor matches \"%s\"", path,
                             recipe.lines[i].line, recipe.lines[i].pattern);
    if (st == OK)
        work->origin = recipe.origin;
    if (recipe.path)
        recipe_free(&recipe);
    return st;
}

static enum status types_by_ple(const struct work *work, const char *name,
                                struct types *types, struct error *err)
{
    enum block_type type;

    if (!block_type_from_name(name, &type))
        return fail(err, ERR_USAGE, "--ple-type %s: no such type", name);
    for (size_t i = 0; i < work->src->n_entries; i++) {
        const struct source_entry *e = &work->src->entries[i];

        if (strcmp(e->name, work_ple_table) != 0)
            continue;
        types->of[i] = mix_fallback(type, e->ne[0]);
        types->is_users[i] = true;
        types->why[i] =
            types->of[i] == type ? "--ple-type" : "--ple-type, fallback for its rows";
    }
    return OK;
}

enum status work_decide_types(struct work *work, const struct convert_options *options,
                              struct types *types, struct error *err)
{
    const size_t n = work->src->n_entries + 1;
    enum status st;

    types->of = arena_array(&work->arena, n, sizeof(*types->of));
    types->why = arena_array(&work->arena, n, sizeof(*types->why));
    types->is_users = arena_array(&work->arena, n, sizeof(*types->is_users));
    types->of_mix = arena_array(&work->arena, n, sizeof(*types->of_mix));
    if (!types->of || !types->why || !types->is_users || !types->of_mix)
        return fail(err, ERR_NOMEM, "no memory for the plan");
    st = types_by_mix(work, types, err);
    if (st != OK)
        return st;
    types_by_source(work, types);
    st = types_by_grid(work, types, err);
    memcpy(types->of_mix, types->of, n * sizeof(*types->of));
    if (st == OK && options->recipe)
        st = types_by_recipe(work, options->recipe, types, err);
    if (st == OK && options->ple_type)
        st = types_by_ple(work, options->ple_type, types, err);
    return st;
}
