/*
 * collect.c - the checkpoint's tensors against the family's table: names, shapes, what is missing
 *
 * Every tensor of the checkpoint must be part of the model, or known to be harmless; every tensor
 * of the model must be there. Whatever else could be meant, nothing is guessed.
 */
#include "convert/source.h"

#include <inttypes.h>
#include <stdio.h>

/* Which rules have found their tensor, per layer. */
struct coverage {
    uint8_t *seen; /* [n_tensors][n_layers] */
    const struct gemma_family *family;
    uint32_t n_layers;
};

static uint8_t *seen_at(const struct coverage *c, const struct gemma_tensor *rule,
                        int layer)
{
    const size_t r = (size_t)(rule - c->family->tensors);
    return &c->seen[r * c->n_layers + (size_t)(layer < 0 ? 0 : layer)];
}

/* "{4096, 1536}" */
static const char *shape_text(struct arena *arena, const uint64_t *dims, int n)
{
    const char *text = "{";

    for (int i = 0; i < n && text; i++)
        text = dims[i] ? arena_printf(arena, "%s%s%" PRIu64, text, i ? ", " : "", dims[i])
                       : arena_printf(arena, "%s%sany", text, i ? ", " : "");
    text = text ? arena_printf(arena, "%s}", text) : NULL;
    return text ? text : "{?}";
}

static int expected_shape(const struct gemma_config *config,
                          const struct gemma_tensor *rule, int layer,
                          uint64_t dims[GEMMA_MAX_DIMS])
{
    int n = 0;

    while (n < GEMMA_MAX_DIMS && rule->dims[n] != DIM_NONE) {
        dims[n] = gemma_size(config, rule->dims[n], layer);
        n++;
    }
    return n;
}

/* "vocab_size, hidden_size": where the expected shape comes from. */
static const char *keys_text(struct arena *arena, const struct gemma_tensor *rule)
{
    const char *text = "";

    for (int i = 0; i < GEMMA_MAX_DIMS && rule->dims[i] != DIM_NONE && text; i++)
        text = arena_printf(arena, "%s%s%s", text, i ? ", " : "",
                            gemma_size_keys(rule->dims[i]));
    return text ? text : "?";
}

static enum status check_shape(struct source *src, const struct source_tensor *t,
                               const struct gemma_tensor *rule, int layer,
                               struct error *err)
{
    static const uint64_t scalar = 1;
    uint64_t want[GEMMA_MAX_DIMS];
    const int n_want = expected_shape(&src->config, rule, layer, want);
    const uint64_t *dims = t->n_dims ? t->dims : &scalar; /* a scalar is as good as {1} */
    const int n_dims = t->n_dims ? t->n_dims : 1;
    bool same = n_dims == n_want;

    for (int i = 0; i < n_want && same; i++)
        same = want[i] == 0 || dims[i] == want[i];
    if (same)
        return OK;
    return fail(err, ERR_SHAPE, "%s: %s: shape %s (%s expected by config.json: %s)",
                src->path, t->found, shape_text(&src->arena, dims, n_dims),
                shape_text(&src->arena, want, n_want), keys_text(&src->arena, rule));
}

/* Some tools store experts the other way round. Where one of the two tensors of a layer is square,
 * its own shape would not tell. */
static enum status turn_experts(struct source *src, const struct source_tensor **t,
                                const struct gemma_tensor *rule, int layer,
                                struct error *err)
{
    const uint64_t n_embd = src->config.n_embd, n_ff = src->config.n_ff_expert;
    uint64_t want[GEMMA_MAX_DIMS] = {0};

    if (expected_shape(&src->config, rule, layer, want) != 3 || want[0] == 0 ||
        !source_is_turned(*t, want))
        return OK;
    if (n_embd == n_ff || n_embd == 2 * n_ff)
        return fail(err, ERR_SHAPE,
                    "%s: %s is transposed, and hidden_size %" PRIu64
                    " hides whether the others are",
                    src->path, (*t)->found, n_embd);
    *t = source_turned(&src->arena, *t);
    return *t ? OK : fail(err, ERR_NOMEM, "no memory for transposed experts");
}

/* ---- entries ---- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Vectors, norms, the router and everything that is no weight stay in F32. */
static enum block_type kept_type(const char *name, int n_dims, enum block_type exact)
{
    if (n_dims <= 1 || ends_with(name, "_norm.weight") ||
        ends_with(name, "ffn_gate_inp.weight") || !ends_with(name, ".weight"))
        return TYPE_F32;
    return exact;
}

