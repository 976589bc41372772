/*
 * walk.c - every chunk through one step, then every chunk through the next
 *
 *     step 0           the embedding; and what only the id decides: the per-layer slices
 *     step 1 + i       layer i
 *     the last         the final norm; of encoders the dense heads, on passages of each chunk
 *
 * Numbers are those of forward.c because a row's never depend on its batch, and its batches are cut
 * alike. Keys of a shared layer are put back into cells batch by batch, so that a local layer's ring
 * holds what it held when the source was run.
 */
#include "runtime/walk.h"

#include <math.h>
#include <stdlib.h>

struct walk {
    struct runtime *rt;
    struct sequence *seq; /* cells of the layer in hand only */
    struct walk_text text;
    struct spill spill;
    uint32_t step, n_steps;
    size_t batch;
    int32_t *rows;    /* of the tables, a token each */
    uint32_t *unique; /* of each token: number of its id in ids[] */
    int32_t *ids;     /* that occur, ascending */
    size_t n_unique;
    uint64_t peak; /* bytes of the largest step */
    size_t embd_index, embd_row_bytes;
    uint8_t *embd_row;
};

struct runtime *walk_runtime(const struct walk *walk)
{
    return walk->rt;
}

uint32_t walk_steps(const struct walk *walk)
{
    return walk->n_steps;
}

uint32_t walk_step(const struct walk *walk)
{
    return walk->step;
}

uint64_t walk_bytes(const struct walk *walk)
{
    return walk->peak;
}

/* ---- opening ---- */

static int ascending(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    return (x > y) - (x < y);
}

static enum status find_rows(struct walk *walk, struct error *err)
{
    const size_t n = walk->text.n_chunks * walk->text.n_ctx;

    walk->rows = malloc((n + 1) * sizeof(*walk->rows));
    walk->ids = malloc((n + 1) * sizeof(*walk->ids));
    walk->unique = malloc((n + 1) * sizeof(*walk->unique));
    if (!walk->rows || !walk->ids || !walk->unique)
        return fail(err, ERR_NOMEM, "no memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++) {
        const int32_t id = walk->text.ids[i];

        if (id < 0 || (size_t)id >= walk->rt->weights.n_vocab)
            return fail(err, ERR_USAGE, "token id %d is not in 0 .. %zu", id,
                        walk->rt->weights.n_vocab - 1);
        walk->rows[i] = placeholders_row(&walk->rt->placeholders, id);
        walk->ids[i] = walk->rows[i];
    }
    qsort(walk->ids, n, sizeof(*walk->ids), ascending);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || walk->ids[i] != walk->ids[i - 1])
            walk->ids[walk->n_unique++] = walk->ids[i];
    for (size_t i = 0; i < n; i++) {
        const int32_t *at = bsearch(&walk->rows[i], walk->ids, walk->n_unique,
                                    sizeof(*walk->ids), ascending);

        walk->unique[i] = (uint32_t)(at - walk->ids);
    }
    return OK;
}

static enum status find_embedding(struct walk *walk, struct error *err)
{
    const struct model *model = walk->rt->model;

    walk->embd_index = (size_t)model_find(model, "token_embd.weight");
    const struct gguf_tensor *t = &model->tensors[walk->embd_index];

    if (!block_type_info(t->type) || !block_type_info(t->type)->decode)
        return fail(err, ERR_UNSUPPORTED, "%s: type %s cannot be decoded", t->name,
                    block_type_name(t->type));
    walk->embd_row_bytes = block_row_bytes(t->type, (size_t)t->ne[0]);
    walk->embd_row = malloc(walk->embd_row_bytes + 1);
    return walk->embd_row ? OK : fail(err, ERR_NOMEM, "%s: no memory for a row", t->name);
}

