/*
 * adapter_merge.c - the provider that merges, and which source tensor a group belongs to
 */
#include "convert/checkpoint/adapter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the provider ---- */

static size_t merge_fetch_bytes(const struct source_tensor *t, uint64_t first, uint64_t n)
{
    const struct merge *m = t->self;
    size_t sum = m->base.provider->fetch_bytes(&m->base, first, n);

    if (!merge_touches(m, first, n))
        return sum;
    for (size_t i = 0; i < m->n_tensors; i++)
        sum += (size_t)m->tensors[i]->t->n_bytes;
    return sum;
}

static enum status merge_fetch(const struct source_tensor *t, uint64_t first, uint64_t n,
                               void *raw, struct error *err)
{
    const struct merge *m = t->self;
    uint8_t *to = raw;
    enum status st = m->base.provider->fetch(&m->base, first, n, to, err);

    to += m->base.provider->fetch_bytes(&m->base, first, n);
    if (st != OK || !merge_touches(m, first, n))
        return st;
    for (size_t i = 0; i < m->n_tensors && st == OK; i++) {
        const struct raw_tensor *part = m->tensors[i];

        st = raw_read(part, 0, (size_t)part->t->n_bytes, to, err);
        to += part->t->n_bytes;
    }
    return st;
}

static void merge_decode(const struct source_tensor *t, const struct fetched *in,
                         uint64_t from, uint64_t n, float *x)
{
    const struct merge *m = t->self;
    const uint8_t *at = in->raw, *bytes[MERGE_TENSORS] = {0};

    m->base.provider->decode(&m->base, in, from, n, x);
    if (!merge_touches(m, from, n))
        return;
    at += m->base.provider->fetch_bytes(&m->base, in->first, in->n);
    for (size_t i = 0; i < m->n_tensors; i++) {
        bytes[i] = at;
        at += m->tensors[i]->t->n_bytes;
    }
    m->apply(m, bytes, from, n, x);
}

static const struct provider merges = {
    .fetch_bytes = merge_fetch_bytes, .fetch = merge_fetch, .decode = merge_decode};

enum status merge_wrap(struct checkpoint *cp, struct source_tensor *t,
                       const struct merge *m, const char *what, struct error *err)
{
    struct merge *kept = arena_alloc(&cp->arena, sizeof(*kept));

    if (!kept)
        return fail(err, ERR_NOMEM, "%s: no memory to merge into it", t->name);
    *kept = *m;
    kept->base = *t;
    t->type = arena_printf(&cp->arena, "%s + %s", t->type, what);
    t->transform = arena_printf(&cp->arena, "%s, merge", t->transform);
    t->exact = TYPE_F32;
    t->provider = &merges;
    t->self = kept;
    return t->type && t->transform
               ? OK
               : fail(err, ERR_NOMEM, "%s: no memory to merge into it", t->name);
}

const struct source_tensor *source_unmerged(const struct source_tensor *t)
{
    while (t->provider == &merges)
        t = &((const struct merge *)t->self)->base;
    return t;
}

void merge_reads(struct merge *m, const struct raw_tensor *raw)
{
    for (size_t i = 0; i < m->n_tensors; i++)
        if (m->tensors[i] == raw)
            return;
    assert(m->n_tensors < MERGE_TENSORS);
    m->tensors[m->n_tensors++] = raw;
}

const uint8_t *merge_bytes(const struct merge *m, const uint8_t *const *bytes,
                           const struct raw_tensor *raw)
{
    size_t i = 0;

    while (m->tensors[i] != raw)
        i++;
    return bytes[i];
}

float merge_number(const struct raw_tensor *raw, const uint8_t *bytes, uint64_t at)
{
    float x;

    dtype_widen(raw->t->dtype, bytes + at * (dtype_bits(raw->t->dtype) / 8), &x, 1);
    return x;
}

/* ---- which tensor a group belongs to ---- */