static struct source_entry *add_entry(struct source *src, const char *name,
                                      const struct source_tensor *t)
{
    struct source_entry *e = &src->entries[src->n_entries++];
    const int n = t->n_dims ? t->n_dims : 1;

    *e = (struct source_entry){.name = name, .t = t, .n_dims = n, .ne = {1, 1, 1, 1}};
    for (int i = 0; i < t->n_dims && i < 4; i++)
        e->ne[i] = t->dims[t->n_dims - 1 - i];
    e->kept = kept_type(name, n, t->exact);
    return e;
}

/* Full layers rotate the first share of their pairs; a divisor of 1e30 leaves the rest unturned. */
static enum status add_rope_freqs(struct source *src, struct error *err)
{
    const uint32_t n = src->config.head_dim_full / 2;
    const double turned =
        (double)src->config.head_dim_full * (double)src->config.rotary_share / 2;
    float *values = arena_array(&src->arena, n + 1, sizeof(*values));

    if (!values)
        return fail(err, ERR_NOMEM, "no memory for rope_freqs");
    for (uint32_t i = 0; i < n; i++)
        values[i] = i < (uint32_t)turned ? 1.0F : 1e30F;
    const struct source_tensor *t =
        source_constant(&src->arena, "rope_freqs.weight", values, n);
    if (!t)
        return fail(err, ERR_NOMEM, "no memory for rope_freqs");
    add_entry(src, "rope_freqs.weight", t);
    return OK;
}

/* ---- tensors that are there without being part of the model ---- */

/* A head of its own counts only when it differs from the embedding. */
static enum status check_head(struct source *src, const struct source_tensor *head,
                              bool skim, bool *is_used, struct error *err)
{
    const struct source_tensor *table = checkpoint_find(src->cp, "embed_tokens.weight");
    bool same = false;
    enum status st;

    if (!table) /* reported as missing later */
        return OK;
    st = source_equal(table, head, skim, &same, err);
    if (st != OK)
        return st;
    *is_used = !same;
    if (same)
        return source_note(src, err, "%s equals the embedding and is left out",
                           head->found);
    return source_note(
        src, err, "%s differs from the embedding: an untied head is kept%s", head->found,
        checkpoint_is_untied(src->cp) ? ""
                                      : " although tie_word_embeddings is not false");
}

/* K = V layers have no values of their own; some tools store a copy of the keys, as they are before
 * an adapter changes both. */
static enum status check_v_clone(struct source *src, const struct source_tensor *v,
                                 int layer, bool skim, struct error *err)
{
    const char *k_name =
        gemma_name(&src->arena, "layers.*.self_attn.k_proj.weight", layer);
    const struct source_tensor *k = k_name ? checkpoint_find(src->cp, k_name) : NULL;
    bool same = false;

    if (k) {
        const enum status st = source_equal(source_unmerged(k), v, skim, &same, err);
        if (st != OK)
            return st;
    }
    if (!same)
        return fail(
            err, ERR_SHAPE,
            "%s: %s: attention_k_eq_v says that layer %d has no values of its own, and "
            "these are not its keys",
            src->path, v->found, layer);
    return source_note(src, err, "%s equals k_proj and is left out", v->found);
}

static enum status refuse_unknown(const struct source *src, const struct source_tensor *t,
                                  const struct gemma_tensor *rule, struct error *err)
{
    const char *key = rule ? gemma_when_key(rule->when) : NULL;

    if (strstr(t->name, ".lora_A.") || strstr(t->name, ".lora_B."))
        return fail(
            err, ERR_UNSUPPORTED,
            "%s: %s: an adapter nobody merged, and no adapter_config.json says its alpha",
            src->path, t->found);
    if (key)
        return fail(err, ERR_SHAPE, "%s: %s: config.json says there is none (%s)",
                    src->path, t->found, key);
    return fail(err, ERR_UNSUPPORTED, "%s: %s: unknown tensor (%s has none of that name)",
                src->path, t->found, src->config.family->name);
}

/* The rule of one tensor of the checkpoint: it must have one, and a layer that there is. */
static enum status find_rule(struct source *src, const struct source_tensor *t,
                             const struct gemma_tensor **rule, int *layer,
                             struct error *err)
{
    *rule = gemma_find_tensor(&src->config, t->name, layer);
    if (!*rule)
        return refuse_unknown(src, t, NULL, err);
    if (*layer >= (int)src->config.n_layers)
        return fail(err, ERR_SHAPE, "%s: %s: num_hidden_layers is %u", src->path,
                    t->found, src->config.n_layers);
    return OK;
}