/* What lasts: token ids three times over and rows on their way; and the largest layer. */
static void count_bytes(struct walk *walk)
{
    const struct runtime *rt = walk->rt;
    const struct config *c = &rt->config;
    const uint64_t n_tokens = walk->spill.n_tokens;
    uint64_t largest = 0, width = (uint64_t)c->n_layers * c->n_ple;

    for (uint32_t i = 0; i < c->n_layers; i++) {
        const struct layer_facts *layer = &c->layers[i];
        const uint64_t heads = (uint64_t)layer->n_heads * layer->head_dim;
        const uint64_t keys = (uint64_t)layer->n_kv_heads * layer->head_dim;
        const uint64_t n =
            weights_layer_bytes(&rt->weights, rt->model, i) +
            sizeof(float) *
                (2 * keys * walk->text.n_ctx +
                 walk->batch * (2 * heads + 2 * keys + 4 * (uint64_t)layer->n_ff));

        largest = n > largest ? n : largest;
    }
    width += 8 * (uint64_t)c->n_embd + c->n_experts;
    walk->peak = largest + 12 * n_tokens + sizeof(float) * walk->batch * width +
                 (rt->ple_rows ? PLE_RESIDENT_BYTES : 0);
}

enum status walk_open(const struct model *model, const struct walk_options *options,
                      const struct walk_text *text, struct walk **out, struct error *err)
{
    const struct runtime_options how = {.arithmetic = options->arithmetic};
    struct walk *walk = calloc(1, sizeof(*walk));
    enum status st;

    if (!walk)
        return fail(err, ERR_NOMEM, "no memory for a walk");
    walk->text = *text;
    st = runtime_open_holding(model, &how, HOLD_FEW, &walk->rt, err);
    if (st == OK && walk->rt->config.family->is_drafter)
        st = fail(err, ERR_USAGE, "%s: a drafter runs beside its target only",
                  model->path);
    if (st == OK)
        st = sequence_new_bare(walk->rt, text->n_ctx, &walk->seq, err);
    if (st == OK)
        st = find_rows(walk, err);
    if (st == OK)
        st = find_embedding(walk, err);
    if (st == OK) {
        walk->n_steps = walk->rt->config.n_layers + 2;
        walk->batch =
            text->n_ctx < walk->seq->max_batch ? text->n_ctx : walk->seq->max_batch;
        st = scratch_reserve(walk->rt, walk->batch, err);
    }
    if (st == OK)
        st = spill_open(&walk->spill, &walk->rt->config, options,
                        (uint64_t)text->n_chunks * text->n_ctx, walk->n_unique,
                        &walk->step, err);
    if (st != OK) {
        walk_close(walk, options->resume);
        return st;
    }
    count_bytes(walk);
    *out = walk;
    return OK;
}

void walk_close(struct walk *walk, bool keep)
{
    if (!walk)
        return;
    spill_close(&walk->spill, keep);
    sequence_free(walk->seq);
    runtime_close(walk->rt);
    free(walk->rows);
    free(walk->ids);
    free(walk->unique);
    free(walk->embd_row);
    free(walk);
}

/* ---- steps ---- */

static bool is_layer(const struct walk *walk)
{
    return walk->step > 0 && walk->step + 1 < walk->n_steps;
}

/* Give back what walk_begin() took. */
static void release(struct walk *walk)
{
    const uint32_t layer = walk->step - 1;

    if (!is_layer(walk))
        return;
    weights_release_layer(&walk->rt->weights, layer);
    sequence_release(walk->seq, walk->rt->config.layers[layer].kv_layer);
}

enum status walk_begin(struct walk *walk, struct error *err)
{
    struct runtime *rt = walk->rt;
    const uint32_t layer = walk->step - 1;
    enum status st;

    if (!is_layer(walk))
        return OK;
    st = weights_hold_layer(&rt->weights, rt->model, &rt->config, layer, err);
    return st == OK ? sequence_hold(walk->seq, rt->config.layers[layer].kv_layer, err)
                    : st;
}

enum status walk_end(struct walk *walk, struct error *err)
{
    release(walk);
    walk->step++;
    return spill_mark(&walk->spill, walk->step, err);
}

/* ---- the embedding ---- */

/* As embed_rows(), of a table that is not in memory. */
static enum status embed(struct walk *walk, const int32_t *rows, size_t n, float *x,
                         struct error *err)
{
    const struct model *model = walk->rt->model;
    const struct gguf_tensor *table = &model->tensors[walk->embd_index];
    const size_t n_cols = (size_t)table->ne[0];
    enum status st = OK;