static const struct raw_tensor *any_of(const struct adapter_group *group)
{
    for (int i = 0; i < N_ROLES; i++)
        if (group->role[i])
            return group->role[i];
    return NULL;
}

/* The number in "layers.N.", or false. */
static bool layer_of(const char *path, uint64_t *layer)
{
    if (strncmp(path, "layers.", 7) != 0 || path[7] < '0' || path[7] > '9')
        return false;
    *layer = strtoull(path + 7, NULL, 10);
    return true;
}

/* Keys and values of layers that share those of others are never read. */
static bool is_dead(const struct checkpoint *cp, const char *path)
{
    uint64_t layer, n_layers, n_shared;

    return layer_of(path, &layer) &&
           catalogue_config_u64(cp, "num_hidden_layers", &n_layers) &&
           catalogue_config_u64(cp, "num_kv_shared_layers", &n_shared) &&
           layer < n_layers && n_shared <= n_layers && layer >= n_layers - n_shared &&
           (strstr(path, ".k_proj") || strstr(path, ".v_proj") ||
            strstr(path, ".k_norm"));
}

/* Fused experts: two parameters of one module; the factors' widths tell which. */
static struct source_tensor *expert_parameter(struct checkpoint *cp,
                                              const struct adapter_group *group)
{
    static const char *const names[] = {"gate_up_proj", "down_proj"};
    const struct raw_tensor *a = group->role[ROLE_A], *b = group->role[ROLE_B];
    struct source_tensor *found = NULL;

    for (size_t i = 0; i < 2 && a && b && a->t->n_dims == 2 && b->t->n_dims == 2; i++) {
        char name[256];

        snprintf(name, sizeof(name), "%s.%s", group->path, names[i]);
        struct source_tensor *t = catalogue_find(cp, name);
        if (!t || t->n_dims != 3)
            continue;
        const bool newer = a->t->dims[1] == t->dims[2] && b->t->dims[0] == t->dims[1];
        const bool older = a->t->dims[1] == t->dims[1] && b->t->dims[0] == t->dims[2];
        if (!newer && !older)
            continue;
        if (found) /* both fit: the inner wrapper is the parameter registered first */
            return group->is_inner ? found : t;
        found = t;
    }
    return found;
}

static struct adapter_target all_of(struct source_tensor *t)
{
    const uint64_t rows = !t ? 0 : t->n_dims == 3 ? t->dims[1] : source_rows(t);

    return (struct adapter_target){.t = t, .rows = rows, .period = rows};
}

/* "layers.N.experts.switch_glu.up_proj", or a number in place of switch_glu: rows of the fused
 * tensor, which is there whatever the checkpoint stores. */
static struct adapter_target expert_projection(struct checkpoint *cp, const char *path)
{
    static const char middle[] = ".experts.", switched[] = "switch_glu.";
    const char *rest = strstr(path, middle), *projection;
    uint64_t layer, expert = 0;
    char name[64], *end;

    if (!rest || !layer_of(path, &layer))
        return all_of(NULL);
    rest += strlen(middle);
    const bool is_switched = strncmp(rest, switched, strlen(switched)) == 0;
    if (!is_switched) {
        expert = strtoull(rest, &end, 10);
        if (end == rest || *end != '.')
            return all_of(NULL);
    }
    projection = strchr(rest, '.') + 1;

    const bool is_down = strcmp(projection, "down_proj") == 0;
    const bool is_up = strcmp(projection, "up_proj") == 0;
    if (!is_down && !is_up && strcmp(projection, "gate_proj") != 0)
        return all_of(NULL);
    snprintf(name, sizeof(name), "layers.%" PRIu64 ".experts.%s", layer,
             is_down ? "down_proj" : "gate_up_proj");
    struct source_tensor *t = catalogue_find(cp, name);
    if (!t || t->n_dims != 3 || t->dims[1] % 2 != 0 || expert >= t->dims[0])
        return all_of(NULL);

