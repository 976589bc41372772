/*
 * target.c - which tensors may choose, what each choice takes, and what was chosen
 */
#include "convert/target.h"

#include "convert/allocate.h"
#include "convert/sensitivity/sensitivity.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A tensor that may choose. */
struct chooser {
    size_t entry; /* of the source */
    bool is_table;
    enum block_type types[ALLOCATE_CHOICES];
    struct choice choices[ALLOCATE_CHOICES];
    size_t n;
};

struct target {
    struct work *work;
    const struct convert_options *options;
    const struct wider *wider;
    struct types *types;
    struct sensitivity sensitivity;
    struct chooser *choosers;
    size_t n;
    uint64_t fixed, fixed_table; /* bytes of files that no choice changes */
    double divergence;           /* of what was chosen */
    uint64_t chosen_bytes;
};

/* What a tensor's data take in its file, with the zeros behind them. */
static uint64_t padded(const struct work_item *item, enum block_type type)
{
    const uint64_t n = block_row_bytes(type, item->e->ne[0]) * item->n_rows;

    return round_up_u64(n, item->file ? PLE_ALIGNMENT : FILE_ALIGNMENT);
}

static bool is_decided(const struct target *t, size_t item, size_t entry)
{
    const struct work_item *it = &t->work->items[item];
    const struct block_info *kept = block_type_info(it->e->kept);

    return t->types->is_users[entry] || !convert_is_free(it->e->name, it->e->n_dims) ||
           (kept->is_quantized && t->types->of[entry] == it->e->kept) ||
           it->method == METHOD_GRID || (t->wider && t->wider->at && t->wider->at[item]);
}

/* 16 bits where they are the source's own: to equalization they say that a tensor is left alone. */
static void add_choice(struct chooser *c, const struct work_item *item,
                       enum block_type type, double loss)
{
    if ((type == TYPE_F16 || type == TYPE_BF16) && type != item->e->kept)
        return;
    if (c->n == ALLOCATE_CHOICES || item->e->ne[0] % block_type_info(type)->weights != 0)
        return;
    c->types[c->n] = type;
    c->choices[c->n++] = (struct choice){padded(item, type), loss};
}

/* What the item may become: the types of the file of sensitivity, and what it is, for nothing. */
static void find_choices(struct target *t, size_t item, size_t entry)
{
    const struct work_item *it = &t->work->items[item];
    struct chooser *c = &t->choosers[t->n];
    size_t n_rows;
    const struct sensitivity_row *rows =
        sensitivity_find(&t->sensitivity, it->e->name, &n_rows);

    *c = (struct chooser){.entry = entry,
                          .is_table = strcmp(it->e->name, work_ple_table) == 0};
    for (size_t r = 0; r < n_rows; r++)
        add_choice(c, it, rows[r].type, rows[r].kld);
    if (c->n > 0 && !block_type_info(it->e->kept)->is_quantized)
        add_choice(c, it, it->e->kept, 0);
    t->n += c->n > 0;
}

static size_t entry_of(const struct target *t, size_t item)
{
    return (size_t)(t->work->items[item].e - t->work->src->entries);
}

static enum status find_choosers(struct target *t, struct error *err)
{
    size_t n_missing = 0;

    for (size_t i = 0; i < t->work->n_items; i++) {
        const size_t before = t->n, entry = entry_of(t, i);

        if (is_decided(t, i, entry))
            continue;
        find_choices(t, i, entry);
        n_missing += t->n == before;
    }
    for (size_t f = 0; f < t->work->n_files; f++)
        *(f ? &t->fixed_table : &t->fixed) += t->work->files[f].n_bytes;
    for (size_t i = 0; i < t->work->n_items; i++)
        for (size_t c = 0; c < t->n; c++)
            if (t->choosers[c].entry == entry_of(t, i))
                *(t->work->items[i].file ? &t->fixed_table : &t->fixed) -=
                    padded(&t->work->items[i], t->work->items[i].type);
    if (t->n == 0)
        return fail(err, ERR_USAGE, "%s: has none of this model's tensors",
                    t->options->sensitivity);
    return n_missing
               ? source_note(t->work->src, err,
                             "%s: %zu tensors are not in it and keep the type of %s",
                             t->options->sensitivity, n_missing, mix_name(t->work->mix))
               : OK;
}

/* ---- one budget ---- */

static const char *why(struct target *t, const struct chooser *c, size_t chosen)
{
    const struct choice *now = &c->choices[chosen], *up = NULL;
    size_t at = 0;

    for (size_t i = 0; i < c->n; i++) /* the next size that would be better */
        if (c->choices[i].bytes > now->bytes && c->choices[i].loss < now->loss &&
            (!up || c->choices[i].bytes < up->bytes)) {
            up = &c->choices[i];
            at = i;
        }
    if (!up)
        return arena_printf(&t->work->arena, "target size: KLD %.1e", now->loss);
    return arena_printf(&t->work->arena,
                        "target size: KLD %.1e; %s would save %.1e for %" PRIu64 " bytes",
                        now->loss, block_type_name(c->types[at]), now->loss - up->loss,
                        up->bytes - now->bytes);
}