/* First all names, so that a missing or surplus tensor is named before shapes that follow from it. */
static enum status cover(struct source *src, const struct coverage *coverage,
                         struct error *err)
{
    enum status st = OK;

    for (size_t i = 0; st == OK && i < checkpoint_count(src->cp); i++) {
        const struct gemma_tensor *rule;
        int layer;

        st = find_rule(src, checkpoint_at(src->cp, i), &rule, &layer, err);
        if (st == OK)
            *seen_at(coverage, rule, layer) = 1;
    }
    return st;
}

/* One tensor of the checkpoint. */
static enum status collect_one(struct source *src, const struct source_options *options,
                               const struct source_tensor *t, struct error *err)
{
    const struct gemma_tensor *rule;
    int layer;
    enum status st = find_rule(src, t, &rule, &layer, err);

    if (st != OK)
        return st;
    const bool is_live = gemma_has_tensor(&src->config, rule, layer);
    const bool shares = layer >= 0 && src->config.layers[layer].shares_kv;
    bool is_used = true;
    if (!is_live && !shares && rule->when != WHEN_OWN_V)
        return refuse_unknown(src, t, rule, err);
    st = turn_experts(src, &t, rule, layer, err);
    if (st == OK)
        st = check_shape(src, t, rule, layer, err);
    if (st != OK)
        return st;
    if (rule->when == WHEN_UNTIED)
        st = check_head(src, t, options->skim, &is_used, err);
    else if (!is_live && !shares)
        return check_v_clone(src, t, layer, options->skim, err);
    if (st != OK || !is_used)
        return st;

    const char *name = gemma_name(&src->arena, rule->gguf, layer);
    if (src->config.family->shifts_norms && rule->dims[1] == DIM_NONE)
        t = source_shifted(&src->arena, t);
    if (!name || !t)
        return fail(err, ERR_NOMEM, "no memory for names of tensors");
    add_entry(src, name, t)->is_dead = !is_live && !options->keep_dead;
    return OK;
}

static enum status check_missing(struct source *src, const struct coverage *coverage,
                                 struct error *err)
{
    const struct gemma_family *family = src->config.family;

    for (size_t r = 0; r < family->n_tensors; r++) {
        const struct gemma_tensor *rule = &family->tensors[r];
        const bool in_layers = strchr(rule->source, '*') != NULL;
        uint64_t want[GEMMA_MAX_DIMS];

        for (int layer = in_layers ? 0 : -1;
             layer < (in_layers ? (int)coverage->n_layers : 0); layer++) {
            if (rule->when == WHEN_UNTIED || rule->when == WHEN_HEAD ||
                !gemma_has_tensor(&src->config, rule, layer) ||
                *seen_at(coverage, rule, layer))
                continue;
            const int n = expected_shape(&src->config, rule, layer, want);
            return fail(err, ERR_SHAPE,
                        "%s: tensor %s is missing (%s expected by config.json)",
                        src->path, gemma_name(&src->arena, rule->source, layer),
                        shape_text(&src->arena, want, n));
        }
    }
    return OK;
}

static enum status note_dead(struct source *src, struct error *err)
{
    size_t n = 0;

    for (size_t i = 0; i < src->n_entries; i++)
        n += src->entries[i].is_dead;
    if (n == 0)
        return OK;
    return source_note(
        src, err,
        "%zu dead tensors left out: k_proj, v_proj and k_norm of layers that use "
        "an earlier layer's keys and values",
        n);
}

enum status source_collect(struct source *src, const struct source_options *options,
                           struct error *err)
{
    const size_t n = checkpoint_count(src->cp);
    struct coverage coverage = {NULL, src->config.family, src->config.n_layers};
    enum status st;

    src->entries = arena_array(&src->arena, n + 1, sizeof(*src->entries));
    coverage.seen =
        arena_array(&src->arena, coverage.family->n_tensors, coverage.n_layers);
    if (!src->entries || !coverage.seen)
        return fail(err, ERR_NOMEM, "no memory for the table of tensors");
    st = cover(src, &coverage, err);
    if (st == OK)
        st = check_missing(src, &coverage, err);
    if (st == OK && coverage.family->has_partial_rope)
        st = add_rope_freqs(src, err);
    for (size_t i = 0; st == OK && i < n; i++)
        st = collect_one(src, options, checkpoint_at(src->cp, i), err);
    return st == OK ? note_dead(src, err) : st;
}