    for (size_t t = 0; t < n && st == OK; t++) {
        st = model_read_rows(model, walk->embd_index, (uint64_t)rows[t], 1,
                             walk->embd_row, err);
        if (st == OK)
            block_decode(table->type, walk->embd_row, x + t * n_cols, n_cols);
    }
    kernels_scale(walk->rt->kernels, x, sqrtf((float)n_cols), n * n_cols);
    return st;
}

/* Slices of the ids number [first, first + n), n at most a batch, to the file; unseen by taps,
 * since no token is run. */
static enum status make_slices(struct walk *walk, size_t first, size_t n,
                               struct error *err)
{
    struct runtime *rt = walk->rt;
    const struct config *c = &rt->config;
    struct scratch *s = &rt->scratch;
    void (*tap)(void *arg, const struct tap_event *event) = rt->tap;
    struct pass p = {.rt = rt, .seq = walk->seq, .n = n, .rows = walk->ids + first};
    enum status st = embed(walk, p.rows, n, s->x, err);

    if (st != OK)
        return st;
    rt->tap = NULL;
    p.x = s->x;
    if (rt->ple_rows)
        ple_rows_request(rt->ple_rows, p.rows, n);
    ple_project(&p);
    st = ple_join(&p, err);
    rt->tap = tap;
    for (uint32_t i = 0; i < c->n_layers && st == OK; i++) {
        for (size_t t = 0; t < n; t++)
            memcpy(s->gate + t * c->n_ple, p.ple + (t * c->n_layers + i) * c->n_ple,
                   c->n_ple * sizeof(*s->gate));
        st = spill_slices(&walk->spill, WRITE, i, first, n, s->gate, err);
    }
    return st;
}

/* This chunk's share of the ids that occur. */
static enum status make_share(struct walk *walk, size_t chunk, struct error *err)
{
    const size_t n_chunks = walk->text.n_chunks;
    const size_t end = walk->n_unique * (chunk + 1) / n_chunks;
    enum status st = OK;

    for (size_t at = walk->n_unique * chunk / n_chunks; at < end && st == OK;) {
        const size_t n = end - at < walk->batch ? end - at : walk->batch;

        st = make_slices(walk, at, n, err);
        at += n;
    }
    return st;
}

/* ---- one batch of a step ---- */

/* Where a batch is: `token` counts over all chunks. */
struct place_in_text {
    uint64_t token;
    struct pass *pass;
};

static enum status run_embedding(struct walk *walk, struct place_in_text at,
                                 struct error *err)
{
    struct pass *p = at.pass;
    const struct config *c = &walk->rt->config;
    enum status st = embed(walk, p->rows, p->n, p->x, err);

    if (st != OK)
        return st;
    tap_rows(p, "embed", -1, c->n_embd, p->x);
    if (c->n_ple > 0)
        tap_input(walk->rt, -1, &walk->rt->weights.ple_proj, -1, p->position, p->n, p->x);
    return spill_stream(&walk->spill, WRITE, 0, at.token, p->n, p->x, err);
}

static enum status fetch_slices(struct walk *walk, struct place_in_text at,
                                struct error *err)
{
    const struct config *c = &walk->rt->config;
    const uint32_t layer = walk->step - 1;
    struct pass *p = at.pass;
    enum status st = OK;

    p->ple = walk->rt->scratch.ple;
    p->has_slices = true;
    for (size_t t = 0; t < p->n && c->n_ple > 0 && st == OK; t++)
        st = spill_slices(&walk->spill, READ, layer, walk->unique[at.token + t], 1,
                          p->ple + (t * c->n_layers + layer) * c->n_ple, err);
    return st;
}

/* Keys that an earlier layer made, into the cells they lay in. */
static enum status fetch_keys(struct walk *walk, struct place_in_text at,
                              struct error *err)
{
    struct scratch *s = &walk->rt->scratch;
    const uint32_t source = walk->rt->config.layers[walk->step - 1].kv_layer;
    enum status st =
        spill_keys(&walk->spill, READ, source, at.token, at.pass->n, s->k, s->v, err);

