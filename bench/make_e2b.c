/*
 * make_e2b.c - a full-size checkpoint in the layout of Gemma 4 E2B, with seeded random weights
 *
 *     make_e2b FOLDER CONFIG.json
 *
 * Writes FOLDER/model.safetensors (BF16, the text model of the E2B kind that CONFIG.json
 * describes, the dead k and v tensors of sharing layers included, as released) and a copy of
 * CONFIG.json. A tokenizer.json must be put beside them. With the real configuration the file has
 * 9.3 GB. The same bytes for any number of threads.
 *
 * Greedily it says what successors.h says, so that a drafter can be made which knows it (make_drafter.c):
 * the last layer's slice of the per-layer table holds the code of the token that follows, which its
 * projection puts where the embedding keeps the codes of its tokens. All else is noise.
 */
#include "bench/successors.h"
#include "bench/synthetic.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* CODE_SCALE: of the table's codes, in what its noise is scaled by. LOUD: of the last layer's slice in
 * the stream, in what its other two branches add. */
enum { MAX_LAYERS = 256, CODE_SCALE = 4, LOUD = 16 };

struct shape {
    int64_t hidden, vocab, layers, shared, heads, kv_heads, dim, global_dim, ple, width;
    bool is_double_wide;
    bool is_full[MAX_LAYERS];
};

static bool read_shape(const json_t *config, struct shape *s)
{
    const json_t *text = json_object_get(config, "text_config");
    const json_t *types = json_object_get(text, "layer_types");
    const struct synthetic_number numbers[] = {
        {"hidden_size", &s->hidden},
        {"vocab_size", &s->vocab},
        {"num_hidden_layers", &s->layers},
        {"num_kv_shared_layers", &s->shared},
        {"num_attention_heads", &s->heads},
        {"num_key_value_heads", &s->kv_heads},
        {"head_dim", &s->dim},
        {"global_head_dim", &s->global_dim},
        {"hidden_size_per_layer_input", &s->ple},
        {"intermediate_size", &s->width},
    };

    if (!synthetic_read_numbers(text, numbers, sizeof(numbers) / sizeof(numbers[0])) ||
        s->vocab % CLUSTER != 0 || s->ple > s->hidden)
        return false;
    s->is_double_wide = json_is_true(json_object_get(text, "use_double_wide_mlp"));
    if (s->layers > MAX_LAYERS || json_array_size(types) != (size_t)s->layers)
        return false;
    for (int64_t l = 0; l < s->layers; l++)
        s->is_full[l] = strcmp(json_string_value(json_array_get(types, (size_t)l)),
                               "full_attention") == 0;
    return true;
}

static struct synthetic_item *add_matrix(struct synthetic *c, int64_t out, int64_t in,
                                         int64_t layer, const char *name)
{
    return synthetic_add(c, out, in, 0.0f, 1.0f / sqrtf((float)in),
                         "model.language_model.layers.%" PRId64 ".%s.weight", layer,
                         name);
}

static struct synthetic_item *add_norm(struct synthetic *c, int64_t n, int64_t layer,
                                       const char *name)
{
    return synthetic_add(c, n, 0, 1.0f, 0.2f,
                         "model.language_model.layers.%" PRId64 ".%s.weight", layer,
                         name);
}

/* The slice of the per-layer embedding, on its way into the stream: in the last layer it goes where
 * the embedding has its codes, and is loud there. */
static void add_slice(struct synthetic *c, const struct shape *s, int64_t l)
{
    const bool is_last = l == s->layers - 1;

    add_matrix(c, s->ple, s->hidden, l, "per_layer_input_gate");
    add_matrix(c, s->hidden, s->ple, l, "per_layer_projection")->diagonal =
        is_last ? LOUD : 0;
    struct synthetic_item *norm = add_norm(c, s->hidden, l, "post_per_layer_input_norm");
    norm->diagonal = LOUD;
    norm->n_raised = is_last ? s->ple : 0;
}