    const uint64_t rows = is_down ? t->dims[1] : t->dims[1] / 2;
    return (struct adapter_target){.t = t,
                                   .from = expert * t->dims[1] + (is_up ? rows : 0),
                                   .rows = rows,
                                   .period = is_switched ? t->dims[1] : source_rows(t)};
}

static struct adapter_target target_of(struct checkpoint *cp,
                                       const struct adapter_group *group)
{
    char name[512];
    struct source_tensor *t;

    if (snprintf(name, sizeof(name), "%s.weight", group->path) >= (int)sizeof(name))
        return all_of(NULL);
    t = catalogue_find(cp, name);
    if (!t)
        t = catalogue_find(cp, group->path);
    if (!t)
        t = expert_parameter(cp, group);
    return t ? all_of(t) : expert_projection(cp, group->path);
}

static enum status no_target(const struct adapter *ad, const struct adapter_group *group,
                             struct error *err)
{
    uint64_t layer, n_layers;

    if (layer_of(group->path, &layer) &&
        catalogue_config_u64(ad->cp, "num_hidden_layers", &n_layers) && layer >= n_layers)
        return adapter_misfit(ad, any_of(group), err,
                              "the base has only %" PRIu64 " layers", n_layers);
    return adapter_misfit(ad, any_of(group), err, "the base has no module of that name");
}

/* ---- whole replacements ---- */

static bool same_shape(const struct source_tensor *t, const struct raw_tensor *raw)
{
    return t->n_dims == raw->t->n_dims &&
           memcmp(t->dims, raw->t->dims, (size_t)t->n_dims * sizeof(t->dims[0])) == 0;
}

/* The head of a tied model as a tensor of its own: the embedding as it is now. NULL: no memory. */
static struct source_tensor *untie(struct checkpoint *cp,
                                   const struct source_tensor *embedding)
{
    const struct source_tensor before = *embedding;
    struct source_tensor *head = catalogue_add(cp, "lm_head.weight");

    if (!head)
        return NULL;
    const char *name = head->name;
    *head = before;
    head->name = head->found = name;
    return head;
}

static enum status keep_head(struct checkpoint *cp, const struct source_tensor *embedding,
                             struct error *err)
{
    if (catalogue_find(cp, "lm_head.weight"))
        return OK;
    if (!untie(cp, embedding))
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    return catalogue_note(cp, err,
                          "the head is untied: the adapter replaces embed_tokens for the "
                          "lookup only, the head stays the tied embedding of the base");
}

static enum status replace(struct adapter *ad, const struct adapter_group *group,
                           struct source_tensor *t, struct error *err)
{
    const struct raw_tensor *raw = group->role[ROLE_REPLACE];
    const bool is_head = strcmp(group->path, "lm_head") == 0;
    enum status st = OK;

    if (group->role[ROLE_A] || group->role[ROLE_EMBEDDING_A] || group->role[ROLE_ROWS])
        return adapter_misfit(ad, raw, err,
                              "a whole weight beside factors or rows of the same module");
    if (ad->strength != 1.0)
        return adapter_misfit(ad, raw, err,
                              "a weight that is replaced whole cannot be scaled by "
                              "%g",
                              ad->strength);
    if (!t && is_head) {
        st = catalogue_note(ad->cp, err,
                            "the head is untied: the adapter brings lm_head.weight");
        t = st == OK ? catalogue_add(ad->cp, "lm_head.weight") : NULL;
        if (st == OK && !t)
            st = fail(err, ERR_NOMEM, "no memory for the table of tensors");
        return st == OK ? plain_source(ad->cp, t, raw, err) : st;
    }
    if (!same_shape(t, raw))
        return adapter_misfit(ad, raw, err, "its shape is not that of the base's %s",
                              t->found);
    if (strcmp(group->path, "embed_tokens") == 0)
        st = keep_head(ad->cp, t, err);
    if (st == OK) {
        const uint64_t order = t->order;

        st = plain_source(ad->cp, t, raw, err);
        t->order = order;
        t->transform = "replace";
    }
    return st;
}

