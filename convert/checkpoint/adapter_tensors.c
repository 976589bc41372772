/*
 * adapter_tensors.c - an adapter's stored tensors, grouped by the module they change
 */
#include "convert/checkpoint/adapter.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* How names end ("default", an adapter's own name, taken out before), and what that makes them.
 * The first that fits counts. */
static const struct {
    const char *suffix;
    enum adapter_role role;
} suffixes[] = {
    {".lora_A.weight", ROLE_A},
    {".lora_B.weight", ROLE_B},
    {".lora_A", ROLE_A},
    {".lora_B", ROLE_B},
    {".lora_a", ROLE_A},
    {".lora_b", ROLE_B},
    {".lora_B.bias", ROLE_BIAS},
    {".lora_magnitude_vector.weight", ROLE_MAGNITUDE},
    {".lora_magnitude_vector", ROLE_MAGNITUDE},
    {".m", ROLE_MAGNITUDE},
    {".lora_embedding_A", ROLE_EMBEDDING_A},
    {".lora_embedding_B", ROLE_EMBEDDING_B},
    {".token_adapter.trainable_tokens_delta", ROLE_ROWS},
    {".trainable_tokens_delta", ROLE_ROWS},
    {".hada_w1_a", ROLE_W1_A},
    {".hada_w1_b", ROLE_W1_B},
    {".hada_w2_a", ROLE_W2_A},
    {".hada_w2_b", ROLE_W2_B},
    {".lokr_w1_a", ROLE_W1_A},
    {".lokr_w1_b", ROLE_W1_B},
    {".lokr_w2_a", ROLE_W2_A},
    {".lokr_w2_b", ROLE_W2_B},
    {".lokr_w1", ROLE_W1},
    {".lokr_w2", ROLE_W2},
    {".ia3_l", ROLE_SCALE},
    {".vera_lambda_b", ROLE_LAMBDA_B},
    {".vera_lambda_d", ROLE_LAMBDA_D},
    {".oft_R.weight", ROLE_ROTATION},
    {".oft_r", ROLE_ROTATION},
    {".base_layer.weight", ROLE_BASE},
    {".modules_to_save.weight", ROLE_REPLACE},
    {".weight", ROLE_REPLACE},
};

enum status adapter_misfit(const struct adapter *ad, const struct raw_tensor *raw,
                           struct error *err, const char *fmt, ...)
{
    char why[240];
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    return fail(err, ERR_CORRUPT, "%s: %s: %s", ad->folder, raw->t->name, why);
}

enum status adapter_need(const struct adapter *ad, const struct adapter_group *group,
                         enum adapter_role role, const char *what, struct error *err)
{
    if (group->role[role])
        return OK;
    return fail(err, ERR_CORRUPT, "%s: %s: its %s is missing", ad->folder, group->path,
                what);
}

/* ---- opening ---- */

static const char *const weight_files[] = {"adapter_model.safetensors",
                                           "adapters.safetensors", "adapter_model.bin"};

static enum status open_named(struct adapter *ad, struct error *err)
{
    const char *dot = strrchr(ad->file, '.');

    return dot && (strcmp(dot, ".bin") == 0 || strcmp(dot, ".pt") == 0)
               ? archive_open(ad->file, &ad->archive, err)
               : shards_open_file(ad->file, &ad->shards, err);
}

static enum status open_file(struct adapter *ad, struct error *err)
{
    if (ad->file)
        return open_named(ad, err);
    for (size_t i = 0; i < sizeof(weight_files) / sizeof(weight_files[0]); i++) {
        const char *path =
            arena_printf(&ad->cp->arena, "%s/%s", ad->folder, weight_files[i]);

        if (!path)
            return fail(err, ERR_NOMEM, "no memory for a path");
        if (!file_exists(path))
            continue;
        return i < 2 ? shards_open_file(path, &ad->shards, err)
                     : archive_open(path, &ad->archive, err);
    }
    return fail(err, ERR_USAGE,
                "%s: no adapter_model.safetensors, adapters.safetensors or "
                "adapter_model.bin there",
                ad->folder);
}

static enum status list_tensors(struct adapter *ad, struct error *err)
{
    ad->n_raws = ad->shards ? shards_count(ad->shards) : archive_count(ad->archive);
    ad->raws = arena_array(&ad->cp->arena, ad->n_raws + 1, sizeof(*ad->raws));
    if (!ad->raws)
        return fail(err, ERR_NOMEM, "%s: no memory for its tensors", ad->folder);
    for (size_t i = 0; i < ad->n_raws; i++) {
        struct raw_tensor *raw = &ad->raws[i];

        if (ad->shards) {
            raw->t = shards_at(ad->shards, i);
            raw->file = shards_file(ad->shards, raw->t->file);
        } else {
            const struct archive_tensor *at = archive_at(ad->archive, i);

            raw->t = &at->view;
            raw->file = archive_file(ad->archive, at->view.file);
            raw->archive = at->is_plain ? NULL : ad->archive;
        }
        raw->name = raw->t->name;
        raw->order = i;
        if (!dtype_is_float(raw->t->dtype) || dtype_bits(raw->t->dtype) % 8 != 0)
            return adapter_misfit(ad, raw, err, "%s numbers (floating-point expected)",
                                  dtype_name(raw->t->dtype));
        if (raw->t->n_bytes == 0)
            return adapter_misfit(ad, raw, err, "it is empty");
    }
    return OK;
}

