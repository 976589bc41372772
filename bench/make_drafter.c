/*
 * make_drafter.c - a full-size drafter for a checkpoint of make_e2b, right as often as one says
 *
 *     make_drafter FOLDER TARGET/config.json SHARE
 *
 * Writes FOLDER/model.safetensors and config.json in the layout of gemma-4-E2B-it-assistant: 4 layers of
 * width 256, an embedding of its own for the head, 2048 clusters with the real vocabulary. A
 * tokenizer.json must be put beside them. Its guess is what the target says next after a SHARE (0 to
 * 1) of the tokens, and a neighbour of that after the others (successors.h).
 *
 * How it knows: pre_projection hands on the columns of the target's embedding that hold the token's code, and
 * row u of the head is the code of the token that u follows. All else is noise, and quiet.
 */
#include "bench/successors.h"
#include "bench/synthetic.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Of the released drafter; other numbers are the target's. */
enum { N_LAYERS = 4, N_HEADS = 4, WIDTH = 2048, N_CHOSEN = 32 };

/* Weights of norms after a branch: what noise may add to codes of -1 and 1. */
static const float quiet = 0.05f;

struct shape {
    int64_t target, hidden, vocab, dim, global_dim;
};

static bool read_shape(const json_t *config, struct shape *s)
{
    const struct synthetic_number numbers[] = {
        {"hidden_size", &s->target},         {"hidden_size_per_layer_input", &s->hidden},
        {"vocab_size", &s->vocab},           {"head_dim", &s->dim},
        {"global_head_dim", &s->global_dim},
    };

    return synthetic_read_numbers(json_object_get(config, "text_config"), numbers,
                                  sizeof(numbers) / sizeof(numbers[0])) &&
           s->vocab % CLUSTER == 0 && s->hidden <= s->target;
}

static void add_matrix(struct synthetic *c, int64_t out, int64_t in, int64_t layer,
                       const char *name)
{
    synthetic_add(c, out, in, 0.0f, 1.0f / sqrtf((float)in),
                  "model.layers.%" PRId64 ".%s.weight", layer, name);
}

static void add_norm(struct synthetic *c, int64_t n, int64_t layer, float centre,
                     const char *name)
{
    synthetic_add(c, n, 0, centre, centre / 5, "model.layers.%" PRId64 ".%s.weight",
                  layer, name);
}

static void add_layer(struct synthetic *c, const struct shape *s, int64_t l)
{
    const int64_t dim = l == N_LAYERS - 1 ? s->global_dim : s->dim;

    add_norm(c, s->hidden, l, 1.0f, "input_layernorm");
    add_norm(c, s->hidden, l, quiet, "post_attention_layernorm");
    add_norm(c, s->hidden, l, quiet, "post_feedforward_layernorm");
    add_norm(c, s->hidden, l, 1.0f, "pre_feedforward_layernorm");
    synthetic_add(c, 1, 0, 1.0f, 0.0f, "model.layers.%" PRId64 ".layer_scalar", l);
    add_matrix(c, s->hidden, WIDTH, l, "mlp.down_proj");
    add_matrix(c, WIDTH, s->hidden, l, "mlp.gate_proj");
    add_matrix(c, WIDTH, s->hidden, l, "mlp.up_proj");
    add_norm(c, dim, l, 1.0f, "self_attn.q_norm");
    add_matrix(c, s->hidden, N_HEADS * dim, l, "self_attn.o_proj");
    add_matrix(c, N_HEADS * dim, s->hidden, l, "self_attn.q_proj");
}

/* `firsts`: the first token of each cluster. */
static void list_items(struct synthetic *c, const struct shape *s,
                       const struct successors *next, const int32_t *firsts)
{
    const float scale = 1.0f / sqrtf((float)s->hidden);
    struct synthetic_item *item;

    item =
        synthetic_add(c, s->vocab, s->hidden, 0.0f, scale, "model.embed_tokens.weight");
    item->tokens = next->before;
    item->n_put = item->n_code = s->hidden;
    item->code_scale = scale;
    for (int64_t l = 0; l < N_LAYERS; l++)
        add_layer(c, s, l);
    synthetic_add(c, s->hidden, 0, 1.0f, 0.1f, "model.norm.weight");
    item = synthetic_add(c, s->hidden, 2 * s->target, 0.0f,
                         quiet / sqrtf((float)s->target), "pre_projection.weight");
    item->diagonal = 1.0f;
    synthetic_add(c, s->target, s->hidden, 0.0f, scale, "post_projection.weight");

    item = synthetic_add(c, s->vocab / CLUSTER, s->hidden, 0.0f, quiet * scale,
                         "masked_embedding.centroids.weight");
    item->tokens = firsts;
    item->n_code = s->hidden;
    item->n_put = s->hidden / 2; /* what a cluster's tokens have in common */
    item->code_scale = scale;
    item = synthetic_add(c, s->vocab, 0, 0.0f, 0.0f, "masked_embedding.token_ordering");
    item->ids = next->next;
}