/* ---- one adapter ---- */

static enum status warn_tied(struct adapter *ad, const struct adapter_group *group,
                             struct error *err)
{
    if (strcmp(group->path, "embed_tokens") != 0 ||
        catalogue_find(ad->cp, "lm_head.weight"))
        return OK;
    return catalogue_note(ad->cp, err,
                          "the adapter changes the tied embedding: merged, the head "
                          "changes with it");
}

/* A change of the head alone, while the lookup keeps the embedding, unties the two. */
static enum status untie_head(struct adapter *ad, struct adapter_target *to,
                              struct error *err)
{
    struct source_tensor *embedding = catalogue_find(ad->cp, "embed_tokens.weight"),
                         *head = embedding ? untie(ad->cp, embedding) : NULL;

    if (embedding && !head)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    *to = all_of(head);
    return !head
               ? OK
               : catalogue_note(ad->cp, err,
                                "the head is untied: the adapter changes lm_head, which "
                                "the base ties to the embedding");
}

static enum status merge_group(struct adapter *ad, const struct adapter_group *group,
                               struct error *err)
{
    const bool is_head = strcmp(group->path, "lm_head") == 0;
    struct adapter_target to = target_of(ad->cp, group);
    enum status st = OK;

    if (group->role[ROLE_BIAS])
        return adapter_misfit(ad, group->role[ROLE_BIAS], err,
                              "the base's linear maps have no bias");
    if (is_dead(ad->cp, group->path))
        return catalogue_note(ad->cp, err,
                              "%s: ignored: layers that share keys and values never "
                              "read their own (%s)",
                              ad->folder, any_of(group)->t->name);
    if (group->role[ROLE_REPLACE] && (to.t || is_head))
        return replace(ad, group, to.t, err);
    if (!to.t && is_head)
        st = untie_head(ad, &to, err);
    if (st == OK && !to.t)
        st = no_target(ad, group, err);
    if (st == OK && group->role[ROLE_BASE] && !group->role[ROLE_A] &&
        !group->role[ROLE_EMBEDDING_A] && !group->role[ROLE_ROWS])
        return OK;
    if (st == OK)
        st = warn_tied(ad, group, err);
    if (st != OK)
        return st;
    ad->n_merged++;
    if (ad->kind == ADAPTER_LORA || ad->kind == ADAPTER_MLX)
        return low_rank_merge(ad, group, &to, err);
    if (to.rows != to.period)
        return no_target(ad, group, err);
    return other_merge(ad, group, to.t, err);
}

/* The copy of a base table that PEFT files beside its factors stands in a group of its own kind. */
static bool is_copy_only(const struct adapter_group *group)
{
    for (int i = 0; i < N_ROLES; i++)
        if (group->role[i] && i != ROLE_BASE)
            return false;
    return true;
}

/* Modules of the towers, which a file of the text model has not. */
static bool is_media(const struct adapter_group *group)
{
    return canonical_leftover(group->path) == LEFTOVER_TOWER;
}

static enum status note_merged(struct adapter *ad, size_t n_media, struct error *err)
{
    enum status st = OK;

    if (n_media > 0)
        st = catalogue_note(ad->cp, err,
                            "%s: ignored: %zu module%s of the vision and audio parts, "
                            "which are left out",
                            ad->folder, n_media, n_media == 1 ? "" : "s");
    return st != OK ? st
                    : catalogue_note(ad->cp, err, "%s: %zu module%s merged", ad->folder,
                                     ad->n_merged, ad->n_merged == 1 ? "" : "s");
}

