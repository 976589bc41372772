/*
 * make_e2b.c - a full-size checkpoint in the layout of Gemma 4 E2B, with seeded random weights
 *
 *     make_e2b FOLDER CONFIG.json
 *
 * Writes FOLDER/model.safetensors (BF16, the text model of the E2B kind that CONFIG.json
 * describes, the dead k and v tensors of sharing layers included, as released) and a copy of
 * CONFIG.json. A tokenizer.json must be put beside them. With the real configuration the file has
 * 9.3 GB. The same bytes for any number of threads.
 */
#include "base/base.h"
#include "formats/blocks/blocks.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLAB_BYTES = 8 << 20, GRAIN = 1 << 16, MAX_LAYERS = 256, STEPS = 4 * 255 + 1 };

struct shape {
    int64_t hidden, vocab, layers, shared, heads, kv_heads, dim, global_dim, ple, width;
    bool is_double_wide;
    bool is_full[MAX_LAYERS];
};

/* One tensor: n_rows x n_cols (n_cols 0: a vector), values around `centre` of scale `scale`. */
struct item {
    char name[128];
    int64_t n_rows, n_cols;
    float centre, scale;
};

struct items {
    struct item *at;
    size_t n, n_room;
};

static int64_t count(const struct item *item)
{
    return item->n_cols ? item->n_rows * item->n_cols : item->n_rows;
}

static bool read_shape(const json_t *config, struct shape *s)
{
    const json_t *text = json_object_get(config, "text_config");
    const json_t *types = json_object_get(text, "layer_types");
    const struct {
        const char *key;
        int64_t *value;
    } keys[] = {
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

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        *keys[i].value = json_integer_value(json_object_get(text, keys[i].key));
        if (*keys[i].value < 1 || *keys[i].value > 1 << 24)
            return false;
    }
    s->is_double_wide = json_is_true(json_object_get(text, "use_double_wide_mlp"));
    if (s->layers > MAX_LAYERS || json_array_size(types) != (size_t)s->layers)
        return false;
    for (int64_t l = 0; l < s->layers; l++)
        s->is_full[l] = strcmp(json_string_value(json_array_get(types, (size_t)l)),
                               "full_attention") == 0;
    return true;
}

__attribute__((format(printf, 6, 7))) static void add(struct items *items, int64_t n_rows,
                                                      int64_t n_cols, float centre,
                                                      float scale, const char *fmt, ...)
{
    va_list list;

    if (items->n == items->n_room) {
        items->n_room = items->n_room ? 2 * items->n_room : 64;
        items->at = realloc(items->at, items->n_room * sizeof(*items->at));
        if (!items->at)
            abort();
    }
    struct item *item = &items->at[items->n++];
    *item = (struct item){
        .n_rows = n_rows, .n_cols = n_cols, .centre = centre, .scale = scale};
    va_start(list, fmt);
    vsnprintf(item->name, sizeof(item->name), fmt, list);
    va_end(list);
}

static void add_matrix(struct items *items, int64_t out, int64_t in, int64_t layer,
                       const char *name)
{
    add(items, out, in, 0.0f, 1.0f / sqrtf((float)in),
        "model.language_model.layers.%" PRId64 ".%s.weight", layer, name);
}

static void add_norm(struct items *items, int64_t n, int64_t layer, const char *name)
{
    add(items, n, 0, 1.0f, 0.2f, "model.language_model.layers.%" PRId64 ".%s.weight",
        layer, name);
}

static void add_layer(struct items *items, const struct shape *s, int64_t l)
{
    static const char *const norms[] = {
        "input_layernorm",
        "post_attention_layernorm",
        "post_feedforward_layernorm",
        "post_per_layer_input_norm",
        "pre_feedforward_layernorm",
    };
    int64_t dim = s->is_full[l] ? s->global_dim : s->dim;
    bool is_wide = s->is_double_wide && l >= s->layers - s->shared;
    int64_t width = is_wide ? 2 * s->width : s->width;

    for (size_t i = 0; i < sizeof(norms) / sizeof(norms[0]); i++)
        add_norm(items, s->hidden, l, norms[i]);
    add(items, 1, 0, 0.6f, 0.1f, "model.language_model.layers.%" PRId64 ".layer_scalar",
        l);
    add_matrix(items, s->hidden, width, l, "mlp.down_proj");
    add_matrix(items, width, s->hidden, l, "mlp.gate_proj");
    add_matrix(items, width, s->hidden, l, "mlp.up_proj");
    add_matrix(items, s->ple, s->hidden, l, "per_layer_input_gate");
    add_matrix(items, s->hidden, s->ple, l, "per_layer_projection");
    add_norm(items, dim, l, "self_attn.k_norm");
    add_norm(items, dim, l, "self_attn.q_norm");
    add_matrix(items, s->kv_heads * dim, s->hidden, l, "self_attn.k_proj");
    add_matrix(items, s->hidden, s->heads * dim, l, "self_attn.o_proj");
    add_matrix(items, s->heads * dim, s->hidden, l, "self_attn.q_proj");
    add_matrix(items, s->kv_heads * dim, s->hidden, l, "self_attn.v_proj");
}