static enum status write_model(const char *folder, const struct shape *shape,
                               double share, struct error *err)
{
    const int32_t n_clusters = (int32_t)(shape->vocab / CLUSTER);
    struct successors next = successors_new(shape->vocab, share);
    int32_t *firsts = malloc((size_t)n_clusters * sizeof(*firsts));
    struct synthetic checkpoint = {0};
    enum status st = firsts ? OK : fail(err, ERR_NOMEM, "out of memory");

    for (int32_t i = 0; st == OK && i < n_clusters; i++)
        firsts[i] = i * CLUSTER;
    if (st == OK) {
        list_items(&checkpoint, shape, &next, firsts);
        st = synthetic_write(&checkpoint, folder, err);
    }
    synthetic_free(&checkpoint);
    successors_free(&next);
    free(firsts);
    return st;
}

/* The drafter's configuration: the target's text model, but for what differs. */
static json_t *make_config(const json_t *target, const struct shape *s)
{
    json_t *text = json_deep_copy(json_object_get(target, "text_config"));
    json_t *own = json_pack(
        "{s:I, s:i, s:i, s:i, s:i, s:[s,s,s,s], s:n, s:i, s:i, s:b}", "hidden_size",
        (json_int_t)s->hidden, "intermediate_size", WIDTH, "num_attention_heads", N_HEADS,
        "num_hidden_layers", N_LAYERS, "num_kv_shared_layers", N_LAYERS, "layer_types",
        "sliding_attention", "sliding_attention", "sliding_attention", "full_attention",
        "final_logit_softcapping", "hidden_size_per_layer_input", 0,
        "vocab_size_per_layer_input", 0, "use_double_wide_mlp", 0);
    const int n_clusters = (int)(s->vocab / CLUSTER);

    json_object_update(text, own);
    json_decref(own);
    return json_pack("{s:[s], s:s, s:s, s:I, s:b, s:i, s:i, s:b, s:o}", "architectures",
                     "Gemma4AssistantForCausalLM", "model_type", "gemma4_assistant",
                     "dtype", "bfloat16", "backbone_hidden_size", (json_int_t)s->target,
                     "use_ordered_embeddings", 1, "num_centroids", n_clusters,
                     "centroid_intermediate_top_k",
                     N_CHOSEN < n_clusters ? N_CHOSEN : n_clusters, "tie_word_embeddings",
                     1, "text_config", text);
}

static enum status write_config(const char *folder, const json_t *target,
                                const struct shape *shape, struct error *err)
{
    json_t *config = make_config(target, shape);
    char path[4096], *text = config ? json_dumps(config, JSON_INDENT(2)) : NULL;
    enum status st = text ? OK : fail(err, ERR_NOMEM, "out of memory");

    snprintf(path, sizeof(path), "%s/config.json", folder);
    if (st == OK)
        st = file_write_all(path, text, strlen(text), true, err);
    free(text);
    json_decref(config);
    return st;
}

static bool read_share(const char *text, double *share)
{
    char *end;

    *share = strtod(text, &end);
    return end != text && *end == '\0' && *share >= 0.0 && *share <= 1.0;
}

int main(int argc, char **argv)
{
    struct shape shape;
    struct error err = {0};
    json_t *target = NULL;
    double share;
    enum status st;

    if (argc != 4 || !read_share(argv[3], &share)) {
        fprintf(stderr, "usage: make_drafter FOLDER TARGET/config.json SHARE\n");
        return 2;
    }
    st = json_read_file(argv[2], &target, &err);
    if (st == OK && !read_shape(target, &shape))
        st = fail(&err, ERR_UNSUPPORTED, "%s: not a model of the E2B kind", argv[2]);
    if (st == OK)
        st = write_model(argv[1], &shape, share, &err);
    if (st == OK)
        st = write_config(argv[1], target, &shape, &err);
    if (st != OK)
        fprintf(stderr, "make_drafter: %s\n", err.text);
    json_decref(target);
    return st == OK ? 0 : 2;
}