/* Choose for those of the table, for the others, or for all. */
enum group { THE_TABLE, THE_REST, ALL };

static bool is_of(const struct chooser *c, enum group group)
{
    return group == ALL || c->is_table == (group == THE_TABLE);
}

static enum status spend(struct target *t, enum group group, const char *option,
                         uint64_t fixed, uint64_t size, struct error *err)
{
    struct thing *things = arena_array(&t->work->arena, t->n + 1, sizeof(*things));
    size_t *chosen = arena_array(&t->work->arena, t->n + 1, sizeof(*chosen));
    size_t *who = arena_array(&t->work->arena, t->n + 1, sizeof(*who)), n = 0;

    if (!things || !chosen || !who)
        return fail(err, ERR_NOMEM, "no memory for the plan");
    for (size_t i = 0; i < t->n; i++)
        if (is_of(&t->choosers[i], group)) {
            things[n] = (struct thing){t->choosers[i].choices, t->choosers[i].n};
            who[n++] = i;
        }
    const uint64_t least = fixed + allocate_least(things, n);
    if (least > size)
        return fail(err, ERR_USAGE,
                    "%s: %s %" PRIu64 " is too small: it takes %" PRIu64
                    " bytes at the least",
                    t->work->src->path, option, size, least);
    const enum status st = allocate(things, n, size - fixed, chosen, err);
    for (size_t k = 0; st == OK && k < n; k++) {
        const struct chooser *c = &t->choosers[who[k]];

        t->types->of[c->entry] = c->types[chosen[k]];
        t->types->why[c->entry] = why(t, c, chosen[k]);
        t->divergence += c->choices[chosen[k]].loss;
        t->chosen_bytes += c->choices[chosen[k]].bytes;
        if (!t->types->why[c->entry])
            return fail(err, ERR_NOMEM, "no memory for the plan");
    }
    return st;
}

static bool has_table(const struct target *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->choosers[i].is_table)
            return true;
    return false;
}

static enum status spend_all(struct target *t, struct error *err)
{
    const uint64_t size = t->options->target_size, table = t->options->ple_size;
    enum status st;

    if (!table || !has_table(t))
        return spend(t, ALL, "--target-size", t->fixed + t->fixed_table, size, err);
    if (table > size)
        return fail(err, ERR_USAGE,
                    "--ple-size %" PRIu64 " is more than --target-size %" PRIu64, table,
                    size);
    st = spend(t, THE_TABLE, "--ple-size", t->fixed_table, table, err);
    return st == OK ? spend(t, THE_REST, "--target-size less --ple-size", t->fixed,
                            size - table, err)
                    : st;
}

enum status target_origin(struct work *work, const struct convert_options *options,
                          struct error *err)
{
    uint8_t digest[32];
    enum status st;

    if (!options->sensitivity)
        return fail(err, ERR_USAGE,
                    "--target-size needs --sensitivity, a file that `carat sensitivity` "
                    "writes");
    if (options->ple_size && options->ple_type)
        return fail(err, ERR_USAGE,
                    "--ple-size chooses the table's type and --ple-type gives it: one of "
                    "them");
    st = sha256_file(options->sensitivity, digest, err);
    if (st != OK)
        return st;
    work->origin.target_size = options->target_size;
    sha256_hex(digest, work->origin.sensitivity);
    return OK;
}

enum status target_choose(struct work *work, const struct convert_options *options,
                          const struct wider *wider, struct types *types,
                          struct error *err)
{
    struct target t = {.work = work, .options = options, .wider = wider, .types = types};
    enum status st;

    t.choosers = arena_array(&work->arena, work->n_items + 1, sizeof(*t.choosers));
    if (!t.choosers)
        return fail(err, ERR_NOMEM, "no memory for the plan");
    st = sensitivity_read(options->sensitivity, &t.sensitivity, err);
    if (st != OK)
        return st;
    st = find_choosers(&t, err);
    if (st == OK)
        st = spend_all(&t, err);
    if (st == OK) {
        work->verdict = arena_printf(
            &work->arena,
            "%" PRIu64 " bytes of %" PRIu64 "; predicted divergence %.3e nats a token "
            "(sum over %zu tensors, %s rounding, "
            "%" PRIu64 " tokens)",
            t.fixed + t.fixed_table + t.chosen_bytes, options->target_size, t.divergence,
            t.n, t.sensitivity.method, t.sensitivity.n_tokens);
        if (!work->verdict)
            st = fail(err, ERR_NOMEM, "no memory for the plan");
    }
    sensitivity_free(&t.sensitivity);
    return st;
}
