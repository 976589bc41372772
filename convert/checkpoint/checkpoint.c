/*
 * checkpoint.c - open a folder or a weights file: raw tensors, then the steps that claim them
 */
#include "convert/checkpoint/catalogue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reading source tensors ---- */

uint64_t source_cols(const struct source_tensor *t)
{
    return t->n_dims ? t->dims[t->n_dims - 1] : 1;
}

uint64_t source_rows(const struct source_tensor *t)
{
    uint64_t rows = 1;

    for (int i = 0; i + 1 < t->n_dims; i++)
        rows *=
            t->dims
                [i]; /* no overflow: elements fit 64 bits, checked by the file's reader */
    return rows;
}

enum status source_read(const struct source_tensor *t, uint64_t first, uint64_t n,
                        float *x, struct error *err)
{
    void *raw = malloc(t->provider->fetch_bytes(t, first, n) + 1);
    enum status st;

    if (!raw)
        return fail(err, ERR_NOMEM, "%s: no memory for %" PRIu64 " rows", t->found, n);
    st = t->provider->fetch(t, first, n, raw, err);
    if (st == OK)
        t->provider->decode(t, &(struct fetched){first, n, raw}, first, n, x);
    free(raw);
    return st;
}

enum { COMPARE_BYTES = 4 << 20, SKIM_BYTES = 256 << 10, SKIMMED = 8 };

/* Where the next slab begins: behind this one, or so far that SKIMMED of them span the tensor. */
static uint64_t next_slab(uint64_t row, uint64_t slab, uint64_t rows, bool skim)
{
    const uint64_t last = rows > slab ? rows - slab : 0;
    const uint64_t stride = skim ? (last + SKIMMED - 2) / (SKIMMED - 1) : slab;

    if (stride <= slab)
        return row + slab;
    return row < last && row + stride > last ? last : row + stride;
}

static enum status read_both(const struct source_tensor *const pair[2], uint64_t row,
                             uint64_t n, float *const x[2], struct error *err)
{
    const enum status st = source_read(pair[0], row, n, x[0], err);

    return st == OK ? source_read(pair[1], row, n, x[1], err) : st;
}

enum status source_equal(const struct source_tensor *a, const struct source_tensor *b,
                         bool skim, bool *same, struct error *err)
{
    const struct source_tensor *const pair[2] = {a, b};
    const uint64_t rows = source_rows(a), cols = source_cols(a);
    const uint64_t fits =
        (skim ? SKIM_BYTES : COMPARE_BYTES) / sizeof(float) / (cols ? cols : 1);
    const uint64_t slab = fits ? fits : 1;
    float *x[2] = {NULL, NULL};
    enum status st = OK;

    *same = rows == source_rows(b) && cols == source_cols(b);
    if (!*same)
        return OK;
    x[0] = malloc((size_t)(slab * cols) * sizeof(float) + 1);
    x[1] = malloc((size_t)(slab * cols) * sizeof(float) + 1);
    if (!x[0] || !x[1])
        st = fail(err, ERR_NOMEM, "%s: no memory to compare it", a->found);

    for (uint64_t row = 0; st == OK && *same && row < rows;
         row = next_slab(row, slab, rows, skim)) {
        const uint64_t n = rows - row < slab ? rows - row : slab;

        st = read_both(pair, row, n, x, err);
        if (st == OK)
            *same = memcmp(x[0], x[1], (size_t)(n * cols) * sizeof(float)) == 0;
    }
    free(x[0]);
    free(x[1]);
    return st;
}

/* ---- opening ---- */