/* The head first: where it is untied, it keeps the embedding as the adapter found it. */
static enum status merge_groups(struct adapter *ad, struct error *err)
{
    size_t n_media = 0;
    enum status st = OK;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < ad->n_groups && st == OK; i++) {
            const struct adapter_group *group = &ad->groups[i];
            const bool is_head = strcmp(group->path, "lm_head") == 0;

            if (is_head != (pass == 0) || is_copy_only(group))
                continue;
            if (is_media(group))
                n_media++;
            else
                st = merge_group(ad, group, err);
        }
    if (st == OK && ad->n_merged == 0 && n_media == ad->n_groups)
        return fail(err, ERR_CORRUPT,
                    "%s: it changes the vision and audio parts only, which are left out",
                    ad->folder);
    return st == OK ? note_merged(ad, n_media, err) : st;
}

static enum status merge_adapter(struct adapter *ad, struct error *err)
{
    enum status st = adapter_read_config(ad, err);

    if (st == OK)
        st = adapter_read_tensors(ad, err);
    if (st == OK && ad->kind == ADAPTER_VERA)
        st = vera_projection(ad, err);
    return st == OK ? merge_groups(ad, err) : st;
}

/* A folder, or the file of its weights beside adapter_config.json. */
static enum status name_files(struct adapter *ad, const char *path, struct error *err)
{
    const char *dot = strrchr(path, '.');

    ad->folder = path;
    if (!file_exists(path))
        return OK;
    if (dot && strcmp(dot, ".gguf") == 0)
        return fail(
            err, ERR_UNSUPPORTED,
            "%s: a GGUF adapter is for llama.cpp to apply (the folder it was made "
            "from expected)",
            path);
    ad->file = path;
    ad->folder = checkpoint_folder_of(&ad->cp->arena, path);
    return ad->folder ? OK : fail(err, ERR_NOMEM, "no memory for a path");
}

/* A stored copy of the embedding is no head of its own: what is merged into one changes the other. */
static enum status drop_tied_head(struct checkpoint *cp, struct error *err)
{
    const struct source_tensor *table = catalogue_find(cp, "embed_tokens.weight");
    struct source_tensor *head = catalogue_find(cp, "lm_head.weight");
    bool same = false;

    if (!table || !head || checkpoint_is_untied(cp))
        return OK;
    const enum status st = source_equal(table, head, false, &same, err);
    if (st != OK || !same)
        return st;
    head->is_part = true;
    catalogue_drop_parts(cp);
    return catalogue_note(cp, err, "%s equals the embedding and is left out",
                          head->found);
}

/* Files must stay open as long as the checkpoint: its closers are kept there. */
enum status adapters_claim(struct checkpoint *cp, struct error *err)
{
    enum status st;

    if (cp->n_loras == 0)
        return OK;
    st = drop_tied_head(cp, err);
    if (st != OK)
        return st;
    cp->adapters = arena_array(&cp->arena, cp->n_loras, sizeof(*cp->adapters));
    if (!cp->adapters)
        return fail(err, ERR_NOMEM, "no memory for adapters");
    for (size_t i = 0; i < cp->n_loras && st == OK; i++) {
        struct adapter *ad = &cp->adapters[cp->n_adapters++];

        ad->cp = cp;
        st = name_files(ad, cp->loras[i].path, err);
        if (st != OK)
            return st;
        ad->strength = cp->loras[i].scale;
        st = merge_adapter(ad, err);
    }
    return st;
}

const struct file *adapters_file(const struct checkpoint *cp, size_t i)
{
    const struct adapter *ad = &cp->adapters[i];

    return ad->shards ? shards_file(ad->shards, 0) : archive_file(ad->archive, 0);
}

void adapters_close(struct checkpoint *cp)
{
    for (size_t i = 0; i < cp->n_adapters; i++) {
        json_decref(cp->adapters[i].config);
        name_index_free(&cp->adapters[i].by_path[0]);
        name_index_free(&cp->adapters[i].by_path[1]);
        shards_close(cp->adapters[i].shards);
        archive_close(cp->adapters[i].archive);
    }
}