    if (st == OK)
        cache_store(at.pass, source, s->k, s->v);
    return st;
}

static enum status run_layer(struct walk *walk, struct place_in_text at,
                             struct error *err)
{
    struct pass *p = at.pass;
    struct scratch *s = &walk->rt->scratch;
    const uint32_t layer = walk->step - 1;
    const bool has_keys = layer < walk->rt->config.n_own_kv;
    enum status st =
        spill_stream(&walk->spill, READ, layer % 2, at.token, p->n, p->x, err);

    if (st == OK)
        st = fetch_slices(walk, at, err);
    if (st == OK && !has_keys)
        st = fetch_keys(walk, at, err);
    if (st != OK)
        return st;
    rope_fill(p);
    st = block_step(p, layer, err);
    if (st == OK && has_keys && walk->spill.keys[layer] > 0)
        st = spill_keys(&walk->spill, WRITE, layer, at.token, p->n, s->k, s->v, err);
    if (st == OK)
        st =
            spill_stream(&walk->spill, WRITE, (layer + 1) % 2, at.token, p->n, p->x, err);
    return st;
}

/* An encoder makes one vector of a text, and a few hundred of those say little about 3,072 channels:
 * so every passage of a chunk counts as a text. */
static void run_dense_heads(const struct pass *whole)
{
    struct pass p = *whole;

    p.n = whole->n < PASSAGE_TOKENS ? 1 : whole->n / PASSAGE_TOKENS;
    pool_passages(&p, whole->x, whole->n);
}

static enum status run_head(struct walk *walk, struct place_in_text at, struct error *err)
{
    struct runtime *rt = walk->rt;
    struct pass *p = at.pass;
    enum status st = spill_stream(&walk->spill, READ, rt->config.n_layers % 2, at.token,
                                  p->n, p->x, err);

    if (st != OK)
        return st;
    final_norm(p);
    if (rt->config.family->is_causal)
        tap_input(rt, -1, &rt->weights.output, -1, p->position, p->n, p->x);
    else
        run_dense_heads(p);
    return OK;
}

static enum status run_batch(struct walk *walk, struct place_in_text at,
                             struct error *err)
{
    if (walk->step == 0)
        return run_embedding(walk, at, err);
    return is_layer(walk) ? run_layer(walk, at, err) : run_head(walk, at, err);
}

enum status walk_chunk(struct walk *walk, size_t chunk, struct error *err)
{
    const uint32_t n_ctx = walk->text.n_ctx;
    const uint64_t first = (uint64_t)chunk * n_ctx;
    enum status st = OK;

    if (walk->step == 0 && walk->rt->config.n_ple > 0)
        st = make_share(walk, chunk, err);
    sequence_reset(walk->seq);
    for (uint32_t done = 0; done < n_ctx && st == OK;) {
        const size_t n = n_ctx - done < walk->batch ? n_ctx - done : walk->batch;
        struct pass p = {.rt = walk->rt,
                         .seq = walk->seq,
                         .position = done,
                         .end = done + (uint32_t)n,
                         .n = n,
                         .rows = walk->rows + first + done,
                         .x = walk->rt->scratch.x};

        st = run_batch(walk, (struct place_in_text){first + done, &p}, err);
        walk->seq->length = done += (uint32_t)n;
    }
    return st == OK ? interrupt_check(err) : st;
}

/* ---- the caller's bytes ---- */

enum status walk_write_state(struct walk *walk, uint64_t at, const void *bytes, size_t n,
                             struct error *err)
{
    assert(walk->spill.state + at + n <= walk->spill.stream);
    return output_write(walk->spill.file, walk->spill.state + at, bytes, n, err);
}

enum status walk_read_state(struct walk *walk, uint64_t at, void *bytes, size_t n,
                            struct error *err)
{
    assert(walk->spill.state + at + n <= walk->spill.stream);
    return output_read(walk->spill.file, walk->spill.state + at, bytes, n, err);
}
