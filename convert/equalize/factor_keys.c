/*
 * factor_keys.c - factors in a file's metadata: written, and read back to rewrite a source alike
 */
#include "convert/equalize/rewrite.h"

#include <inttypes.h>
#include <stdio.h>

static const char how_key[] = "carat.equalize";
static const char prefix[] = "carat.equalize.";

enum { KEY_BYTES = sizeof(prefix) + MOMENTS_NAME };

bool equalize_is_key(const char *key)
{
    return strcmp(key, how_key) == 0 || strncmp(key, prefix, sizeof(prefix) - 1) == 0;
}

bool equalize_has_keys(const struct gguf_meta *meta)
{
    for (size_t i = 0; i < gguf_meta_count(meta); i++)
        if (equalize_is_key(gguf_meta_at(meta, i)->key))
            return true;
    return false;
}

enum status equalize_record(const struct equalization *eq, struct gguf_meta *meta,
                            struct error *err)
{
    const char *how = eq->is_gated ? "auto" : "on";
    enum status st = OK;

    if (eq->counts.n_full + eq->counts.n_sparse == 0)
        return OK;
    st = gguf_set_str(meta, how_key, how, strlen(how), err);
    for (size_t i = 0; i < eq->n_rewrites && st == OK; i++) {
        const struct rewrite *rw = &eq->rewrites[i];
        char key[KEY_BYTES];

        if (!rw->k)
            continue;
        snprintf(key, sizeof(key), "%s%s", prefix, rw->name);
        st = gguf_set_array(meta, key, GGUF_I8, rw->k, rw->n * rw->n_sets, err);
    }
    return st;
}

/* ---- reading ---- */

static struct rewrite *find_rewrite(struct rewrite *rewrites, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rewrites[i].name, name) == 0)
            return &rewrites[i];
    return NULL;
}

static enum status read_factors(const struct gguf_value *value, struct rewrite *rw,
                                struct arena *arena, struct error *err)
{
    const uint64_t n = (uint64_t)rw->n * rw->n_sets;
    int8_t *k;

    if (value->type != GGUF_ARRAY || value->element != GGUF_I8 || value->count != n)
        return fail(err, ERR_CORRUPT,
                    "%s: not the array of %" PRIu64 " i8 that the model has channels for",
                    value->key, n);
    k = arena_array(arena, (size_t)n + 1, sizeof(*k));
    if (!k)
        return fail(err, ERR_NOMEM, "no memory for factors");
    for (uint64_t i = 0; i < n; i++) {
        const int64_t step = gguf_value_int(value, i);

        if (step < -EQUALIZE_MOST || step > EQUALIZE_MOST)
            return fail(err, ERR_CORRUPT,
                        "%s: factor %" PRIu64 " is 2^(%" PRId64
                        "/16) (at most 2^6 either "
                        "way expected)",
                        value->key, i, step);
        k[i] = (int8_t)step;
    }
    rw->k = k;
    return OK;
}

enum status equalize_replay(struct equalize_model *model, const struct gguf_meta *keys,
                            size_t *n_inputs, struct error *err)
{
    struct rewrite *rewrites = NULL;
    size_t n = 0;
    enum status st = rewrites_list(model, &rewrites, &n, err);

    *n_inputs = 0;
    for (size_t i = 0; i < gguf_meta_count(keys) && st == OK; i++) {
        const struct gguf_value *value = gguf_meta_at(keys, i);
        const size_t n_prefix = sizeof(prefix) - 1;

        if (strncmp(value->key, prefix, n_prefix) != 0)
            continue;
        struct rewrite *rw = find_rewrite(rewrites, n, value->key + n_prefix);
        if (!rw)
            return fail(err, ERR_CORRUPT,
                        "%s: the model has no such input, or it cannot be equalized",
                        value->key);
        st = read_factors(value, rw, model->arena, err);
        ++*n_inputs;
    }
    for (size_t i = 0; i < n && st == OK; i++)
        if (rewrites[i].k)
            st = rewrite_apply(model, &rewrites[i], err);
    return st;
}