/* An adapter is small: look at every number once. */
static enum status check_finite(const struct adapter *ad, const struct raw_tensor *raw,
                                struct error *err)
{
    enum { SLAB = 4096 };
    const uint64_t n = tensor_elements(raw->t), width = dtype_bits(raw->t->dtype) / 8;
    uint8_t bytes[SLAB * 8];
    float x[SLAB];

    for (uint64_t at = 0; at < n; at += SLAB) {
        const size_t count = n - at < SLAB ? (size_t)(n - at) : SLAB;
        const enum status st =
            raw_read(raw, at * width, count * (size_t)width, bytes, err);

        if (st != OK)
            return fail_at(err, raw->t->name);
        dtype_widen(raw->t->dtype, bytes, x, count);
        for (size_t i = 0; i < count; i++)
            if (!isfinite(x[i]))
                return adapter_misfit(ad, raw, err, "element %" PRIu64 " is not finite",
                                      at + i);
    }
    return OK;
}

/* ---- grouping ---- */

/* Take the name of the adapter out of a path, in place: ".lora_A.NAME.weight", and the usual one,
 * "default", from wherever it stands. */
static void drop_adapter_name(char *name)
{
    static const char *const before[] = {".lora_A.", ".lora_B.", ".lora_embedding_A.",
                                         ".lora_embedding_B.", ".lora_magnitude_vector."};
    char *at;

    while ((at = strstr(name, ".default")) != NULL && (at[8] == '.' || at[8] == '\0'))
        memmove(at, at + 8, strlen(at + 8) + 1);
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        at = strstr(name, before[i]);
        if (!at)
            continue;
        at += strlen(before[i]);
        char *end = at + strcspn(at, ".");
        if (strcmp(at, "weight") != 0 && strcmp(at, "bias") != 0)
            memmove(at - 1, end, strlen(end) + 1);
    }
}

static bool ends_with(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);

    return n > m && strcmp(text + n - m, suffix) == 0;
}

/* The group of a module, made when it is new; NULL when memory is out. */
static struct adapter_group *group_of(struct adapter *ad, const char *path, bool is_inner)
{
    struct name_index *index = &ad->by_path[is_inner];
    const int64_t at = name_index_find(index, path);

    if (at >= 0)
        return &ad->groups[at];
    if (!name_index_add(index, path, ad->n_groups))
        return NULL;
    ad->groups[ad->n_groups] = (struct adapter_group){.path = path, .is_inner = is_inner};
    return &ad->groups[ad->n_groups++];
}

/* "base_model.model.model.layers.0..." -> the path PEFT's patterns are matched with. */
static const char *asked_path(const char *module)
{
    static const char wrapper[] = "base_model.model.";

    return strncmp(module, wrapper, sizeof(wrapper) - 1) == 0
               ? module + sizeof(wrapper) - 1
               : module;
}

static enum status place(struct adapter *ad, const struct raw_tensor *raw,
                         struct error *err)
{
    struct arena *arena = &ad->cp->arena;
    char *name = arena_strdup(arena, raw->t->name);
    size_t i = 0;

    if (!name)
        return fail(err, ERR_NOMEM, "%s: no memory for its tensors", ad->folder);
    drop_adapter_name(name);
    if (ends_with(name, "vera_A") || ends_with(name, "vera_B")) {
        *(name[strlen(name) - 1] == 'A' ? &ad->vera_a : &ad->vera_b) = raw;
        return OK;
    }
    while (i < sizeof(suffixes) / sizeof(suffixes[0]) &&
           !ends_with(name, suffixes[i].suffix))
        i++;
    if (i == sizeof(suffixes) / sizeof(suffixes[0]))
        return adapter_misfit(ad, raw, err, "a tensor that no adapter known here has");

    name[strlen(name) - strlen(suffixes[i].suffix)] = '\0';
    const bool is_inner = ends_with(name, ".base_layer");
    if (is_inner)
        name[strlen(name) - strlen(".base_layer")] = '\0';
    const char *path = canonical_name(arena, name);
    struct adapter_group *group = path ? group_of(ad, path, is_inner) : NULL;
    if (!group)
        return fail(err, ERR_NOMEM, "%s: no memory for its tensors", ad->folder);
    if (group->role[suffixes[i].role])
        return adapter_misfit(ad, raw, err, "the same as %s",
                              group->role[suffixes[i].role]->t->name);
    group->role[suffixes[i].role] = raw;
    group->asked = asked_path(name);
    return OK;
}

enum status adapter_read_tensors(struct adapter *ad, struct error *err)
{
    enum status st = open_file(ad, err);

    if (st == OK)
        st = list_tensors(ad, err);
    if (st != OK)
        return st;
    ad->groups = arena_array(&ad->cp->arena, ad->n_raws + 1, sizeof(*ad->groups));
    if (!ad->groups)
        return fail(err, ERR_NOMEM, "%s: no memory for its tensors", ad->folder);
    for (size_t i = 0; i < ad->n_raws && st == OK; i++) {
        st = check_finite(ad, &ad->raws[i], err);
        if (st == OK)
            st = place(ad, &ad->raws[i], err);
    }
    if (st == OK && ad->n_groups == 0)
        return fail(err, ERR_CORRUPT, "%s: it changes no module", ad->folder);
    return st;
}