static void list_items(struct items *items, const struct shape *s)
{
    add(items, s->vocab, s->hidden, 0.0f, 1.0f / sqrtf((float)s->hidden),
        "model.language_model.embed_tokens.weight");
    add(items, s->vocab, s->layers * s->ple, 0.0f, 1.0f / sqrtf((float)s->ple),
        "model.language_model.embed_tokens_per_layer.weight");
    for (int64_t l = 0; l < s->layers; l++)
        add_layer(items, s, l);
    add(items, s->hidden, 0, 3.0f, 0.5f, "model.language_model.norm.weight");
    add(items, s->layers * s->ple, s->hidden, 0.0f, 1.0f / sqrtf((float)s->hidden),
        "model.language_model.per_layer_model_projection.weight");
    add(items, s->ple, 0, 1.0f, 0.2f,
        "model.language_model.per_layer_projection_norm.weight");
}

/* The header of a safetensors file, owned by the caller, padded with spaces to 8 bytes. */
static char *make_header(const struct items *items, size_t *n, uint64_t *n_data)
{
    size_t n_room = 256 * items->n + 64, at = 8;
    char *text = calloc(1, n_room);
    uint64_t offset = 0;

    if (!text)
        abort();
    for (size_t i = 0; i < items->n; i++) {
        const struct item *item = &items->at[i];
        uint64_t end = offset + 2 * (uint64_t)count(item);
        char cols[32] = "";

        if (item->n_cols)
            snprintf(cols, sizeof(cols), ",%" PRId64, item->n_cols);
        at +=
            (size_t)snprintf(text + at, n_room - at,
                             "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%" PRId64
                             "%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                             i ? "," : "{", item->name, item->n_rows, cols, offset, end);
        offset = end;
    }
    text[at++] = '}';
    while (at % 8 != 0)
        text[at++] = ' ';
    store_u64(text, at - 8);
    *n = at;
    *n_data = offset;
    return text;
}

/* ---- values ---- */

struct slab {
    uint16_t *values;
    uint64_t first;        /* seeds: position of values[0] in the file's data */
    uint16_t table[STEPS]; /* the sum of four random bytes -> a bell-shaped BF16 */
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static unsigned sum_bytes(uint32_t x)
{
    return (x & 0xff) + (x >> 8 & 0xff) + (x >> 16 & 0xff) + (x >> 24);
}

static void fill(void *arg, size_t begin, size_t end)
{
    struct slab *slab = arg;

    for (size_t i = begin; i < end; i++) {
        uint64_t at = slab->first + i;
        uint64_t bits = mix((at / 2 + 1) * 0x9e3779b97f4a7c15u);
        slab->values[i] = slab->table[sum_bytes((uint32_t)(at % 2 ? bits >> 32 : bits))];
    }
}

static void fill_table(struct slab *slab, const struct item *item)
{
    /* A byte has variance (256^2 - 1) / 12; four of them a deviation of 147.8. */
    for (int s = 0; s < STEPS; s++)
        slab->table[s] =
            bf16_from_f32(item->centre + item->scale * (float)(s - STEPS / 2) / 147.8f);
}

static enum status write_values(struct output *dst, uint64_t at,
                                const struct items *items, struct error *err)
{
    struct slab slab = {.values = malloc(SLAB_BYTES)};
    enum status st = slab.values ? OK : fail(err, ERR_NOMEM, "out of memory");

    for (size_t i = 0; i < items->n && st == OK; i++) {
        uint64_t left = (uint64_t)count(&items->at[i]);

        fill_table(&slab, &items->at[i]);
        while (left > 0 && st == OK) {
            size_t n = left < SLAB_BYTES / 2 ? (size_t)left : SLAB_BYTES / 2;

            parallel_for(n, GRAIN, fill, &slab);
            st = output_write(dst, at, slab.values, n * 2, err);
            slab.first += n;
            at += n * 2;
            left -= n;
        }
    }
    free(slab.values);
    return st;
}

static enum status write_model(const char *folder, const struct items *items,
                               struct error *err)
{
    char path[4096];
    struct output *dst = NULL;
    uint64_t n_data;
    size_t n_header;
    char *header = make_header(items, &n_header, &n_data);
    enum status st;

    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    st = output_open(path, &(struct output_options){.force = true}, &dst, err);
    if (st == OK)
        st = output_write(dst, 0, header, n_header, err);
    free(header);
    if (st == OK)
        st = write_values(dst, n_header, items, err);
    if (st != OK) {
        output_discard(dst);
        return st;
    }
    return output_commit(dst, n_header + n_data, err);
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
    struct items items = {0};
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
    if (st == OK) {
        list_items(&items, &shape);
        st = write_model(argv[1], &items, &err);
    }
    if (st == OK)
        st = copy_config(argv[1], argv[2], &err);
    if (st != OK)
        fprintf(stderr, "make_e2b: %s\n", err.text);
    free(items.at);
    json_decref(config);
    return st == OK ? 0 : 2;
}