static void add_layer(struct synthetic *c, const struct shape *s, int64_t l)
{
    int64_t dim = s->is_full[l] ? s->global_dim : s->dim;
    bool is_wide = s->is_double_wide && l >= s->layers - s->shared;
    int64_t width = is_wide ? 2 * s->width : s->width;

    add_norm(c, s->hidden, l, "input_layernorm");
    add_norm(c, s->hidden, l, "post_attention_layernorm");
    add_norm(c, s->hidden, l, "post_feedforward_layernorm");
    add_norm(c, s->hidden, l, "pre_feedforward_layernorm");
    synthetic_add(c, 1, 0, 0.6f, 0.1f,
                  "model.language_model.layers.%" PRId64 ".layer_scalar", l);
    add_matrix(c, s->hidden, width, l, "mlp.down_proj");
    add_matrix(c, width, s->hidden, l, "mlp.gate_proj");
    add_matrix(c, width, s->hidden, l, "mlp.up_proj");
    add_slice(c, s, l);
    add_norm(c, dim, l, "self_attn.k_norm");
    add_norm(c, dim, l, "self_attn.q_norm");
    add_matrix(c, s->kv_heads * dim, s->hidden, l, "self_attn.k_proj");
    add_matrix(c, s->hidden, s->heads * dim, l, "self_attn.o_proj");
    add_matrix(c, s->heads * dim, s->hidden, l, "self_attn.q_proj");
    add_matrix(c, s->kv_heads * dim, s->hidden, l, "self_attn.v_proj");
}

static void list_items(struct synthetic *c, const struct shape *s,
                       const struct successors *next, const int32_t *tokens)
{
    const float scale = 1.0f / sqrtf((float)s->hidden);
    const float table_scale = 1.0f / sqrtf((float)s->ple);
    struct synthetic_item *item;

    item = synthetic_add(c, s->vocab, s->hidden, 0.0f, scale,
                         "model.language_model.embed_tokens.weight");
    item->tokens = tokens;
    item->n_put = item->n_code = s->ple;
    item->code_scale = scale;
    item = synthetic_add(c, s->vocab, s->layers * s->ple, 0.0f, table_scale,
                         "model.language_model.embed_tokens_per_layer.weight");
    item->tokens = next->next;
    item->first_code = (s->layers - 1) * s->ple;
    item->n_put = item->n_code = s->ple;
    item->code_scale = CODE_SCALE * table_scale;
    for (int64_t l = 0; l < s->layers; l++)
        add_layer(c, s, l);
    synthetic_add(c, s->hidden, 0, 3.0f, 0.5f, "model.language_model.norm.weight");
    synthetic_add(c, s->layers * s->ple, s->hidden, 0.0f, scale,
                  "model.language_model.per_layer_model_projection.weight");
    synthetic_add(c, s->ple, 0, 1.0f, 0.2f,
                  "model.language_model.per_layer_projection_norm.weight");
}

static enum status write_model(const char *folder, const struct shape *shape,
                               struct error *err)
{
    struct successors next = successors_new(shape->vocab, 1.0);
    int32_t *tokens = malloc((size_t)shape->vocab * sizeof(*tokens));
    struct synthetic checkpoint = {0};
    enum status st = tokens ? OK : fail(err, ERR_NOMEM, "out of memory");

    for (int32_t t = 0; st == OK && t < shape->vocab; t++)
        tokens[t] = t;
    if (st == OK) {
        list_items(&checkpoint, shape, &next, tokens);
        st = synthetic_write(&checkpoint, folder, err);
    }
    synthetic_free(&checkpoint);
    successors_free(&next);
    free(tokens);
    return st;
}

static enum status copy_config(const char *folder, const char *config, struct error *err)
{
    char path[4096], *text = NULL;
    size_t n;
    enum status st = file_read_all(config, 1 << 20, &text, &n, err);

    if (st != OK)
        return st;
    snprintf(path, sizeof(path), "%s/config.json", folder);
    st = file_write_all(path, text, n, true, err);
    free(text);
    return st;
}

int main(int argc, char **argv)
{
    struct shape shape;
    struct error err = {0};
    json_t *config = NULL;
    enum status st;

    if (argc != 3) {
        fprintf(stderr, "usage: make_e2b FOLDER CONFIG.json\n");
        return 2;
    }
    st = json_read_file(argv[2], &config, &err);
    if (st == OK && !read_shape(config, &shape))
        st = fail(&err, ERR_UNSUPPORTED, "%s: not a model of the E2B kind", argv[2]);
    if (st == OK)
        st = write_model(argv[1], &shape, &err);
    if (st == OK)
        st = copy_config(argv[1], argv[2], &err);
    if (st != OK)
        fprintf(stderr, "make_e2b: %s\n", err.text);
    json_decref(config);
    return st == OK ? 0 : 2;
}