const char *checkpoint_folder_of(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (file_is_folder(path))
        return arena_strdup(arena, path);
    if (!slash)
        return arena_strdup(arena, ".");
    return arena_strndup(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

/* What people have in place of a checkpoint folder. */
static const struct {
    const char *has, *says;
} strangers[] = {
    {"adapter_config.json",
     "an adapter: give it with --lora to the model it was trained on"},
    {"snapshots", "a folder of the Hugging Face cache: give one of those in snapshots/"},
};

static enum status no_config(struct checkpoint *cp, struct error *err)
{
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
        const char *path =
            arena_printf(&cp->arena, "%s/%s", cp->folder, strangers[i].has);

        if (path && (file_exists(path) || file_is_folder(path)))
            return fail(err, ERR_USAGE, "%s: no config.json there (%s)", cp->folder,
                        strangers[i].says);
    }
    return fail(err, ERR_USAGE, "%s: no config.json there (a checkpoint folder expected)",
                cp->folder);
}

/* transformers would load it with the weights: whether that is wanted, the user says with --lora. */
static enum status note_adapter(struct checkpoint *cp, struct error *err)
{
    const char *path = arena_printf(&cp->arena, "%s/adapter_config.json", cp->folder);

    if (!path)
        return fail(err, ERR_NOMEM, "no memory for a path");
    if (!file_exists(path) || cp->n_loras > 0)
        return OK;
    return catalogue_note(cp, err, "%s is there: its adapter is not merged (--lora %s)",
                          path, cp->folder);
}

static enum status read_config(struct checkpoint *cp, struct error *err)
{
    const char *path = arena_printf(&cp->arena, "%s/config.json", cp->folder);

    if (!path)
        return fail(err, ERR_NOMEM, "no memory for a path");
    if (!file_is_folder(cp->path) && !file_exists(cp->path))
        return fail(err, ERR_USAGE, "%s: there is no such file or folder", cp->path);
    if (!file_exists(path))
        return no_config(cp, err);
    return json_read_file(path, &cp->config, err);
}

/* ---- steps ---- */

/* List the tensors of one kind of leftover, mark them taken and put them in a note. */
static enum status set_aside(struct checkpoint *cp, enum leftover kind, const char *why,
                             struct error *err)
{
    enum { NAMED = 24 };
    char *names = arena_strdup(&cp->arena, "");
    size_t n = 0;

    for (size_t i = 0; i < cp->n_raws && names; i++) {
        struct raw_tensor *raw = &cp->raws[i];

        if (raw->taken || canonical_leftover(raw->name) != kind)
            continue;
        raw->taken = true;
        if (n++ < NAMED && kind == LEFTOVER_HARMLESS)
            names = arena_printf(&cp->arena, "%s%s%s", names, *names ? ", " : ": ",
                                 raw->t->name);
    }
    if (!names)
        return fail(err, ERR_NOMEM, "no memory for a sentence");
    if (n == 0)
        return OK;
    return catalogue_note(cp, err, "%zu tensor%s %s%s%s", n, n == 1 ? "" : "s", why,
                          names, n > NAMED && *names ? ", ..." : "");
}

static enum status leftovers_claim(struct checkpoint *cp, struct error *err)
{
    const enum status st =
        set_aside(cp, LEFTOVER_HARMLESS, "ignored: they change nothing", err);

    for (size_t i = 0; i < cp->n_raws; i++)
        if (canonical_leftover(cp->raws[i].name) == LEFTOVER_ASIDE)
            cp->raws[i].taken = true;

    return st != OK ? st
                    : set_aside(cp, LEFTOVER_TOWER,
                                "of the vision and audio parts left out", err);
}

enum status checkpoint_read_aside(struct checkpoint *cp, const char *name,
                                  struct aside *out, struct error *err)
{
    const struct raw_tensor *raw = catalogue_raw(cp, name);
    enum { MOST = 1 << 30 };

    *out = (struct aside){0};
    if (!raw)
        return OK;
    if (tensor_elements(raw->t) > MOST || dtype_bits(raw->t->dtype) % 8 != 0 ||
        raw->t->dtype == DTYPE_C64)
        return fail(err, ERR_UNSUPPORTED, "%s: %s: %llu numbers of type %s",
                    file_path(raw->file), raw->t->name,
                    (unsigned long long)tensor_elements(raw->t),
                    dtype_name(raw->t->dtype));
    out->n_dims = raw->t->n_dims;
    memcpy(out->dims, raw->t->dims, sizeof(out->dims));
    return raw_floats(cp, raw, &out->x, err);
}

static enum status (*const steps[])(struct checkpoint *cp, struct error *err) = {
    quantized_claim, leftovers_claim, plain_claim,
    experts_claim,   adapters_claim,  modules_claim,
};

static int by_order(const void *a, const void *b)
{
    const struct source_tensor *const *x = a;
    const struct source_tensor *const *y = b;
    return ((*x)->order > (*y)->order) - ((*x)->order < (*y)->order);
}

enum status checkpoint_open(const char *path, const struct convert_lora *loras,
                            size_t n_loras, struct checkpoint **out, struct error *err)
{
    struct checkpoint *cp = calloc(1, sizeof(*cp));
    enum status st = OK;

    if (!cp)
        return fail(err, ERR_NOMEM, "%s: no memory to open it", path);
    cp->loras = loras;
    cp->n_loras = n_loras;
    cp->path = arena_strdup(&cp->arena, path);
    cp->folder = checkpoint_folder_of(&cp->arena, path);
    if (!cp->path || !cp->folder)
        st = fail(err, ERR_NOMEM, "%s: no memory to open it", path);

    if (st == OK)
        st = read_config(cp, err);
    if (st == OK)
        st = note_adapter(cp, err);
    if (st == OK)
        st = containers_open(cp, err);
    for (size_t i = 0; st == OK && i < sizeof(steps) / sizeof(steps[0]); i++)
        st = steps[i](cp, err);
    if (st == OK && !catalogue_sort(cp))
        st = fail(err, ERR_NOMEM, "%s: no memory for the table of tensors", path);
    if (st != OK) {
        checkpoint_close(cp);
        return st;
    }
    if (cp->n_tensors)
        qsort(cp->tensors, cp->n_tensors, sizeof(struct source_tensor *), by_order);
    *out = cp;
    return OK;
}

/* ---- looking ---- */

const char *checkpoint_folder(const struct checkpoint *cp)
{
    return cp->folder;
}

const json_t *checkpoint_config(const struct checkpoint *cp)
{
    return cp->config;
}

bool checkpoint_is_untied(const struct checkpoint *cp)
{
    static const char key[] = "tie_word_embeddings";
    const json_t *text = json_object_get(cp->config, "text_config");

    return json_is_false(json_object_get(cp->config, key)) ||
           json_is_false(json_object_get(text, key));
}

const char *checkpoint_layout(const struct checkpoint *cp)
{
    return cp->layout;
}

uint64_t checkpoint_bytes(const struct checkpoint *cp)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < checkpoint_n_files(cp); i++)
        bytes += file_size(checkpoint_file(cp, i));
    return bytes;
}

size_t checkpoint_count(const struct checkpoint *cp)
{
    return cp->n_tensors;
}

const struct source_tensor *checkpoint_at(const struct checkpoint *cp, size_t i)
{
    return cp->tensors[i];
}

size_t checkpoint_notes(const struct checkpoint *cp)
{
    return cp->n_notes;
}

const char *checkpoint_note(const struct checkpoint *cp, size_t i)
{
    return cp->notes[i];
}

void checkpoint_close(struct checkpoint *cp)
{
    if (!cp)
        return;
    adapters_close(cp);
    modules_close(cp);
    containers_close(cp);
    json_decref(cp->config);
    free(cp->tensors);
    free(cp->by_name);
    free(cp->notes);
    arena_free(&cp->arena);
    free(cp);
}
